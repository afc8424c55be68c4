"""What a Pod, its containers and its Node say of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from jobset_restart.objects import Condition, Container, ContainerStatus, Node, Pod, PodSpec, Time, number, seconds


class Identity(Struct, frozen=True):
    """What a restart is judged by, frozen before anything is touched: the Pod's UID and per container the
    containerID and restartCount. A container without an entry is not there yet: whatever comes is new."""

    uid: str
    containers: dict[str, tuple[str, int]]


def condition(conditions: Iterable[Condition], kind: str, status: str = "True") -> Condition | None:
    """The condition of this type where it has this status, else None."""
    return next((c for c in conditions if c.type == kind and c.status == status), None)


def ready_condition(conditions: Iterable[Condition]) -> Condition | None:
    """The condition Ready, whatever its status."""
    return next((c for c in conditions if c.type == "Ready"), None)


def pod_ready(pod: Pod) -> bool:
    """The Pod's Ready condition. A Pod on a dead node keeps containers `ready: true`; only this turns False."""
    return not pod.metadata.deletion_timestamp and condition(pod.status.conditions, "Ready") is not None


def node_ready(node: Node) -> bool:
    return condition(node.status.conditions, "Ready") is not None


def identity(pod: Pod) -> Identity:
    """The Pod's identity now; see `Identity`. A container that is still to come has no ID yet, and its restartCount may
    be the one it will have: it is told as never started, and counts as new once it is there."""
    containers = {s.name: (s.container_id, s.restart_count) for s in statuses(pod) if s.container_id}
    return Identity(pod.metadata.uid, containers)


def statuses(pod: Pod) -> Iterator[ContainerStatus]:
    yield from pod.status.init_container_statuses
    yield from pod.status.container_statuses


def sidecars(spec: PodSpec) -> list[Container]:
    """Init containers that run all along: restartPolicy Always (KEP-753)."""
    return [c for c in spec.init_containers if c.restart_policy == "Always"]


def agent(spec: PodSpec) -> Container | None:
    """The in-place restart agent among the containers, known by the environment it demands (JobSet,
    cmd/in-place-restart-agent: JOBSET_NAME and POD_NAME must be set)."""
    wanted = {"JOBSET_NAME", "POD_NAME"}
    for container in (*sidecars(spec), *spec.containers):
        if wanted <= {variable.name for variable in container.env}:
            return container
    return None


def attempt(pod: Pod) -> int | None:
    """The in-place restart attempt the agent wrote on its Pod, None before its first word."""
    return number(pod.metadata.annotations.in_place_restart_attempt)


def age(timestamp: Time, now: float) -> float | None:
    """Seconds since an API timestamp, None where there is none."""
    return max(0.0, now - seconds(timestamp)) if timestamp else None


def why(status: ContainerStatus) -> str:
    """The kubelet's reason for a container that is not running."""
    if status.state.waiting:
        return status.state.waiting.reason
    if status.state.terminated:
        ended = status.state.terminated
        return f"{ended.reason or 'Terminated'} (exit {ended.exit_code})"
    return ""


def waits_for(pod: Pod, containers: Iterable[ContainerStatus]) -> str:
    """What a Pod that is not Ready waits for: a container's reason, else the condition that is not met."""
    for status in containers:
        if status.state.running is None and (reason := why(status)):
            return reason
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        unmet = condition(pod.status.conditions, kind, "False")
        if unmet:
            return unmet.reason or f"not {kind}"
    return pod.status.phase
