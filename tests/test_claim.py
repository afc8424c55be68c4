"""The claim: who holds a JobSet, and for how long."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.plan import Request, Selection, make
from jobset_restart.snapshot import Folded, Slot, folded
from tests import build

NOW = build.NOW


def record(**fields: Any) -> Record:
    return Record(
        **{"id": "op1", "owner": "me", "started": claim.timestamp(NOW), "heartbeat": claim.timestamp(NOW), **fields}
    )


def jobset_with(what: Record, **fields: Any) -> Any:
    return build.jobset(annotations=claim.written(what), **fields)


def test_a_record_is_read_as_it_was_written() -> None:
    what = record(request=Request(strategy="in-place", containers=("worker",), node_down=("n",)))
    assert claim.read(jobset_with(what)) == what


def test_a_claim_lives_as_long_as_its_heart_beats() -> None:
    assert claim.live(record(), NOW + claim.LEASE_SECONDS)
    assert not claim.live(record(), NOW + claim.LEASE_SECONDS + 1)
    assert not claim.live(record(state="detached"), NOW)
    assert not claim.live(record(state="finished"), NOW)
    assert not claim.live(None, NOW)


def test_only_a_dead_client_s_suspend_is_left_behind() -> None:
    late = NOW + claim.LEASE_SECONDS + 1
    suspended: dict[str, Any] = {"spec": {"suspend": True}}
    assert claim.left_suspended(jobset_with(record(phase="suspending"), **suspended), late)
    assert not claim.left_suspended(jobset_with(record(phase="suspending"), **suspended), NOW)
    assert not claim.left_suspended(jobset_with(record(phase="suspending")), late)
    assert not claim.left_suspended(jobset_with(record(phase="suspending", state="finished"), **suspended), late)
    assert not claim.left_suspended(build.jobset(**suspended), late)


def test_the_write_is_a_compare_and_swap_that_carries_suspend() -> None:
    write = claim.write(build.jobset(), record(), suspend=True)
    assert (write.resource_version, write.uid) == ("7", "jobset-uid")
    assert write.body["spec"] == {"suspend": True}
    assert "jobset-restart.io/operation" in write.body["metadata"]["annotations"]


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_an_annotation_somebody_else_wrote_is_no_claim(text: str) -> None:
    found = claim.read(build.jobset(annotations={"jobset-restart.io/operation": text}))
    assert found is None or isinstance(found, Record)


@given(st.text(max_size=30))
def test_a_heartbeat_that_is_no_time_has_lapsed(text: str) -> None:
    assert not claim.live(record(heartbeat=text), NOW + 10**9)


SLOTS = st.builds(Slot, st.sampled_from(("driver", "workers")), st.integers(0, 6), st.integers(0, 12))


@given(st.sets(SLOTS), SLOTS)
def test_slots_in_ranges_are_the_slots(slots: set[Slot], other: Slot) -> None:
    found = Folded(folded(slots))
    assert all(slot in found for slot in slots)
    assert (other in found) == (other in slots)


def test_many_slots_take_few_words() -> None:
    whole = [Slot("workers", job, index) for job in range(1_000) for index in range(8)]
    assert folded(whole) == ("workers/0-999/0-7",)
    assert folded(whole[1:]) == ("workers/0/1-7", "workers/1-999/0-7")


def test_a_record_names_its_slots_only_where_they_are_a_part() -> None:
    whole = claim.what_is_restarted(make(build.snapshot(), Request(), "op1"))
    assert whole == {"slots": 2, "request": Request()}
    part = Request(selection=Selection(pods=frozenset({"train-workers-0-1"})))
    said = claim.what_is_restarted(make(build.snapshot(), part, "op1"))
    assert said == {"slots": 1, "request": Request(), "scope": ("workers/0/1",), "lost": ()}


def test_times_go_through_the_annotation_unchanged() -> None:
    assert (
        msgspec.json.decode(claim.written(record())["jobset-restart.io/operation"])["started"]
        == "2026-01-01T01:00:00.000Z"
    )
