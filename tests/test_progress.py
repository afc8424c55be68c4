"""Progress: the fold of events behind every view."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart.events import (
    Barrier,
    Claimed,
    Disconnected,
    Event,
    Failed,
    Finished,
    NextRound,
    Noticed,
    Phase,
    Planned,
    PlannedSlot,
    Ready,
    Reconnected,
    Retried,
    Starting,
    Stopping,
    Triggered,
    decode,
    encode,
)
from jobset_restart.progress import Progress

NAMES = [f"{name}/0/{index}" for name in ("driver", "workers") for index in range(4)]


def planned(*slots: str) -> Planned:
    return Planned(
        time=100.0,
        operation="op1",
        jobset="train",
        namespace="ns",
        strategy="in-place",
        trigger="image",
        deadline=700.0,
        slots=[PlannedSlot(slot=s, pod=f"pod-{s}", node="n", trigger="image") for s in slots]
        + [PlannedSlot(slot="left/0/0", pod="alone")],
    )


def fold(*events: Event) -> Progress:
    progress = Progress()
    for event in events:
        progress.apply(event)
    return progress


SLOT_EVENTS = st.builds(
    lambda kind, slot, time: kind(slot=slot, time=time, reason="r"),
    st.sampled_from([Triggered, Stopping, Starting, Ready, Failed]),
    st.sampled_from(NAMES),
    st.floats(100, 200),
)


WORDS = st.text(max_size=200)
TIMES = st.floats(100, 200)
ANY_EVENT = st.one_of(
    SLOT_EVENTS,
    st.builds(Failed, slot=st.sampled_from(NAMES), time=TIMES, reason=WORDS, node=WORDS),
    st.builds(
        Barrier,
        time=TIMES,
        attempt=st.integers(0, 9),
        arrived=st.integers(0, 9),
        total=st.just(8),
        held_by=st.lists(WORDS, max_size=8),
    ),
    st.builds(Phase, time=TIMES, phase=WORDS),
    st.builds(Retried, time=TIMES, request=WORDS, reason=st.sampled_from(["429", "503"]), delay=st.just(1.0)),
    st.builds(Disconnected, time=TIMES, reason=WORDS),
    st.builds(Reconnected, time=TIMES, seconds=st.floats(0, 100)),
    st.builds(Noticed, time=TIMES, message=WORDS),
    st.builds(
        NextRound,
        time=TIMES,
        operation=st.just("op1"),
        round=st.integers(2, 9),
        strategy=st.just("recreate"),
        trigger=WORDS,
        slots=st.lists(st.builds(PlannedSlot, slot=st.sampled_from(NAMES), trigger=st.just("pods")), max_size=8),
    ),
)


@given(st.lists(ANY_EVENT, max_size=60))
def test_counts_always_add_up_to_the_slots_in_scope(events: list[Event]) -> None:
    progress = fold(planned(*NAMES), *events)
    assert sum(progress.counts.values()) == progress.total == len(NAMES)
    assert all(n >= 0 for n in progress.counts.values())
    for state, number in progress.counts.items():
        assert number == sum(row[state] for row in progress.by_replicated_job.values())


@given(st.lists(SLOT_EVENTS, max_size=60), st.floats(100, 400))
def test_questions_have_answers_at_any_time(events: list[Event], now: float) -> None:
    progress = fold(planned(*NAMES), *events)
    assert progress.rate(now) >= 0
    eta = progress.eta(now)
    assert eta is None or eta >= 0
    assert {s.state for s in progress.stragglers(99)} <= {"waiting", "triggered", "stopping", "starting"}
    assert all(0 <= q.p50 <= q.p90 <= q.most for q in progress.quantiles().values())


def test_slots_left_alone_are_not_in_scope() -> None:
    assert "left/0/0" not in fold(planned("a/0/0")).slots


def test_stragglers_are_those_longest_in_their_state() -> None:
    progress = fold(
        planned("a/0/0", "a/0/1", "a/0/2"),
        Triggered(time=101, slot="a/0/0"),
        Starting(time=105, slot="a/0/1", reason="ImagePullBackOff"),
        Ready(time=106, slot="a/0/2", seconds=6),
    )
    assert [(s.slot, s.reason) for s in progress.stragglers(5)] == [("a/0/0", ""), ("a/0/1", "ImagePullBackOff")]


def test_a_slot_that_waits_for_its_turn_is_no_straggler_while_others_move() -> None:
    progress = fold(planned("a/0/0", "a/0/1", "a/0/2"), Triggered(time=109, slot="a/0/2"))
    assert [s.slot for s in progress.stragglers(2)] == ["a/0/2", "a/0/0"]


def test_carrying_on_counts_every_slot_once() -> None:
    progress = fold(planned("a/0/0"), Ready(time=105, slot="a/0/0"), planned("a/0/0"))
    assert (progress.total, progress.counts["ready"], progress.counts["waiting"]) == (1, 1, 0)


def test_the_rate_begins_with_the_first_slot_and_tells_when_all_are_back() -> None:
    slots = [f"a/0/{number}" for number in range(100)]
    ready = [Ready(time=150 + number / 10, slot=slot) for number, slot in enumerate(slots)]
    assert fold(planned(*slots)).rate(149.0) == 0
    begun = fold(planned(*slots), *ready[:20])
    assert begun.rate(151.9) == pytest.approx(10, rel=0.1)
    assert begun.eta(151.9) == pytest.approx(8, rel=0.1)
    assert begun.eta(170.0) is None
    assert fold(planned(*slots), *ready).eta(160.0) is None


@given(st.lists(st.floats(100, 200), max_size=30), st.lists(st.floats(90, 220), max_size=10))
def test_asking_for_the_rate_changes_nothing(ready: list[float], asked: list[float]) -> None:
    slots = [f"a/0/{number}" for number in range(len(ready))]
    progress = fold(planned("z/0/0", *slots), *(Ready(time=t, slot=s) for t, s in zip(ready, slots, strict=True)))
    before = [progress.rate(now) for now in asked]
    assert [progress.rate(now) for now in reversed(asked)] == before[::-1]
    assert all(progress.rate(now) == 0 for now in asked if now < min(ready, default=0)), "what is still to come"


def test_before_there_is_a_rate_the_plan_is_believed() -> None:
    progress = fold(structs.replace(planned("a/0/0"), predicted=12.0))
    assert progress.eta(103.0) == 9.0
    assert progress.eta(113.0) is None


def test_what_happens_to_many_is_remembered_once() -> None:
    failed = [Failed(time=101, slot=slot, reason="OOMKilled") for slot in NAMES]
    progress = fold(planned(*NAMES), Phase(time=100, phase="triggering"), *failed)
    assert [str(happened) for happened in progress.recent] == [
        "triggering",
        "driver/0/0 and 7 more failed: OOMKilled",
    ]


def test_phases_are_measured_from_event_to_event() -> None:
    events: list[Event] = [planned("a/0/0")]
    steps = ((Triggered, 101), (Stopping, 102), (Starting, 104), (Ready, 109))
    events += [kind(slot="a/0/0", time=time) for kind, time in steps]
    found = fold(*events).quantiles()
    assert {step: q.p50 for step, q in found.items()} == {
        "trigger to stop": 1,
        "stop to start": 2,
        "start to ready": 5,
        "trigger to ready": 8,
    }


def test_the_clock_stops_at_the_end() -> None:
    progress = fold(planned("a/0/0"), Finished(time=130.0, operation="op1", exit_code=0))
    assert progress.elapsed(999.0) == 30.0


def test_every_event_goes_through_a_file_unchanged() -> None:
    event = Claimed(time=1.5, operation="op1", owner="me\x1b[2J", took_over="op0")
    assert decode(encode(event)) == event
    assert b"\n" not in encode(event)


def test_a_round_begins_with_its_slots_waiting_and_the_others_as_they_were() -> None:
    progress = fold(
        planned("workers/0/0", "workers/0/1"),
        Ready(time=110, slot="workers/0/0"),
        Failed(time=111, slot="workers/0/1", reason="refused"),
        NextRound(
            time=120,
            operation="op1",
            round=2,
            strategy="recreate",
            trigger="pods",
            predicted=30.0,
            slots=[PlannedSlot(slot="workers/0/1", trigger="pods"), PlannedSlot(slot="workers/0/0")],
        ),
    )
    assert progress.total == 2
    assert {state: n for state, n in progress.counts.items() if n} == {"ready": 1, "waiting": 1}
    assert progress.by_replicated_job["workers"]["waiting"] == 1
    assert progress.slots["workers/0/1"].entered == {}
    assert progress.round is not None
    assert (progress.round.round, progress.round.trigger) == (2, "pods")
    assert progress.eta(125.0) == 25.0
    assert progress.elapsed(125.0) == 25.0
    progress.apply(Ready(time=130, slot="workers/0/1"))
    assert progress.counts["ready"] == progress.total
    assert str(progress.recent[-1]) == "round 2: recreating 1 slot by pods"


def test_a_recording_of_rounds_reads_back() -> None:
    event = NextRound(time=1.5, operation="op1", round=2, strategy="recreate", trigger="suspend", because="refused")
    assert b'"event":"nextround"' in encode(event)
    assert decode(encode(event)) == event
