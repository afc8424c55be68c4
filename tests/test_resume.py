"""Carrying on another client's operation: what is done, under way and untouched is read from the cluster alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.claim import Record
from jobset_restart.cluster.exec import ExecResult
from jobset_restart.errors import ExecFailed
from jobset_restart.objects import ContainerState, ContainerStateRunning, ContainerStateWaiting, Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.restart import carry_on_command, decide
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.writes import Exec, Permission, Write
from tests import build, build_ray
from tests.probes import answer
from tests.small_cluster import SmallCluster
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


def signalled(index: int) -> Pod:
    return build.pod(index, statuses=[build.status(restarts=1, state={"running": {"startedAt": LATER}})])


def slots_written(plan: Any) -> list[str]:
    return [action.slot or action.path.rpartition("/")[2] for action in plan.actions if isinstance(action, Write)]


def test_a_part_that_is_carried_on_again_and_again_stays_that_part() -> None:
    snapshot = build.several({"broker": 1, "node": 2})
    part = make(snapshot, Request(via="image", selection=Selection(replicated_jobs=("node",))), "op1")
    said = claim.opened(part, "ann", STARTED, STARTED + 60)
    for owner in ("ben", "cat"):
        plan = carry_on(snapshot, structs.replace(said, owner=owner))
        assert [str(planned.state.slot) for planned in plan.scope] == ["node/0/0", "node/0/1"]
        said = claim.opened(plan, owner, STARTED, STARTED + 60)
        assert said.scope == ("node/0/0-1",)


SOME_SEATS = ("workers/1",)


@pytest.mark.parametrize(
    "there",
    [
        [build_ray.FIRST, build_ray.pod("worker-c")],
        [build_ray.FIRST, build_ray.pod("worker-b", deleted=True), build_ray.pod("worker-c")],
        [build_ray.FIRST, build_ray.pod("worker-aa", created=LATER), build_ray.pod("worker-c")],
    ],
    ids=["gone", "going", "come"],
)
def test_a_part_whose_pods_cannot_be_told_from_others_any_more_is_not_carried_on(there: list[Pod]) -> None:
    """worker-b, in the second of three seats, was being replaced: now that seat may be worker-c's."""
    snapshot = build_ray.snapshot(build_ray.cluster(3), [build_ray.HEAD, *there])
    with pytest.raises(ValueError, match="could be told from the others"):
        carry_on(snapshot, record("pods", scope=SOME_SEATS))
    whole_group = carry_on(snapshot, record("pods", scope=("workers/0-2",)))
    assert {planned.state.slot.group for planned in whole_group.scope} == {"workers"}
    assert carry_on(snapshot, record("pods")).scope


def some_of_three_workers() -> claim.Record:
    """The record of an operation on one of three workers."""
    workers = [build_ray.pod(f"worker-{name}") for name in "abc"]
    whole = build_ray.snapshot(build_ray.cluster(3), [build_ray.HEAD, *workers])
    one = Request(via="pods", selection=Selection(pods=frozenset({"worker-b"})))
    return claim.opened(make(whole, one, "op1"), "ann", STARTED, STARTED + 60)


def test_a_part_of_a_group_that_was_scaled_down_since_is_not_carried_on() -> None:
    """No Pod is young: worker-a, in the first of three seats, is gone, and worker-c sits in the second now."""
    said = some_of_three_workers()
    assert (said.scope, said.seats) == (("workers/1",), ("workers/0-2",))
    left = [build_ray.pod("worker-b"), build_ray.pod("worker-c")]
    with pytest.raises(ValueError, match="could be told from the others"):
        carry_on(build_ray.snapshot(build_ray.cluster(2), [build_ray.HEAD, *left]), said)
    alone = build_ray.snapshot(build_ray.cluster(1), [build_ray.HEAD, build_ray.pod("worker-c")])
    with pytest.raises(ValueError, match="could be told from the others"):
        carry_on(alone, structs.replace(said, scope=("workers/0",)))


def test_a_group_that_was_meant_as_a_whole_may_be_scaled() -> None:
    whole = build_ray.snapshot()
    group = Request(via="pods", selection=Selection(replicated_jobs=("workers",)))
    said = claim.opened(make(whole, group, "op1"), "ann", STARTED, STARTED + 60)
    assert said.seats == ()
    plan = carry_on(build_ray.snapshot(build_ray.cluster(1), [build_ray.HEAD, build_ray.SECOND]), said)
    assert [write.uid for write in plan.actions if isinstance(write, Write)] == ["uid-worker-b"]


def test_a_part_whose_pods_all_sit_where_they_sat_is_carried_on() -> None:
    workers = [build_ray.pod(f"worker-{name}") for name in "abc"]
    plan = carry_on(
        build_ray.snapshot(build_ray.cluster(3), [build_ray.HEAD, *workers]), record("pods", scope=SOME_SEATS)
    )
    assert [write.uid for write in plan.actions if isinstance(write, Write)] == ["uid-worker-b"]


def test_image_sends_only_what_was_never_sent_and_ends() -> None:
    snapshot = build.snapshot(build.jobset(pods=3), [marked(0, 1), marked(1, 0), build.pod(2)])
    plan = carry_on(snapshot, record("image", phase="triggering"))
    assert slots_written(plan) == ["workers/0/2"]
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    assert tracker.outcome(Slot("workers", (0, 0)), timed_out=False) == "restarted"
    tracker.observe(marked(1, 0), STARTED + 61)
    assert tracker.outcome(Slot("workers", (0, 1)), timed_out=False) == "triggered"
    tracker.observe(marked(1, 1), STARTED + 62)
    assert tracker.outcome(Slot("workers", (0, 1)), timed_out=False) == "restarted"
    tracker.sent(Slot("workers", (0, 2)), STARTED + 63)
    tracker.observe(marked(2, 1), STARTED + 64)
    tracker.observe(marked(2, 2), STARTED + 65)
    assert tracker.done


def test_native_is_not_sent_again_when_a_pod_carries_the_attempt() -> None:
    under_way = native_snapshot(attempts=("3", "2"))
    assert carry_on(under_way, record("native", attempt=3)).actions == []
    untouched = native_snapshot(attempts=("2", "2"))
    assert len(carry_on(untouched, record("native", attempt=3)).actions) == 1


def test_a_native_restart_that_reached_the_agents_alone_is_not_waited_for() -> None:
    """All attempts have advanced, and no container but the agents': nothing more will happen."""
    dropped = {**build.AGENT, "restartPolicyRules": []}
    snapshot = native_snapshot(attempts=("3", "3"), current=3, agent=dropped)
    refused = carry_on(snapshot, record("native", attempt=3))
    assert (refused.refused, [f.id for f in refused.findings if f.severity == "blocker"]) == (True, ["JSR309"])


def test_a_native_restart_that_went_through_meanwhile_is_done() -> None:
    snapshot = native_snapshot(attempts=("3", "3"))
    build.jobset_of(snapshot).status.current_in_place_restart_attempt = 3
    for state in snapshot.slots.values():
        assert state.pod
        running = state.pod.status.container_statuses[0].state.running
        assert running
        running.started_at = build.at(LATER)
    tracker = Tracker(carry_on(snapshot, record("native", attempt=3)), STARTED + 60)
    tracker.begin(STARTED + 60)
    assert tracker.done


def test_a_native_restart_seen_between_two_containers_ends() -> None:
    """While a Pod restarts all its containers, their restartCounts have risen and their containerIDs are empty."""
    snapshot = native_snapshot(attempts=("2", "2"))
    build.jobset_of(snapshot).status.previous_in_place_restart_attempt = 2
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
    build.jobset_of(again).status.current_in_place_restart_attempt = 3
    tracker.observe_workload(JobSetWorkload(build.jobset_of(again)), STARTED + 61)
    for pod in again.pods():
        assert not tracker.done
        for status in pod.status.container_statuses:
            status.state = ContainerState(running=ContainerStateRunning(started_at=build.at(LATER)))
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


def test_jobs_that_are_young_or_going_are_not_deleted_again() -> None:
    jobset = build.jobset(replicas=3, pods=1)
    going: dict[str, Any] = {"deletionTimestamp": LATER}
    jobs = [build.job(jobset), build.job(jobset, 1, creationTimestamp=LATER), build.job(jobset, 2, **going)]
    pods = [build.pod(0), build.pod(0, job=1, created=LATER), build.pod(0, job=2, deleted=True)]
    plan = carry_on(build.snapshot(jobset, pods, jobs), record("jobs", phase="deleting", request=Request(via="jobs")))
    assert slots_written(plan) == ["workers/0"]


def test_a_pod_that_came_since_is_sent_no_signal_and_waited_for() -> None:
    coming = build.pod(1, created=LATER, ready=False, phase="Pending", statuses=[])
    plan = carry_on(build.snapshot(pods=[signalled(0), coming]), record("signal", request=Request(via="signal")))
    assert (plan.refused, plan.needs_probes, plan.actions) == (False, False, [])
    assert [slot.sent for slot in plan.slots] == [True, True]


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
    assert tracker.outcome(Slot("workers", (0, 1)), timed_out=False) == "recreated"


def test_what_replaced_a_pod_on_a_lost_machine_is_let_be() -> None:
    gone = build.pod(1, node="node-1", deleted=True)
    new = build.pod(1, name="train-workers-0-1-new", created=LATER, node="node-0")
    nodes = [build.node(), build.node("node-1", ready=False)]
    snapshot = build.snapshot(pods=[marked(0, 1), gone, new], nodes=nodes)
    request = Request(via="image", node_down=("node-1",))
    recorded = record("image", scope=("workers/0/0",), lost=("workers/0/1",), request=request)
    plan = carry_on(snapshot, recorded, node_down=("node-1",), allow=("JSR202",))
    assert {action.uid for action in plan.actions if isinstance(action, Write)} == {gone.metadata.uid}


def test_a_trigger_of_another_version_is_said_to_be_unknown() -> None:
    with pytest.raises(ValueError, match="teleport"):
        carry_on(build.snapshot(), record("teleport"))


# ---------------------------------------------------------------- the record is input, and the findings are looked at


def ids(plan: Plan) -> set[str]:
    return {finding.id for finding in plan.blockers()}


def test_a_forged_record_does_not_delete_what_a_plan_would_refuse() -> None:
    """Trigger pods, every node declared down, everything allowed: nothing of it is taken from the record."""
    request = Request(via="pods", node_down=("node-0",), allow=("JSR202", "JSR401", "JSR405"))
    plan = carry_on(build.snapshot(), record("pods", request=request, lost=("workers/0/0-1",)))
    assert plan.refused
    assert "JSR202" in ids(plan)
    assert plan.actions == []


def test_machines_are_declared_down_by_the_person_not_by_the_record() -> None:
    nodes = [build.node(), build.node("node-1", ready=False)]
    snapshot = build.snapshot(build.jobset(backoff_limit=6), [build.pod(0), build.pod(1, node="node-1")], nodes=nodes)
    recorded = record("image", lost=("workers/0/1",), scope=("workers/0/0",), request=Request(node_down=("node-1",)))
    silent = carry_on(snapshot, recorded)
    (blocker,) = silent.blockers()
    assert (blocker.id, silent.actions) == ("JSR401", [])
    assert "--resume op1 --node-down node-1" in blocker.todo
    said = carry_on(snapshot, recorded, node_down=("node-1",))
    assert not said.refused
    assert len(said.actions) == 3
    assert carry_on_command(said).endswith("--resume op1 --node-down node-1")


def test_a_healthy_machine_is_not_given_up_in_a_resume_either() -> None:
    plan = carry_on(build.snapshot(build.jobset(backoff_limit=6)), record("image"), node_down=("node-0",))
    assert "JSR405" in ids(plan)
    assert plan.actions == []


def test_a_machine_that_was_given_up_and_has_no_pod_any_more_may_be_named_again() -> None:
    pods = [marked(0, 1), build.pod(1, name="train-workers-0-1-new", created=LATER)]
    recorded = record("image", lost=("workers/0/1",), scope=("workers/0/0",), request=Request(node_down=("node-1",)))
    plan = carry_on(build.snapshot(pods=pods), recorded, node_down=("node-1",))
    assert (plan.refused, plan.actions) == (False, [])


def test_a_machine_that_died_since_is_named_though_everything_was_sent() -> None:
    nodes = [build.node(), build.node("node-1", ready=False)]
    pods = [marked(0, 1), marked(1, 0)]
    pods[1].spec.node_name = "node-1"
    snapshot = build.snapshot(pods=pods, nodes=nodes)
    assert ids(carry_on(snapshot, record("image"))) == {"JSR401"}
    assert not carry_on(snapshot, record("image"), allow=("JSR401",)).refused


def test_old_pods_that_end_on_a_dead_machine_hold_a_suspended_jobset_and_are_named() -> None:
    nodes = [build.node(), build.node("node-1", ready=False)]
    pods = [build.pod(1, node="node-1", deleted=True)]
    snapshot = build.snapshot(build.jobset(spec={"suspend": True}), pods, nodes=nodes)
    recorded = record("suspend", phase="suspending")
    assert ids(carry_on(snapshot, recorded)) == {"JSR401"}
    said = carry_on(snapshot, recorded, node_down=("node-1",))
    assert (said.refused, [stage.name for stage in said.stages]) == (False, ["resume"])


def test_what_is_still_to_be_sent_is_held_against_the_budgets() -> None:
    of = build.jobset(pods=3, restart_policy="OnFailure", backoff_limit=2)
    pods = [build.pod(index, spec={"restartPolicy": "OnFailure"}) for index in range(3)]
    assert ids(carry_on(build.snapshot(of, pods), record("image"))) == {"JSR201"}
    allowed = carry_on(build.snapshot(of, pods), record("image"), allow=("JSR201",))
    assert len(allowed.actions) == 3
    assert carry_on_command(allowed).endswith("--allow JSR201")


def test_what_was_sent_already_is_not() -> None:
    of = build.jobset(restart_policy="OnFailure", backoff_limit=2)
    pods = [marked(0, 1), marked(1, 0)]
    assert not carry_on(build.snapshot(of, pods), record("image")).refused
    under_way = native_snapshot(attempts=("3", "2"), max_restarts=3)
    build.jobset_of(under_way).status.previous_in_place_restart_attempt = 2
    assert not carry_on(under_way, record("native", attempt=3)).refused


def test_a_suspended_jobset_is_resumed_whatever_speaks_against_suspending_it() -> None:
    of = build.jobset(
        pods=2,
        spec={"suspend": True},
        metadata={"labels": {"kueue.x-k8s.io/queue-name": "q"}},
    )
    snapshot = build.snapshot(of, [], [build.job(of, status={"completedIndexes": "0"})])
    plan = carry_on(snapshot, record("suspend", phase="suspending"))
    assert (plan.refused, [stage.name for stage in plan.stages]) == (False, ["resume"])


def test_what_somebody_else_suspended_since_is_not_resumed() -> None:
    snapshot = build.snapshot(build.jobset(spec={"suspend": True}), [build.pod(0), build.pod(1)])
    assert "JSR102" in ids(carry_on(snapshot, record("image", phase="triggering")))


def test_permissions_are_asked_about_again() -> None:
    denied = Evidence(denied={"image": [Permission("patch", "", "pods")]})
    assert ids(carry_on(build.snapshot(), record("image"), denied)) == {"JSR601"}


def signal_snapshot(*pods: Pod) -> Snapshot:
    for pod in pods:
        pod.spec.restart_policy = "OnFailure"
    return build.snapshot(build.jobset(pods=len(pods), restart_policy="OnFailure", backoff_limit=6), list(pods))


def test_a_signal_restart_whose_probe_failed_is_refused_in_words() -> None:
    snapshot = signal_snapshot(build.pod(0), build.pod(1))
    failed = Evidence(probes={("workers", "worker"): Probe(error="the container is not running")})
    assert ids(carry_on(snapshot, record("signal"), failed)) == {"JSR303"}
    assert ids(carry_on(snapshot, record("signal"), Evidence(probes={}))) == {"JSR303"}


def test_only_what_is_still_to_be_signalled_is_looked_into_and_another_one_where_the_first_cannot_be() -> None:
    """A container that restarts just now refuses the exec: the normal case in a resume."""
    restarted = build.pod(0, statuses=[build.status(restarts=1, state={"running": {"startedAt": LATER}})])
    snapshot = signal_snapshot(restarted, build.pod(1), build.pod(2))
    cluster = SmallCluster(build.jobset_of(snapshot), list(snapshot.pods()))
    asked: list[str] = []

    async def execute(exec_: Exec, **_: Any) -> ExecResult:
        asked.append(exec_.path.rpartition("/")[2])
        if len(asked) == 1:
            raise ExecFailed("container not found")
        return ExecResult(exit_code=0, stdout=answer(), stderr="")

    cluster.execute = execute  # type: ignore[method-assign]
    plan = asyncio.run(decide(cluster, lambda found: carry_on(snapshot, record("signal"), found)))
    assert asked == ["train-workers-0-1", "train-workers-0-2"]
    assert not plan.refused
    assert {action.slot for action in plan.actions} == {"workers/0/1", "workers/0/2"}


def test_slots_that_allow_let_through_are_left_alone_as_in_a_plan() -> None:
    snapshot = build.snapshot(build.jobset(), [build.pod(0), build.pod(1, phase="Pending", ready=False)])
    plan = carry_on(snapshot, record("image"), allow=("JSR107",))
    assert slots_written(plan) == ["workers/0/0"]
    assert [slot.state.slot for slot in plan.scope] == [Slot("workers", (0, 0))]


@pytest.mark.parametrize("fields", [{"attempt": 2**30}, {"started": "2036-01-01T00:00:00Z"}])
def test_a_record_that_does_not_fit_is_refused(fields: dict[str, Any]) -> None:
    recorded = structs.replace(record("native"), **fields)
    with pytest.raises(ValueError, match="cannot be carried on"):
        carry_on(native_snapshot(), recorded)


def test_a_signal_that_restarted_a_container_within_the_first_second_is_not_sent_again() -> None:
    """startedAt has whole seconds, the record's time milliseconds."""
    began = record("signal")
    began.started = claim.timestamp(STARTED + 0.7)
    within = build.status(restarts=1, state={"running": {"startedAt": "2026-01-01T01:00:00Z"}})
    earlier = build.status(state={"running": {"startedAt": "2026-01-01T00:30:00Z"}})
    snapshot = build.snapshot(build.jobset(pods=2), [build.pod(0, statuses=[within]), build.pod(1, statuses=[earlier])])
    plan = carry_on(snapshot, began)
    assert [slot.sent for slot in plan.slots] == [True, False]


def test_a_failed_pod_that_its_job_keeps_does_not_hold_a_restart_that_is_carried_on() -> None:
    kept = build.pod(0, name="kept", phase="Failed", ready=False)
    old = [build.pod(0), build.pod(1)]
    plan = carry_on(build.snapshot(pods=[kept, *old]), record("suspend", phase="suspending"))
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    for pod in old:
        tracker.observe(pod, STARTED + 61, deleted=True)
    assert tracker.stopped
    for index in (0, 1):
        tracker.observe(build.pod(index, name=f"new-{index}", created=LATER), STARTED + 62)
    assert tracker.done


def test_a_pod_that_came_since_for_a_slot_of_a_later_wave_is_not_restarted_again() -> None:
    jobset = build.jobset(job_spec={"parallelism": 2, "completions": 4})
    pods = [marked(0, 1), build.pod(2, created=LATER)]
    snapshot = build.snapshot(jobset, pods, [build.job(jobset, status={"completedIndexes": "1"})])
    plan = carry_on(snapshot, record("image", phase="triggering"))
    assert plan.actions == []
    tracker = Tracker(plan, STARTED + 60)
    tracker.begin(STARTED + 60)
    assert tracker.done
