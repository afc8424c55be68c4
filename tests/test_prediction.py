"""How long a restart is expected to take: ranges, and what they rest on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart import claim
from jobset_restart.case import Case, Evidence
from jobset_restart.lately import Making, made_and_ready, start_to_ready
from jobset_restart.objects import Pod
from jobset_restart.plan import Request, case_for
from jobset_restart.prediction import patience, predicted
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import LastTime, Measured, Prediction, one_after_another
from jobset_restart.triggers.registry import BY_NAME
from tests import build
from tests.test_claim import jobset_with, record


def last(trigger: str, slots: int, seconds: float) -> LastTime:
    return LastTime(operation="op0", trigger=trigger, slots=slots, seconds=seconds)


ANY_TRIGGER = st.sampled_from(["image", "signal", "suspend", "jobs", "pods", "native"])
LAST = st.builds(last, ANY_TRIGGER, st.integers(0, 99), st.floats(0.1, 9e5))
BORN = build.NOW - 600
SMALL = settings(deadline=None, max_examples=60)


def pods(number: int, *, grace: int = 5, made_over: float = 0.0, ready_after: float = 1.0, **fields: Any) -> list[Pod]:
    """Pods that were made one after the other in so many seconds, each Ready so many seconds after its start."""
    found = []
    for index in range(number):
        made = BORN + made_over * index / max(1, number - 1)
        pod = build.pod(index, spec={"terminationGracePeriodSeconds": grace}, created=_time(made), **fields)
        times(pod, made, made, made + ready_after)
        found.append(pod)
    return found


def times(pod: Pod, made: float, started: float, ready: float) -> None:
    pod.metadata.creation_timestamp = build.at(made)
    for status in pod.status.container_statuses:
        assert status.state.running is not None
        status.state.running.started_at = build.at(started)
    for condition in pod.status.conditions:
        condition.last_transition_time = build.at(ready)


def _time(seconds: float) -> str:
    return build.at(seconds).isoformat()


def case(trigger: str, of: list[Pod] | Snapshot, at_once: str = "", **measured: Any) -> Case:
    snapshot = build.snapshot(build.jobset(pods=len(of), backoff_limit=9), of) if isinstance(of, list) else of
    evidence = Evidence(measured=Measured(**measured))
    return case_for(snapshot, Request(max_unavailable=at_once), BY_NAME[trigger], evidence)


def foreseen(trigger: str, of: list[Pod] | Snapshot, **measured: Any) -> Prediction:
    return predicted(case(trigger, of, **measured))


# ---------------------------------------------------------------- ranges


@given(
    ANY_TRIGGER,
    st.integers(1, 12),
    st.integers(0, 3600),
    st.floats(0, 300),
    st.floats(0, 300),
    st.none() | st.floats(0, 30),
    st.none() | LAST,
    st.sampled_from(["", "1", "50%"]),
)
@SMALL
def test_the_likely_lies_between_the_ends(
    trigger: str,
    number: int,
    grace: int,
    made_over: float,
    ready_after: float,
    answers_in: float | None,
    before: LastTime | None,
    at_once: str,
) -> None:
    of = pods(number, grace=grace, made_over=made_over, ready_after=ready_after)
    found = predicted(case(trigger, of, at_once, answers_in=answers_in, last=before))
    assert 0 <= found.low <= found.likely <= found.high
    assert found.high > 0
    assert all(found.grounds)


@given(ANY_TRIGGER, st.lists(st.integers(0, 900), min_size=1, max_size=6))
@SMALL
def test_pods_that_start_at_different_speeds_keep_the_ends_apart(trigger: str, took: list[int]) -> None:
    of = pods(len(took))
    for pod, seconds in zip(of, took, strict=True):
        times(pod, BORN, BORN, BORN + seconds)
    found = foreseen(trigger, of)
    assert 0 <= found.low <= found.likely <= found.high


@given(ANY_TRIGGER, st.lists(st.integers(0, 3600), min_size=2, max_size=4).map(sorted))
@SMALL
def test_a_longer_grace_period_never_makes_it_shorter(trigger: str, graces: list[int]) -> None:
    highs = [foreseen(trigger, pods(4, grace=grace)).high for grace in graces]
    assert highs == sorted(highs)


@pytest.mark.parametrize("trigger", ["image", "signal", "suspend", "jobs", "native"])
@pytest.mark.parametrize("measured", [{}, {"last": ("image", 40, 8.0)}, {"answers_in": 0.2}])
def test_more_slots_never_make_it_shorter(trigger: str, measured: dict[str, Any]) -> None:
    if "last" in measured:
        measured = {"last": last(trigger, *measured["last"][1:])}
    found = [foreseen(trigger, pods(number), **measured) for number in (1, 4, 49, 51, 200)]
    for of in ("low", "likely", "high"):
        values = [getattr(each, of) for each in found]
        assert values == sorted(values), of


@pytest.mark.parametrize("trigger", ["image", "pods"])
def test_every_window_takes_its_time(trigger: str) -> None:
    once, often = (predicted(case(trigger, pods(4, grace=30), at_once)) for at_once in ("", "1"))
    assert often.low > once.low
    assert often.high >= once.high + 3 * 30
    assert "it is waited for slots 4 times" in often.grounds


# ---------------------------------------------------------------- grounds


@pytest.mark.parametrize("seconds", [137, 173, 205])
def test_thousands_of_pods_in_place_take_what_they_took_on_a_real_api_server(seconds: float) -> None:
    assert foreseen("image", pods(5000, grace=0)).holds(seconds)


def test_thousands_of_pods_made_anew_take_what_they_took_on_a_real_api_server() -> None:
    assert foreseen("suspend", pods(5000, grace=0, ready_after=-5)).holds(461)
    assert foreseen("suspend", pods(5000, grace=0, made_over=250)).holds(461)


def test_the_last_restart_narrows_the_range() -> None:
    of = pods(5000, grace=0)
    before, after = foreseen("image", of), foreseen("image", of, last=last("image", 5000, 137.0))
    assert after.holds(173)
    assert after.likely == pytest.approx(137)
    assert after.high - after.low < before.high - before.low
    assert after.grounds[0] == "the last restart by image took 137.0 s for 5,000 slots"


def test_the_last_restart_is_scaled_to_the_slots_of_this_one() -> None:
    half = foreseen("image", pods(2500, grace=0), last=last("image", 5000, 150.0))
    assert 60 < half.likely < 90


def test_another_trigger_or_a_record_of_no_slots_says_nothing() -> None:
    of = pods(4)
    assert foreseen("image", of, last=last("suspend", 4, 500.0)) == foreseen("image", of)
    assert foreseen("image", of, last=last("image", 0, 500.0)) == foreseen("image", of)


def test_a_container_that_ended_on_term_the_last_time_may_not_do_so_now() -> None:
    assert foreseen("image", pods(4, grace=300), last=last("image", 4, 1.0)).high > 200


def test_a_start_takes_what_it_took_the_last_time() -> None:
    found = foreseen("image", pods(4, ready_after=120))
    assert found.holds(121)
    assert found.low > 30
    assert "from start to Ready its Pods took 120 to 120 s when they last started" in found.grounds


def test_without_a_start_that_was_seen_probes_say_what_it_may_take() -> None:
    probe = {"initialDelaySeconds": 20, "periodSeconds": 10, "failureThreshold": 30}
    of = pods(2, containers=[build.container(startupProbe=probe)], ready_after=-5)
    found = foreseen("image", of)
    assert found.low > 20
    assert found.high > 20 + 300
    assert "by its probes, a Pod is Ready 20 to 320 s after its start" in found.grounds


def test_new_pods_take_what_making_them_took() -> None:
    found = foreseen("suspend", pods(100, made_over=50, ready_after=10))
    assert found.likely > 60
    assert "100 of its Pods took 60 s from the first that was made to the last that was Ready" in found.grounds


def test_a_server_that_answers_slowly_takes_longer_at_most() -> None:
    of = pods(200)
    quick, slow = foreseen("image", of, answers_in=0.004), foreseen("image", of, answers_in=0.2)
    assert quick == foreseen("image", of)
    assert slow.low >= quick.low
    assert slow.high > 3 * quick.high
    assert "the API server answers a small request in 200 ms" in slow.grounds


def test_a_pod_that_was_replaced_later_or_was_unready_once_does_not_count() -> None:
    of = pods(10, made_over=5)
    times(of[3], BORN + 3000, BORN + 3000, BORN + 3001)
    times(of[4], BORN, BORN, BORN + 3600)
    assert made_and_ready(of) == Making(8, 6.0, 1.0)
    assert start_to_ready(of) == [1.0] * 9


def test_pods_of_many_times_were_not_made_together() -> None:
    of = pods(9, made_over=9000)
    assert made_and_ready(of) is None


# ---------------------------------------------------------------- what else it is for


def test_a_slot_is_given_the_time_that_it_may_need() -> None:
    """Nothing is taken for stuck that only uses the grace period or the probes it was given."""
    probe = {"periodSeconds": 10, "failureThreshold": 60}
    slow = pods(2, grace=300, containers=[build.container(startupProbe=probe)], ready_after=-5)
    usual = patience(case("image", pods(2)))
    assert patience(case("image", slow)) > 300 + 600
    assert usual > 60
    assert patience(case("image", pods(500))) == pytest.approx(usual), "whatever the others do"
    assert patience(case("suspend", pods(2))) > usual


def test_rounds_add_up() -> None:
    one = Prediction(low=1, likely=2, high=3, grounds=("a", "b"))
    assert one_after_another([one, structs.replace(one, grounds=("b", "c"))]) == Prediction(
        low=2, likely=4, high=6, grounds=("a", "b", "c")
    )


DONE = {
    "state": "finished",
    "exit_code": 0,
    "slots": 4,
    "outcomes": {"restarted": 3, "recreated": 1, "unchanged": 2},
    "started": "2026-01-01T00:00:00Z",
    "ended": "2026-01-01T00:00:12Z",
}


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({}, True),
        ({"exit_code": 4}, False),
        ({"state": "detached"}, False),
        ({"outcomes": {"restarted": 3, "failed": 1}}, False),
        ({"ended": ""}, False),
        ({"ended": "2025-01-01T00:00:00Z"}, False),
    ],
)
def test_only_a_restart_that_brought_everything_back_is_a_measure(changed: dict[str, Any], counts: bool) -> None:
    found = claim.last_time(jobset_with(structs.replace(record(), **{**DONE, **changed})))
    assert (found is not None) == counts
    if found is not None:
        assert (found.slots, found.seconds) == (4, 12.0)
