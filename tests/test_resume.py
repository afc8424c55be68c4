"""Carrying on another client's operation: what is done, under way and untouched is read from the cluster alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.objects import ContainerState, ContainerStateRunning, ContainerStateWaiting, Pod
from jobset_restart.plan import Request
from jobset_restart.resume import carry_on
from jobset_restart.snapshot import Slot
from jobset_restart.track import Tracker
from jobset_restart.writes import Write
from tests import build
from tests.test_plan import native_snapshot

STARTED = build.NOW
LATER = "2026-01-01T01:00:05Z"


def record(trigger: str, **fields: Any) -> Record:
    started = claim.timestamp(STARTED)
    strategy = "in-place" if trigger in ("native", "image", "signal") else "recreate"
    return Record(
        id="op1", owner="ann", trigger=trigger, strategy=strategy, state="detached", started=started, **fields
    )


def marked(index: int, restarts: int, *, before: int = 0) -> Pod:
    mark = json.dumps({"id": "op1", "before": {"worker": before}})
    return build.pod(
        index, annotations={"jobset-restart.io/operation": mark}, statuses=[build.status(restarts=restarts)]
    )


def slots_written(plan: Any) -> list[str]:
    return [action.slot or action.path.rpartition("/")[2] for action in plan.actions if isinstance(action, Write)]


def test_image_sends_only_what_was_never_sent_and_ends() -> None:
    snapshot = build.snapshot(build.jobset(pods=3), [marked(0, 1), marked(1, 0), build.pod(2)])
    plan = carry_on(snapshot, record("image", phase="triggering"))
    assert slots_written(plan) == ["workers/0/2"]
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    assert tracker.outcome(Slot("workers", 0, 0), timed_out=False) == "restarted"
    tracker.observe(marked(1, 0), STARTED + 61)
    assert tracker.outcome(Slot("workers", 0, 1), timed_out=False) == "triggered"
    tracker.observe(marked(1, 1), STARTED + 62)
    assert tracker.outcome(Slot("workers", 0, 1), timed_out=False) == "restarted"
    tracker.sent(Slot("workers", 0, 2), STARTED + 63)
    tracker.observe(marked(2, 1), STARTED + 64)
    tracker.observe(marked(2, 2), STARTED + 65)
    assert tracker.done


def test_native_is_not_sent_again_when_a_pod_carries_the_attempt() -> None:
    under_way = native_snapshot(attempts=("3", "2"))
    assert carry_on(under_way, record("native", attempt=3)).actions == []
    untouched = native_snapshot(attempts=("2", "2"))
    assert len(carry_on(untouched, record("native", attempt=3)).actions) == 1


def test_a_native_restart_that_went_through_meanwhile_is_done() -> None:
    snapshot = native_snapshot(attempts=("3", "3"))
    snapshot.jobset.status.current_in_place_restart_attempt = 3
    for state in snapshot.slots.values():
        assert state.pod
        running = state.pod.status.container_statuses[0].state.running
        assert running
        running.started_at = LATER
    tracker = Tracker(carry_on(snapshot, record("native", attempt=3)), STARTED + 60)
    tracker.begin(STARTED + 60)
    assert tracker.done


def test_a_native_restart_seen_between_two_containers_ends() -> None:
    """While a Pod restarts all its containers, their restartCounts have risen and their containerIDs are empty."""
    snapshot = native_snapshot(attempts=("2", "2"))
    snapshot.jobset.status.previous_in_place_restart_attempt = 2
    for state in snapshot.slots.values():
        assert state.pod
        for status in state.pod.status.container_statuses:
            waiting = ContainerStateWaiting(reason="PodInitializing")
            status.state, status.container_id, status.restart_count = ContainerState(waiting=waiting), "", 1
    plan = carry_on(snapshot, record("native", attempt=3))
    assert plan.actions == []
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    again = native_snapshot(attempts=("3", "3"))
    again.jobset.status.current_in_place_restart_attempt = 3
    tracker.observe_jobset(again.jobset, STARTED + 61)
    for pod in again.pods():
        assert not tracker.done
        for status in pod.status.container_statuses:
            status.state = ContainerState(running=ContainerStateRunning(started_at=LATER))
            status.container_id, status.restart_count = "containerd://new", 1
        tracker.observe(pod, STARTED + 62)
    assert tracker.done


@pytest.mark.parametrize(
    ("suspended", "phase", "pod", "stages"),
    [
        (True, "suspending", {}, ["resume"]),
        (True, "suspending", {"deleted": True}, ["resume"]),
        (False, "triggering", {}, ["suspend", "resume"]),
        (False, "resuming", {"created": LATER}, []),
        (False, "resuming", {"deleted": True}, []),
        (False, "resuming", {}, ["suspend", "resume"]),
    ],
    ids=["suspended", "stopping", "not begun", "back", "resumed while stopping", "resumed before anything stopped"],
)
def test_suspend_goes_on_where_it_stopped(suspended: bool, phase: str, pod: dict[str, Any], stages: list[str]) -> None:
    pods = [build.pod(0, **pod), build.pod(1, **pod)]
    snapshot = build.snapshot(build.jobset(spec={"suspend": suspended}), pods)
    assert [stage.name for stage in carry_on(snapshot, record("suspend", phase=phase)).stages] == stages


def test_pods_that_are_young_or_going_are_not_deleted_again() -> None:
    pods = [build.pod(0), build.pod(1, created=LATER), build.pod(2, deleted=True)]
    snapshot = build.snapshot(build.jobset(pods=3, backoff_limit=6), pods)
    plan = carry_on(snapshot, record("pods", phase="triggering", request=Request(via="pods")))
    assert slots_written(plan) == ["workers/0/0"]


def test_a_part_is_carried_on_though_its_pod_has_another_name_by_now() -> None:
    pods = [build.pod(0), build.pod(1, name="train-workers-0-1-new", created=LATER, ready=False)]
    snapshot = build.snapshot(build.jobset(backoff_limit=6), pods)
    plan = carry_on(snapshot, record("pods", slots=1, scope=("workers/0/1",), request=Request(via="pods")))
    assert plan.actions == []
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    assert not tracker.done
    tracker.observe(build.pod(1, name="train-workers-0-1-new", created=LATER), STARTED + 61)
    assert tracker.done
    assert tracker.outcome(Slot("workers", 0, 1), timed_out=False) == "recreated"


def test_what_replaced_a_pod_on_a_lost_machine_is_let_be() -> None:
    gone = build.pod(1, node="node-1", deleted=True)
    new = build.pod(1, name="train-workers-0-1-new", created=LATER, node="node-0")
    nodes = [build.node(), build.node("node-1", ready=False)]
    snapshot = build.snapshot(pods=[marked(0, 1), gone, new], nodes=nodes)
    request = Request(via="image", node_down=("node-1",))
    plan = carry_on(snapshot, record("image", scope=("workers/0/0",), lost=("workers/0/1",), request=request))
    assert {action.uid for action in plan.actions if isinstance(action, Write)} == {gone.metadata.uid}


def test_a_trigger_of_another_version_is_said_to_be_unknown() -> None:
    with pytest.raises(ValueError, match="teleport"):
        carry_on(build.snapshot(), record("teleport"))
