"""What the Pods of a workload show of how long it took when they last started. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jobset_restart.objects import Pod, seconds
from jobset_restart.pods import condition

APART = 60.0
"""Seconds without a new Pod, after which the next one belongs to something else that happened."""
ODD = 5.0
"""A Pod that took so many times the median was not starting all that while: its node was away, or it was unready."""
ODD_SECONDS = 60.0


def start_to_ready(pods: Iterable[Pod]) -> list[float]:
    """Seconds from the last start of a container to Ready, for each Pod that became Ready after it; sorted. The API
    tells both to the second."""
    return _usual(sorted(took for pod in pods if (took := _start_to_ready(pod)) is not None))


def _start_to_ready(pod: Pod) -> float | None:
    ready = condition(pod.status.conditions, "Ready")
    started = [seconds(s.state.running.started_at) for s in pod.status.container_statuses if s.state.running]
    if ready is None or not started or len(started) < len(pod.status.container_statuses):
        return None
    took = seconds(ready.last_transition_time) - max(started)
    return took if took >= 0 else None


class Making(Struct, frozen=True):
    """The last time that most of the Pods were made together: how many they were, the seconds from the first that was
    made to the last that was Ready, and what half of them took at most, each alone."""

    pods: int
    took: float
    alone: float


def made_and_ready(pods: Iterable[Pod]) -> Making | None:
    """The last time that most of these Pods were made. None where they were not made together, or it cannot be
    told."""
    born = sorted(each for pod in pods if (each := _born(pod)) is not None)
    alone = _usual(sorted(ready - made for made, ready in born))
    usual = set(alone)
    together = _largest([each for each in born if each[1] - each[0] in usual])
    if not together or len(together) < len(born) / 2:
        return None
    took = max(ready for _, ready in together) - together[0][0]
    return Making(len(together), took, alone[len(alone) // 2])


def _born(pod: Pod) -> tuple[float, float] | None:
    """When the Pod was made and when it became Ready, None where a container has been restarted since."""
    ready, made = condition(pod.status.conditions, "Ready"), seconds(pod.metadata.creation_timestamp)
    again = any(status.restart_count for status in pod.status.container_statuses)
    if ready is None or not made or again or not ready.last_transition_time:
        return None
    return (made, at) if (at := seconds(ready.last_transition_time)) >= made else None


def _largest(born: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The most that came without a pause between them."""
    best: list[tuple[float, float]] = []
    current: list[tuple[float, float]] = []
    for each in born:
        if current and each[0] - current[-1][0] > APART:
            best, current = max(best, current, key=len), []
        current.append(each)
    return max(best, current, key=len)


def _usual(took: list[float]) -> list[float]:
    """Without those that took many times longer than the median."""
    if not took:
        return took
    most = max(ODD_SECONDS, took[len(took) // 2] * ODD)
    return [each for each in took if each <= most]
