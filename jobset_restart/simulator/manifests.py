"""What a cluster begins with: manifests from files, or a small JobSet of its own, and nodes enough for them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from jobset_restart.simulator.errors import SimulatorError
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.world import World

LEAST_NODES = 2
MOST_NODES = 20_000
HOSTNAME = "kubernetes.io/hostname"
_SERVERS_OWN = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
)
"""Of metadata: what `kubectl get -o yaml` prints of an object that lives on another cluster, its owner included."""


def read(name: str) -> list[Obj]:
    """The objects of a file, "-" for standard input; several documents and v1 Lists are opened. Raises
    SimulatorError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise SimulatorError(f"{name} cannot be read: {error.strerror}", exit_code=2) from None
    except UnicodeDecodeError:
        raise SimulatorError(f"{name} is no text in UTF-8", exit_code=2) from None
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SimulatorError(f"{name} is no YAML: {' '.join(str(error).split())}", exit_code=2) from None
    found = list(_opened(documents, name))
    if not found:
        raise SimulatorError(f"{name} holds no object", exit_code=2)
    return found


def _opened(documents: Iterable[Any], name: str) -> Iterable[Obj]:
    for document in documents:
        if document is None:
            continue
        fields = document if isinstance(document, dict) else {}
        if isinstance(fields.get("items"), list) and str(fields.get("kind", "")).endswith("List"):
            yield from _opened(fields["items"], name)
            continue
        meta = fields.get("metadata")
        typed = all(isinstance(fields.get(each), str) for each in ("apiVersion", "kind"))
        if not typed or not isinstance(meta, dict) or not isinstance(meta.get("name", meta.get("generateName")), str):
            why = "each document needs apiVersion, kind and metadata.name"
            raise SimulatorError(f"{name} holds something that is no Kubernetes object: {why}", exit_code=2)
        meta = {field: value for field, value in meta.items() if field not in _SERVERS_OWN}
        yield {field: value for field, value in fields.items() if field != "status"} | {"metadata": meta}


def load(world: World, objects: Sequence[Obj]) -> None:
    """Creates the objects, with the namespaces and service accounts they take for granted. Raises SimulatorError for
    what the cluster refuses or cannot model, Pods that would only be refused later included."""
    namespaces = [each for each in objects if each["kind"] == "Namespace"]
    others = [each for each in objects if each["kind"] != "Namespace"]
    for each in (*namespaces, *_missing_namespaces(others, namespaces)):
        if world.store.find("namespaces", "", each["metadata"]["name"]) is None:
            _create(world, each)
    others = sorted(others, key=lambda each: each["kind"] == "JobSet")
    for each in others:
        if is_workload(each):
            _create_accounts(world, each)
        _create(world, each)
    for jobset in filter(is_workload, others):
        _check_children(world, jobset)


def _missing_namespaces(objects: Iterable[Obj], known: Iterable[Obj]) -> list[Obj]:
    names = dict.fromkeys(each["metadata"].get("namespace") or "default" for each in objects)
    for each in known:
        names.pop(each["metadata"]["name"], None)
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def _create_accounts(world: World, jobset: Obj) -> None:
    """The service accounts its Pods run as: on a real cluster somebody made them before."""
    namespace = jobset["metadata"].get("namespace") or "default"
    for spec in _pod_specs(jobset):
        name = spec.get("serviceAccountName") or "default"
        if isinstance(name, str) and world.store.find("serviceaccounts", namespace, name) is None:
            meta = {"name": name, "namespace": namespace}
            _create(world, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})


def _create(world: World, obj: Obj) -> None:
    what = f"{obj['kind']} {obj['metadata'].get('name') or obj['metadata'].get('generateName')}"
    try:
        world.load([copy.deepcopy(obj)])
    except StoreError as error:
        raise SimulatorError(f"{what} is refused: {error.message}", exit_code=2) from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = f"a field is missing or of another type ({type(error).__name__}: {error})"
        raise SimulatorError(f"{what} cannot be read: {why}", exit_code=2) from None


def _check_children(world: World, jobset: Obj) -> None:
    """Asks admission about a Job and a Pod of each template now: a controller could only write an Event about it."""
    namespace = jobset["metadata"].get("namespace") or "default"
    for job, template in _templates(jobset):
        for resource, child in (("jobs", job.get("template") or {}), ("pods", template)):
            meta = {**(child.get("metadata") or {}), "generateName": "sample-", "namespace": namespace}
            sample = copy.deepcopy({"metadata": meta, "spec": child.get("spec") or {}})
            try:
                world.store.create(resource, sample, world.now, dry_run=True)
            except StoreError as error:
                part = f", ReplicatedJob {job['name']}" if "name" in job else ""
                what = f"{jobset['kind']} {jobset['metadata'].get('name')}{part}"
                raise SimulatorError(f"{what}: its {resource} are refused: {error.message}", exit_code=2) from None


# Nodes


def add_nodes(world: World, objects: Iterable[Obj], number: int | None) -> None:
    """Adds nodes: as many as asked for, or one for each Pod of the JobSets and Jobs, as training jobs have it.

    A ReplicatedJob with a nodeSelector gets nodes of its own with these labels.
    """
    groups: dict[tuple[tuple[str, str], ...], int] = {}
    for jobset in filter(is_workload, objects):
        for job, template in _templates(jobset):
            selector = (template.get("spec") or {}).get("nodeSelector") or {}
            labels = tuple(sorted((key, str(value)) for key, value in selector.items() if key != HOSTNAME))
            groups[labels] = groups.get(labels, 0) + _pods(job)
    needed = sum(groups.values())
    if number is None and needed > MOST_NODES:
        raise SimulatorError(f"{needed:,} Pods are more than the {MOST_NODES:,} the embedded cluster takes", "", 2)
    wanted = max(LEAST_NODES, needed) if number is None else number
    for labels, share in _shares(groups or {(): 1}, wanted):
        world.add_nodes(share, labels=dict(labels))


def _shares(
    groups: dict[tuple[tuple[str, str], ...], int], nodes: int
) -> Iterable[tuple[tuple[tuple[str, str], ...], int]]:
    """Divides nodes among groups in proportion to their Pods, at least one each; the largest takes what is left."""
    total, left = sum(groups.values()) or 1, nodes
    ordered = sorted(groups.items(), key=lambda group: group[1])
    for labels, pods in ordered[:-1]:
        share = min(left, max(1, nodes * pods // total))
        left -= share
        yield labels, share
    yield ordered[-1][0], left


def is_workload(obj: Obj) -> bool:
    """Whether it has Pods made, with Jobs between or without."""
    return obj["kind"] == "JobSet" or (obj["kind"], obj["apiVersion"]) == ("Job", "batch/v1")


def _templates(jobset: Obj) -> Iterable[tuple[Obj, Obj]]:
    """Each ReplicatedJob with its Pod template, a Job as one; both may be anything if it was not admitted yet."""
    if jobset["kind"] == "Job":
        yield {"template": {"spec": jobset.get("spec")}}, _dict(_dict(jobset.get("spec")).get("template"))
        return
    for job in _list(_dict(jobset.get("spec")).get("replicatedJobs")):
        yield _dict(job), _dict(_dict(_dict(_dict(job).get("template")).get("spec")).get("template"))


def _pod_specs(jobset: Obj) -> Iterable[Obj]:
    return (_dict(template.get("spec")) for _, template in _templates(jobset))


def pods_of(obj: Obj) -> int:
    """How many Pods a JobSet or Job has; 0 for anything else."""
    return sum(_pods(job) for job, _ in _templates(obj)) if is_workload(obj) else 0


def _pods(job: Obj) -> int:
    spec = _dict(_dict(job.get("template")).get("spec"))
    parallelism, completions = spec.get("parallelism", 1), spec.get("completions")
    each = min(parallelism, completions) if isinstance(completions, int) else parallelism
    return int(job.get("replicas", 1)) * int(each)


def _dict(value: Any) -> Obj:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# The JobSet that is there when none is named


def demo(workers: int) -> list[Obj]:
    """A JobSet `demo` that can restart in place: a driver and `workers`, each with the agent beside it."""
    jobs = [_demo_job("driver", 1), _demo_job("workers", workers)]
    policy = {"maxRestarts": 100, "restartStrategy": "InPlaceRestart"}
    jobset: Obj = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "demo"}}
    return [jobset | {"spec": {"failurePolicy": policy, "replicatedJobs": jobs}}]


def _demo_job(name: str, pods: int) -> Obj:
    restart_all = {"action": "RestartAllContainers"}
    fields = {"JOBSET_NAME": "metadata.annotations['jobset.sigs.k8s.io/jobset-name']", "POD_NAME": "metadata.name"}
    agent = {
        "name": "agent",
        "image": "docker.io/library/in-place-restart-agent:main",
        "restartPolicy": "Always",
        "restartPolicyRules": [{**restart_all, "exitCodes": {"operator": "In", "values": [1]}}],
        "env": [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()],
        "startupProbe": {
            "httpGet": {"path": "/barrier-is-down", "port": 8081},
            "failureThreshold": 600,
            "periodSeconds": 1,
        },
    }
    worker = {
        "name": "worker",
        "image": "docker.io/library/busybox:1.36",
        "command": ["sh", "-c", "trap 'exit 143' TERM; while :; do date; sleep 1 & wait $!; done"],
        "restartPolicy": "Never",
        "restartPolicyRules": [{**restart_all, "exitCodes": {"operator": "NotIn", "values": [0]}}],
    }
    pod = {"restartPolicy": "Never", "initContainers": [agent], "containers": [worker]}
    job = {
        "parallelism": pods,
        "completions": pods,
        "completionMode": "Indexed",
        "backoffLimit": 2**31 - 1,
        "podReplacementPolicy": "Failed",
        "template": {"spec": pod},
    }
    return {"name": name, "replicas": 1, "template": {"spec": job}}
