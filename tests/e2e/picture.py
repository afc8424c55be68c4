"""Frozen pictures of a JobSet, its Jobs and its Pods, and what may differ between two of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
JOB_INDEX = "jobset.sigs.k8s.io/job-index"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"
OPERATION = "jobset-restart.io/operation"


@dataclass(frozen=True)
class Container:
    """One container as the kubelet tells of it. `image` is the reference in the Pod's spec."""

    id: str
    restarts: int
    started: str
    image: str


@dataclass(frozen=True)
class Pod:
    """One Pod; `containers` by name, sidecars included; `attempt` the in-place attempt its agent wrote."""

    name: str
    uid: str
    ip: str
    node: str
    phase: str
    ready: bool
    attempt: str
    containers: dict[str, Container]


@dataclass(frozen=True)
class Job:
    uid: str
    failed: int
    conditions: frozenset[str]


@dataclass(frozen=True)
class JobSet:
    uid: str
    restarts: int
    towards_max: int
    suspended: bool
    previous_attempt: int | None
    current_attempt: int | None
    conditions: frozenset[str]


@dataclass(frozen=True)
class Picture:
    """`pods` by slot ("workers/0/1"), `jobs` by name; `versions` the resourceVersion of every object."""

    jobset: JobSet
    jobs: dict[str, Job]
    pods: dict[str, Pod]
    versions: dict[str, str]


def take(jobset: Object, jobs: Iterable[Object], pods: Iterable[Object]) -> Picture:
    """The picture of these objects. Of two Pods in one slot, the one that is not being deleted counts."""
    jobs, pods = list(jobs), list(pods)
    staying = sorted(pods, key=lambda pod: "deletionTimestamp" not in pod["metadata"])
    return Picture(
        jobset=_jobset(jobset),
        jobs={job["metadata"]["name"]: _job(job) for job in jobs},
        pods={slot_of(pod): pod_of(pod) for pod in staying},
        versions={f"{o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in (jobset, *jobs, *pods)},
    )


def slot_of(pod: Object) -> str:
    labels = pod["metadata"]["labels"]
    return "/".join(labels[key] for key in (REPLICATED_JOB, JOB_INDEX, COMPLETION_INDEX))


def ready(pod: Object) -> bool:
    """The Pod's own condition Ready; a Pod on its way out is not."""
    return "deletionTimestamp" not in pod["metadata"] and "Ready" in conditions(pod)


def usable(nodes: Mapping[str, Object]) -> set[str]:
    """The names of the nodes that are Ready and take Pods."""
    return {
        name
        for name, node in nodes.items()
        if "Ready" in conditions(node) and not node["spec"].get("taints") and not node["spec"].get("unschedulable")
    }


def attempts(jobset: Object) -> tuple[int | None, int | None]:
    """The previous and the current in-place restart attempt of a JobSet."""
    status = jobset.get("status", {})
    return status.get("previousInPlaceRestartAttempt"), status.get("currentInPlaceRestartAttempt")


def conditions(thing: Object) -> frozenset[str]:
    """The conditions that are True."""
    return frozenset(c["type"] for c in thing.get("status", {}).get("conditions", ()) if c["status"] == "True")


def _jobset(jobset: Object) -> JobSet:
    status = jobset.get("status", {})
    previous, current = attempts(jobset)
    return JobSet(
        uid=jobset["metadata"]["uid"],
        restarts=status.get("restarts", 0),
        towards_max=status.get("restartsCountTowardsMax", 0),
        suspended=jobset["spec"].get("suspend", False),
        previous_attempt=previous,
        current_attempt=current,
        conditions=conditions(jobset),
    )


def _job(job: Object) -> Job:
    return Job(job["metadata"]["uid"], job.get("status", {}).get("failed", 0), conditions(job))


def pod_of(pod: Object) -> Pod:
    status, spec, meta = pod.get("status", {}), pod["spec"], pod["metadata"]
    images = {c["name"]: c["image"] for c in (*spec.get("initContainers", ()), *spec["containers"])}
    statuses = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        ready=ready(pod),
        attempt=meta.get("annotations", {}).get(ATTEMPT, ""),
        containers={s["name"]: _container(s, images[s["name"]]) for s in statuses},
    )


def _container(status: Object, image: str) -> Container:
    running = status.get("state", {}).get("running") or {}
    return Container(status.get("containerID", ""), status["restartCount"], running.get("startedAt", ""), image)


# ---------------------------------------------------------------- what may differ


def assert_same_jobset(before: Picture, after: Picture) -> None:
    """Nothing the JobSet or its Jobs count has moved, and they are the same objects in the same state."""
    assert after.jobset == before.jobset
    assert after.jobs == before.jobs


def assert_untouched(before: Picture, after: Picture, slots: Collection[str] | None = None) -> None:
    """The Pods of these slots (all without) are exactly what they were."""
    for slot in before.pods if slots is None else slots:
        assert after.pods[slot] == before.pods[slot], slot


def assert_restarted_in_place(
    before: Picture,
    after: Picture,
    *,
    slots: Collection[str] | None = None,
    containers: Collection[str] | None = None,
    rounds: int = 1,
    at_least: int | None = None,
) -> None:
    """Same Pod, IP and node; each container meant is another one, started once a round, or from `at_least` times up to
    that; all else is untouched."""
    assert after.pods.keys() == before.pods.keys()
    meant = before.pods.keys() if slots is None else slots
    least = rounds if at_least is None else at_least
    for slot, old in before.pods.items():
        new = after.pods[slot]
        assert (new.uid, new.ip, new.node) == (old.uid, old.ip, old.node), slot
        assert new.ready, slot
        assert new.phase == "Running", slot
        for name, container in old.containers.items():
            now = new.containers[name]
            if slot in meant and (containers is None or name in containers):
                assert now.id != container.id, (slot, name)
                assert now.id, (slot, name)
                assert container.restarts + least <= now.restarts <= container.restarts + rounds, (slot, name)
                assert now.started >= container.started, (slot, name)
            else:
                assert now == container, (slot, name)


def rounds_between(before: Picture, after: Picture) -> int:
    """How many rounds of a native restart there were."""
    return (after.jobset.current_attempt or 0) - (before.jobset.current_attempt or 0)


def assert_recreated(before: Picture, after: Picture, *, same_jobs: bool, slots: Collection[str] | None = None) -> None:
    """Other Pods in these slots (all without), Ready and never restarted; nothing the JobSet counts has moved."""
    assert after.pods.keys() == before.pods.keys()
    meant = before.pods.keys() if slots is None else slots
    for slot, old in before.pods.items():
        new = after.pods[slot]
        assert new.ready, slot
        if slot in meant:
            assert new.uid != old.uid, slot
            assert all(container.restarts == 0 for container in new.containers.values()), slot
        else:
            assert new == old, slot
    assert_nothing_counted(before, after)
    for name, job in before.jobs.items():
        assert (after.jobs[name].uid == job.uid) == same_jobs, name


def assert_nothing_counted(before: Picture, after: Picture) -> None:
    """The same JobSet, not suspended, with the restarts it had; no Job has counted a failure or has failed."""
    assert after.jobset.uid == before.jobset.uid
    assert not after.jobset.suspended
    assert (after.jobset.restarts, after.jobset.towards_max) == (before.jobset.restarts, before.jobset.towards_max)
    assert not after.jobset.conditions & {"Failed", "Completed", "Suspended"}
    for name, job in after.jobs.items():
        assert job.failed == (before.jobs[name].failed if name in before.jobs else 0), name
        assert not job.conditions & {"Failed", "FailureTarget", "Suspended"}, name


def assert_nothing_changed(before: Picture, after: Picture) -> None:
    """Not one object has been written."""
    assert after.versions == before.versions
    assert after == before
