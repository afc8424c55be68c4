"""Tracking: what was observed, in any order, becomes what happened. Virtual time only."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.events import Barrier, Event, Failed, Ready, Starting, Stopping, Triggered
from jobset_restart.objects import Job, JobSet, Pod
from jobset_restart.plan import Plan, Request, make
from jobset_restart.slots import Slot
from jobset_restart.track import SETTLING_SECONDS, Tracker
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build
from tests.test_plan import DEAD, native_snapshot

BEGAN = build.NOW
LATER = "2026-01-01T01:00:05Z"


def tracker(plan: Plan, **options: Any) -> Tracker:
    return Tracker(plan, BEGAN, **options)


def in_place(pods: int = 2, **request: Any) -> Tracker:
    return tracker(make(build.snapshot(build.jobset(pods=pods)), Request(via="image", **request), "op1"))


def recreate(**jobset: Any) -> Tracker:
    return tracker(make(build.snapshot(build.jobset(**jobset)), Request(via="suspend"), "op1"))


def slot(index: int) -> Slot:
    return Slot("workers", (0, index))


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def restarted(index: int, count: int = 1, *, ready: bool = True) -> Pod:
    return build.pod(index, ready=ready, statuses=[build.status(restarts=count)])


def two_containers(worker: int = 0, log: int = 0) -> Pod:
    """The Pod of slot 0 with a second container, and how often each was restarted."""
    containers = [build.container("worker"), build.container("log")]
    return build.pod(0, containers=containers, statuses=[build.status("worker", worker), build.status("log", log)])


def in_place_with_two_containers(**request: Any) -> Tracker:
    snapshot = build.snapshot(build.jobset(pods=1), [two_containers()])
    return tracker(make(snapshot, Request(via="image", **request), "op1"))


# ---------------------------------------------------------------- in place


def test_a_status_that_jumps_from_running_to_running_is_a_restart() -> None:
    track = in_place()
    track.sent(slot(0), BEGAN)
    assert kinds(track.observe(restarted(0), BEGAN + 1)) == ["Ready"]


def test_the_same_container_id_is_no_restart_however_often_it_is_seen() -> None:
    track = in_place()
    track.sent(slot(0), BEGAN)
    assert track.observe(build.pod(0), BEGAN + 1) == []
    assert not track.done


def test_ready_containers_of_a_pod_that_is_not_ready_are_not_enough() -> None:
    track = in_place()
    track.sent(slot(0), BEGAN)
    assert kinds(track.observe(restarted(0, ready=False), BEGAN + 1)) == ["Starting"]
    assert kinds(track.observe(restarted(0), BEGAN + 2)) == ["Ready"]


def test_a_crash_before_the_patch_is_not_taken_for_the_restart() -> None:
    track = in_place(pods=1)
    crashed = restarted(0, 1)
    crashed.metadata.annotations.operation = '{"id":"op1","before":{"worker":0}}'
    track.observe(restarted(0, 1), BEGAN)
    track.observe(crashed, BEGAN + 1)
    track.sent(slot(0), BEGAN + 1)
    assert not track.done
    track.observe(restarted(0, 2), BEGAN + 2)
    assert track.done


def test_every_container_in_scope_has_to_be_new() -> None:
    track = in_place_with_two_containers()
    track.sent(slot(0), BEGAN)
    assert kinds(track.observe(two_containers(worker=1), BEGAN + 1)) == ["Stopping"]
    assert kinds(track.observe(two_containers(worker=1, log=1), BEGAN + 2)) == ["Ready"]


def test_only_the_containers_asked_for_have_to_be_new() -> None:
    track = in_place_with_two_containers(containers=("log",))
    track.sent(slot(0), BEGAN)
    track.observe(two_containers(log=1), BEGAN + 1)
    assert track.done


def test_the_kubelet_s_reason_is_told() -> None:
    track = in_place()
    track.sent(slot(0), BEGAN)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "m"}}
    pulling = build.pod(0, ready=False, statuses=[build.status(containerID="", state=waiting)])
    (event,) = track.observe(pulling, BEGAN + 1)
    assert isinstance(event, Starting)
    assert event.reason == "ImagePullBackOff"
    assert track.outcome(slot(0), timed_out=True) == "timed out"


def test_a_container_that_stays_down_while_its_pod_runs_on_is_a_failure() -> None:
    track = in_place_with_two_containers()
    track.sent(slot(0), BEGAN)
    down = build.status("worker", 1, state={"terminated": {"exitCode": 2}}, ready=False)
    containers = [build.container("worker"), build.container("log")]
    (event,) = track.observe(
        build.pod(0, ready=False, containers=containers, statuses=[down, build.status("log")]), BEGAN + 1
    )
    assert isinstance(event, Failed)
    assert "exit 2" in event.reason


def test_a_write_that_was_refused_is_a_failure_and_the_others_go_on() -> None:
    track = in_place()
    assert kinds(track.refused(slot(0), "forbidden", BEGAN)) == ["Failed"]
    track.sent(slot(1), BEGAN)
    track.observe(restarted(1), BEGAN + 1)
    assert track.done
    assert [track.outcome(slot(i), timed_out=False) for i in (0, 1)] == ["failed", "restarted"]


def test_a_container_that_refuses_an_exec_because_it_is_being_restarted_counts_as_restarted() -> None:
    track = in_place(pods=1)
    assert track.exec_refused(slot(0), "worker", "not running", BEGAN) == []
    stopped = build.pod(0, ready=False, statuses=[build.status(state={"terminated": {"exitCode": 1}})])
    assert kinds(track.observe(stopped, BEGAN + 1)) == ["Stopping"]
    assert kinds(track.tick(BEGAN + SETTLING_SECONDS + 1)) == []
    assert kinds(track.observe(restarted(0), BEGAN + SETTLING_SECONDS + 2)) == ["Ready"]
    assert track.outcome(slot(0), timed_out=False) == "restarted"


def test_a_container_that_refuses_an_exec_and_runs_on_is_a_failure() -> None:
    track = in_place(pods=1)
    track.exec_refused(slot(0), "worker", "not running", BEGAN)
    assert track.tick(BEGAN + SETTLING_SECONDS - 1) == []
    assert not track.done
    (event,) = track.tick(BEGAN + SETTLING_SECONDS)
    assert isinstance(event, Failed)
    assert event.reason == "not running"
    assert track.done


def test_one_container_that_refused_its_exec_fails_the_slot_when_the_other_is_back() -> None:
    track = in_place_with_two_containers()
    track.sent(slot(0), BEGAN)
    track.exec_refused(slot(0), "log", "not running", BEGAN)
    assert kinds(track.observe(two_containers(worker=1), BEGAN + 1)) == ["Stopping"]
    assert kinds(track.tick(BEGAN + SETTLING_SECONDS)) == ["Failed"]
    assert track.observe(two_containers(worker=1), BEGAN + SETTLING_SECONDS + 1) == []
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "failed"


def test_a_refused_slot_that_crashes_on_its_own_does_not_hold_the_operation() -> None:
    track = in_place(pods=1)
    track.refused(slot(0), "forbidden", BEGAN)
    crashed = {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}
    track.observe(build.pod(0, ready=False, statuses=[build.status(containerID="", state=crashed)]), BEGAN + 1)
    track.observe(restarted(0), BEGAN + 2)
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "restarted"


def test_a_pod_that_was_replaced_comes_back_as_recreated() -> None:
    track = in_place(pods=1)
    track.sent(slot(0), BEGAN)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    assert track.outcome(slot(0), timed_out=True) == "gone"
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 2)
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_ready_has_to_last_as_long_as_was_asked() -> None:
    track = tracker(make(build.snapshot(build.jobset(pods=1)), Request(via="image"), "op1"), min_ready_seconds=5)
    track.sent(slot(0), BEGAN)
    track.observe(restarted(0), BEGAN + 1)
    assert kinds(track.tick(BEGAN + 4)) == []
    track.observe(restarted(0, ready=False), BEGAN + 5)
    track.observe(restarted(0), BEGAN + 6)
    assert track.tick(BEGAN + 10) == []
    assert kinds(track.tick(BEGAN + 11)) == ["Ready"]


# ---------------------------------------------------------------- recreate


def test_recreate_is_done_when_the_old_uid_is_gone_and_the_new_pod_is_ready() -> None:
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    assert kinds(track.observe(build.pod(0, deleted=True), BEGAN + 1)) == ["Stopping"]
    assert not track.stopped
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 2)
    assert not track.done
    track.observe(build.pod(0, deleted=True), BEGAN + 3, deleted=True)
    assert track.stopped
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_a_pod_left_terminating_on_a_lost_machine_does_not_hold_the_slot() -> None:
    snapshot = build.snapshot(build.jobset(pods=1), nodes=[DEAD])
    track = tracker(make(snapshot, Request(via="suspend", node_down=("node-0",)), "op1"))
    track.sent_all(BEGAN)
    assert not track.stopped
    track.observe(build.pod(0, deleted=True), BEGAN + 1)
    assert track.stopped
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 2)
    assert track.done


# ---------------------------------------------------------------- native and the JobSet


def newer(jobset: JobSet, **status: Any) -> JobSet:
    raw = msgspec.to_builtins(jobset)
    raw["status"] = {**raw.get("status", {}), **status}
    return msgspec.convert(raw, JobSet)


def test_native_is_done_when_the_barrier_is_lifted() -> None:
    snapshot = native_snapshot()
    track = tracker(make(snapshot, Request(), "op1"))
    track.sent_all(BEGAN)
    barriers: list[Barrier] = []
    for index, state in enumerate(snapshot.slots.values()):
        assert state.pod
        raw = msgspec.to_builtins(state.pod)
        raw["metadata"]["annotations"]["jobset.sigs.k8s.io/in-place-restart-attempt"] = "3"
        raw["status"]["containerStatuses"] = [build.status(restarts=3)]
        events = track.observe(msgspec.convert(raw, Pod), BEGAN + index)
        barriers += [event for event in events if isinstance(event, Barrier)]
    assert [(b.arrived, b.held_by) for b in barriers] == [(1, ["workers/0/1"]), (2, [])]
    assert not track.done
    track.observe_workload(JobSetWorkload(newer(build.jobset_of(snapshot), currentInPlaceRestartAttempt=3)), BEGAN + 3)
    assert track.done


def test_a_jobset_that_is_gone_failed_or_restarted_ends_the_operation() -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "ReachedMaxRestarts"}]}
    for jobset, kind in (
        (None, "superseded"),
        (newer(build.jobset(), **failed), "over"),
        (newer(build.jobset(), restarts=1), "superseded"),
        (build.jobset(metadata={"uid": "another"}), "superseded"),
        (build.jobset(metadata={"deletionTimestamp": LATER}), "superseded"),
    ):
        track = in_place()
        track.observe_workload(JobSetWorkload(jobset) if jobset else None, BEGAN)
        assert track.verdict
        assert track.verdict.kind == kind


def test_a_jobset_that_restarts_because_pods_on_a_lost_machine_were_failed_is_no_takeover() -> None:
    snapshot = build.snapshot(build.jobset(pods=1, backoff_limit=6), nodes=[DEAD])
    track = tracker(make(snapshot, Request(via="suspend", node_down=("node-0",)), "op1"))
    track.observe_workload(JobSetWorkload(newer(build.jobset(), restarts=1)), BEGAN)
    assert track.verdict is None
    track = in_place()
    track.observe_workload(JobSetWorkload(newer(build.jobset(), restarts=1)), BEGAN)
    assert track.verdict
    assert track.verdict.kind == "superseded"


# ---------------------------------------------------------------- what a Job keeps, and what it still wants


def a_job(
    status: dict[str, Any] | None = None, uid: str = "", spec: dict[str, Any] | None = None, **jobset: Any
) -> Job:
    return build.job(build.jobset(**jobset), status=status, uid=uid, spec=spec)


def failed(name: str, **fields: Any) -> Pod:
    ended = {"terminated": {"exitCode": 3, "reason": "Error"}}
    return build.pod(0, name=name, phase="Failed", ready=False, statuses=[build.status(state=ended)], **fields)


def test_a_failed_pod_that_its_job_keeps_does_not_hold_a_suspended_jobset() -> None:
    jobset = build.jobset(pods=1)
    snapshot = build.snapshot(jobset, [failed("kept"), build.pod(0, name="old", created=build.TIME)])
    track = tracker(make(snapshot, Request(via="suspend"), "op1"))
    track.sent_all(BEGAN)
    track.observe(build.pod(0, name="old", deleted=True), BEGAN + 1)
    assert not track.stopped
    track.observe(build.pod(0, name="old"), BEGAN + 2, deleted=True)
    assert track.stopped
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 3)
    assert track.done


def test_an_old_pod_that_fails_on_its_way_out_and_is_kept_holds_nothing() -> None:
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    track.observe(build.pod(0, phase="Failed", ready=False), BEGAN + 1)
    assert track.stopped
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 2)
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_a_new_pod_that_fails_once_is_waited_for_with_its_reason_until_its_successor_is_ready() -> None:
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    (event,) = track.observe(failed("first", created=LATER), BEGAN + 2)
    assert isinstance(event, Starting)
    assert event.reason == "Pod first failed (Error (exit 3)); its Job makes another after its back-off"
    assert not track.done
    track.observe(build.pod(0, name="second", created="2026-01-01T01:00:20Z"), BEGAN + 20)
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_a_pod_that_fails_when_restarted_in_place_is_replaced_by_its_job() -> None:
    track = in_place(pods=1)
    track.sent(slot(0), BEGAN)
    (event,) = track.observe(failed("train-workers-0-0"), BEGAN + 1)
    assert isinstance(event, Stopping)
    assert "its Job makes another" in event.reason
    assert not track.done
    track.observe(build.pod(0, name="second", created=LATER), BEGAN + 12)
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_an_index_that_fails_for_good_is_lost() -> None:
    track = recreate(pods=2, job_spec={"backoffLimitPerIndex": 0})
    track.sent_all(BEGAN)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    (event,) = track.observe_child(a_job({"failedIndexes": "0"}), BEGAN + 2)
    assert isinstance(event, Failed)
    assert "failed for good" in event.reason


def test_a_job_that_failed_is_the_end_only_when_its_jobset_says_nothing() -> None:
    over = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    track.observe(build.pod(0), BEGAN, deleted=True)
    track.observe_child(a_job(over, pods=1), BEGAN)
    assert track.tick(BEGAN + SETTLING_SECONDS - 1) == []
    (event,) = track.tick(BEGAN + SETTLING_SECONDS)
    assert isinstance(event, Failed)
    assert event.reason == "Job train-workers-0 failed: BackoffLimitExceeded"
    assert track.done
    track.observe_child(a_job(pods=1, uid="again"), BEGAN + 20)
    track.observe(build.pod(0, name="new", job_uid="again", created=LATER), BEGAN + 21)
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_an_index_that_completes_instead_of_coming_back_is_done_with() -> None:
    jobset: dict[str, Any] = {"job_spec": {"parallelism": 2, "completions": 4}}
    track = recreate(**jobset)
    track.sent_all(BEGAN)
    for index in (0, 1):
        track.observe(build.pod(index), BEGAN + 1, deleted=True)
    events = track.observe_child(a_job({"completedIndexes": "0"}, **jobset), BEGAN + 2)
    assert [(type(e), e.slot, e.reason) for e in events if isinstance(e, Ready)] == [(Ready, str(slot(0)), "completed")]
    track.observe(build.pod(1, name="new", created=LATER), BEGAN + 3)
    track.observe(build.pod(2, name="next", created=LATER), BEGAN + 3)
    assert track.done
    assert [track.outcome(slot(i), timed_out=False) for i in (0, 1, 2)] == ["unchanged", "recreated", "unchanged"]


def test_an_index_whose_turn_is_later_is_not_waited_for() -> None:
    """Scaled down from four, 1 and 3 run on; made anew, the Job begins with the lowest that are pending."""
    jobset: dict[str, Any] = {"job_spec": {"parallelism": 2, "completions": 4}}
    snapshot = build.snapshot(build.jobset(**jobset), [build.pod(1), build.pod(3)])
    track = tracker(make(snapshot, Request(via="suspend"), "op1"))
    track.sent_all(BEGAN)
    for index in (1, 3):
        track.observe(build.pod(index), BEGAN + 1, deleted=True)
    track.observe(build.pod(0, name="zero", created=LATER), BEGAN + 2)
    assert not track.done
    track.observe(build.pod(1, name="one", created=LATER), BEGAN + 3)
    assert track.done
    assert track.outcome(slot(3), timed_out=False) == "gone"


def test_a_job_that_is_scaled_down_meanwhile_is_waited_for_at_its_new_size() -> None:
    track = recreate(pods=2)
    track.sent_all(BEGAN)
    for index in (0, 1):
        track.observe(build.pod(index), BEGAN + 1, deleted=True)
    track.observe(build.pod(0, name="new", created=LATER), BEGAN + 2)
    assert not track.done
    track.observe_child(a_job(spec={"parallelism": 1, "completions": 1}), BEGAN + 3)
    assert track.done
    assert "scaled down" in track.slots[slot(1)].reason


def test_an_index_that_completed_before_it_was_restarted_in_place_needs_nothing() -> None:
    track = in_place(pods=1)
    done = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:59:00Z"}}
    track.sent(slot(0), BEGAN)
    track.observe(build.pod(0, phase="Succeeded", ready=False, statuses=[build.status(state=done)]), BEGAN + 1)
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "unchanged"


def test_an_index_that_completes_because_it_was_stopped_has_failed() -> None:
    track = in_place(pods=1)
    done = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T01:00:01Z"}}
    track.sent(slot(0), BEGAN)
    (event,) = track.observe(
        build.pod(0, phase="Succeeded", ready=False, statuses=[build.status(state=done)]), BEGAN + 2
    )
    assert isinstance(event, Failed)


def without_index(name: str, **fields: Any) -> Pod:
    pod = build.pod(0, name=name, **fields)
    pod.metadata.labels.completion_index = ""
    return pod


def test_a_new_pod_of_a_job_without_indexes_sits_where_one_is_on_its_way_out() -> None:
    jobset = build.jobset(job_spec={"completionMode": "NonIndexed", "completions": None}, backoff_limit=6)
    snapshot = build.snapshot(jobset, [without_index("a"), without_index("b")])
    track = tracker(make(snapshot, Request(via="pods"), "op1"))
    for n in (0, 1):
        track.sent(slot(n), BEGAN)
    track.observe(without_index("a", deleted=True), BEGAN + 1)
    track.observe(without_index("c", created=LATER), BEGAN + 2)
    track.observe(without_index("b", deleted=True), BEGAN + 2)
    track.observe(without_index("d", created=LATER), BEGAN + 3)
    for name in ("b", "a"):
        track.observe(without_index(name, deleted=True), BEGAN + 4, deleted=True)
    assert track.done
    assert [track.slots[slot(n)].pod for n in (0, 1)] == ["c", "d"]


def test_a_list_in_which_all_pods_without_indexes_are_new_empties_the_seats_of_the_old_ones() -> None:
    jobset = build.jobset(job_spec={"completionMode": "NonIndexed", "completions": None}, backoff_limit=6)
    snapshot = build.snapshot(jobset, [without_index("a"), without_index("b")])
    track = tracker(make(snapshot, Request(via="pods"), "op1"))
    for n in (0, 1):
        track.sent(slot(n), BEGAN)
    track.relist([without_index("c", created=LATER), without_index("d", created=LATER)], BEGAN + 1)
    assert track.done
    assert [[*track.slots[slot(n)].pods] for n in (0, 1)] == [["uid-c"], ["uid-d"]]


# ---------------------------------------------------------------- whose Pods


def test_pods_of_a_job_made_meanwhile_are_held_until_it_is_known() -> None:
    track = tracker(make(build.snapshot(build.jobset(pods=1)), Request(via="jobs"), "op1"))
    track.sent_all(BEGAN)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    assert track.observe(build.pod(0, name="new", job_uid="made-anew", created=LATER), BEGAN + 2) == []
    track.observe_child(a_job(pods=1), BEGAN + 2, deleted=True)
    assert kinds(track.observe_child(a_job(pods=1, uid="made-anew"), BEGAN + 3)) == ["Ready"]
    assert track.outcome(slot(0), timed_out=False) == "recreated"


def test_pods_of_a_job_that_is_not_the_jobset_s_stay_out() -> None:
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    track.observe(build.pod(0, name="forged", job_uid="foreign", created=LATER), BEGAN + 2)
    foreign = build.job(build.jobset(), uid="foreign", ownerReferences=[{**build.OWNER, "uid": "another"}])
    assert track.observe_child(foreign, BEGAN + 3) == []
    assert track.observe(build.pod(0, name="bare", owners=[], created=LATER), BEGAN + 4) == []
    assert not track.done


def test_somebody_s_pod_with_the_jobset_s_labels_does_not_hold_a_suspended_jobset() -> None:
    track = recreate(pods=1)
    track.sent_all(BEGAN)
    track.observe(build.pod(0, name="forged", owners=[]), BEGAN + 1)
    track.observe(build.pod(0), BEGAN + 1, deleted=True)
    assert track.stopped


def test_jobs_found_by_a_list_are_all_there_are() -> None:
    track = tracker(make(build.snapshot(build.jobset(pods=1)), Request(via="jobs"), "op1"))
    track.sent_all(BEGAN)
    track.observe(build.pod(0, name="new", job_uid="made-anew", created=LATER), BEGAN + 1)
    track.relist([build.pod(0, name="new", job_uid="made-anew", created=LATER)], BEGAN + 2)
    assert not track.done
    track.relist_children([a_job(pods=1, uid="made-anew")], BEGAN + 3)
    assert track.done


# ---------------------------------------------------------------- what keeps a Pod from being Ready


def with_a_container_that_completed(restarts: int = 0, *, ready: bool = True) -> Pod:
    ended = build.status("notify", state={"terminated": {"exitCode": 0, "reason": "Completed"}}, ready=False)
    containers = [build.container("worker"), build.container("notify")]
    return build.pod(
        0, ready=False, containers=containers, statuses=[build.status("worker", restarts, ready=ready), ended]
    )


def test_where_the_pod_could_not_be_ready_before_the_restarted_containers_are_judged() -> None:
    snapshot = build.snapshot(build.jobset(pods=1), [with_a_container_that_completed()])
    plan = make(snapshot, Request(via="image", containers=("worker",)), "op1")
    assert not plan.refused
    track = tracker(plan)
    track.sent(slot(0), BEGAN)
    assert kinds(track.observe(with_a_container_that_completed(1, ready=False), BEGAN + 1)) == ["Starting"]
    (event,) = track.observe(with_a_container_that_completed(1), BEGAN + 2)
    assert isinstance(event, Ready)
    assert "notify" in event.reason


def test_where_the_pod_was_ready_before_its_condition_counts() -> None:
    snapshot = build.snapshot(build.jobset(pods=1), [two_containers()])
    track = tracker(make(snapshot, Request(via="image", containers=("worker",)), "op1"))
    track.sent(slot(0), BEGAN)
    pod = two_containers(worker=1)
    pod.status.conditions[0].status = "False"
    assert kinds(track.observe(pod, BEGAN + 1)) == ["Starting"]


# ---------------------------------------------------------------- whatever the order


def marked(pod: Pod) -> Pod:
    """The Pod as every Pod is that was PATCHed by this operation."""
    pod.metadata.annotations.operation = '{"id":"op1","before":{"worker":0}}'
    return pod


STOPPED = build.pod(0, ready=False, statuses=[build.status(state={"terminated": {"exitCode": 143}})])
HISTORIES = [
    [build.pod(0), marked(build.pod(0)), marked(STOPPED), marked(restarted(0))],
    [marked(build.pod(0)), marked(restarted(0, ready=False)), marked(restarted(0))],
    [marked(build.pod(0)), marked(restarted(0))],
]


@given(st.sampled_from(HISTORIES), st.integers(0, 4), st.lists(st.integers(0, 3), max_size=3), st.booleans())
def test_a_list_finds_what_the_watch_missed(history: list[Pod], seen: int, listed: list[int], sent_first: bool) -> None:
    """The watch tells of the first few changes, lists come between them, and the last one finds the end."""
    track = in_place(pods=1)
    if sent_first:
        track.sent(slot(0), BEGAN)
    for number, pod in enumerate(history[:seen]):
        if number in listed:
            track.relist([pod], BEGAN + number)
        track.observe(pod, BEGAN + number)
    if not sent_first:
        track.sent(slot(0), BEGAN + 5)
    track.relist([history[-1]], BEGAN + 10)
    track.observe(history[-1], BEGAN + 11)
    assert track.done
    assert track.outcome(slot(0), timed_out=False) == "restarted"


def test_a_list_between_the_patch_and_the_restart_freezes_nothing() -> None:
    track = in_place(pods=1)
    track.sent(slot(0), BEGAN)
    track.relist([marked(build.pod(0))], BEGAN + 1)
    assert kinds(track.observe(marked(restarted(0)), BEGAN + 2)) == ["Ready"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=30))
def test_events_always_lead_from_trigger_to_ready_and_never_back_to_waiting(steps: list[tuple[int, int, bool]]) -> None:
    track = in_place(pods=3)
    events: list[Event] = []
    for index in range(3):
        events += track.sent(slot(index), BEGAN)
    for number, (index, count, ready) in enumerate(steps):
        events += track.observe(restarted(index, count, ready=ready), BEGAN + number)
    for index in range(3):
        mine = [
            e for e in events if isinstance(e, Triggered | Stopping | Starting | Ready) and e.slot == str(slot(index))
        ]
        assert isinstance(mine[0], Triggered)
        assert sum(isinstance(e, Triggered) for e in mine) == 1
        last = next((c for i, c, _ in reversed(steps) if i == index), 0)
        came_back = isinstance(mine[-1], Ready)
        ready_now = next((r for i, _, r in reversed(steps) if i == index), False)
        if last > 0 and ready_now:
            assert came_back


# ---------------------------------------------------------------- Pods that are missing


def without_pods(of: JobSet, **job_spec: Any) -> Tracker:
    """A recreate by suspend whose old Pods are gone, and whose Job is as given."""
    snapshot = build.snapshot(of, [build.pod(0), build.pod(1)])
    found = Tracker(make(snapshot, Request(via="suspend"), "op1"), build.NOW)
    found.sent_all(build.NOW)
    job = build.job(of)
    for name, value in job_spec.items():
        setattr(job.spec, name, value)
    found.observe_child(job, build.NOW + 1)
    for index in (0, 1):
        found.observe(build.pod(index), build.NOW + 1, deleted=True)
    return found


def test_a_slot_whose_pod_is_long_gone_is_not_stopping() -> None:
    found = without_pods(build.jobset())
    assert (found.slots[slot(0)].state, found.slots[slot(0)].reason) == ("starting", "waiting for a new Pod")
    held = without_pods(build.jobset(), suspend=True)
    assert (held.slots[slot(0)].state, held.slots[slot(0)].reason) == ("starting", "its Job is suspended")


def test_the_job_s_own_reason_is_told_where_a_pod_could_not_be_created() -> None:
    found = without_pods(build.jobset())
    at = build.NOW + 2
    said = build.event("job-0", "FailedCreate", 'Error creating: pods "x" is forbidden: no room')
    assert found.refused_creation(said, at) == [], "what was said before the operation began is over"
    said.last_timestamp = build.at("2026-01-01T01:00:01Z")
    events = found.refused_creation(said, at)
    assert [(event.slot, event.reason) for event in events if isinstance(event, Starting)] == [
        ("workers/0/0", "FailedCreate: no room"),
        ("workers/0/1", "FailedCreate: no room"),
    ]
    of_another = build.event("job-7", "FailedCreate", "other", "2026-01-01T01:00:01Z")
    assert found.refused_creation(of_another, at) == []


def test_the_jobset_s_reason_is_told_where_its_jobs_could_not_be_created() -> None:
    jobset = build.jobset()
    found = without_pods(jobset)
    found.observe_child(build.job(jobset), build.NOW + 2, deleted=True)
    assert found.slots[slot(0)].reason == "waiting for its Job"
    said = build.event(jobset.metadata.uid, "JobCreationFailed", "no such action", "2026-01-01T01:00:02Z")
    found.refused_creation(said, build.NOW + 3)
    assert found.slots[slot(0)].reason == "JobCreationFailed: no such action"
