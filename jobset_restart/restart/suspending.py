"""spec.suspend while an operation sets it: always together with the record, and never left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jobset_restart.commands import jsr
from jobset_restart.errors import Conflict, JsrError, NotFound, OwnFault, told
from jobset_restart.restart.hold import Hold
from jobset_restart.triggers.suspend import suspend

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

RESUME_SECONDS = 60.0


class Suspension:
    """`on` tells whether the workload is, or may be, suspended by the operation that holds it; `writes` counts the
    writes of spec.suspend that were accepted. `resumed_by` names whoever else resumed it meanwhile."""

    def __init__(self, cluster: Cluster, hold: Hold, deadline: float) -> None:
        self._cluster, self._hold, self._deadline = cluster, hold, deadline
        self.on = False
        self.writes = 0
        self.resumed_by = ""

    def was_resumed(self, who: str) -> None:
        """Somebody else resumed the workload."""
        self.on, self.resumed_by = False, who

    async def set(self, wanted: bool) -> None:
        """Sets spec.suspend with the record. While the outcome of the write is open, it counts as suspended.

        Raises what the transport raises, and Superseded where the workload carries another record by now."""
        now = self._cluster.now()
        if self.resumed_by and not wanted:
            self.on = False
            await self._hold.change(now + RESUME_SECONDS, phase="resuming")
            return
        self.on = True
        phase, deadline = ("suspending", self._deadline) if wanted else ("resuming", now + RESUME_SECONDS)
        await self._hold.change(deadline, suspend=wanted, phase=phase)
        self.on = wanted and not self.resumed_by
        self.writes += 1

    async def end(self, notice: Callable[[str], None]) -> None:
        """Resumes the workload; where that cannot be done, `notice` is given the word for the person."""
        try:
            await self.set(False)
        except NotFound:
            self.on = False
        except Exception as raised:
            await self._resume_at_least(told(raised), notice)

    async def _resume_at_least(self, failed: JsrError, notice: Callable[[str], None]) -> None:
        """The resume with the record did not go through: the same without it, where that may help, else the word that
        it is suspended."""
        workload, context = self._hold.workload, self._cluster.context
        try:
            if isinstance(failed, OwnFault | Conflict):
                await self._cluster.send(suspend(workload, False), deadline=self._cluster.now() + RESUME_SECONDS)
                self.on = False
        except Exception as raised:
            failed = told(raised)
        if self.on:
            again = jsr("restart", workload.reference, workload.namespace, context)
            notice(
                f"{workload.title} could not be resumed ({failed.message}) and may stay suspended; its record says so, "
                f"and the next `{again}` resumes it"
            )
