"""The claim on the workload while a run holds it: taken, kept alive, changed and let go by compare-and-swap."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart import claim, history
from jobset_restart.errors import Conflict, JsrError, Superseded
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

TRIES = 8


class Hold:
    """`workload` is the newest version seen, `record` what this run says of itself on it.

    `on_lost` is called with the reason when it turns out to be claimed by another operation,
    `on_contradicted` when somebody else "resumed" or "suspended" it. `unusual` is what was strange about a claim that
    was taken over.
    """

    def __init__(
        self,
        cluster: Cluster,
        workload: Workload,
        record: claim.Record,
        on_lost: Callable[[str], None],
        on_contradicted: Callable[[str], None],
    ) -> None:
        self.cluster, self.workload, self.record = cluster, workload, record
        self._on_lost, self._on_contradicted = on_lost, on_contradicted
        self._suspended_before = workload.suspended and record.phase not in claim.OUT
        self.lost = False
        self.unusual = ""
        self._writing = asyncio.Lock()

    async def take(self, deadline: float) -> str:
        """Takes the claim. Returns the id of a dead client's operation that it replaces, or "".

        Raises Superseded when a living client holds the workload, Conflict when it changes too fast.
        """
        for _ in range(TRIES):
            before = claim.lock(self.workload)
            self._refuse_if_held(before)
            try:
                await self._put(None, deadline)
            except Conflict:
                self._accept(await self._read())
            else:
                dead = before is not None and before.state not in ("detached", "finished")
                self.unusual = claim.unusual(before, self.cluster.now())
                return before.id if before and dead and before.id != self.record.id else ""
        raise Conflict(f"{self._title} changes too fast to be claimed; nothing was changed", "try again")

    def _accept(self, fresh: Workload) -> None:
        """Goes on with a newer version, if what the plan was made for still holds."""
        planned = self.workload
        self.workload = fresh
        if fresh.metadata.generation != planned.metadata.generation or planned.replaced(fresh):
            raise Superseded(f"{self._title} changed since the plan was made; nothing was changed", "look again")

    @property
    def _title(self) -> str:
        return self.workload.title

    def _refuse_if_held(self, found: claim.Lock | None) -> None:
        now = self.cluster.now()
        if found is None or not claim.live(found, now) or self._mine(found):
            return
        raise Superseded(*claim.held(self.workload, found, now, self.cluster.context))

    def _mine(self, found: claim.Lock) -> bool:
        return found.id == self.record.id and found.owner == self.record.owner[: claim.MOST_WORDS]

    async def _read(self) -> Workload:
        itself = self.workload.sources.itself
        found = self.workload.renewed(await self.cluster.get(itself.path, itself.type))
        if self.workload.metadata.uid and found.metadata.uid != self.workload.metadata.uid:
            raise Superseded(f"{self._title} was replaced by another of the same name", "look again")
        return found

    async def _put(self, suspend: bool | None, deadline: float) -> None:
        beside = history.beside(self.workload, self.record, self.cluster.now())
        write = claim.write(self.workload, self.record, suspend=suspend, beside=beside)
        written = await self.cluster.send(write, type=self.workload.sources.itself.type, deadline=deadline)
        if written is not None:
            self.workload = self.workload.renewed(written)

    async def change(self, deadline: float, *, suspend: bool | None = None, **fields: object) -> None:
        """Writes the record with these fields changed, and spec.suspend with it if given; again as long as others
        change the object in between.

        Raises Superseded when it carries the record of another operation, and what the transport raises.
        """
        async with self._writing:
            self.record = structs.replace(self.record, heartbeat=claim.timestamp(self.cluster.now()), **fields)
            for _ in range(TRIES):
                try:
                    return await self._put(suspend, deadline)
                except Conflict:
                    self.see(await self._read())
                    if self.lost:
                        raise Superseded(f"{self._title} was claimed by another operation") from None
            raise Conflict(f"{self._title} changes too fast for its record to be written")

    def see(self, workload: Workload) -> None:
        """A newer version of the workload was seen."""
        if workload.metadata.uid != self.workload.metadata.uid:
            return
        self.workload = workload
        found = claim.lock(workload)
        if found is not None and found.id != self.record.id and not self.lost:
            self.lost = True
            who = f"{found.owner} (operation {found.id})" if found.id else "a record that cannot be read"
            self._on_lost(f"the {workload.carrier.kind} was claimed by {who}")
        by_others = claim.contradicted(workload, self.record.id)
        if by_others == "suspended" and self._suspended_before:
            return
        if by_others:
            self._on_contradicted(by_others)

    async def keep_alive(self) -> None:
        """The heartbeat. A beat that fails is left out: the claim lapses only after several."""
        while True:
            await asyncio.sleep(claim.HEARTBEAT_SECONDS)
            if not self.lost:
                with contextlib.suppress(JsrError):
                    await self.change(self.cluster.now() + claim.HEARTBEAT_SECONDS)
