"""JobSets, Jobs, Pods and Nodes as the API would send them, small enough to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.objects import ClaimedJob, Event, Job, JobSet, KueueWorkload, Node, Pod
from jobset_restart.scheduling import DemandingPod, Place, Surroundings
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.job import JobWorkload
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.workloads.kueue import Admission

DIGEST = "sha256:" + "d" * 64
IMAGE = "docker.io/library/app:1"
TIME = "2026-01-01T00:00:00Z"
NOW = 1767225600.0 + 3600
OWNER = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "train", "controller": True}


def at(time: str | float) -> datetime:
    """A time as an object holds it: of RFC 3339, or of seconds since the epoch."""
    return datetime.fromisoformat(time) if isinstance(time, str) else datetime.fromtimestamp(time, UTC)


def job_uid_of(replicated_job: str, index: int = 0) -> str:
    """The UID of a Job made here."""
    return f"job-{index}" if replicated_job == "workers" else f"job-{replicated_job}-{index}"


def container(name: str = "worker", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", **fields}


def status(name: str = "worker", restarts: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "containerID": f"containerd://{name}-{restarts}",
        "image": IMAGE,
        "imageID": f"docker.io/library/app@{DIGEST}",
        "ready": True,
        "restartCount": restarts,
        "state": {"running": {"startedAt": TIME}},
        **fields,
    }


def pod(
    index: int,
    *,
    job: int = 0,
    job_uid: str = "",
    owners: list[dict[str, Any]] | None = None,
    name: str = "",
    uid: str = "",
    node: str = "node-0",
    ready: bool = True,
    phase: str = "Running",
    annotations: dict[str, str] | None = None,
    containers: list[dict[str, Any]] | None = None,
    statuses: list[dict[str, Any]] | None = None,
    replicated_job: str = "workers",
    deleted: bool = False,
    created: str = TIME,
    spec: dict[str, Any] | None = None,
) -> Pod:
    labels = {
        "jobset.sigs.k8s.io/jobset-name": "train",
        "jobset.sigs.k8s.io/jobset-uid": "jobset-uid",
        "jobset.sigs.k8s.io/replicatedjob-name": replicated_job,
        "jobset.sigs.k8s.io/job-index": str(job),
        "batch.kubernetes.io/job-completion-index": str(index),
    }
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": f"train-{replicated_job}-{job}", "controller": True}
    owner |= {"uid": job_uid or job_uid_of(replicated_job, job)}
    name = name or f"train-{replicated_job}-{job}-{index}"
    raw = {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": uid or f"uid-{name}",
            "labels": labels,
            "annotations": annotations or {},
            "ownerReferences": [{**owner, "uid": job_uid or job_uid_of(replicated_job, job)}]
            if owners is None
            else owners,
            "creationTimestamp": created,
            "deletionTimestamp": TIME if deleted else None,
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "containers": containers or [container()],
            **(spec or {}),
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": statuses if statuses is not None else [status()],
        },
    }
    return msgspec.convert(raw, Pod)


def jobset(
    *,
    replicas: int = 1,
    pods: int = 2,
    backoff_limit: int = 0,
    restart_policy: str = "Never",
    replacement: str = "TerminatingOrFailed",
    status: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    failure_policy: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    job_spec: dict[str, Any] | None = None,
) -> JobSet:
    template = {
        "parallelism": pods,
        "completions": pods,
        "completionMode": "Indexed",
        "backoffLimit": backoff_limit,
        "podReplacementPolicy": replacement,
        "template": {"spec": {"restartPolicy": restart_policy, "containers": [container()]}},
        **(job_spec or {}),
    }
    raw = {
        "metadata": {
            "name": "train",
            "namespace": "ns",
            "uid": "jobset-uid",
            "resourceVersion": "7",
            "annotations": annotations or {},
            "creationTimestamp": TIME,
            **(metadata or {}),
        },
        "spec": {
            "replicatedJobs": [{"name": "workers", "replicas": replicas, "template": {"spec": template}}],
            "failurePolicy": failure_policy or {"maxRestarts": 3},
            **(spec or {}),
        },
        "status": status or {},
    }
    return msgspec.convert(raw, JobSet)


def job(
    of: JobSet,
    index: int = 0,
    *,
    status: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    uid: str = "",
    **metadata: Any,
) -> Job:
    """A Job as the JobSet controller makes it from its template, `spec` and `metadata` changed since."""
    raw = {
        "metadata": {
            "name": f"train-workers-{index}",
            "namespace": "ns",
            "uid": uid or f"job-{index}",
            "creationTimestamp": TIME,
            "labels": {
                "jobset.sigs.k8s.io/replicatedjob-name": "workers",
                "jobset.sigs.k8s.io/job-index": str(index),
            },
            "ownerReferences": [{**OWNER, "uid": of.metadata.uid}],
            **metadata,
        },
        "spec": {**msgspec.to_builtins(of.spec.replicated_jobs[0].template.spec), **(spec or {})},
        "status": status or {},
    }
    return msgspec.convert(raw, Job)


def node(
    name: str = "node-0",
    *,
    ready: bool = True,
    features: list[str] | None = None,
    runtime: str = "containerd://1.6.20",
    **spec: Any,
) -> Node:
    raw = {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True"}
                if ready
                else {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
            ],
            "declaredFeatures": features or [],
            "nodeInfo": {"containerRuntimeVersion": runtime},
        },
    }
    return msgspec.convert(raw, Node)


def event(uid: str, reason: str, message: str, seen: str = TIME) -> Event:
    """The Event of a controller about the object with this UID."""
    raw = {
        "metadata": {"name": f"{uid}.{reason}", "namespace": "ns", "creationTimestamp": TIME},
        "involvedObject": {"uid": uid},
        "reason": reason,
        "message": message,
        "lastTimestamp": seen,
    }
    return msgspec.convert(raw, Event)


def snapshot(
    of: JobSet | None = None,
    pods: list[Pod] | None = None,
    jobs: list[Job] | None = None,
    nodes: list[Node] | None = None,
) -> Snapshot:
    """A JobSet with all its Pods running, unless something else is given."""
    of = of or jobset()
    replicated_job = of.spec.replicated_jobs[0]
    if jobs is None:
        jobs = [job(of, index) for index in range(replicated_job.replicas)]
    if pods is None:
        template = replicated_job.template.spec
        spec = {"restartPolicy": template.template.spec.restart_policy}
        pods = [
            pod(index, job=number, spec=spec)
            for number in range(replicated_job.replicas)
            for index in range(template.parallelism or 1)
        ]
    by_name = {n.metadata.name: n for n in (nodes if nodes is not None else [node()])}
    return take(JobSetWorkload(of), jobs, pods, by_name, NOW, resource_version="7", context="test")


def on_two_nodes(of: JobSet | None = None, *nodes: Node, **fields: Any) -> Snapshot:
    """A JobSet whose two Pods are on a node each: node-0 and node-1."""
    pods = [pod(index, node=f"node-{index}", **fields) for index in (0, 1)]
    return snapshot(of or jobset(backoff_limit=6), pods, nodes=list(nodes) or [node("node-0"), node("node-1")])


def place(name: str = "node-0", *, ready: bool = True, labels: dict[str, str] | None = None, **spec: Any) -> Place:
    """A Node as the scheduler sees it."""
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": "5", "labels": labels or {}}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": {"conditions": conditions}}, Place)


def demanding(name: str = "train-workers-0-1", node: str = "node-1", **spec: Any) -> DemandingPod:
    """A Pod as the scheduler sees it."""
    annotations = spec.pop("annotations", {})
    meta = {"name": name, "namespace": "ns", "annotations": annotations}
    return msgspec.convert({"metadata": meta, "spec": {"nodeName": node, **spec}}, DemandingPod)


def around(*places: Place, pod: DemandingPod | None = None, **fields: Any) -> Evidence:
    """What is seen around node-1, which this Pod is to leave: these Nodes, or node-0, node-1 and node-2."""
    leaving = pod or demanding()
    there = places or tuple(place(f"node-{index}") for index in range(3))
    by_name = {each.metadata.name: each for each in there}
    return Evidence(surroundings=Surroundings(places=by_name, pods={leaving.metadata.name: leaving}, **fields))


def plain_job(
    *,
    pods: int = 2,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    restart_policy: str = "Never",
    **metadata: Any,
) -> ClaimedJob:
    """An Indexed Job "etl" that nothing stands above."""
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "etl-uid"}}
    raw = {
        "metadata": {
            "name": "etl",
            "namespace": "ns",
            "uid": "etl-uid",
            "resourceVersion": "7",
            "creationTimestamp": TIME,
            **metadata,
        },
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "completionMode": "Indexed",
            "selector": selector,
            "template": {"spec": {"restartPolicy": restart_policy, "containers": [container()]}},
            **(spec or {}),
        },
        "status": status or {},
    }
    return msgspec.convert(raw, ClaimedJob)


def job_pod(index: int, **fields: Any) -> Pod:
    """A Pod of the Job "etl"."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "etl", "uid": "etl-uid", "controller": True}
    return pod(index, **{"owners": [owner], "name": f"etl-{index}", **fields})


def job_snapshot(
    of: ClaimedJob | None = None, pods: list[Pod] | None = None, nodes: list[Node] | None = None
) -> Snapshot:
    """A Job with all its Pods running, unless something else is given."""
    of = of or plain_job()
    if pods is None:
        spec = {"restartPolicy": of.spec.template.spec.restart_policy}
        pods = [job_pod(index, spec=spec) for index in range(of.spec.parallelism or 1)]
    by_name = {n.metadata.name: n for n in (nodes if nodes is not None else [node()])}
    return take(JobWorkload(of), [], pods, by_name, NOW, resource_version="7", context="test")


def kueue_workload(uid: str = "jobset-uid", *, active: bool = True, **fields: Any) -> KueueWorkload:
    """Kueue's Workload for the object with this UID."""
    owner = {"kind": "JobSet", "name": "train", "uid": uid, "controller": True}
    meta = {"name": "jobset-train-12345", "namespace": "ns", "uid": "kueue-uid", "ownerReferences": [owner]}
    raw = {"metadata": {**meta, **fields.pop("metadata", {})}, "spec": {"active": active}, "status": fields}
    return msgspec.convert(raw, KueueWorkload)


WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/namespaces/ns/workloads"


def queued(of: Snapshot, **fields: Any) -> Snapshot:
    """The snapshot with what Kueue knows of the workload."""
    found = kueue_workload(of.workload.metadata.uid, **fields)
    return structs.replace(of, admission=Admission(f"{WORKLOADS}/{found.metadata.name}", found))


def jobset_of(snapshot: Snapshot) -> JobSet:
    """The JobSet of a snapshot that was made here."""
    assert snapshot.jobset is not None
    return snapshot.jobset


AGENT_RULES = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]
AGENT = container(
    "agent",
    restartPolicy="Always",
    restartPolicyRules=AGENT_RULES,
    env=[{"name": "JOBSET_NAME"}, {"name": "POD_NAME"}],
)
ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"


def native(
    *,
    max_restarts: int = 100,
    attempts: tuple[str, ...] = ("2", "2"),
    rules: Any = (),
    restarts: int = 2,
    current: int | None = 2,
    agent: Any = AGENT,
    annotations: dict[str, str] | None = None,
    done: tuple[int, ...] = (),
    **about_node: Any,
) -> Snapshot:
    """An InPlaceRestart JobSet with a Pod for each of `attempts`; the indexes in `done` have completed."""
    policy = {"maxRestarts": max_restarts, "restartStrategy": "InPlaceRestart"}
    of = jobset(
        failure_policy=policy,
        status={"currentInPlaceRestartAttempt": current},
        backoff_limit=2147483647,
        replacement="Failed",
        pods=len(attempts),
        annotations=annotations,
    )
    pods = [
        pod(
            index,
            phase="Succeeded" if index in done else "Running",
            ready=index not in done,
            annotations={ATTEMPT: value} if value else {},
            spec={"initContainers": [agent]},
            containers=[container(restartPolicyRules=rules)],
            statuses=[status(restarts=restarts)],
        )
        for index, value in enumerate(attempts)
    ]
    features = about_node.pop("features", ["RestartAllContainersOnContainerExits"])
    jobs = [job(of, status={"completedIndexes": ",".join(map(str, done))})]
    return snapshot(of, pods, jobs, nodes=[node(features=features, **about_node)])


def several(
    pods: dict[str, int],
    *,
    in_order: bool = False,
    depends: dict[str, list[tuple[str, str]]] | None = None,
    containers: list[dict[str, Any]] | None = None,
    nodes: list[Node] | None = None,
    complete: tuple[str, ...] = (),
    restart_policy: str = "Never",
) -> Snapshot:
    """A JobSet of several ReplicatedJobs with so many Pods each, all running. `depends` are their dependsOn, name and
    status; `complete` are those whose Job is complete and has no Pod left."""
    depends = depends or {}
    raw = [
        {
            "name": name,
            "replicas": 1,
            "dependsOn": [{"name": on, "status": status} for on, status in depends.get(name, ())],
            "template": {"spec": {"parallelism": number, "completions": number, "completionMode": "Indexed"}},
        }
        for name, number in pods.items()
    ]
    order = {"startupPolicy": {"startupPolicyOrder": "InOrder"}} if in_order else {}
    of = jobset(spec={"replicatedJobs": raw, **order})
    jobs = [
        msgspec.convert(
            {
                "metadata": {
                    "name": f"train-{name}-0",
                    "namespace": "ns",
                    "uid": job_uid_of(name),
                    "labels": {
                        "jobset.sigs.k8s.io/replicatedjob-name": name,
                        "jobset.sigs.k8s.io/job-index": "0",
                    },
                    "ownerReferences": [{**OWNER, "uid": "jobset-uid"}],
                },
                "spec": {"parallelism": number, "completions": number, "completionMode": "Indexed"},
                "status": {
                    "completedIndexes": f"0-{number - 1}" if name in complete else "",
                    "conditions": [{"type": "Complete", "status": "True"}] if name in complete else [],
                },
            },
            Job,
        )
        for name, number in pods.items()
    ]
    found = [
        pod(index, replicated_job=name, containers=containers, spec={"restartPolicy": restart_policy})
        for name, number in pods.items()
        for index in range(number)
        if name not in complete
    ]
    return snapshot(of, found, jobs, nodes)
