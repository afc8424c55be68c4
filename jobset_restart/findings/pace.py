"""How many slots a restart takes down at once."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.triggers.pacing import at_once


@finding(
    "JSR517",
    "blocker",
    "it cannot be paced",
    source="native, suspend, restart, rollout and requeue restart the whole workload with one write; JobSet, "
    "in_place_restart.go: Pods whose attempts differ are restarted",
    todo="use --via image, signal or pods, which go slot by slot, or jobs or group, which go unit by unit",
    concerns=lambda trigger: not trigger.paced or not trigger.in_place,
    final=True,
)
def no_pace(case: Case) -> Occurrence | None:
    """--max-unavailable N asks that no more than N slots are down at once. A trigger that restarts all of them with one
    write cannot do that: native takes every container down before the barrier lifts for all, suspend deletes all Pods
    before it makes new ones, and how a rollout goes is decided by the controller that does it. In a JobSet with
    restartStrategy InPlaceRestart jobs and pods cannot either: one new Pod has all others restarted in place."""
    why = at_once(case)
    if not case.max_unavailable or not why:
        return None
    return Occurrence([case.snapshot.workload.title], f"--max-unavailable {case.max_unavailable}, and {why}")
