"""Slots in, actions out: the ways to cause a restart. Pure.

In place: `native` here, `image` and `signal` in modules of their own. Recreate: `suspend`, `jobs`, `pods`.
`release` frees the slots that a dead machine holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Literal

from jobset_restart.objects import Container, ContainerStatus, Job, JobSet, Pod
from jobset_restart.places import ended
from jobset_restart.rules import ended_for_good
from jobset_restart.snapshot import OPERATION, SlotState, statuses
from jobset_restart.writes import Write, job_path, jobset_path, pod_path

Trigger = Literal["native", "image", "signal", "suspend", "jobs", "pods"]
IN_PLACE: tuple[Trigger, ...] = ("native", "image", "signal")
RECREATE: tuple[Trigger, ...] = ("suspend", "jobs", "pods")
TRIGGERS: tuple[Trigger, ...] = (*IN_PLACE, *RECREATE)


def containers_in_scope(pod: Pod, names: Sequence[str]) -> list[Container]:
    """The containers an in-place restart means: those named (sidecars may be), else every main container."""
    if not names:
        return pod.spec.containers
    return [c for c in (*pod.spec.init_containers, *pod.spec.containers) if c.name in names]


def status_of(pod: Pod, container: str) -> ContainerStatus | None:
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.name == container:
            return status
    return None


def keep_unready(pod: Pod, containers: Sequence[str]) -> tuple[str, ...]:
    """The main containers besides those named that have ended for good: while they are so, the Pod's condition Ready
    cannot turn True (kubelet, GenerateContainersReadyCondition). None where all main containers are meant."""
    if not containers:
        return ()
    others = ((c, status_of(pod, c.name)) for c in pod.spec.containers if c.name not in containers)
    return tuple(c.name for c, status in others if status and ended_for_good(status, c, pod.spec))


def ready_as_far_as_it_can_be(pod: Pod, containers: Sequence[str]) -> bool:
    """Whether the containers named are ready in a Pod that another container keeps from being Ready."""
    found = [status_of(pod, name) for name in containers]
    return bool(keep_unready(pod, containers)) and all(status is not None and status.ready for status in found)


def marked(operation: str, pod: Pod) -> dict[str, str]:
    """The annotation that ties a Pod to an operation, with the restartCounts before it, so that another client
    can tell what is done and what is not."""
    before = {s.name: s.restart_count for s in statuses(pod)}
    return {OPERATION: json.dumps({"id": operation, "before": before}, separators=(",", ":"))}


def mark_of(pod: Pod) -> tuple[str, dict[str, int]]:
    """The operation id and restartCounts that `marked` left on the Pod, ("", {}) where there are none."""
    try:
        mark = json.loads(pod.metadata.annotations.operation or "{}")
        return str(mark.get("id", "")), {str(k): int(v) for k, v in mark.get("before", {}).items()}
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return "", {}


def next_attempt(jobset: JobSet) -> int:
    """The in-place attempt that comes after the current one."""
    return (jobset.status.current_in_place_restart_attempt or 0) + 1


def native(jobset: JobSet) -> Write:
    """The one write that restarts a whole InPlaceRestart JobSet: it declares the current attempt outdated.

    Every agent whose attempt is not above status.previousInPlaceRestartAttempt exits and comes back with the next one
    (JobSet, cmd/in-place-restart-agent Reconcile). The controller writes the same field when it sees attempts that
    differ; to make one Pod's attempt differ instead is a race: if that Pod's agent is the last to come back, the
    barrier has been lifted without it and everybody restarts once more."""
    return Write(
        verb="patch",
        path=f"{jobset_path(jobset.metadata.namespace, jobset.metadata.name)}/status",
        body={"status": {"previousInPlaceRestartAttempt": next_attempt(jobset) - 1}},
        uid=jobset.metadata.uid,
    )


def suspend(jobset: JobSet, suspended: bool) -> Write:
    """Sets spec.suspend. Whoever sends it adds the record of the operation to the same write, so that a JobSet is
    never suspended without the word of who did it."""
    return Write(
        verb="patch",
        path=jobset_path(jobset.metadata.namespace, jobset.metadata.name),
        body={"spec": {"suspend": suspended}},
        uid=jobset.metadata.uid,
    )


def jobs(children: Iterable[Job]) -> list[Write]:
    """DELETE of child Jobs in the foreground: their Pods go first, then the JobSet controller makes new Jobs."""
    return [
        Write(
            verb="delete",
            path=job_path(job.metadata.namespace, job.metadata.name),
            body={"propagationPolicy": "Foreground"},
            uid=job.metadata.uid,
        )
        for job in children
    ]


def pods(states: Iterable[SlotState]) -> list[Write]:
    """DELETE of Pods with their own grace period: the Job makes new ones and counts each as a failure. What is over
    already is left to the Job, which replaces it anyway."""
    return [_delete(s.pod, str(s.slot)) for s in states if s.pod is not None and not ended(s.pod)]


def release(states: Iterable[SlotState]) -> list[Write]:
    """Frees slots held by Pods on machines that are off: status.phase Failed lets the Job's finalizer go, the deletion
    without grace does not wait for a kubelet. Right only when the machine is really off."""
    status = {"phase": "Failed", "reason": "NodeDown", "message": "declared to be on a machine that is off"}
    writes = []
    for state in states:
        slot = str(state.slot)
        for pod in filter(None, (state.pod, *state.leftovers)):
            path = f"{pod_path(pod.metadata.namespace, pod.metadata.name)}/status"
            writes.append(Write(verb="patch", path=path, body={"status": status}, uid=pod.metadata.uid, slot=slot))
            writes.append(_delete(pod, slot, grace=0))
    return writes


def _delete(pod: Pod, slot: str, grace: int | None = None) -> Write:
    body = {} if grace is None else {"gracePeriodSeconds": grace}
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    return Write(verb="delete", path=path, body=body, uid=pod.metadata.uid, slot=slot)
