"""LeaderWorkerSets: who belongs to which group, which trigger fits, and when a group is back."""

from __future__ import annotations

import pytest

from jobset_restart.case import Evidence
from jobset_restart.claim import Record, timestamp
from jobset_restart.errors import TooLarge
from jobset_restart.objects import Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot
from jobset_restart.track import Tracker
from jobset_restart.workloads.leaderworkerset import LeaderWorkerSetWorkload
from jobset_restart.writes import Permission, Write
from tests import build, build_lws
from tests.build_lws import lws, pod, snapshot, stateful_set

BEGAN = build.NOW
LATER = "2026-01-01T01:00:05Z"


def plan(of: object = None, **request: object) -> Plan:
    found = of if of is not None else snapshot()
    return make(found, Request(**request), "op1", Evidence())  # type: ignore[arg-type]


def test_slots_are_group_and_worker() -> None:
    slots = snapshot().slots
    assert list(map(str, slots)) == [f"serving/{group}/{worker}" for group in (0, 1) for worker in (0, 1, 2)]
    assert all(state.ready for state in slots.values())


def test_a_pod_belongs_by_its_owners_and_never_by_its_labels() -> None:
    forged = [
        pod(0, 1, stateful_set="another"),
        build.pod(0, name="bare", owners=[]),
        build.pod(0, name="of-the-lws-itself", owners=build_lws.owned("LeaderWorkerSet", "lws-uid")),
    ]
    genuine = [pod(group, worker) for group in (0, 1) for worker in (0, 1, 2) if (group, worker) != (0, 1)]
    found = snapshot(pods=[*forged, *genuine])
    assert sorted(found.strangers) == ["Pod bare", "Pod of-the-lws-itself", "Pod serving-0-1"]
    assert found.slots[Slot("serving", (0, 1))].pod is None


def test_a_worker_of_a_leader_that_is_not_ours_is_not_ours() -> None:
    tracker = Tracker(plan(via="group"), BEGAN)
    tracker.members.see_child(stateful_set("serving-9", "Pod", "uid-of-somebody-s-pod"))
    assert tracker.members.see(pod(9, 1)) is None


def test_groups_that_are_missing_or_too_many_are_seen() -> None:
    found = snapshot(lws(replicas=1), [pod(0, 0), pod(0, 2)])
    assert [str(s.slot) for s in found.slots.values() if s.pod is None] == ["serving/0/1"]
    scaled_down = snapshot(lws(replicas=1), [pod(group, worker) for group in (0, 1) for worker in (0, 1, 2)])
    assert [str(s.slot) for s in scaled_down.slots.values() if not s.expected] == [
        "serving/1/0",
        "serving/1/1",
        "serving/1/2",
    ]


@pytest.mark.parametrize("policy", ["None", "Default"])
def test_in_place_where_the_controller_does_not_mind(policy: str) -> None:
    found = plan(snapshot(lws(policy=policy)))
    assert (str(found.trigger), len(found.actions)) == ("image", 6)


def test_in_place_is_refused_where_one_restart_recreates_the_group() -> None:
    found = plan(snapshot(lws(policy="RecreateGroupOnPodRestart")), strategy="in-place")
    assert found.refused
    assert [finding.id for finding in found.blockers()] == ["JSR508"]
    assert "--recreate" in found.blockers()[0].todo
    either = plan(snapshot(lws(policy="RecreateGroupOnPodRestart")))
    assert str(either.trigger) == "group"
    assert plan(snapshot(lws(policy="ThatAnotherVersionHas")), strategy="in-place").refused


def test_leaders_with_a_template_of_their_own_are_looked_into_for_themselves() -> None:
    of = lws()
    of.spec.leader_worker_template.leader_template = of.spec.leader_worker_template.worker_template
    looked_into = {("serving", "worker"): Probe(name="python", caught=1 << 14)}
    deaf = {**looked_into, ("the leaders of serving", "worker"): Probe(name="sleep")}
    found = make(snapshot(of), Request(via="signal"), "op1", Evidence(probes=deaf))
    survivors = next(finding for finding in found.findings if finding.id == "JSR304")
    assert survivors.objects == ["Pod serving-0", "Pod serving-1"]
    shared = make(snapshot(), Request(via="signal"), "op1", Evidence(probes=looked_into))
    assert not {"JSR303", "JSR304"} & {finding.id for finding in shared.findings}


def test_one_write_a_group_in_the_foreground() -> None:
    found = plan(via="group")
    writes = [action for action in found.actions if isinstance(action, Write)]
    assert [(w.verb, w.path.rpartition("/")[2], w.uid, w.slot) for w in writes] == [
        ("delete", "serving-0", "uid-serving-0", "serving/0"),
        ("delete", "serving-1", "uid-serving-1", "serving/1"),
    ]
    assert all(w.body == {"propagationPolicy": "Foreground"} for w in writes)
    one = plan(via="group", selection=Selection(job_indexes=(1,)))
    assert [action.slot for action in one.actions] == ["serving/1"]
    part = plan(via="group", selection=Selection(pods=frozenset({"serving-1-2"})))
    assert [finding.id for finding in part.blockers()] == ["JSR505"]
    assert part.blockers()[0].todo == "select these too, or use --via image, which goes Pod by Pod"


def test_rollout_is_one_write_and_only_when_asked_for() -> None:
    found = plan(via="rollout")
    (write,) = found.actions
    assert isinstance(write, Write)
    annotations = {"annotations": {"jobset-restart.io/restarted-by": "op1"}}
    assert write.body == {"spec": {"leaderWorkerTemplate": {"workerTemplate": {"metadata": annotations}}}}
    assert str(plan(strategy="recreate").trigger) == "group"


def test_a_group_is_back_when_its_last_pod_is_ready() -> None:
    tracker = Tracker(plan(via="group", selection=Selection(job_indexes=(0,))), BEGAN)
    for slot in tracker.slots:
        tracker.sent(slot, BEGAN)
    for worker in (0, 1, 2):
        tracker.observe(pod(0, worker, deleted=True), BEGAN + 1)
    for worker in (2, 1, 0):
        tracker.observe(pod(0, worker, deleted=True), BEGAN + 2, deleted=True)
    leader = build.pod(0, name="serving-0", uid="new-0", owners=build_lws.owned("StatefulSet", "set-serving"))
    leader.metadata.labels.group_index, leader.metadata.labels.worker_index = "0", "0"
    tracker.observe(leader, BEGAN + 3)
    workers = []
    for worker in (1, 2):
        new = build.pod(worker, name=f"serving-0-{worker}", uid=f"new-{worker}")
        new.metadata.owner_references = pod(0, worker, stateful_set="new-0").metadata.owner_references
        new.metadata.labels.group_index, new.metadata.labels.worker_index = "0", str(worker)
        workers.append(new)
    for new in workers:  # seen before their StatefulSet is
        tracker.observe(new, BEGAN + 4)
    assert not tracker.done
    tracker.observe_child(stateful_set("new-0", "Pod", "new-0"), BEGAN + 5)
    assert tracker.done
    assert {tracker.outcome(slot, timed_out=False) for slot in tracker.slots} == {"recreated"}


def test_it_needs_no_permission_for_jobs() -> None:
    from jobset_restart.plan import permissions

    needed = permissions(plan(via="group"))
    assert Permission("watch", "apps", "statefulsets") in needed
    assert Permission("patch", "leaderworkerset.x-k8s.io", "leaderworkersets") in needed
    assert not any(permission.resource in ("jobs", "jobsets") for permission in needed)


def test_a_group_or_an_index_that_is_not_there_is_called_so() -> None:
    for selection, words in (
        (Selection(replicated_jobs=("severing",)), "group severing"),
        (Selection(job_indexes=(0, 7)), "index 7"),
    ):
        (found,) = [f for f in plan(selection=selection).findings if f.id == "JSR106"]
        assert found.objects == [words]
        assert "did you mean serving?" in found.todo or "there are 0, 1" in found.todo


def test_more_groups_than_there_can_be_are_refused_before_one_is_made() -> None:
    with pytest.raises(TooLarge, match=r"2,147,483,647 Pods"):
        LeaderWorkerSetWorkload(lws(replicas=2**31 - 1, size=1)).fill([], [])


@pytest.mark.parametrize("leader", [pod(0, 0, deleted=True), pod(0, 0, phase="Failed")])
def test_workers_of_a_leader_that_is_going_are_known(leader: Pod) -> None:
    found = snapshot(lws(replicas=1), [leader, pod(0, 1), pod(0, 2)])
    assert not found.strangers
    assert all(state.pod for state in found.slots.values())


def test_nothing_is_waited_for_in_a_group_that_was_scaled_away() -> None:
    tracker = Tracker(plan(via="group"), BEGAN)
    for slot in tracker.slots:
        tracker.sent(slot, BEGAN)
    for worker in (0, 1, 2):
        tracker.observe(pod(1, worker), BEGAN + 1, deleted=True)
    assert tracker.slots[Slot("serving", (1, 0))].state == "starting"
    tracker.observe_workload(LeaderWorkerSetWorkload(lws(replicas=1)), BEGAN + 2)
    scaled_away = [tracker.slots[Slot("serving", (1, worker))] for worker in (0, 1, 2)]
    assert {(track.state, track.reason) for track in scaled_away} == {("ready", "serving was scaled down")}
    assert not tracker.done


def test_a_rollout_is_sent_until_its_mark_is_on_the_template() -> None:
    record = Record(id="op1", trigger="rollout", strategy="recreate", started=timestamp(BEGAN), state="detached")
    gap = [pod(group, worker) for group in (0, 1) for worker in (0, 1, 2) if (group, worker) != (0, 1)]
    assert len(carry_on(snapshot(pods=gap), record).actions) == 1
    marked = lws()
    marked.spec.leader_worker_template.worker_template.metadata.annotations.restarted_by = "op1"
    assert not carry_on(snapshot(marked, gap), record).actions


def test_a_rollout_that_leaves_groups_out_is_refused() -> None:
    def ids(partition: int) -> list[str]:
        found = snapshot(lws(partition=partition))
        return [finding.id for finding in plan(found, via="rollout").blockers()]

    assert ids(1) == ["JSR509"]
    assert ids(0) == []
    assert ids(2) == ["JSR509"]
