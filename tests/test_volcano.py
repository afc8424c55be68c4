"""Volcano Jobs, by objects made here: what their policies make of a restart, and the Command that restarts them."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.case import Evidence
from jobset_restart.claim import Record, timestamp
from jobset_restart.errors import TooLarge
from jobset_restart.objects import Pod
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from jobset_restart.workloads.volcano import VolcanoJob, VolcanoJobWorkload
from jobset_restart.writes import Permission, Write
from tests import build
from tests.build_volcano import job, pod, pods, policy, snapshot


def plan(of: Snapshot | None = None, **request: Any) -> Plan:
    return make(of or snapshot(), Request(**request), "op1", Evidence())


def severities(found: Plan) -> dict[str, str]:
    return {finding.id: finding.severity for finding in found.findings}


def test_slots_are_task_and_index() -> None:
    slots = snapshot().slots
    assert [*map(str, slots)] == ["master/0", "worker/0", "worker/1", "worker/2"]
    assert all(state.ready for state in slots.values())


def test_a_pod_belongs_by_its_owner_and_what_the_controller_wrote_on_it() -> None:
    namesake = pod("worker", 0, owner="another")
    found = snapshot(found=[namesake, *pods()[2:]])
    assert found.strangers == ["Pod mpi-worker-0"]
    assert found.slots[Slot("worker", (0,))].pod is None
    unlabelled = build.pod(
        0, name="mpi-worker-2", owners=[o_of(pods()[3])], annotations={"volcano.sh/task-spec": "worker"}
    )
    assert snapshot(found=[unlabelled]).slots[Slot("worker", (2,))].pod is not None


def o_of(found: Pod) -> dict[str, Any]:
    owner = found.metadata.owner_references[0]
    return {"apiVersion": owner.api_version, "kind": "Job", "name": owner.name, "uid": owner.uid, "controller": True}


# ---------------------------------------------------------------- image


def test_in_place_where_no_policy_minds() -> None:
    found = plan()
    assert (found.trigger_name, len(found.actions), severities(found)["JSR711"]) == ("image", 4, "warning")
    assert [(b.name, b.limit, b.before, b.after) for b in found.budgets] == [
        ("task master maxRetry", 3, 0, 1),
        ("task worker maxRetry", 3, 0, 3),
    ]


@pytest.mark.parametrize("event", ["TaskFailed", "*"])
@pytest.mark.parametrize("where", ["task", "job"])
def test_a_policy_on_what_the_sum_raises_refuses_it(event: str, where: str) -> None:
    policies = [policy("AbortJob", "PodFailed", event)]
    of = job(task={"policies": policies}) if where == "task" else job(policies=policies)
    found = plan(snapshot(of), strategy="in-place")
    assert found.refused
    (raised,) = [finding for finding in found.findings if finding.id == "JSR711"]
    assert (raised.severity, "0 restarts now, 3 after" in raised.summary) == ("blocker", True)
    assert "AbortJob" in raised.summary


@pytest.mark.parametrize(
    ("task", "restarts", "of", "raised"),
    [
        ({"maxRetry": -1}, 9, 3, False),
        ({"maxRetry": 4}, 0, 3, False),
        ({"maxRetry": 4}, 1, 1, True),
        ({"maxRetry": 5}, 1, 1, False),
        ({}, 0, 2, False),
        ({}, 0, 3, True),
    ],
)
def test_the_sum_is_over_all_pods_of_the_task(task: dict[str, Any], restarts: int, of: int, raised: bool) -> None:
    meant = frozenset(f"mpi-worker-{index}" for index in range(of))
    given = job(task=task, policies=[policy("RestartJob", "TaskFailed")])
    found = plan(snapshot(given, pods(restarts)), via="image", selection=Selection(pods=meant))
    assert ("JSR711" in severities(found)) == raised
    assert found.refused == raised


def test_a_policy_of_the_task_comes_before_those_of_the_job() -> None:
    of = job(task={"policies": [policy("SyncJob", "TaskFailed")]}, policies=[policy("AbortJob", "*")])
    assert of.answer("worker", "TaskFailed") == "SyncJob"
    assert of.answer("master", "TaskFailed") == "AbortJob"


# ---------------------------------------------------------------- pods


def test_pods_where_no_policy_answers_a_deleted_one() -> None:
    found = plan(via="pods", selection=Selection(pods=frozenset({"mpi-worker-1"})))
    assert (found.refused, len(found.actions)) == (False, 1)
    refused = plan(snapshot(job(policies=[policy("RestartJob", "PodEvicted")])), via="pods")
    assert severities(refused)["JSR712"] == "blocker"
    assert any("RestartJob" in finding.summary for finding in refused.findings)


# ---------------------------------------------------------------- restart


def test_restart_is_one_command_as_vcctl_makes_it() -> None:
    found = plan(strategy="recreate")
    assert (found.trigger_name, len(found.actions)) == ("restart", 1)
    (write,) = found.actions
    assert isinstance(write, Write)
    assert (write.verb, write.path) == ("create", "/apis/bus.volcano.sh/v1alpha1/namespaces/ns/commands")
    target: dict[str, Any] = {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "name": "mpi", "uid": "vc-uid"}
    target |= {"controller": True, "blockOwnerDeletion": True}
    assert (write.body["action"], write.body["target"], write.body["kind"]) == ("RestartJob", target, "Command")
    assert write.body["metadata"] == {"name": "jsr-restartjob-op1", "ownerReferences": [target]}
    assert Permission("create", "bus.volcano.sh", "commands") in permissions(found)
    assert [(b.name, b.limit, b.before, b.after) for b in found.budgets] == [("Job maxRetry", 3, 0, 1)]


@pytest.mark.parametrize(
    ("max_retry", "retry_count", "fails"), [(0, 1, False), (0, 2, True), (5, 3, False), (5, 4, True)]
)
def test_a_restart_too_many_is_refused(max_retry: int, retry_count: int, fails: bool) -> None:
    of = job(maxRetry=max_retry, status={"state": {"phase": "Running"}, "retryCount": retry_count})
    assert (severities(plan(snapshot(of), via="restart")).get("JSR713") == "blocker") == fails


def restarted(count: int) -> VolcanoJobWorkload:
    return VolcanoJobWorkload(job(status={"state": {"phase": "Restarting"}, "retryCount": count}))


def test_the_restart_that_was_asked_for_is_ours_and_another_is_not() -> None:
    ours = Tracker(plan(via="restart"), build.NOW)
    ours.observe_workload(restarted(1), build.NOW + 1)
    assert ours.verdict is None
    in_place = Tracker(plan(via="image"), build.NOW)
    in_place.observe_workload(restarted(1), build.NOW + 1)
    assert in_place.verdict is not None
    assert "retryCount 1" in in_place.verdict.reason


def test_every_pod_is_new_when_it_is_back() -> None:
    found = Tracker(plan(via="restart"), build.NOW)
    for slot in found.slots:
        found.sent(slot, build.NOW)
    for old in pods():
        found.observe(old, build.NOW + 1, deleted=True)
    assert not found.done
    for task, index in (("master", 0), ("worker", 0), ("worker", 1), ("worker", 2)):
        found.observe(pod(task, index, uid=f"new-{task}-{index}"), build.NOW + 2)
    assert found.done
    assert {found.outcome(slot, timed_out=False) for slot in found.slots} == {"recreated"}


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("Completed", "Completed"),
        ("Failed", "Failed"),
        ("Terminated", "Failed"),
        ("Aborted", "Failed"),
        ("Running", ""),
    ],
)
def test_its_phase_tells_whether_it_is_over(phase: str, state: str) -> None:
    of: VolcanoJob = job(status={"state": {"phase": phase}})
    over = VolcanoJobWorkload(of).over()
    assert (over.state if over else "") == state
    assert plan(snapshot(of)).refused == bool(state)


def test_scaled_down_tasks_have_no_place_for_more() -> None:
    found = snapshot(job(task={"replicas": 2}))
    assert [str(state.slot) for state in found.slots.values() if not state.expected] == ["worker/2"]


# ---------------------------------------------------------------- carried on


@pytest.mark.parametrize("phase", ["Restarting", "Running"])
def test_a_command_is_not_given_twice(phase: str) -> None:
    """Each costs a retry of the Job: the second might be its last."""
    record = Record(id="op1", trigger="restart", strategy="recreate", started=timestamp(build.NOW), state="detached")
    going = pods() if phase == "Restarting" else [*pods()[:3], pod("worker", 2, deleted=True)]
    assert not carry_on(snapshot(job(status={"state": {"phase": phase}}), going), record).actions
    assert len(carry_on(snapshot(), record).actions) == 1


def test_a_pod_that_is_done_is_neither_restarted_nor_waited_for() -> None:
    done = pod("worker", 2, phase="Succeeded", ready=False)
    found = plan(snapshot(found=[*pods()[:3], done]))
    assert (found.trigger_name, len(found.actions)) == ("image", 3)
    tracker = Tracker(plan(via="pods"), build.NOW)
    for slot in tracker.slots:
        tracker.sent(slot, build.NOW)
    last = Slot("worker", (2,))
    tracker.observe(pod("worker", 2, phase="Succeeded", ready=False, deleted=True), build.NOW + 1)
    assert tracker.slots[last].state == "starting"
    tracker.observe(done, build.NOW + 1)
    assert tracker.outcome(last, timed_out=False) == "unchanged"


def test_a_count_below_none_hides_no_other() -> None:
    of = job(task={"replicas": 2**31 - 1})
    of.spec.tasks[0].replicas = -(2**31 - 1)
    with pytest.raises(TooLarge):
        VolcanoJobWorkload(of).fill([], [])
