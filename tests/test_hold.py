"""The claim while a run holds it: what happens when others write the JobSet in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.errors import Conflict, Superseded
from jobset_restart.restart.hold import TRIES, Hold
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build
from tests.small_cluster import SmallCluster

LATER = 1e12


def record(cluster: SmallCluster, id: str = "op1", owner: str = "me", **fields: Any) -> Record:  # noqa: A002
    now = claim.timestamp(cluster.now())
    return Record(id=id, owner=owner, started=now, heartbeat=now, **fields)


class Holding:
    """A claim that is about to be taken, and what it says. `between(n)` is done before the nth write arrives."""

    def __init__(self, **fields: Any) -> None:
        self.cluster = SmallCluster(build.jobset(metadata={"generation": 1}, **fields), [build.pod(0), build.pod(1)])
        self.said: list[str] = []
        self.between: Callable[[int], None] = lambda _: None
        self.writes = 0
        self.cluster.point = self._point
        self.hold = Hold(
            self.cluster,
            JobSetWorkload(self.cluster.jobset),
            record(self.cluster),
            self.said.append,
            self.said.append,
        )

    def _point(self, where: str) -> None:
        if where.startswith("before patch"):
            self.writes += 1
            self.between(self.writes)

    def run(self, *what: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        async def all_of_it() -> list[Any]:
            return [await each() for each in what]

        return asyncio.run(all_of_it())

    def take(self) -> Coroutine[Any, Any, str]:
        return self.hold.take(LATER)

    def change(self, **fields: Any) -> Callable[[], Coroutine[Any, Any, None]]:
        return lambda: self.hold.change(LATER, **fields)

    def touch(self, _: int = 0) -> None:
        """Somebody writes a label: a new version, and nothing that matters."""
        self.cluster.change_jobset()

    def replace(self, **metadata: Any) -> None:
        self.touch()
        meta = structs.replace(self.cluster.jobset.metadata, **metadata)
        self.cluster.jobset = structs.replace(self.cluster.jobset, metadata=meta)

    def claimed_by_another(self) -> None:
        theirs = claim.written(record(self.cluster, "op2", "ann"))
        annotations = structs.replace(self.cluster.jobset.metadata.annotations, operation=next(iter(theirs.values())))
        self.replace(annotations=annotations)


def test_a_write_of_somebody_else_s_in_between_is_lived_with() -> None:
    held = Holding()
    held.between = lambda number: held.touch() if number in (1, 3) else None
    assert held.run(held.take, held.change(phase="triggering")) == ["", None]
    written = claim.read(JobSetWorkload(held.cluster.jobset))
    assert written is not None
    assert (written.id, written.phase, held.writes, held.said) == ("op1", "triggering", 4, [])


def test_a_jobset_that_never_stands_still_is_given_up() -> None:
    held = Holding()
    held.between = held.touch
    with pytest.raises(Conflict, match="changes too fast to be claimed; nothing was changed"):
        held.run(held.take)
    assert (held.writes, claim.read(JobSetWorkload(held.cluster.jobset))) == (TRIES, None)
    taken = Holding()
    taken.between = lambda number: taken.touch() if number > 1 else None
    with pytest.raises(Conflict, match="too fast for its record"):
        taken.run(taken.take, taken.change(phase="triggering"))


def test_a_spec_that_changed_since_the_plan_is_another_plan_s() -> None:
    held = Holding()
    held.between = lambda _: held.cluster.change_jobset(managed_by="somebody")
    with pytest.raises(Superseded, match="changed since the plan was made; nothing was changed"):
        held.run(held.take)


def test_a_jobset_of_the_same_name_is_not_claimed() -> None:
    held = Holding()
    held.between = lambda _: held.replace(uid="another")
    with pytest.raises(Superseded, match="was replaced by another of the same name"):
        held.run(held.take)


def test_who_claims_it_in_between_has_it() -> None:
    held = Holding()
    held.between = lambda number: held.claimed_by_another() if number == 1 else None
    with pytest.raises(Superseded, match="ann"):
        held.run(held.take)


def test_a_claim_that_is_lost_writes_nothing_more_and_says_so_once() -> None:
    held = Holding()
    held.between = lambda number: held.claimed_by_another() if number == 2 else None
    with pytest.raises(Superseded, match="was claimed by another operation"):
        held.run(held.take, held.change(phase="triggering"))
    held.hold.see(JobSetWorkload(held.cluster.jobset))
    assert held.said == ["the JobSet was claimed by ann (operation op2)"]
    written = claim.read(JobSetWorkload(held.cluster.jobset))
    assert written is not None
    assert written.id == "op2"


def test_another_jobset_of_the_name_tells_nothing_about_this_one() -> None:
    held = Holding()
    held.run(held.take)
    held.claimed_by_another()
    other = structs.replace(held.cluster.jobset.metadata, uid="another")
    held.hold.see(JobSetWorkload(structs.replace(held.cluster.jobset, metadata=other)))
    assert (held.hold.lost, held.said) == (False, [])


@pytest.mark.parametrize(("before", "told"), [(False, ["suspended"]), (True, [])])
def test_a_suspension_is_somebody_else_s_unless_it_was_there_before(before: bool, told: list[str]) -> None:
    held = Holding(spec={"suspend": before})
    held.run(held.take)
    if not before:
        held.cluster.change_jobset(suspend=True)
    held.hold.see(JobSetWorkload(held.cluster.jobset))
    assert held.said == told


def test_a_beat_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.01)
    held = Holding()

    def sometimes(number: int) -> None:
        if number in (2, 3):
            raise Conflict("no")
        if number > 5:
            enough.set()

    enough = asyncio.Event()
    held.between = sometimes

    async def beats() -> None:
        await held.hold.take(LATER)
        beating = asyncio.create_task(held.hold.keep_alive())
        await asyncio.wait_for(enough.wait(), 30)
        beating.cancel()

    asyncio.run(beats())
    assert not held.hold.lost
