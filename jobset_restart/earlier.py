"""What the Pods in a slot tell of an operation that began before: which of them, and which of their containers, have
come since. Pure.

The API's times are whole seconds: what began in the operation's first second counts as begun by it.
"""

from __future__ import annotations

from msgspec import Struct

from jobset_restart.containers import containers_in_scope, fresh
from jobset_restart.objects import ContainerStatus, Pod, seconds
from jobset_restart.places import ended
from jobset_restart.pods import Identity, statuses
from jobset_restart.workloads.workload import SlotState


class Earlier(Struct, frozen=True, kw_only=True):
    """An operation that another client, or this one before, began: `began` is when, in seconds since the epoch,
    `attempt` the in-place attempt it leads to (0: to none), `containers` the names it means, empty for all main
    ones."""

    id: str
    began: float
    attempt: int = 0
    containers: tuple[str, ...] = ()


def living(state: SlotState) -> list[Pod]:
    """The slot's Pods that are not over."""
    return [pod for pod in (state.pod, *state.leftovers) if pod is not None and not ended(pod)]


def came_since(pod: Pod, earlier: Earlier) -> bool:
    """Whether the Pod was created since the operation began."""
    return seconds(pod.metadata.creation_timestamp) >= int(earlier.began)


def replaced(state: SlotState, earlier: Earlier) -> bool:
    """Whether the slot's Pods are gone, or a new one has come."""
    pods = living(state)
    return not pods or any(came_since(pod, earlier) for pod in pods)


def identity_before(pod: Pod, since: float) -> Identity:
    """The Pod as it was at this time, in seconds since the epoch, as far as it tells: a container that began later
    has come anew, whatever was there before."""
    return Identity(pod.metadata.uid, {s.name: _before(s, since) for s in statuses(pod) if s.container_id})


def _before(status: ContainerStatus, since: float) -> tuple[str, int]:
    """The container that has to go: this one, unless it began since."""
    began = status.state.running or status.state.terminated
    if began is not None and seconds(began.started_at) >= since:
        return "", status.restart_count - 1
    return status.container_id, status.restart_count


def renewed(pod: Pod, before: Identity, containers: tuple[str, ...]) -> bool:
    """Whether every container meant was started anew."""
    current = {status.name: status for status in statuses(pod)}
    meant = (current.get(container.name) for container in containers_in_scope(pod, containers))
    return all(status is not None and fresh(status, before) for status in meant)
