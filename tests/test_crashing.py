"""Containers that have crashed before: known by their state, and judged over time."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.plan import Plan, Request, make
from jobset_restart.track import Tracker
from jobset_restart.waits import crash_of
from tests import build

LATELY = "2026-01-01T00:59:50Z"


def ended(code: int, reason: str = "Error", lived: int = 10, at: str = LATELY) -> dict[str, Any]:
    began = f"2026-01-01T00:{59 - (lived + 9) // 60:02}:{(50 - lived) % 60:02}Z"
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": at}}


def pod_of(restarts: int = 1, mark: str = "", **status: Any) -> Any:
    notes = {"jobset-restart.io/operation": mark} if mark else {}
    return build.pod(0, statuses=[build.status(restarts=restarts, **status)], annotations=notes)


def plan_of(**status: Any) -> Plan:
    return make(build.snapshot(build.jobset(pods=1), [pod_of(**status)]), Request(via="image"), "op1")


RESTARTED = '{"id":"op0","before":{"worker":0}}'
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("status", "crashed"),
    [
        ({}, False),
        ({"lastState": ended(1)}, True),
        ({"lastState": ended(0)}, False),
        ({"lastState": ended(143)}, False),
        ({"lastState": ended(137)}, False),
        ({"lastState": ended(137, "OOMKilled")}, True),
        ({"lastState": ended(1, at="2026-01-01T00:40:00Z")}, False),
        ({"lastState": ended(0), "state": BACK_OFF}, True),
        ({"state": ended(1)}, True),
        ({"state": ended(0)}, False),
        ({"lastState": ended(1), "mark": RESTARTED}, False),
        ({"lastState": ended(1), "mark": RESTARTED, "restarts": 2}, True),
        ({"state": ended(1), "mark": RESTARTED}, True),
    ],
)
def test_what_a_crash_is(status: dict[str, Any], crashed: bool) -> None:
    pod = pod_of(**status)
    assert (crash_of(pod, pod.status.container_statuses[0], build.NOW) is not None) == crashed


@pytest.mark.parametrize(("lived", "seconds"), [(0, 10), (6, 11), (20, 25), (300, 60)])
def test_a_slot_has_to_stay_ready_for_longer_than_the_container_had_lived(lived: int, seconds: float) -> None:
    found = plan_of(lastState=ended(1, lived=lived))
    assert found.min_ready_seconds == seconds
    (note,) = (f for f in found.findings if f.id == "JSR212")
    assert f"after {lived} s" in note.summary
    assert f"for {seconds} s" in note.summary
    assert found.prediction.likely == pytest.approx(plan_of().prediction.likely + seconds)


def test_without_a_crash_a_slot_counts_as_soon_as_it_is_ready() -> None:
    assert plan_of().min_ready_seconds == 0


def test_a_container_that_crashes_and_starts_unseen_has_to_stay_ready_anew() -> None:
    plan = plan_of()
    run = Tracker(plan, build.NOW, 10.0)
    (slot,) = run.slots
    run.sent(slot, build.NOW)
    run.observe(pod_of(restarts=2), build.NOW + 1)
    run.observe(pod_of(restarts=3), build.NOW + 8)
    run.tick(build.NOW + 12)
    assert not run.done
    run.tick(build.NOW + 18)
    assert run.done
