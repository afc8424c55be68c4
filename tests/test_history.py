"""The history of a workload: what is kept of its restarts, in how little room, and what it makes of what it finds."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart import claim, history
from jobset_restart.claim import PastRound, Record
from jobset_restart.cost import Cost
from jobset_restart.events import Budget
from jobset_restart.history import Entry
from jobset_restart.plan import Request, Selection
from jobset_restart.report.history import history_report
from jobset_restart.snapshot import HISTORY, OPERATION
from jobset_restart.wording import asked
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build

NOW = build.NOW
TIME = claim.timestamp(NOW)


def record(id: str = "op1", **fields: Any) -> Record:  # noqa: A002
    defaults = {"owner": "ann", "started": TIME, "heartbeat": TIME, "state": "finished", "ended": TIME, "exit_code": 0}
    return Record(**{"id": id, **defaults, **fields})


def annotated(annotations: dict[str, str]) -> JobSetWorkload:
    return JobSetWorkload(build.jobset(annotations=annotations))


def operated(workload: JobSetWorkload, what: Record, now: float = NOW) -> JobSetWorkload:
    """The workload after this record was put on it."""
    before = {OPERATION: workload.metadata.annotations.operation, HISTORY: workload.metadata.annotations.history}
    return annotated({**before, **claim.written(what), **history.beside(workload, what, now)})


def ids(workload: JobSetWorkload) -> list[str]:
    return [each.id for each in history.read(workload.metadata).entries]


def size(workload: JobSetWorkload) -> int:
    both = workload.metadata.annotations.operation, workload.metadata.annotations.history
    return sum(len(each.encode()) for each in both)


# ---------------------------------------------------------------- what is kept


def test_what_a_record_told_is_kept_when_the_next_operation_claims_the_workload() -> None:
    budget = Budget(name="Job backoffLimit workers-0", limit=6, before=1, after=3)
    first = record(
        trigger="image", outcomes={"restarted": 4}, slots=4, asked="--in-place", cost=Cost(budgets=(budget,))
    )
    workload = operated(annotated({}), first)
    assert ids(workload) == []
    workload = operated(workload, record("op2"))
    (entry,) = history.read(workload.metadata).entries
    assert (entry.id, entry.owner, entry.trigger, entry.state, entry.exit_code) == (
        "op1",
        "ann",
        "image",
        "finished",
        0,
    )
    assert (entry.outcomes, entry.slots, entry.asked, entry.cost.budgets) == (
        {"restarted": 4},
        4,
        "--in-place",
        (budget,),
    )


def test_a_heartbeat_and_a_client_that_carries_on_add_nothing() -> None:
    workload = operated(annotated({}), record(state="running"))
    assert history.beside(workload, record(state="running", heartbeat=claim.timestamp(NOW + 10)), NOW + 10) == {}
    assert history.beside(workload, record(owner="bob", state="running"), NOW + 60) == {}


def test_one_whose_client_died_is_kept_as_lapsed_and_was_last_heard_of_then() -> None:
    workload = operated(annotated({}), record(state="running", ended="", exit_code=None))
    workload = operated(workload, record("op2"), NOW + 60)
    (entry,) = history.read(workload.metadata).entries
    assert (entry.state, entry.exit_code, entry.ended) == ("lapsed", None, TIME)


def test_one_that_another_version_wrote_is_kept_with_what_can_be_read() -> None:
    other = {"id": "op1", "owner": "ann", "trigger": "later", "heartbeat": TIME, "request": {"strategy": "in-turns"}}
    workload = operated(annotated({OPERATION: json.dumps(other)}), record("op2"), NOW + 60)
    (entry,) = history.read(workload.metadata).entries
    assert (entry.id, entry.trigger, entry.state) == ("op1", "later", "lapsed")
    assert "cannot be read" in entry.reason


def test_a_small_entry_of_another_version_stays_as_it_is() -> None:
    strange = '{"id":"op0","slots":"many","colour":"green"}'
    workload = annotated({**claim.written(record()), HISTORY: f"[{strange}]"})
    kept = history.beside(workload, record("op2"), NOW)[HISTORY]
    assert kept.startswith(f"[{strange},")
    assert history.read(annotated({HISTORY: kept}).metadata).unreadable == 1


@pytest.mark.parametrize("text", ["", "{}", "null", "[", "[[[", '"x"', "\x1b[2J", "[" * 5000, '[{"id":7}]', "[7,null]"])
def test_whatever_the_annotation_holds_the_restart_is_recorded(text: str) -> None:
    workload = annotated({**claim.written(record()), HISTORY: text})
    assert ids(operated(workload, record("op2"))) == ["op1"]


WORDS = st.text(max_size=3000)
COUNTS = st.dictionaries(st.text(max_size=100), st.integers(0, 2**53), max_size=20)
ROUNDS = st.lists(
    st.builds(PastRound, trigger=WORDS, started=st.just(TIME), ended=st.just(TIME), outcomes=COUNTS, reason=WORDS),
    max_size=12,
)
BUDGETS = st.lists(
    st.builds(Budget, name=WORDS, limit=st.just(1), before=st.just(0), after=st.just(2**53)), max_size=12
).map(tuple)
ENTRIES = st.builds(
    Entry,
    id=st.text("abcdef0123456789", min_size=1, max_size=40),
    owner=WORDS,
    asked=WORDS,
    trigger=WORDS,
    state=WORDS,
    reason=WORDS,
    scope=st.lists(WORDS, max_size=12).map(tuple),
    outcomes=COUNTS,
    rounds=ROUNDS.map(tuple),
    cost=st.builds(Cost, pod_seconds=st.floats(0, 1e15), budgets=BUDGETS),
)


@given(ENTRIES)
def test_an_entry_is_short_whatever_it_tells(entry: Entry) -> None:
    encoded = history.compact(entry)
    assert len(encoded) <= history.MOST_ENTRY
    kept = msgspec.json.decode(encoded, type=Entry)
    assert kept.id == entry.id[:31] + "…" if len(entry.id) > 32 else kept.id == entry.id
    assert (kept.exit_code, kept.slots) == (entry.exit_code, entry.slots)


@given(st.lists(st.tuples(WORDS, WORDS, ROUNDS, BUDGETS, st.integers(0, 300)), min_size=1, max_size=14))
def test_any_sequence_of_restarts_stays_within_its_room_and_keeps_the_newest(found: list[Any]) -> None:
    workload = annotated({})
    for number, (owner, reason, rounds, budgets, scope) in enumerate(found):
        workload = operated(
            workload,
            record(
                f"op{number}",
                owner=owner[:200],
                reason=reason[:1000],
                rounds=tuple(structs.replace(each, reason=each.reason[:200], outcomes={}) for each in rounds[:3]),
                cost=Cost(budgets=tuple(structs.replace(each, name=each.name[:80]) for each in budgets[:4])),
                scope=tuple(f"workers/{index}/0-9" for index in range(scope)),
            ),
        )
        kept = ids(workload)
        before = [f"op{earlier}" for earlier in range(number)]
        assert kept == before[len(before) - len(kept) :]
        assert len(kept) <= history.MOST_ENTRIES
        assert not before or kept
        assert size(workload) <= history.MOST_BYTES


@given(
    st.lists(st.binary(min_size=1, max_size=2000).map(lambda some: some.hex().encode()), max_size=30),
    st.integers(0, 9000),
)
def test_the_oldest_go_first_and_only_where_there_is_no_room(entries: list[bytes], room: int) -> None:
    text = history.fit([b'"%s"' % each for each in entries], room)
    kept = json.loads(text or "[]")
    wanted = [each.decode() for each in entries]
    assert kept == wanted[len(wanted) - len(kept) :]
    assert len(text) <= room or len(kept) == 1
    more = wanted[-len(kept) - 1 :]
    if len(kept) < min(len(wanted), history.MOST_ENTRIES):
        assert len(json.dumps(more, separators=(",", ":"))) > room or not kept


def test_it_makes_room_for_a_record_that_grows() -> None:
    workload = annotated({})
    for number in range(11):
        workload = operated(workload, record(f"op{number}", reason="r" * 1000, owner="o" * 200, asked="a" * 200))
    long = tuple(f"workers/{index}/0-9" for index in range(1500))
    grown = operated(workload, record("op10", scope=long))
    assert len(ids(grown)) < len(ids(workload))
    assert ids(grown)[-1] == ids(workload)[-1]
    assert size(grown) <= history.MOST_BYTES


# ---------------------------------------------------------------- what is shown


def test_the_newest_comes_first_and_one_that_runs_has_run_until_now() -> None:
    workload = operated(annotated({}), record())
    workload = operated(workload, record("op2", state="running", ended="", exit_code=None, trigger="native"))
    report = history_report(workload, NOW + 12, "prod")
    assert [(each.operation, each.state, each.seconds) for each in report.items] == [
        ("op2", "running", 12.0),
        ("op1", "finished", 0.0),
    ]
    assert report.notes == []


def test_what_cannot_be_read_is_said() -> None:
    workload = annotated({OPERATION: "[]", HISTORY: '[{"id":7},{"id":"op1"}]'})
    report = history_report(workload, NOW)
    assert [each.operation for each in report.items] == ["op1"]
    assert len(report.notes) == 2
    assert "1 entry cannot be read" in report.notes[1]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(), ""),
        (Request(strategy="in-place", fallback=True), "--in-place --fallback recreate"),
        (Request(via="signal", signal="TERM", containers=("a", "b")), "--via signal -c a -c b --signal TERM"),
        (
            Request(strategy="recreate", node_down=("n1",), allow=("JSR401",)),
            "--recreate --node-down n1 --allow JSR401",
        ),
        (Request(canary=0, selection=Selection(nodes=("n1",))), "--canary 0"),
    ],
)
def test_what_was_asked_for_is_told_as_it_was_typed(request_: Request, words: str) -> None:
    assert asked(request_) == words
