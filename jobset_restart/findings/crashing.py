"""JSR212: containers that have crashed before, and how long they are watched for that reason."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

from jobset_restart.findings import Case, Hit, count, finding, named
from jobset_restart.objects import ContainerStateTerminated, ContainerStatus, Pod, seconds
from jobset_restart.rules import CRASH_LOOP_RESET
from jobset_restart.snapshot import SlotState
from jobset_restart.triggers import mark_of, status_of

LEAST_SECONDS = 10.0
MOST_SECONDS = 60.0
LONGER_BY = 5.0
STOPPED = frozenset({128 + SIGINT, 128 + SIGKILL, 128 + SIGTERM})
"""Exit codes of a container that was stopped, by a restart for one; a KILL for want of memory has a reason of its
own."""


def crash_of(pod: Pod, status: ContainerStatus, now: float) -> ContainerStateTerminated | None:
    """The crash that the container has not yet outlived, None where it has not crashed in the last 10 minutes, after
    which the kubelet forgets it too. `now` is in seconds since the epoch. Its own restart is no crash: the mark on the
    Pod tells the restartCount before it."""
    ended = status.state.terminated or status.last_state.terminated
    if ended is None:
        return None
    if status.state.waiting is not None and status.state.waiting.reason == "CrashLoopBackOff":
        return ended
    ours = mark_of(pod)[1].get(status.name, -2) + 1 == status.restart_count
    stopped = ended.exit_code == 0 or (ended.exit_code in STOPPED and ended.reason != "OOMKilled")
    old = now - seconds(ended.finished_at) > CRASH_LOOP_RESET
    return None if stopped or old or (ours and status.state.terminated is None) else ended


def crashed(case: Case) -> list[tuple[SlotState, str, float]]:
    """The containers of the case that have crashed, and how many seconds each had lived."""
    found = []
    for state, pod, container in case.targets():
        status = status_of(pod, container.name)
        ended = crash_of(pod, status, case.snapshot.time) if status else None
        if ended is not None:
            found.append((state, container.name, max(0.0, seconds(ended.finished_at) - seconds(ended.started_at))))
    return found


def min_ready_seconds(case: Case) -> float:
    """How long a slot must stay Ready to count where --min-ready-seconds does not say: 0, and where a container has
    crashed, somewhat longer than it had lived, within bounds."""
    longest = max((lived for _, _, lived in crashed(case)), default=None)
    return 0.0 if longest is None else min(MOST_SECONDS, max(LEAST_SECONDS, longest + LONGER_BY))


@finding(
    "JSR212",
    "note",
    "containers have crashed before",
    source="status.containerStatuses[].lastState; kubelet, doBackOff",
    todo="see why with `kubectl logs --previous`; --min-ready-seconds says how long a slot must stay Ready, 0 for not",
)
def have_crashed(case: Case) -> Hit | None:
    """A container that crashes at its work is started anew by a restart as well, is Ready for a while, and crashes
    again. So where one has crashed in the last 10 minutes, a slot counts as back only when it has stayed Ready for 5 s
    longer than that container had lived, at least 10 s and at most 60 s. --min-ready-seconds overrides that.

    A container that was stopped (exit code 130, 137 or 143) or that ended with 0 has not crashed, one killed for want
    of memory (OOMKilled) has."""
    found = crashed(case)
    if not found:
        return None
    state, name, lived = max(found, key=lambda each: each[2])
    summary = f"{count(len(found), 'container')}, {name} of {state.slot} after {lived:.0f} s"
    wait = f"a slot has to stay Ready for {min_ready_seconds(case):.0f} s to count"
    return Hit(named(_states(found)), f"{summary}: {wait}")


def _states(found: list[tuple[SlotState, str, float]]) -> list[SlotState]:
    return [*{state.slot: state for state, _, _ in found}.values()]
