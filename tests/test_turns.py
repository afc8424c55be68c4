"""The order of things: which slots are triggered when, as the ones before are seen to come back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.claim import Record
from jobset_restart.objects import ContainerStatus
from jobset_restart.order import steps
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.restart.outline import outline
from jobset_restart.restart.result import came, exit_code, result_report
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from jobset_restart.turns import Turn, Turns
from jobset_restart.waits import PROVING_SECONDS
from jobset_restart.writes import Write
from tests import build

UNKNOWN = build.node(runtime="docker://24.0.7")
ALWAYS = [build.container(imagePullPolicy="Always")]


class Walk:
    """An operation without a cluster: `sent` are the slots in the order they were triggered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = build.NOW
        self.tracker = Tracker(plan, self.now)
        self.tracker.begin(self.now)
        self.turns = Turns(plan)
        self.sent: list[str] = []
        self.images: list[str] = []
        self.told: list[str] = []
        self.last = self.go()

    def go(self) -> Turn:
        """Does what is to be done until there is something to wait for."""
        while True:
            turn = self.last = self.turns.next(self.tracker, self.now)
            if turn.kind == "over":
                self.tracker.leave(turn.halted, turn.failed, self.now)
            if turn.stage is None:
                return turn
            self.told.append(turn.stage.why)
            self.sent += [action.slot for action in turn.stage.actions]
            for action in turn.stage.actions:
                if isinstance(action, Write) and "spec" in action.body:
                    self.images += [c["image"] for c in action.body["spec"]["containers"]]
                self._sent(action.slot)

    def _sent(self, slot: str) -> None:
        self.tracker.sent(next(s for s in self.tracker.slots if str(s) == slot), self.now)

    def see(self, slot: str, **fields: Any) -> None:
        """The Pod of the slot is seen like this."""
        name, _, index = slot.split("/")
        self.now += 1
        self.tracker.observe(build.pod(int(index), replicated_job=name, **fields), self.now)
        self.go()

    def back(self, *slots: str) -> None:
        """These slots are seen back, and some time passes."""
        for slot in slots:
            self.see(slot, statuses=[build.status(restarts=1)])
        self.now += PROVING_SECONDS
        self.go()

    def waits(self, slot: str, reason: str) -> None:
        self.see(slot, ready=False, statuses=[build.status(state={"waiting": {"reason": reason}}, containerID="")])

    def fails(self, slot: str) -> None:
        ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
        self.see(slot, ready=False, phase="Failed", statuses=[build.status(state=ended)])

    def is_replaced(self, slot: str) -> None:
        self.see(slot, name="successor", created="2026-01-01T01:00:05Z")

    @property
    def outcome(self) -> tuple[int, str, dict[str, int]]:
        code, reason = exit_code(
            self.tracker, "jsr restart", interrupted=False, timed_out=False, waited=True, error=None, suspended=False
        )
        over = came(outline(self.plan), 1, self.tracker, code, reason, began=build.NOW, seconds=1, writes=1)
        return code, reason, result_report([over], seconds=1, writes=1).outcomes


def walk(snapshot: Snapshot, evidence: Evidence | None = None, **request: Any) -> Walk:
    return Walk(make(snapshot, Request(via=request.pop("via", "image"), **request), "op1", evidence))


BROKER = {"broker": 1, "node": 2}
NODES = ["node/0/0", "node/0/1"]


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("via", ["image", "signal", "jobs", "pods"])
def test_in_order_each_step_begins_when_the_one_before_is_ready(via: str) -> None:
    probes = {(name, "worker"): Probe(name="python", caught=1 << 14) for name in BROKER}
    snapshot = build.several(BROKER, in_order=True, restart_policy="OnFailure")
    plan = make(snapshot, Request(via=via, canary=0), "op1", Evidence(probes=probes))  # type: ignore[arg-type]
    assert [[str(s) for s in stage.slots] for stage in plan.stages] == [["broker/0/0"], NODES]
    assert {stage.after for stage in plan.stages} == {"ready"}
    assert [stage.why for stage in plan.stages] == ["step 1 of 2: broker", "step 2 of 2: node"]
    assert "in 2 steps, each when the one before is Ready: broker, then node" in plan.reason
    (note,) = (f for f in plan.findings if f.id == "JSR506")
    assert note.severity == "note"


def test_suspend_leaves_the_order_to_the_controller() -> None:
    plan = make(build.several(BROKER, in_order=True), Request(via="suspend"), "op1")
    assert [stage.name for stage in plan.stages] == ["suspend", "resume"]
    assert "JSR506" not in {f.id for f in plan.findings}


def test_the_workers_wait_for_their_broker() -> None:
    run = walk(build.several(BROKER, in_order=True))
    assert run.sent == ["broker/0/0"]
    run.see("broker/0/0", ready=False, statuses=[build.status(restarts=1)])
    assert run.sent == ["broker/0/0"]
    run.back("broker/0/0")
    assert run.sent == ["broker/0/0", *NODES]
    assert not run.tracker.done
    run.back(*NODES)
    assert run.tracker.done
    assert run.outcome == (0, "every slot is back", {"restarted": 3})


def test_a_step_that_fails_leaves_the_later_ones_alone() -> None:
    run = walk(build.several(BROKER, in_order=True))
    run.fails("broker/0/0")
    assert run.sent == ["broker/0/0"]
    assert run.tracker.done
    code, reason, outcomes = run.outcome
    assert (code, outcomes) == (4, {"failed": 1, "unchanged": 2})
    assert reason.endswith("2 others were not touched, for broker/0/0 did not come back")


def test_what_becomes_of_a_slot_left_alone_is_not_waited_for() -> None:
    run = walk(build.several(BROKER, in_order=True))
    run.fails("broker/0/0")
    run.see("node/0/0", ready=False, statuses=[build.status(state={"terminated": {"exitCode": 1}})])
    assert run.tracker.done
    assert run.outcome[0] == 4


def test_two_that_depend_on_the_same_one_go_together() -> None:
    needs = {"workers": [("broker", "Ready")], "evaluator": [("broker", "Ready")]}
    run = walk(build.several({"broker": 1, "workers": 1, "evaluator": 1}, depends=needs))
    assert run.sent == ["broker/0/0"]
    run.back("broker/0/0")
    assert run.sent[1:] == ["workers/0/0", "evaluator/0/0"]


def test_what_is_complete_already_holds_nobody_up() -> None:
    snapshot = build.several({"data": 1, "workers": 2}, depends={"workers": [("data", "Complete")]}, complete=("data",))
    assert walk(snapshot).sent == ["workers/0/0", "workers/0/1"]


def test_what_has_to_be_complete_is_waited_for_to_its_end() -> None:
    run = walk(build.several({"data": 1, "workers": 1}, depends={"workers": [("data", "Complete")]}))
    run.back("data/0/0")
    assert run.sent == ["data/0/0"]
    done = build.status(restarts=1, state={"terminated": {"exitCode": 0}})
    run.see("data/0/0", ready=False, phase="Succeeded", statuses=[done])
    assert run.sent == ["data/0/0", "workers/0/0"]


def test_a_part_keeps_the_order_among_what_is_selected() -> None:
    snapshot = build.several({"a": 1, "b": 1, "c": 1}, in_order=True)
    run = walk(snapshot, selection=Selection(replicated_jobs=("c", "a")))
    assert run.sent == ["a/0/0"]
    run.back("a/0/0")
    assert run.sent == ["a/0/0", "c/0/0"]
    assert walk(snapshot, selection=Selection(replicated_jobs=("b",))).sent == ["b/0/0"]


def test_native_says_that_it_keeps_no_order() -> None:
    snapshot = build.native()
    more = build.several(BROKER, in_order=True)
    build.jobset_of(snapshot).spec.startup_policy = build.jobset_of(more).spec.startup_policy
    build.jobset_of(snapshot).spec.replicated_jobs += build.jobset_of(more).spec.replicated_jobs
    snapshot.slots.update(more.slots)
    found = make(snapshot, Request(via="native", allow=("JSR305",)), "op1")
    (warning,) = (f for f in found.findings if f.id == "JSR506")
    assert warning.severity == "warning"
    assert "all at once" in warning.summary


def test_the_prediction_counts_every_step() -> None:
    at_once, one_by_one = (
        make(build.several({"a": 1, "b": 1, "c": 1}, in_order=ordered), Request(via="image"), "op1")
        for ordered in (False, True)
    )
    once, thrice = at_once.prediction, one_by_one.prediction
    assert thrice.low == pytest.approx(3 * once.low, rel=0.1)
    assert thrice.likely == pytest.approx(3 * once.likely, rel=0.1)
    assert thrice.high == pytest.approx(3 * once.high, rel=0.1)
    assert "it is waited for slots 3 times" in thrice.grounds


@given(st.data())
def test_whatever_depends_on_what_nothing_is_triggered_before_its_turn(data: st.DataObject) -> None:
    """Any dependsOn, any part selected, slots back in any order, one of them perhaps never."""
    names = [f"r{n}" for n in range(data.draw(st.integers(1, 5)))]
    needs = {
        name: [(on, "Ready") for on in data.draw(st.lists(st.sampled_from(names[:n]), unique=True))]
        for n, name in enumerate(names)
        if n
    }
    pods = {name: data.draw(st.integers(1, 3)) for name in names}
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    run = walk(build.several(pods, depends=needs), selection=Selection(replicated_jobs=tuple(chosen)))
    up: set[str] = set()
    broken = ""
    while waiting := [slot for slot in run.sent if slot not in up]:
        for slot in run.sent:
            before = {on for on, _ in needs.get(slot.partition("/")[0], ()) if on in chosen}
            assert all(f"{on}/0/{n}" in up for on in before for n in range(pods[on]))
        slot = data.draw(st.sampled_from(waiting))
        up.add(slot)
        if not broken and data.draw(st.integers(0, 9)) == 0:
            broken = slot
            run.fails(slot)
        else:
            run.back(slot)
    assert len(run.sent) == len(set(run.sent))
    later = {s for s in run.tracker.slots if str(s) not in run.sent}
    if broken and not later:
        assert not run.tracker.done
        run.is_replaced(broken)
    assert run.tracker.done
    assert run.outcome[0] == (4 if later else 0)
    assert broken or not later


def test_an_entry_for_what_is_not_listed_before_counts_for_nothing() -> None:
    jobset = build.jobset_of(build.several({"a": 1, "b": 1}, depends={"a": [("b", "Ready"), ("none", "Ready")]}))
    assert [step.names for step in steps(jobset, [Slot("a"), Slot("b"), Slot("c")])] == [("a", "b", "c")]


# ---------------------------------------------------------------- who goes first


def test_containerd_is_known_to_take_the_reference_so_nobody_goes_first() -> None:
    run = walk(build.several({"workers": 3}))
    assert len(run.sent) == 3
    assert run.last.kind == "over"


def test_a_runtime_nothing_is_known_of_gets_one_pod_first() -> None:
    run = walk(build.several({"workers": 3}, nodes=[UNKNOWN]))
    assert run.sent == ["workers/0/0"]
    assert "JSR311" in {f.id for f in run.plan.findings}
    run.back("workers/0/0")
    assert run.sent == ["workers/0/0", "workers/0/1", "workers/0/2"]


def test_a_program_that_ends_as_it_starts_is_no_proof() -> None:
    """It is Ready for a moment."""
    run = walk(build.several({"workers": 3}), canary=1)
    run.see("workers/0/0", statuses=[build.status(restarts=1)])
    assert run.tracker.slots[Slot("workers", (0, 0))].state == "ready"
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    run.see("workers/0/0", ready=False, statuses=[build.status(restarts=1, state=ended)])
    assert run.last.kind == "wait"
    run.see("workers/0/0", ready=False, phase="Failed", statuses=[build.status(restarts=1, state=ended)])
    assert run.sent == ["workers/0/0"]
    assert run.outcome[0] == 4
    assert run.outcome[2] == {"failed": 1, "unchanged": 2}


def test_a_container_that_runs_such_a_reference_proves_it() -> None:
    tagged = [build.container(image=f"docker.io/library/app:1@{build.DIGEST}")]
    assert len(walk(build.several({"workers": 3}, nodes=[UNKNOWN], containers=tagged)).sent) == 3


def test_a_pull_is_tried_on_one_pod_of_each_image() -> None:
    snapshot = build.several({"driver": 1, "evaluator": 2, "workers": 2}, containers=ALWAYS)
    for slot, state in snapshot.slots.items():
        if slot.group == "workers" and state.pod:
            state.pod.spec.containers[0].image = "docker.io/library/app:2"
    run = walk(snapshot)
    assert run.sent == ["driver/0/0"]
    run.back("driver/0/0")
    assert run.sent == ["driver/0/0", "workers/0/0"]
    run.back("workers/0/0")
    assert len(run.sent) == 5


def test_pods_restarted_one_by_one_before_still_have_one_image() -> None:
    snapshot = build.several({"workers": 3}, containers=ALWAYS)
    for number, state in enumerate(snapshot.slots.values()):
        if state.pod is not None:
            state.pod.spec.containers[0].image = f"docker.io/library/app:1-jsr-op{number}@{build.DIGEST}"
    run = walk(snapshot)
    run.back("workers/0/0")
    assert len(run.sent) == 3
    assert "the pull of docker.io/library/app:1" in next(f.summary for f in run.plan.findings if f.id == "JSR311")


def test_who_goes_first_is_healthy_and_of_the_first_step() -> None:
    snapshot = build.several({"broker": 2, "node": 2}, in_order=True, containers=ALWAYS)
    ill = build.pod(0, replicated_job="broker", ready=False, containers=ALWAYS)
    first = Slot("broker", (0, 0))
    snapshot.slots[first] = structs.replace(snapshot.slots[first], pod=ill)
    run = walk(snapshot)
    assert run.sent == ["broker/0/1"]
    assert run.told == ["step 1 of 2: broker, broker/0/1 first"]


@pytest.mark.parametrize("canary", [0, 2])
def test_as_many_go_first_as_were_asked_for(canary: int) -> None:
    run = walk(build.several({"workers": 4}), canary=canary)
    assert len(run.sent) == (canary or 4)


def test_a_signal_goes_to_one_first() -> None:
    probes = {("workers", "worker"): Probe(name="python", caught=1 << 14)}
    snapshot = build.several({"workers": 3}, restart_policy="OnFailure")
    run = walk(snapshot, Evidence(probes=probes), via="signal")
    assert run.sent == ["workers/0/0"]


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_costs_one_slot(reason: str) -> None:
    run = walk(build.several({"workers": 3}, containers=ALWAYS))
    run.waits("workers/0/0", "ErrImagePull")
    assert run.last.kind == "wait"
    run.waits("workers/0/0", reason)
    assert run.sent == ["workers/0/0"]
    assert run.tracker.done
    code, told, outcomes = run.outcome
    assert (code, outcomes) == (4, {"failed": 1, "unchanged": 2})
    assert reason in told
    run.waits("workers/0/0", "ErrImagePull")
    assert run.tracker.done, "it stays given up while the kubelet goes on trying"
    assert run.outcome[0] == 4


@pytest.mark.parametrize("reason", ["InvalidImageName", "CreateContainerError", "ErrImagePull", "ImageInspectError"])
def test_a_runtime_that_refuses_the_tag_gets_the_digest_alone(reason: str) -> None:
    run = walk(build.several({"workers": 3}, nodes=[UNKNOWN]))
    run.waits("workers/0/0", reason)
    plain = f"docker.io/library/app@{build.DIGEST}"
    assert run.images == [f"docker.io/library/app:1-jsr-op1@{build.DIGEST}", plain]
    run.waits("workers/0/0", reason)
    assert len(run.images) == 2, "the same refusal is seen until the kubelet has taken it up"
    run.back("workers/0/0")
    assert run.images[2:] == [plain, plain]
    run.back("workers/0/1", "workers/0/2")
    assert run.outcome == (0, "every slot is back", {"restarted": 3})


def test_where_neither_form_helps_the_others_are_left_alone() -> None:
    run = walk(build.several({"workers": 3}, nodes=[UNKNOWN]))
    run.waits("workers/0/0", "InvalidImageName")
    run.fails("workers/0/0")
    assert run.outcome[2] == {"failed": 1, "unchanged": 2}


def test_the_only_slot_there_is_is_its_own_canary() -> None:
    run = walk(build.several({"workers": 1}, nodes=[UNKNOWN]))
    assert run.last.kind == "wait"
    assert "JSR311" not in {f.id for f in run.plan.findings}
    run.waits("workers/0/0", "InvalidImageName")
    assert len(run.images) == 2
    run.back("workers/0/0")
    assert run.outcome == (0, "every slot is back", {"restarted": 1})


def test_mixed_runtimes_keep_what_is_known_of_each() -> None:
    snapshot = build.several({"workers": 3}, nodes=[UNKNOWN, build.node("node-1")])
    second = Slot("workers", (0, 1))
    pod, node = build.pod(1, node="node-1"), build.node("node-1")
    snapshot.slots[second] = structs.replace(snapshot.slots[second], pod=pod, node=node)
    run = walk(snapshot)
    run.waits("workers/0/0", "InvalidImageName")
    run.back("workers/0/0")
    assert [("jsr-" in image) for image in run.images] == [True, False, True, False]


# ---------------------------------------------------------------- carried on by another client


def carried_on(snapshot: Snapshot, *slots: str, request: Request | None = None, **status: Any) -> Walk:
    """The same operation, of which a client that is gone had sent these slots; `status` is how their container is."""
    for slot, state in snapshot.slots.items():
        if str(slot) in slots and state.pod is not None:
            state.pod.metadata.annotations.operation = '{"id":"op1","before":{"worker":0}}'
            state.pod.status.container_statuses[0] = msgspec.convert(build.status(**status), ContainerStatus)
    record = Record(
        id="op1",
        owner="ann",
        trigger="image",
        strategy="in-place",
        state="detached",
        started=claim.timestamp(build.NOW),
        request=request or Request(),
    )
    return Walk(carry_on(snapshot, record))


def test_a_step_under_way_is_waited_for_by_whoever_carries_on() -> None:
    run = carried_on(build.several(BROKER, in_order=True), "broker/0/0")
    assert run.sent == []
    run.back("broker/0/0")
    assert run.sent == NODES


def test_a_step_that_is_back_already_is_not() -> None:
    assert carried_on(build.several(BROKER, in_order=True), "broker/0/0", restarts=1).sent == NODES


def test_whoever_carries_on_sends_nobody_after_a_slot_that_went_first_and_is_down() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    snapshot = build.several({"workers": 3}, containers=ALWAYS)
    run = carried_on(snapshot, "workers/0/0", restarts=1, state=ended)
    assert run.sent == []
    run.fails("workers/0/0")
    assert run.sent == []
    assert run.outcome[2] == {"failed": 1, "unchanged": 2}


def test_whoever_carries_on_sends_one_first_as_well() -> None:
    run = carried_on(build.several({"workers": 4}), "workers/0/0", restarts=1, request=Request(canary=1))
    assert run.sent == ["workers/0/1"]
    run.back("workers/0/1")
    assert run.sent == ["workers/0/1", "workers/0/2", "workers/0/3"]


def test_whoever_carries_on_waits_for_what_has_to_be_complete() -> None:
    snapshot = build.several({"data": 1, "workers": 1}, depends={"workers": [("data", "Complete")]})
    run = carried_on(snapshot, "data/0/0", restarts=1)
    assert run.sent == []
    done = build.status(restarts=1, state={"terminated": {"exitCode": 0}})
    run.see("data/0/0", ready=False, phase="Succeeded", statuses=[done])
    assert run.sent == ["workers/0/0"]


def test_whoever_carries_on_after_a_refusal_sends_nothing_before_it_is_mended() -> None:
    snapshot = build.several({"workers": 3}, nodes=[UNKNOWN])
    for state in snapshot.slots.values():
        if state.pod is not None and state.slot.indexes[-1] == 0:
            state.pod.spec.containers[0].image = f"docker.io/library/app:1-jsr-op1@{build.DIGEST}"
    run = carried_on(snapshot, "workers/0/0", state={"waiting": {"reason": "InvalidImageName"}})
    assert run.sent == []
    run.back("workers/0/0")
    assert run.sent == ["workers/0/1", "workers/0/2"]
    assert not any("jsr-" in image for image in run.images)


def test_a_slot_that_nothing_wants_any_more_is_not_said_to_be_back() -> None:
    plan = make(build.snapshot(build.jobset(pods=3)), Request(via="suspend"), "op1")
    tracker = Tracker(plan, build.NOW)
    tracker.sent_all(build.NOW)
    for index in (0, 1, 2):
        tracker.observe(build.pod(index), build.NOW + 1, deleted=True)
    job = build.job(build.jobset(pods=3))
    tracker.observe_child(structs.replace(job, spec=structs.replace(job.spec, completions=2, parallelism=2)), build.NOW)
    for index in (0, 1):
        tracker.observe(build.pod(index, name=f"new-{index}", created="2026-11-23T10:00:30Z"), build.NOW + 2)
    assert tracker.done
    code, reason = ended(tracker)
    assert (code, reason) == (
        0,
        "every slot that is still wanted is back: 1 gone (Job train-workers-0 was scaled down)",
    )


def ended(tracker: Tracker) -> tuple[int, str]:
    return exit_code(tracker, "", interrupted=False, timed_out=False, waited=True, error=None, suspended=False)
