"""The containers of a Pod that a restart means, and how they are told from those before it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jobset_restart.objects import Container, ContainerStatus, Pod
from jobset_restart.pods import Identity, statuses
from jobset_restart.rules import ended_for_good
from jobset_restart.snapshot import OPERATION


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


def fresh(status: ContainerStatus, before: Identity) -> bool:
    """Whether this container was started anew. The kubelet empties containerID while a new one is being made and
    raises restartCount at once, so the ID has to be there and differ. Where only the count is known, that must have
    risen."""
    container_id, restarts = before.containers.get(status.name, ("", -1))
    known = bool(container_id) or status.restart_count > restarts
    return bool(status.container_id) and status.container_id != container_id and known


def marked(operation: str, pod: Pod) -> dict[str, str]:
    """The annotation that ties a Pod to an operation, with the restartCounts before it, so that another client
    can tell what is done and what is not."""
    before = {s.name: s.restart_count for s in statuses(pod)}
    return {OPERATION: json.dumps({"id": operation, "before": before}, separators=(",", ":"))}


def awaits_its_end(pod: Pod, container: str) -> bool:
    """Whether an operation changed the image of the container, and what ran then runs still: the kubelet has told it to
    end, and will start it anew whatever its exit code (kubelet, computePodActions)."""
    operation, before = mark_of(pod)
    image = next((c.image for c in (*pod.spec.containers, *pod.spec.init_containers) if c.name == container), "")
    status = status_of(pod, container)
    if status is None or status.state.running is None or container not in before:
        return False
    name, _, digest = image.partition("@")
    changed = f"jsr-{operation}" in image or (bool(digest) and ":" not in name.rpartition("/")[2])
    return changed and status.restart_count <= before[container]


def mark_of(pod: Pod) -> tuple[str, dict[str, int]]:
    """The operation id and restartCounts that `marked` left on the Pod, ("", {}) where there are none."""
    try:
        mark = json.loads(pod.metadata.annotations.operation or "{}")
        return str(mark.get("id", "")), {str(k): int(v) for k, v in mark.get("before", {}).items()}
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return "", {}
