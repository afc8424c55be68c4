"""The claim: who holds a JobSet, and for how long."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.plan import Request, Selection, make
from jobset_restart.slots import Folded, Slot, folded
from jobset_restart.snapshot import OPERATION
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build

NOW = build.NOW


def workload(**fields: Any) -> JobSetWorkload:
    return JobSetWorkload(build.jobset(**fields))


def record(**fields: Any) -> Record:
    return Record(
        **{"id": "op1", "owner": "me", "started": claim.timestamp(NOW), "heartbeat": claim.timestamp(NOW), **fields}
    )


def jobset_with(what: Record, **fields: Any) -> JobSetWorkload:
    return workload(annotations=claim.written(what), **fields)


def test_a_record_is_read_as_it_was_written() -> None:
    what = record(request=Request(strategy="in-place", containers=("worker",), node_down=("n",)))
    assert claim.read(jobset_with(what)) == what


def lock_of(what: Record, **fields: Any) -> claim.Lock:
    found = claim.lock(jobset_with(what, **fields))
    assert found is not None
    return found


def annotated(text: str, **metadata: Any) -> JobSetWorkload:
    return workload(annotations={OPERATION: text}, metadata=metadata)


def owned(at: float) -> dict[str, Any]:
    """The metadata of a JobSet on which the API server saw our annotation change at this time."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{OPERATION}": {}}}}
    entries = [
        {"manager": "jsr", "time": claim.timestamp(at), "fieldsV1": fields},
        {"manager": "jobset-controller", "time": claim.timestamp(at + 10**6), "fieldsV1": {"f:status": {}}},
    ]
    return {"managedFields": entries}


def test_a_claim_lives_as_long_as_its_heart_beats() -> None:
    assert claim.live(lock_of(record()), NOW + claim.LEASE_SECONDS)
    assert not claim.live(lock_of(record()), NOW + claim.LEASE_SECONDS + 1)
    assert not claim.live(lock_of(record(state="detached")), NOW)
    assert not claim.live(lock_of(record(state="finished")), NOW)
    assert not claim.live(None, NOW)


ANOTHER_VERSION = {
    "id": "op1",
    "owner": "ann",
    "trigger": "escalate",
    "heartbeat": claim.timestamp(NOW),
    "request": {"via": "escalate", "rungs": [1, 2]},
    "rounds": [{"state": "x"}],
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"state": "pausing"},
        {"state": "running", "request": "as a whole something else"},
        {"state": {"name": "running"}},
        {"id": {"uid": "op1"}},
        {"owner": ["ann", "bob"]},
        {"attempt": "three"},
        {"request": {"strategy": "in-turns"}},
    ],
)
def test_what_another_version_wrote_holds_the_jobset_until_its_lease_is_over(fields: dict[str, Any]) -> None:
    found = claim.lock(annotated(json.dumps({**ANOTHER_VERSION, **fields})))
    assert found is not None
    assert found.record is None
    assert claim.live(found, NOW + claim.LEASE_SECONDS)
    assert not claim.live(found, NOW + claim.LEASE_SECONDS + 1)
    message, hint = claim.held(workload(), found, NOW)
    assert "cannot read" in message
    assert "nothing was changed" in message
    assert "30 s" in hint


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_no_value_of_a_later_version_sets_a_held_jobset_free(value: Any) -> None:
    """Whatever stands beside the lock, in fields known and unknown."""
    for name in ("strategy", "trigger", "phase", "started", "attempt", "slots", "request", "outcomes", "new"):
        assert claim.live(claim.lock(annotated(json.dumps({**ANOTHER_VERSION, name: value}))), NOW)


UNDATED = ["not json", "[]", "7", "{}", '{"heartbeat": "never"}', '{"heartbeat": 7}', "[" * 9000]


@pytest.mark.parametrize("text", UNDATED)
def test_what_cannot_be_dated_by_itself_is_dated_by_the_api_server(text: str) -> None:
    found = claim.lock(annotated(text, **owned(NOW)))
    assert claim.live(found, NOW + claim.LEASE_SECONDS)
    assert not claim.live(found, NOW + claim.LEASE_SECONDS + 1)


@pytest.mark.parametrize("text", UNDATED)
def test_what_nothing_dates_holds_until_it_is_removed(text: str) -> None:
    found = claim.lock(annotated(text))
    assert found is not None
    assert claim.live(found, NOW + 10**9)
    _, hint = claim.held(workload(), found, NOW)
    assert f"kubectl annotate jobset train -n ns {OPERATION}-" in hint


def test_a_heartbeat_in_the_far_future_is_a_dead_client_s_and_this_is_said() -> None:
    ahead = record(heartbeat=claim.timestamp(NOW + 10**8))
    assert not claim.live(lock_of(ahead), NOW)
    assert "in the future" in claim.unusual(lock_of(ahead), NOW)
    soon = record(heartbeat=claim.timestamp(NOW + claim.LEASE_SECONDS - 1))
    assert claim.live(lock_of(soon), NOW)
    assert claim.unusual(lock_of(soon), NOW) == ""


def test_a_client_whose_clock_is_ahead_holds_while_the_api_server_sees_it_write() -> None:
    ahead = lock_of(record(heartbeat=claim.timestamp(NOW + 10**8)), metadata=owned(NOW))
    assert claim.live(ahead, NOW + 1)
    assert not claim.live(ahead, NOW + claim.LEASE_SECONDS + 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../../x"},
        {"id": ""},
        {"id": "a" * 33},
        {"attempt": -99999999},
        {"attempt": 0},
        {"attempt": 2**31},
        {"slots": -1},
        {"started": "yesterday"},
        {"deadline": "-1"},
        *({"scope": [scope]} for scope in ("workers/a/0", "workers/0/1--2", "a/b/c/d", "/0", "")),
        {"lost": ["workers/0/" + "9" * 5000]},
    ],
)
def test_a_record_with_values_we_never_write_is_no_record(fields: dict[str, Any]) -> None:
    text = json.dumps({"id": "op1", "started": claim.timestamp(NOW), **fields})
    assert claim.read(annotated(text)) is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"started": claim.timestamp(NOW + 31)}, "in the future"),
        ({"started": claim.timestamp(NOW - 10**6)}, "older than the JobSet"),
        ({"started": ""}, "does not say when"),
        ({"trigger": "native", "attempt": 9}, "attempt 9"),
        ({"trigger": "native"}, "attempt None"),
        ({"trigger": "native", "attempt": 1}, ""),
        ({}, ""),
    ],
)
def test_a_record_that_does_not_fit_the_jobset_is_not_carried_on_with(fields: dict[str, Any], why: str) -> None:
    found = claim.unusable(workload(), record(**fields), NOW)
    assert why in found
    assert bool(why) == bool(found)


def test_only_a_dead_client_s_suspend_is_left_behind() -> None:
    late = NOW + claim.LEASE_SECONDS + 1
    suspended: dict[str, Any] = {"spec": {"suspend": True}}
    assert claim.left_suspended(jobset_with(record(phase="suspending"), **suspended), late)
    assert not claim.left_suspended(jobset_with(record(phase="suspending"), **suspended), NOW)
    assert not claim.left_suspended(jobset_with(record(phase="suspending")), late)
    assert not claim.left_suspended(jobset_with(record(phase="suspending", state="finished"), **suspended), late)
    assert not claim.left_suspended(workload(**suspended), late)


@pytest.mark.parametrize(
    ("phase", "suspended", "how"),
    [
        ("suspending", True, ""),
        ("suspending", False, "resumed"),
        ("resuming", False, ""),
        ("resuming", True, "suspended"),
        ("triggering", True, "suspended"),
        ("triggering", False, ""),
    ],
)
def test_what_a_record_says_of_suspend_shows_who_else_sets_it(phase: str, suspended: bool, how: str) -> None:
    jobset = jobset_with(record(phase=phase), spec={"suspend": suspended})
    assert claim.contradicted(jobset, "op1") == how
    assert claim.contradicted(jobset, "op2") == ""


def test_the_write_is_a_compare_and_swap_that_carries_suspend() -> None:
    write = claim.write(workload(), record(), suspend=True)
    assert (write.resource_version, write.uid) == ("7", "jobset-uid")
    assert write.body["spec"] == {"suspend": True}
    assert "jobset-restart.io/operation" in write.body["metadata"]["annotations"]


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_an_annotation_somebody_else_wrote_is_no_claim(text: str) -> None:
    found = claim.read(workload(annotations={"jobset-restart.io/operation": text}))
    assert found is None or isinstance(found, Record)


SLOTS = st.builds(Slot, st.sampled_from(("driver", "workers")), st.lists(st.integers(0, 12), max_size=3).map(tuple))
"""Slots of every kind of workload: a Pod by its name alone, an index, a Job and its index."""


@given(st.sets(SLOTS), SLOTS)
def test_slots_in_ranges_are_the_slots(slots: set[Slot], other: Slot) -> None:
    found = Folded(folded(slots))
    assert all(slot in found for slot in slots)
    assert (other in found) == (other in slots)


def test_many_slots_take_few_words() -> None:
    whole = [Slot("workers", (job, index)) for job in range(1_000) for index in range(8)]
    assert folded(whole) == ("workers/0-999/0-7",)
    assert folded(whole[1:]) == ("workers/0/1-7", "workers/1-999/0-7")


def test_a_record_names_its_slots_only_where_they_are_a_part() -> None:
    whole = claim.what_is_restarted(make(build.snapshot(), Request(), "op1"))
    assert whole == {"slots": 2, "request": Request()}
    part = Request(selection=Selection(pods=frozenset({"train-workers-0-1"})))
    said = claim.what_is_restarted(make(build.snapshot(), part, "op1"))
    assert said == {"slots": 1, "request": Request(), "scope": ("workers/0/1",), "lost": (), "seats": ()}


def test_times_go_through_the_annotation_unchanged() -> None:
    assert (
        msgspec.json.decode(claim.written(record())["jobset-restart.io/operation"])["started"]
        == "2026-01-01T01:00:00.000Z"
    )
