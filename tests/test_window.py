"""How many slots are under way at once, which go next, and what stops them."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.cli.options import Pace
from jobset_restart.errors import UsageError
from jobset_restart.objects import Pod
from jobset_restart.plan import Plan, Request, make
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot, unit_text
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.track import Tracker
from jobset_restart.triggers import pacing
from jobset_restart.turns import Turn, Turns
from tests import build, build_lws, build_ray

CRASHED = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}
UNPULLABLE = {"waiting": {"reason": "ImagePullBackOff"}}


class Play:
    """An operation without a cluster, whose Pods do as they are told. `most` is how many units or slots were ever sent
    and not back at the same time, `sent` all that was sent, in order."""

    def __init__(self, plan: Plan, pods: dict[Slot, Pod] | None = None) -> None:
        self.plan, self.now = plan, build.NOW
        self.pods = pods or {p.state.slot: p.state.pod for p in plan.scope if p.state.pod is not None}
        self.tracker = Tracker(plan, self.now, plan.min_ready_seconds)
        self.tracker.begin(self.now)
        self.turns = Turns(plan)
        self.sent: list[str] = []
        self.down: set[Slot] = {
            p.state.slot for p in plan.scope if p.sent and self.tracker.slots[p.state.slot].state != "ready"
        }
        self.most = 0
        self.last = self.go()

    def go(self) -> Turn:
        while True:
            turn = self.last = self.turns.next(self.tracker, self.now)
            if turn.kind == "over":
                self.tracker.leave(turn.halted, turn.failed, self.now)
            if turn.stage is None:
                return turn
            self.sent += [action.slot for action in turn.stage.actions]
            for slot in turn.stage.slots:
                self.tracker.sent(slot, self.now)
            self.down.update(turn.stage.slots)
            whole = self.plan.trigger is not None and self.plan.trigger.reach == "unit"
            self.most = max(self.most, len({slot.unit if whole else slot for slot in self.down}))

    def see(self, slot: Slot, *, ready: bool, restarts: int = 0, state: dict[str, Any] | None = None) -> None:
        """The Pod of the slot is seen like this."""
        pod = self.pods[slot]
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        running = [build.status(restarts=restarts, state=state or {"running": {}})]
        raw = {
            "phase": "Failed" if state is CRASHED else "Running",
            "conditions": conditions,
            "containerStatuses": running,
        }
        status = msgspec.convert(raw, type(pod.status))
        self.pods[slot] = structs.replace(pod, status=status)
        self.tracker.observe(self.pods[slot], self.now)
        self.go()

    def back(self, slot: Slot) -> None:
        self.down.discard(slot)
        self.see(slot, ready=True, restarts=1)
        self.later(self.plan.min_ready_seconds)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.tracker.tick(self.now)
        self.go()

    def recreated(self, slot: Slot) -> None:
        """The Pod is gone, and another is Ready in its place."""
        old = self.pods[slot]
        self.tracker.observe(old, self.now, deleted=True)
        name = old.metadata.name
        meta = structs.replace(old.metadata, uid=f"{old.metadata.uid}-new", creation_timestamp="2026-01-01T01:00:05Z")
        self.pods[slot] = structs.replace(old, metadata=structs.replace(meta, name=name))
        self.down.discard(slot)
        self.tracker.observe(self.pods[slot], self.now)
        self.later(self.plan.min_ready_seconds)


def several(pods: int = 6, **request: Any) -> Play:
    return Play(paced(build.several({"workers": pods}), **request))


def paced(snapshot: Snapshot, **request: Any) -> Plan:
    asked = Request(via=request.pop("via", "image"), **{"max_unavailable": "2", **request})
    plan = make(snapshot, asked, "op1")
    assert not plan.refused, plan.reason
    return plan


def worker(index: int, job: int = 0) -> Slot:
    return Slot("workers", (job, index))


def names(*indexes: int) -> list[str]:
    return [str(worker(index)) for index in indexes]


# ---------------------------------------------------------------- how many, and which next


def test_the_next_goes_when_one_is_back_and_not_before() -> None:
    run = several(min_ready_seconds=0.0)
    assert run.sent == names(0, 1)
    run.see(worker(1), ready=False, restarts=1)
    assert run.sent == names(0, 1)
    run.back(worker(1))
    assert run.sent == names(0, 1, 2)
    run.back(worker(0))
    assert run.sent == names(0, 1, 2, 3)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 2.0), (7.0, 7.0)])
def test_a_place_is_free_once_a_slot_has_stayed_ready(asked: float | None, seconds: float) -> None:
    run = several(max_unavailable="1", min_ready_seconds=asked)
    run.see(worker(0), ready=True, restarts=1)
    run.later(seconds - 0.5)
    assert run.sent == names(0)
    run.see(worker(0), ready=False, restarts=2)
    run.see(worker(0), ready=True, restarts=2)
    run.later(seconds - 0.5)
    assert run.sent == names(0)
    run.later(1.0)
    assert run.sent == names(0, 1)


def test_what_is_not_ready_by_itself_goes_first_and_takes_a_place() -> None:
    snapshot = build.several({"workers": 5})
    ill = snapshot.slots[worker(3)]
    sick = structs.replace(ill, pod=build.pod(3, ready=False))
    run = Play(paced(structs.replace(snapshot, slots={**snapshot.slots, worker(3): sick}), min_ready_seconds=0.0))
    assert run.sent == names(3, 0)
    run.see(worker(4), ready=False)
    run.back(worker(0))
    assert run.sent == names(3, 0, 4)


def test_a_slot_that_crashes_after_it_was_back_takes_a_place_again() -> None:
    run = several(min_ready_seconds=0.0)
    run.back(worker(0))
    run.see(worker(0), ready=False, restarts=2)
    run.back(worker(1))
    assert run.sent == names(0, 1, 2)
    run.back(worker(0))
    assert run.sent == names(0, 1, 2, 3)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**16))
def test_never_more_are_down_than_asked_for_and_all_go_in_the_end(pods: int, most: int, seed: int) -> None:
    draw, run = random.Random(seed), several(pods, max_unavailable=str(most), min_ready_seconds=0.0)
    while run.down:
        slot = draw.choice(sorted(run.down))
        if draw.random() < 0.4:
            run.see(slot, ready=False, restarts=1)
        else:
            run.back(slot)
        assert run.most <= most
    assert run.sent == names(*range(pods))
    assert run.tracker.done


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**16))
def test_whoever_carries_on_goes_on_where_the_other_was(pods: int, most: int, seed: int) -> None:
    draw, run = random.Random(seed), several(pods, max_unavailable=str(most), min_ready_seconds=0.0)
    for _ in range(draw.randint(0, pods)):
        if run.down:
            run.back(draw.choice(sorted(run.down)))
    again = Play(carried_on(run), dict(run.pods))
    assert len(run.down) + len(again.sent) <= max(most, len(run.down))
    while again.down:
        again.back(draw.choice(sorted(again.down)))
    assert again.most <= most
    assert run.sent + again.sent == names(*range(pods))
    assert again.tracker.done


def carried_on(run: Play) -> Plan:
    """The plan of a client that carries on what this one leaves behind."""
    pods = [
        structs.replace(
            pod,
            metadata=structs.replace(pod.metadata, annotations=structs.replace(pod.metadata.annotations, operation=m)),
        )
        if str(slot) in run.sent
        else pod
        for slot, pod in run.pods.items()
        for m in ['{"id":"op1","before":{"worker":0}}']
    ]
    seen = run.plan.snapshot
    snapshot = take(seen.workload, seen.jobs, pods, seen.nodes, build.NOW, resource_version="8", context="test")
    record = Record(
        id="op1",
        owner="ann",
        trigger="image",
        strategy="in-place",
        state="detached",
        started=claim.timestamp(build.NOW),
        request=run.plan.request,
    )
    return carry_on(snapshot, record)


def test_a_share_is_of_all_that_the_operation_restarts_whoever_carries_it_on() -> None:
    run = several(9, max_unavailable="34%", min_ready_seconds=0.0)
    assert run.sent == names(0, 1, 2)
    for index in range(5):
        run.back(worker(index))
    again = Play(carried_on(run), dict(run.pods))
    assert {stage.places for stage in again.plan.stages} == {3}


@pytest.mark.parametrize(
    ("asked", "most", "windows"), [("25%", 2, 5), ("5%", 1, 10), ("100%", 10, 1), ("3", 3, 4), ("50", 50, 1)]
)
def test_a_share_is_rounded_down_and_at_least_one(asked: str, most: int, windows: int) -> None:
    plan = paced(build.several({"workers": 10}), max_unavailable=asked)
    assert [stage.places for stage in plan.stages] == [most]
    assert f"at most {min(most, 10)} of 10 slots at once" in plan.reason
    assert f"in {windows} windows or more" in plan.reason
    whole = make(build.several({"workers": 10}), Request(via="image"), "op1")
    assert plan.prediction.likely > whole.prediction.likely or windows == 1


@pytest.mark.parametrize("asked", ["0", "0%", "150%", "-1", "one", "1.5", "1 %", "", "%", "1%%", "²"])
def test_what_is_no_number_of_slots_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match=r"neither a number|lets nothing|more than all"):
        pacing.check(asked)


@pytest.mark.parametrize(
    ("options", "asked", "told"),
    [
        ({"max_unavailable": "0"}, {}, "lets nothing be restarted"),
        ({"max_unavailable": "-1"}, {}, "neither a number nor a percentage"),
        ({"max_unavailable": "150%"}, {}, "more than all there are"),
        ({"max_unavailable": "1"}, {"via": "native"}, "native restarts everything with one write"),
        ({"keep_going": True}, {}, "needs --max-unavailable"),
        ({"order": "index"}, {}, "needs --max-unavailable or --canary"),
        ({"order": "index"}, {"canary": 0}, "needs --max-unavailable or --canary"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Any, asked: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Pace(**options).asked_in(Request(**asked), None)


def test_an_operation_that_is_carried_on_keeps_its_pace() -> None:
    with pytest.raises(UsageError, match="keeps its pace"):
        Pace(max_unavailable="2").asked_in(Request(), None, resumes=True)
    assert Pace().asked_in(Request(), None, resumes=True) == Request()


def test_what_is_asked_for_is_in_the_request_and_so_in_the_record() -> None:
    request = Pace(max_unavailable="25%", order="node", keep_going=True).asked_in(Request(), 3.0)
    again = msgspec.json.decode(msgspec.json.encode(Record(id="op1", request=request)), type=Record)
    assert again.request == request
    assert (request.max_unavailable, request.order, request.keep_going, request.min_ready_seconds) == (
        "25%",
        "node",
        True,
        3.0,
    )


def test_a_record_with_a_pace_that_is_none_cannot_be_read() -> None:
    text = '{"id":"op1","request":{"max_unavailable":"0"}}'
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Record)


class Looked(dict[Slot, Any]):
    """Counts how often a slot is looked at."""

    looks = 0

    def __getitem__(self, slot: Slot) -> Any:
        self.looks += 1
        return super().__getitem__(slot)

    def values(self) -> Any:
        self.looks += len(self)
        return super().values()


def test_the_work_is_that_of_what_has_changed() -> None:
    run = several(300, max_unavailable="10%", min_ready_seconds=0.0)
    run.tracker.slots = looked = Looked(run.tracker.slots)
    run.turns = Turns(run.plan)
    run.sent, run.down = [], set()
    run.go()
    for index in range(300):
        run.back(worker(index))
    assert run.sent == names(*range(300))
    assert looked.looks < 20 * 300


# ---------------------------------------------------------------- in which order


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("", "workers/0/0 workers/0/1 workers/1/0 workers/1/1 writer/0/0 writer/1/0"),
        ("replicated-job", "workers/0/0 workers/0/1 workers/1/0 workers/1/1 writer/0/0 writer/1/0"),
        ("job", "workers/0/0 workers/0/1 writer/0/0 workers/1/0 workers/1/1 writer/1/0"),
        ("index", "workers/0/0 workers/1/0 writer/0/0 writer/1/0 workers/0/1 workers/1/1"),
        ("node", "workers/0/0 workers/1/1 workers/0/1 workers/1/0 writer/0/0 writer/1/0"),
    ],
)
def test_slots_go_in_the_order_asked_for(order: Any, wanted: str) -> None:
    on = {"workers/0/0": "node-2", "workers/1/1": "node-2"}
    nodes = {name: build.node(name) for name in ("node-2", "node-10")}
    seen = build.snapshot(build.jobset(replicas=2), nodes=list(nodes.values()))
    writers = [Slot("writer", (job, 0)) for job in (0, 1)]
    slots = seen.slots | {slot: structs.replace(seen.slots[worker(0)], slot=slot) for slot in writers}
    placed = {}
    for slot, state in slots.items():
        node = on.get(str(slot), "node-10")
        pod = build.pod(slot.indexes[1], job=slot.indexes[0], replicated_job=slot.group, node=node)
        placed[slot] = structs.replace(state, pod=pod, node=nodes[node])
    plan = paced(structs.replace(seen, slots=placed), order=order, max_unavailable="1")
    assert [str(slot) for stage in plan.stages for slot in stage.slots] == wanted.split()


def test_the_order_in_which_the_workload_starts_comes_before_any_other() -> None:
    plan = paced(build.several({"broker": 1, "node": 3}, in_order=True), order="node", max_unavailable="2")
    assert [(len(stage.slots), stage.places, stage.after) for stage in plan.stages] == [
        (1, 2, "ready"),
        (3, 2, "ready"),
    ]
    run = Play(plan)
    assert run.sent == ["broker/0/0"]
    run.back(Slot("broker", (0, 0)))
    assert run.sent == ["broker/0/0", "node/0/0", "node/0/1"]


# ---------------------------------------------------------------- what fails


@pytest.mark.parametrize("state", [CRASHED, UNPULLABLE], ids=["ended", "no image"])
def test_it_stops_at_the_first_that_fails(state: dict[str, Any]) -> None:
    run = several(min_ready_seconds=0.0)
    run.back(worker(0))
    run.see(worker(1), ready=False, restarts=1, state=state)
    assert run.last.kind == "over"
    assert run.sent == names(0, 1, 2)
    run.back(worker(2))
    assert run.sent == names(0, 1, 2)
    assert run.tracker.left_alone == 3
    assert "workers/0/1 did not come back" in run.tracker.halted
    assert run.tracker.done


@pytest.mark.parametrize("state", [CRASHED, UNPULLABLE], ids=["ended", "no image"])
def test_it_keeps_going_where_that_was_asked_for(state: dict[str, Any]) -> None:
    run = several(4, max_unavailable="1", keep_going=True, min_ready_seconds=0.0)
    run.see(worker(0), ready=False, restarts=1, state=state)
    assert run.sent == names(0, 1)
    for index in (1, 2, 3):
        run.back(worker(index))
    assert run.sent == names(0, 1, 2, 3)
    assert not run.tracker.halted


def test_a_canary_that_fails_stops_those_that_keep_going_too() -> None:
    run = several(max_unavailable="2", keep_going=True, canary=1)
    run.see(worker(0), ready=False, restarts=1, state=UNPULLABLE)
    assert run.sent == names(0)
    assert (run.last.kind, run.tracker.left_alone) == ("over", 5)


def test_canaries_are_paced_like_everything_else() -> None:
    run = several(max_unavailable="1", canary=2)
    assert run.sent == names(0)
    run.back(worker(0))
    assert run.sent == names(0, 1)
    run.back(worker(1))
    assert run.sent == names(0, 1, 2)
    assert run.most == 1


def test_a_slot_that_was_replaced_meanwhile_is_not_sent_and_takes_a_place_until_it_is_back() -> None:
    run = several(3, max_unavailable="1", min_ready_seconds=0.0)
    run.tracker.observe(run.pods[worker(1)], run.now, deleted=True)
    run.back(worker(0))
    assert run.sent == names(0)
    run.recreated(worker(1))
    assert run.sent == names(0, 2)


# ---------------------------------------------------------------- units


def test_a_unit_goes_as_a_whole_and_takes_one_place() -> None:
    run = Play(paced(build_lws.snapshot(build_lws.lws(3, 2)), via="group", max_unavailable="1"))
    first = [Slot("serving", (0, 0)), Slot("serving", (0, 1))]
    assert run.sent == ["serving/0"]
    run.recreated(first[1])
    assert run.sent == ["serving/0"]
    run.recreated(first[0])
    assert run.sent == ["serving/0", "serving/1"]
    assert run.most == 1
    assert "at most 1 of 3 units at once" in run.plan.reason


def test_jobs_go_one_after_another() -> None:
    run = Play(paced(build.snapshot(build.jobset(replicas=3)), via="jobs", max_unavailable="34%"))
    assert run.sent == ["workers/0"]
    for index in range(2):
        run.recreated(worker(index))
    assert run.sent == ["workers/0", "workers/1"]


@pytest.mark.parametrize("via", ["group", "jobs"])
def test_so_many_units_go_first(via: Any) -> None:
    seen = build_lws.snapshot(build_lws.lws(3, 2)) if via == "group" else build.snapshot(build.jobset(replicas=3))
    plan = make(seen, Request(via=via, canary=2), "op1")
    units = [sorted({unit_text(slot.unit) for slot in stage.slots}) for stage in plan.stages]
    name = "serving" if via == "group" else "workers"
    assert units == [[f"{name}/0", f"{name}/1"], [f"{name}/2"]]
    assert plan.stages[0].canary
    (note,) = (f for f in plan.findings if f.id == "JSR311")
    assert f"{name}/0 and {name}/1" in note.summary or f"{name}/0, {name}/1" in note.summary


# ---------------------------------------------------------------- who cannot


@pytest.mark.parametrize("via", ["jobs", "pods"])
@pytest.mark.parametrize(("request_", "finding"), [({"max_unavailable": "1"}, "JSR517"), ({"canary": 1}, "JSR507")])
def test_new_pods_that_have_all_others_restarted_cannot_be_paced(via: Any, request_: Any, finding: str) -> None:
    assert finding in {f.id for f in make(build.native(), Request(via=via, **request_), "op1").blockers()}
    assert finding not in {f.id for f in make(build.snapshot(), Request(via=via, **request_), "op1").blockers()}


@pytest.mark.parametrize("via", ["native", "suspend"])
def test_what_restarts_everything_at_once_cannot_be_paced(via: Any) -> None:
    plan = make(build.native(), Request(via=via, max_unavailable="1"), "op1")
    assert plan.refused
    assert "JSR517" in {f.id for f in plan.blockers()}


def test_the_choice_passes_over_what_cannot_be_paced() -> None:
    plan = make(build.native(), Request(max_unavailable="1"), "op1")
    assert plan.trigger_name == "image"
    assert "native (JSR517" in plan.reason


# ---------------------------------------------------------------- leaders and heads


def test_workers_of_a_leader_worker_set_go_after_their_leaders_where_it_says_so() -> None:
    ordered = build_lws.lws(2, 3)
    ordered = structs.replace(ordered, spec=structs.replace(ordered.spec, startup_policy="LeaderReady"))
    plan = make(build_lws.snapshot(ordered), Request(via="image"), "op1")
    assert [str(slot) for slot in plan.stages[0].slots] == ["serving/0/0", "serving/1/0"]
    assert len(plan.stages[1].slots) == 4
    assert plan.stages[1].after == "ready"
    assert "in 2 steps, each when the one before is Ready: the leaders, then the workers" in plan.reason
    whole = make(build_lws.snapshot(ordered), Request(via="group"), "op1")
    assert [len(stage.slots) for stage in whole.stages] == [6]
    at_once = make(build_lws.snapshot(build_lws.lws(2, 3)), Request(via="image"), "op1")
    assert [len(stage.slots) for stage in at_once.stages] == [6]


def test_the_head_of_a_ray_cluster_goes_before_its_workers() -> None:
    plan = make(build_ray.snapshot(), Request(via="image", allow=("JSR521", "JSR522")), "op1")
    assert [{slot.group for slot in stage.slots} for stage in plan.stages] == [{"head"}, {"workers"}]
