"""RayClusters and RayJobs: head and worker groups, what a new head means, and Pods under new names."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.track import Tracker
from jobset_restart.verdict import verdict_of
from jobset_restart.workloads.ray import RayClusterWorkload, RayJobWorkload, sources_of_job
from jobset_restart.writes import Write
from tests import build, build_ray
from tests.build_ray import FIRST, HEAD, SECOND, cluster, job, pod, snapshot

BEGAN = build.NOW
WORKERS = Selection(replicated_jobs=("workers",))
ONLY_HEAD = Selection(replicated_jobs=("head",))


def plan(found: Snapshot | None = None, **request: Any) -> Plan:
    return make(found or snapshot(), Request(**request), "op1", Evidence())


def ids(found: Plan) -> list[str]:
    return [finding.id for finding in found.findings]


def test_slots_are_the_head_and_seats_in_worker_groups() -> None:
    assert list(map(str, snapshot().slots)) == ["head/0", "workers/0", "workers/1"]
    assert list(map(str, snapshot(pods=[HEAD]).slots)) == ["head/0", "workers/0", "workers/1"]


@pytest.mark.parametrize(
    ("replicas", "fields", "wanted"),
    [(None, {}, 0), (2, {}, 2), (20, {}, 9), (2, {"num_of_hosts": 2}, 4), (2, {"suspend": True}, 0)],
)
def test_how_many_workers_the_operator_keeps(replicas: int | None, fields: dict[str, Any], wanted: int) -> None:
    (group,) = cluster(replicas).spec.worker_group_specs
    assert structs.replace(group, **fields).wanted == wanted


def test_a_pod_belongs_by_its_owner_and_never_by_its_labels() -> None:
    found = snapshot(pods=[HEAD, FIRST, pod("forged", owner="another"), pod("odd", "no-such-group")])
    assert sorted(found.strangers) == ["Pod forged", "Pod odd"]
    assert found.slots[Slot("workers", (1,))].pod is None


def test_a_worker_under_a_new_name_fills_the_seat_of_the_old_one() -> None:
    tracker = Tracker(plan(via="pods", selection=Selection(pods=frozenset({"worker-b"}))), BEGAN)
    (slot,) = tracker.slots
    tracker.sent(slot, BEGAN)
    tracker.observe(pod("worker-b", deleted=True), BEGAN + 1)
    tracker.observe(pod("worker-c", ready=False), BEGAN + 2)
    tracker.observe(pod("worker-b"), BEGAN + 3, deleted=True)
    assert not tracker.done
    tracker.observe(pod("worker-c"), BEGAN + 4)
    assert tracker.done
    assert tracker.slots[slot].pod == "worker-c"


def test_the_head_alone_leaves_its_workers_without_it() -> None:
    assert "JSR701" in ids(plan(selection=ONLY_HEAD))
    assert "JSR701" not in ids(plan())
    assert "JSR701" not in ids(plan(selection=WORKERS))
    tolerant = snapshot(cluster(metadata={"annotations": {"ray.io/ft-enabled": "true"}}))
    assert "JSR701" not in ids(plan(tolerant, selection=ONLY_HEAD))
    assert "JSR701" not in ids(plan(snapshot(cluster(gcsFaultToleranceOptions={})), selection=ONLY_HEAD))


def test_a_head_that_is_not_made_again_is_not_deleted() -> None:
    once = snapshot(cluster(metadata={"annotations": {"ray.io/disable-provisioned-head-restart": "true"}}))
    refused = plan(once, via="pods")
    assert [finding.id for finding in refused.blockers()] == ["JSR703"]
    assert not plan(once, via="pods", selection=WORKERS).refused
    assert str(plan(once).trigger) == "image"


def test_a_ray_job_restarts_on_its_cluster_and_says_what_that_ends() -> None:
    found = snapshot(job=job())
    assert (found.workload.reference, str(plan(found).trigger)) == ("rayjob/train", "image")
    assert "driver runs in the head" in next(f.summary for f in plan(found).findings if f.id == "JSR702")
    assert "tasks" in next(f.summary for f in plan(found, selection=WORKERS).findings if f.id == "JSR702")
    assert "JSR702" not in ids(plan(snapshot(job=job("Waiting"))))
    assert "suspend" not in found.workload.triggers


@pytest.mark.parametrize(
    ("status", "state"), [("Complete", "Completed"), ("Failed", "Failed"), ("ValidationFailed", "Failed")]
)
def test_a_ray_job_that_is_over_is_not_restarted(status: str, state: str) -> None:
    workload = RayJobWorkload(job(status), cluster())
    over = workload.over()
    assert over
    assert over.state == state
    assert [finding.id for finding in plan(snapshot(job=job(status))).blockers()] == ["JSR101"]


def test_another_ray_cluster_is_another_restart() -> None:
    before = RayJobWorkload(job(), cluster())
    moved = before.renewed(job(cluster="ray-2"))
    assert verdict_of(moved, before, restarts_expected=False)
    anew = before.renewed(cluster(metadata={"uid": "another"}))
    assert verdict_of(anew, before, restarts_expected=False)
    assert verdict_of(before.renewed(cluster(3)), before, restarts_expected=False) is None
    gone = before.without(before.sources.parts[0])
    ended = verdict_of(gone, before, restarts_expected=False)
    assert ended is not None
    assert (ended.kind, ended.reason) == ("superseded", "its RayCluster was deleted")
    assert before.without(before.sources.itself) is before


def test_a_ray_job_consists_of_its_ray_cluster() -> None:
    (part,) = RayJobWorkload(job(), cluster()).parts
    assert (part.title, part.metadata.uid) == ("RayCluster ray", "ray-uid")
    assert RayJobWorkload(job(cluster=""), None).parts == ()


def test_a_ray_job_is_read_before_its_cluster_is_known() -> None:
    assert sources_of_job("ns", "train", None) is None
    found = sources_of_job("ns", "train", job())
    assert found
    assert [part.path for part in found.parts] == ["/apis/ray.io/v1/namespaces/ns/rayclusters/ray"]
    assert found.pods.labels == "ray.io/cluster=ray"
    waiting = sources_of_job("ns", "train", job(cluster=""))
    assert waiting
    assert not waiting.parts
    nothing = RayJobWorkload(job(cluster=""), None)
    assert (nothing.wanted, nothing.groups) == ({}, {})


def test_another_manager_is_named() -> None:
    assert RayClusterWorkload(cluster(managedBy="kueue.x-k8s.io/multikueue")).managed_by
    assert not RayClusterWorkload(cluster(managedBy="ray.io/kuberay-operator")).managed_by


def test_both_workers_are_told_apart() -> None:
    found = snapshot(pods=[SECOND, HEAD, FIRST])
    assert [s.pod.metadata.name for s in found.slots.values() if s.pod] == ["head-a", "worker-a", "worker-b"]
    assert build_ray.job().metadata.uid == "rayjob-uid"


def test_a_count_below_none_hides_no_other() -> None:
    (group,) = cluster(2).spec.worker_group_specs
    assert structs.replace(group, replicas=-5, min_replicas=-5, num_of_hosts=7).wanted == 0
    assert structs.replace(group, num_of_hosts=-1).wanted == 0


def test_nothing_is_waited_for_in_a_seat_that_the_autoscaler_took_away() -> None:
    """Which of the workers goes is the autoscaler's choice, so the number of those that run tells."""
    tracker = Tracker(plan(via="pods"), BEGAN)
    for slot in tracker.slots:
        tracker.sent(slot, BEGAN)
    tracker.observe(FIRST, BEGAN + 1, deleted=True)
    assert tracker.slots[Slot("workers", (0,))].state == "starting"
    tracker.observe_workload(RayClusterWorkload(cluster(1)), BEGAN + 2)
    gone = tracker.slots[Slot("workers", (0,))]
    assert (gone.state, gone.reason) == ("ready", "workers has all the Pods it wants without it")


def test_a_ray_cluster_that_is_not_there_was_not_scaled_down() -> None:
    tracker = Tracker(plan(snapshot(job=job()), via="pods"), BEGAN)
    for slot in tracker.slots:
        tracker.sent(slot, BEGAN)
    tracker.observe(FIRST, BEGAN + 1, deleted=True)
    tracker.observe_workload(RayJobWorkload(job(), None), BEGAN + 2)
    assert tracker.slots[Slot("workers", (0,))].state == "starting"


def test_pods_on_a_machine_that_is_off_are_freed_before_the_cluster_is_resumed() -> None:
    """The operator counts a RayCluster as suspended only when its last Pod is gone, and resumes it no sooner."""
    lost = pod("worker-b", node="off")
    found = structs.replace(snapshot(pods=[HEAD, FIRST, lost]), nodes={"node-0": build.node()})
    suspended = plan(found, via="suspend", node_down=("off",), allow=("JSR402",))
    assert [stage.name for stage in suspended.stages] == ["suspend", "release", "resume"]
    assert {action.uid for action in suspended.stages[1].actions if isinstance(action, Write)} == {"uid-worker-b"}
    assert "set to Failed and deleted" in next(f.summary for f in suspended.findings if f.id == "JSR406")


def test_no_job_is_spoken_of_where_there_is_none() -> None:
    workload, pods = RayClusterWorkload(cluster()), [HEAD, FIRST, pod("worker-b", ready=False, node="off")]
    nodes = {"node-0": build.node(), "off": build.node("off", ready=False)}
    found = plan(take(workload, [], pods, nodes, build.NOW))
    (finding,) = [each for each in found.findings if each.id == "JSR401"]
    assert "--in-place --node-down off; if it is only cut off" in finding.todo
