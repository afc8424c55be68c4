"""Events on the workload, written while the operation goes on: none of them holds it up, and none ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobset_restart.errors import JsrError, NotFound, told

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster
    from jobset_restart.writes import Write

MOST_SECONDS = 10.0
"""So long an Event is tried to be written."""


class Announcer:
    """Writes Events one after the other, beside everything else."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last: asyncio.Task[None] | None = None
        self._failed: JsrError | None = None

    def tell(self, event: Write) -> None:
        """Has the Event written after those before it."""
        self._last = asyncio.ensure_future(self._write(event, self._last))

    async def _write(self, event: Write, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        if self._failed is not None:
            return
        try:
            await self._cluster.send(event, deadline=self._cluster.now() + MOST_SECONDS)
        except NotFound:  # its namespace is gone, and nobody looks for it there
            return
        except Exception as failed:
            self._failed = told(failed)

    async def settle(self) -> JsrError | None:
        """Returns when all are written, or what the first failed with: no more are tried after that."""
        if self._last is not None:
            await self._last
        return self._failed

    def give_up(self) -> None:
        """Writes no more."""
        if self._last is not None:
            self._last.cancel()
