"""Which slots of a round do not come back by themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobset_restart.machines import DOWN_SECONDS, Machines
from jobset_restart.objects import Pod
from jobset_restart.plan import Request, make
from jobset_restart.slots import Slot
from jobset_restart.stuck import DEAF_SECONDS, HOPELESS_SECONDS, Stuck
from jobset_restart.track import Tracker
from tests import build

NOW = build.NOW
PATIENCE = 90.0
FIRST, SECOND = Slot("workers", (0, 0)), Slot("workers", (0, 1))


def sent() -> Tracker:
    tracker = Tracker(make(build.snapshot(build.jobset(pods=2)), Request(via="image"), "op1"), NOW)
    tracker.sent_all(NOW)
    return tracker


def starts(tracker: Tracker, index: int, at: float, **state: Any) -> None:
    """The container ended, and the next one is in this state."""
    tracker.observe(
        build.pod(index, ready=False, statuses=[{**build.status(restarts=1, **state), "containerID": ""}]), at
    )


def back(tracker: Tracker, index: int, at: float) -> None:
    tracker.observe(build.pod(index, statuses=[build.status(restarts=1)]), at)


def test_a_slot_has_its_time_and_not_more() -> None:
    stuck, tracker = Stuck(PATIENCE), sent()
    assert not stuck.over(tracker, NOW + PATIENCE - 1)
    assert stuck.over(tracker, NOW + PATIENCE)
    assert stuck.slots.keys() == {FIRST, SECOND}
    assert "still triggered after 90 s" in stuck.slots[FIRST]


def test_while_one_may_come_back_the_round_goes_on() -> None:
    stuck, tracker = Stuck(PATIENCE, {FIRST}), sent()
    assert not stuck.over(tracker, NOW + DEAF_SECONDS)
    assert stuck.slots.keys() == {FIRST}
    back(tracker, 1, NOW + 10)
    assert stuck.over(tracker, NOW + 11)


def test_the_deaf_have_their_time_where_nothing_can_be_done() -> None:
    stuck, tracker = Stuck(PATIENCE, {FIRST, SECOND}), sent()
    assert not stuck.over(tracker, NOW + DEAF_SECONDS - 1)
    assert stuck.over(tracker, NOW + DEAF_SECONDS)
    stuck.forget_deaf()
    assert not stuck.over(tracker, NOW + DEAF_SECONDS + 1)
    assert stuck.over(tracker, NOW + PATIENCE)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_waited_for_a_while(reason: str) -> None:
    stuck, tracker = Stuck(600.0), sent()
    back(tracker, 1, NOW + 2)
    starts(tracker, 0, NOW + 2, state={"waiting": {"reason": reason}})
    assert not stuck.over(tracker, NOW + 2)
    starts(tracker, 0, NOW + 12, state={"waiting": {"reason": "ImagePullBackOff"}})
    assert not stuck.over(tracker, NOW + 1 + HOPELESS_SECONDS)
    assert stuck.over(tracker, NOW + 2 + HOPELESS_SECONDS, last=True)
    assert stuck.hopeless == {FIRST}


def test_a_pull_that_goes_on_after_all_begins_anew() -> None:
    stuck, tracker = Stuck(600.0), sent()
    starts(tracker, 0, NOW + 2, state={"waiting": {"reason": "ImagePullBackOff"}})
    stuck.look(tracker, NOW + 2)
    starts(tracker, 0, NOW + 20, state={"waiting": {"reason": "ContainerCreating"}})
    stuck.look(tracker, NOW + 20)
    starts(tracker, 0, NOW + 25, state={"waiting": {"reason": "ImagePullBackOff"}})
    stuck.look(tracker, NOW + 3 + HOPELESS_SECONDS)
    assert not stuck.slots


def test_a_failed_slot_is_hopeless_at_once_and_an_overdue_one_is_not() -> None:
    stuck, tracker = Stuck(PATIENCE), sent()
    tracker.refused(FIRST, "forbidden", NOW + 1)
    back(tracker, 1, NOW + 1)
    assert stuck.over(tracker, NOW + 2, last=True)
    late, tracker = Stuck(PATIENCE), sent()
    assert late.over(tracker, NOW + PATIENCE)
    assert not late.over(tracker, NOW + PATIENCE + 1, last=True)


def test_what_is_on_a_dead_machine_is_hopeless_as_soon_as_that_is_certain() -> None:
    machines = Machines()
    snapshot = build.snapshot(build.jobset(pods=2))
    tracker = Tracker(make(snapshot, Request(via="image"), "op1"), NOW, machines=machines)
    tracker.sent_all(NOW)
    machines.observe(build.node("node-0", ready=False))
    stuck = Stuck(600.0)
    assert not stuck.over(tracker, NOW + 1)
    tracker.tick(NOW + DOWN_SECONDS + 2)
    assert stuck.over(tracker, NOW + DOWN_SECONDS + 2, last=True)
    assert all("is down" in why for why in stuck.slots.values())


def test_in_a_native_restart_who_waits_at_the_barrier_is_not_stuck() -> None:
    snapshot = build.native(attempts=("2", "2", "2"))
    tracker = Tracker(make(snapshot, Request(via="native"), "op1"), NOW)
    tracker.sent_all(NOW)
    first, *others = tracker.slots
    for slot in others:
        (pod,) = tracker.slots[slot].pods.values()
        raw = msgspec.to_builtins(pod)
        raw["metadata"]["annotations"][build.ATTEMPT] = "3"
        raw["status"]["conditions"][0]["status"] = "False"
        tracker.observe(msgspec.convert(raw, Pod), NOW + 3)
    stuck = Stuck(PATIENCE)
    assert stuck.over(tracker, NOW + PATIENCE)
    assert stuck.slots.keys() == {first}
