"""JSR212: containers that have crashed before, and how long they are watched for that reason."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.findings.words import count, named
from jobset_restart.waits import crashed, min_ready_seconds
from jobset_restart.workloads.workload import SlotState


@finding(
    "JSR212",
    "note",
    "containers have crashed before",
    source="status.containerStatuses[].lastState; kubelet, doBackOff",
    todo="see why with `kubectl logs --previous`; --min-ready-seconds says how long a slot must stay Ready, 0 for not",
)
def have_crashed(case: Case) -> Occurrence | None:
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
    return Occurrence(named(_states(found)), f"{summary}: {wait}")


def _states(found: list[tuple[SlotState, str, float]]) -> list[SlotState]:
    return [*{state.slot: state for state, _, _ in found}.values()]
