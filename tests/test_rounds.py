"""One round after another: which is next, what the record says of it, and what is told of all of them together."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.claim import PastRound, Record
from jobset_restart.ladder import Footing, Left, above
from jobset_restart.objects import Pod
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.restart import carry_on_command
from jobset_restart.restart.escalate import Standing, TurnsLeft, next_request, passed
from jobset_restart.restart.outline import outline
from jobset_restart.restart.result import Came, came, exit_code, left_over, past_round, result_report
from jobset_restart.resume import carry_on
from jobset_restart.slots import Slot
from jobset_restart.snapshot import OPERATION, Snapshot
from jobset_restart.track import Tracker
from jobset_restart.vocabulary import RUNGS, TriggerName
from tests import build

NOW = build.NOW
FALLBACK = Request(strategy="in-place", containers=("worker",), node_down=("n",), allow=("JSR201",), fallback=True)
FIRST, SECOND, THIRD = (Slot("workers", (0, index)) for index in range(3))


# ---------------------------------------------------------------- which is next


def standing(request: Request = FALLBACK, **fields: Any) -> Standing:
    return Standing(**{"request": request, "again": Selection(), "refused_throughout": True, **fields})


def test_what_was_refused_in_place_is_recreated_where_that_is_allowed() -> None:
    again = Selection(slots=frozenset({FIRST}))
    found = next_request(standing(again=again))
    assert found is not None
    assert (found.strategy, found.via, found.fallback, found.selection) == ("recreate", "", False, again)
    assert (found.containers, found.node_down, found.allow) == (("worker",), ("n",), ("JSR201",))


def test_nothing_follows_what_was_not_allowed_or_not_refused_throughout() -> None:
    assert next_request(standing(structs.replace(FALLBACK, fallback=False))) is None
    assert next_request(standing(refused_throughout=False)) is None


def test_the_fallback_has_no_fallback_of_its_own() -> None:
    second = next_request(standing())
    assert second is not None
    assert next_request(standing(second)) is None


# ---------------------------------------------------------------- what is left of a plan


def two_groups() -> Snapshot:
    return build.several({"broker": 1, "workers": 2})


@pytest.mark.parametrize(
    "selection",
    [
        Selection(replicated_jobs=("workers",)),
        Selection(pods=frozenset({"train-workers-0-0-x", "train-workers-0-1-x"})),
    ],
)
def test_the_slots_of_a_part_are_selected_again_by_their_place(selection: Selection) -> None:
    snapshot = two_groups()
    if selection.pods:
        pods = (s.pod.metadata.name for s in snapshot.slots.values() if s.pod and s.slot.group == "workers")
        selection = Selection(pods=frozenset(pods))
    again = outline(make(snapshot, Request(via="image", selection=selection), "op1")).again
    new = (structs.replace(state, pod=build.pod(9, name="new")) for state in snapshot.slots.values())
    assert [str(state.slot) for state in again.of(new)] == ["workers/0/0", "workers/0/1"]


def test_all_slots_are_selected_again_as_all_there_are_by_then() -> None:
    assert outline(make(two_groups(), Request(via="image"), "op1")).again == Selection()


def test_a_plan_that_carries_on_a_part_selects_that_part_again() -> None:
    snapshot = two_groups()
    part = make(snapshot, Request(via="image", selection=Selection(replicated_jobs=("workers",))), "op1")
    plan = carry_on(snapshot, claim.opened(part, "ann", NOW, NOW + 60))
    assert outline(plan).again.slots == frozenset({FIRST, SECOND})


def test_to_carry_on_the_fallback_is_said_again_while_it_is_ahead() -> None:
    plan = make(build.snapshot(), Request(strategy="in-place", fallback=True), "op1")
    assert carry_on_command(plan).endswith("--resume op1 --fallback recreate")
    assert carry_on_command(make(build.snapshot(), Request(strategy="recreate"), "op1")).endswith("--resume op1")


# ---------------------------------------------------------------- the record


def opened(plan: Plan) -> Record:
    return claim.opened(plan, "ann", NOW, NOW + 60)


def second_of(record: Record, plan: Plan, at: float = NOW + 5) -> Record:
    over = PastRound(strategy="in-place", trigger="image", started=record.started, ended=claim.timestamp(at), slots=2)
    return structs.replace(record, **claim.next_round(record, plan, over, at))


def test_the_record_tells_of_the_round_that_runs_and_keeps_those_before() -> None:
    part = make(two_groups(), Request(via="image", selection=Selection(replicated_jobs=("workers",))), "op1")
    whole = make(two_groups(), Request(via="suspend"), "op1")
    second = second_of(opened(part), whole)
    assert (second.round, second.trigger, second.strategy, second.phase) == (2, "suspend", "recreate", "triggering")
    assert (second.scope, second.slots, second.attempt) == ((), 3, None)
    assert (second.started, second.began) == (claim.timestamp(NOW + 5), claim.timestamp(NOW))
    assert second.deadline == opened(part).deadline
    assert [each.trigger for each in second.rounds] == ["image"]
    third = second_of(second, part, NOW + 9)
    assert (third.round, third.scope, third.began) == (3, ("workers/0/0-1",), claim.timestamp(NOW))


def test_a_reader_that_knows_of_no_rounds_reads_the_one_that_runs() -> None:
    class Old(msgspec.Struct, rename="camel"):
        id: str
        trigger: str
        started: str
        slots: int = 0
        scope: tuple[str, ...] = ()

    second = second_of(
        opened(make(two_groups(), Request(via="image"), "op1")), make(two_groups(), Request(via="suspend"), "op1")
    )
    old = msgspec.json.decode(claim.written(second)[OPERATION], type=Old)
    assert (old.trigger, old.started, old.slots) == ("suspend", claim.timestamp(NOW + 5), 3)


def test_the_second_round_is_carried_on_as_the_second_round() -> None:
    snapshot = two_groups()
    second = second_of(
        opened(make(snapshot, Request(via="image"), "op1")), make(snapshot, Request(via="suspend"), "op1")
    )
    plan = carry_on(snapshot, second, fallback=True)
    assert (plan.operation, plan.trigger_name, plan.request.fallback) == ("op1", "suspend", False)
    assert claim.carried_on(opened(plan), second).rounds == second.rounds


@pytest.mark.parametrize("fields", [{"started": "soon"}, {"ended": ""}, {}])
def test_a_round_without_its_times_makes_the_record_unreadable(fields: dict[str, str]) -> None:
    text = msgspec.json.encode({"id": "op1", "rounds": [fields]})
    with pytest.raises(msgspec.ValidationError, match="does not say when it was"):
        msgspec.json.decode(text, type=Record)


def test_the_word_of_the_record_allows_no_fallback() -> None:
    snapshot = two_groups()
    said = opened(make(snapshot, Request(via="image", fallback=True), "op1"))
    assert said.request.fallback
    assert not carry_on(snapshot, said).request.fallback
    assert carry_on(snapshot, said, fallback=True).request.fallback


# ---------------------------------------------------------------- what is told of all of them


def over(plan: Plan, number: int, tracker: Tracker, earlier: list[Came]) -> Came:
    of = outline(plan)
    code, reason = exit_code(
        tracker,
        "jsr restart",
        interrupted=False,
        timed_out=False,
        waited=True,
        error=None,
        suspended=False,
        earlier=left_over(earlier, of),
    )
    return came(of, number, tracker, code, reason, began=NOW, seconds=2.0, writes=1)


def refused_in_place(snapshot: Snapshot) -> Came:
    plan = make(snapshot, Request(via="image", selection=Selection(replicated_jobs=("workers",))), "op1")
    tracker = Tracker(plan, NOW)
    for slot in tracker.slots:
        tracker.refused(slot, "forbidden", NOW)
    return over(plan, 1, tracker, [])


def all_back(plan: Plan) -> Tracker:
    tracker = Tracker(plan, NOW + 2)
    tracker.sent_all(NOW + 2)
    for slot, track in tracker.slots.items():
        for pod in list(track.pods.values()):
            tracker.observe(pod, NOW + 3, deleted=True)
        name = f"new-{slot.group}-{slot.indexes[-1]}"
        new = build.pod(slot.indexes[-1], replicated_job=slot.group, name=name, created="2026-01-01T01:00:03Z")
        tracker.observe(new, NOW + 4)
    return tracker


def three() -> Snapshot:
    return build.snapshot(build.jobset(pods=3))


def recreates(snapshot: Snapshot, *slots: Slot) -> Plan:
    selection = Selection(slots=frozenset(slots)) if slots else Selection()
    via = "pods" if slots else "suspend"
    return make(snapshot, Request(via=via, allow=("JSR202", "JSR201"), selection=selection), "op1")  # type: ignore[arg-type]


def test_what_the_second_round_brings_back_is_back() -> None:
    first = refused_in_place(three())
    assert (first.code, first.outcomes) == (4, {"failed": 3})
    plan = recreates(three())
    second = over(plan, 2, all_back(plan), [first])
    report = result_report([first, second], [past_round(first, NOW + 2)], seconds=4.0, writes=3)
    assert (report.exit_code, report.reason, report.outcomes) == (0, "every slot is back", {"recreated": 3})
    assert [(r.round, r.trigger, r.outcomes) for r in report.rounds] == [
        (1, "image", {"failed": 3}),
        (2, "suspend", {"recreated": 3}),
    ]
    assert {row.round for row in report.slots} == {2}
    assert all(row.previous_pod.startswith("train-workers") and row.pod.startswith("new-") for row in report.slots)


def test_what_no_later_round_takes_up_is_still_not_back() -> None:
    first = refused_in_place(three())
    plan = recreates(three(), FIRST)
    assert not plan.refused, plan.reason
    second = over(plan, 2, all_back(plan), [first])
    report = result_report([first, second], [past_round(first, NOW + 2)], seconds=4.0, writes=3)
    assert report.exit_code == 4
    assert report.reason == "2 slots never left, what was sent was refused: forbidden (2)"
    assert report.outcomes == {"recreated": 1, "failed": 2}
    assert [(row.slot, row.round) for row in report.slots] == [
        ("workers/0/0", 2),
        ("workers/0/1", 1),
        ("workers/0/2", 1),
    ]


@pytest.mark.parametrize(("pods", "outcome"), [((0, 1), "gone"), ((0, 1, 2), "unchanged")])
def test_a_slot_that_completed_meanwhile_is_not_held_against_anybody(pods: tuple[int, ...], outcome: str) -> None:
    """Whether its Pod is still there or not."""
    first = refused_in_place(three())
    jobset = build.jobset(pods=3)
    job = build.job(jobset, status={"succeeded": 1, "completedIndexes": "2"})
    left = [build.pod(index, phase="Succeeded" if index == 2 else "Running") for index in pods]
    plan = recreates(build.snapshot(jobset, left, [job]), FIRST, SECOND)
    second = over(plan, 2, all_back(plan), [first])
    report = result_report([first, second], [past_round(first, NOW + 2)], seconds=4.0, writes=3)
    assert report.exit_code == 0
    assert report.outcomes == {"recreated": 2, outcome: 1}


def test_a_slot_that_was_back_stays_so_when_it_completes_before_the_next_round() -> None:
    plan = make(three(), Request(via="suspend", selection=Selection()), "op1")
    tracker = all_back(plan)
    tracker.refused(FIRST, "forbidden", NOW + 4)
    tracker.slots[FIRST].state = "failed"
    first = over(plan, 1, tracker, [])
    jobset = build.jobset(pods=3)
    job = build.job(jobset, status={"succeeded": 1, "completedIndexes": "2"})
    then = recreates(build.snapshot(jobset, [build.pod(0), build.pod(1)], [job]), FIRST)
    report = result_report([first, over(then, 2, all_back(then), [first])], seconds=4.0, writes=3)
    assert report.outcomes == {"recreated": 3}
    assert [(row.slot, row.round) for row in report.slots] == [(str(FIRST), 2), (str(SECOND), 1), (str(THIRD), 1)]


def test_one_round_alone_is_told_as_ever() -> None:
    report = result_report([refused_in_place(three())], seconds=1.0, writes=0)
    assert report.rounds == []
    assert {row.round for row in report.slots} == {1}


def test_a_plan_that_was_given_away_takes_its_pods_along() -> None:
    """However many rounds there were: of each Pod the version that was seen last is kept, and no other."""

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Pod) for thing in gc.get_objects())

    before = alive()
    rounds: list[Came] = []
    for number in (1, 2):
        plan = recreates(three())
        tracker = all_back(plan)
        rounds.append(over(plan, number, tracker, rounds))
        del plan
        assert alive() - before == 3
        del tracker
        assert alive() == before


# ---------------------------------------------------------------- rung by rung

EVERYWHERE: tuple[TriggerName, ...] = ("image", "signal", "force", "suspend", "jobs", "pods")
FOOTING = Footing(slots=tuple(Slot("workers", (job, index)) for job in (0, 1) for index in (0, 1)), triggers=EVERYWHERE)
HUNG, SILENT = Left(slot=Slot("workers", (0, 1)), pod="hung", runs=True), Left(slot=Slot("workers", (1, 0)), pod="away")
IN_PLACE = Request(strategy="in-place", via="image", signal="TERM", canary=2, allow=("JSR202",), escalate="workload")


def stands(rung: str = "", most: str = "workload", left: tuple[Left, ...] = (HUNG, SILENT), **fields: Any) -> Standing:
    request = structs.replace(IN_PLACE, rung=rung, escalate=most)
    return Standing(**{"request": request, "again": Selection(), "left": left, "footing": FOOTING, **fields})


def asked(came: Standing) -> Request:
    found = next_request(came)
    assert found is not None
    return found


def meant(request: Request) -> set[Slot]:
    return set(request.selection.slots or ())


def test_the_rungs_rise_one_by_one_as_far_as_is_allowed() -> None:
    seen, rung = [], ""
    while (found := next_request(stands(rung))) is not None:
        seen.append((found.rung, found.strategy, found.via))
        rung = found.rung
    assert seen == [
        ("force", "in-place", "force"),
        ("pod", "recreate", "pods"),
        ("job", "recreate", "jobs"),
        ("workload", "recreate", ""),
    ]
    for at, most in enumerate(RUNGS):
        assert next_request(stands(most, most)) is None
        assert asked(stands("", most, left=(HUNG,))).rung == "force"
        assert above("", most) == RUNGS[: at + 1]
    assert above("", "") == ()


def test_each_rung_is_for_the_slots_that_are_left() -> None:
    chosen = {rung: asked(stands(before)) for before, rung in zip(("", *RUNGS[:3]), RUNGS, strict=True)}
    assert meant(chosen["force"]) == {HUNG.slot}
    assert meant(chosen["pod"]) == {HUNG.slot, SILENT.slot}
    assert meant(chosen["job"]) == set(FOOTING.slots)
    assert chosen["workload"].selection == Selection()
    assert meant(asked(stands("pod", left=(HUNG,)))) == set(FOOTING.slots[:2])


def test_a_rung_takes_over_what_was_allowed_and_not_how_it_was_done() -> None:
    found = asked(stands("force"))
    assert (found.allow, found.escalate) == (("JSR202",), "workload")
    assert (found.signal, found.canary, found.fallback) == ("", None, False)


def test_without_a_container_that_runs_there_is_nothing_to_force() -> None:
    came = stands(left=(SILENT,))
    found = asked(came)
    assert found.rung == "pod"
    assert [each.rung for each in passed(came, found)] == ["force"]


def test_a_dead_machine_is_left_alone_unless_it_was_declared_down() -> None:
    on_dead = structs.replace(SILENT, down="n7")
    came = stands("force", left=(HUNG, on_dead))
    assert meant(asked(came)) == {HUNG.slot}
    assert meant(asked(structs.replace(came, request=structs.replace(came.request, rung="pod")))) == set(
        FOOTING.slots[:2]
    )
    alone = stands("force", "pod", left=(on_dead,))
    assert next_request(alone) is None
    (told,) = passed(alone, None)
    assert "n7" in told.reason
    assert "--node-down" in told.reason
    allowed = structs.replace(alone, request=structs.replace(alone.request, node_down=("n7",)))
    assert meant(asked(allowed)) == {SILENT.slot}


def test_pods_without_an_index_are_chosen_by_their_names() -> None:
    seated = tuple(structs.replace(each, seated=True) for each in (HUNG, SILENT))
    assert asked(stands("force", left=seated)).selection == Selection(pods=frozenset({"hung", "away"}))


def test_what_was_refused_throughout_did_not_fail_to_come_back() -> None:
    assert next_request(stands(refused_throughout=True)) is None


def test_a_rung_that_was_looked_at_and_not_taken_is_not_looked_at_again() -> None:
    assert asked(stands(tried="pod")).rung == "job"


def test_those_whose_turn_had_not_come_follow_when_nothing_is_left() -> None:
    came = stands("force", left=(), waiting=TurnsLeft(slots=(FIRST,), by="image"))
    found = asked(came)
    assert (found.rung, found.via, meant(found)) == ("", "image", {FIRST})
    assert next_request(structs.replace(came, number=claim.MOST_ROUNDS)) is None
    assert (
        next_request(structs.replace(came, left=(HUNG,), request=structs.replace(came.request, escalate="force")))
        is None
    )


def test_a_record_with_more_rounds_than_there_can_be_is_not_read() -> None:
    one = {"started": claim.timestamp(NOW), "ended": claim.timestamp(NOW)}
    text = msgspec.json.encode({"id": "op1", "rounds": [one] * (claim.MOST_ROUNDS + 1)})
    with pytest.raises(msgspec.ValidationError, match="rounds"):
        msgspec.json.decode(text, type=Record)


def test_to_carry_on_the_escalation_is_said_again() -> None:
    plan = make(build.snapshot(), Request(via="image", escalate="pod", step_timeout=90.0), "op1")
    assert carry_on_command(plan).endswith("--resume op1 --escalate pod --step-timeout 90s")


@pytest.mark.parametrize(("asked_for", "holds"), [("pod", "pod"), ("", "")])
def test_the_word_of_the_record_allows_no_escalation(asked_for: str, holds: str) -> None:
    snapshot = two_groups()
    said = opened(make(snapshot, Request(via="image", escalate="workload"), "op1"))
    assert carry_on(snapshot, said, escalate=asked_for).request.escalate == holds  # type: ignore[arg-type]


def test_who_is_waited_for_stands_in_the_record_and_is_waited_for_by_who_carries_on() -> None:
    snapshot = three()
    record = second_of(opened(make(snapshot, Request(via="image"), "op1")), recreates(snapshot, FIRST))
    record = structs.replace(record, waiting=("workers/0/2",))
    plan = carry_on(snapshot, record)
    slots = {planned.state.slot: planned for planned in plan.slots}
    assert set(slots) == {FIRST, THIRD}
    assert (slots[THIRD].awaited, slots[THIRD].sent, slots[FIRST].awaited) == (True, True, False)
    assert claim.carried_on(opened(plan), record).waiting == ("workers/0/2",)
    assert opened(plan).scope == ("workers/0/0",)
    track = Tracker(plan, NOW).slots[THIRD]
    assert (track.in_place, track.rung) == (True, "")
