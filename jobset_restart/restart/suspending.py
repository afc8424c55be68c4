"""Suspending a workload and bringing it back while an operation holds it: by spec.suspend, always together with the
record, or by Kueue's own Workload, the record first. Never left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobset_restart.commands import jsr
from jobset_restart.errors import Conflict, JsrError, NotFound, OwnFault, told
from jobset_restart.restart.hold import Hold
from jobset_restart.stages import Stage
from jobset_restart.triggers.requeue import activate
from jobset_restart.triggers.suspend import suspend
from jobset_restart.writes import Action, Write

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

RESUME_SECONDS = 60.0
BACK = {"suspending": "resuming", "evicting": "readmitting"}
"""The phase of the record in which a workload comes back, by the one in which it went."""


class Suspension:
    """`on` tells whether the workload is, or may be, suspended by the operation that holds it; `writes` counts the
    writes to that end that were accepted. `resumed_by` names whoever else resumed it meanwhile."""

    def __init__(self, cluster: Cluster, hold: Hold, deadline: float) -> None:
        self._cluster, self._hold, self._deadline = cluster, hold, deadline
        self.on = False
        self.writes = 0
        self.resumed_by = ""
        self._readmit: Write | None = None
        """What brings back a workload that Kueue evicted for this operation."""

    @property
    def evicts(self) -> bool:
        """Whether it is Kueue that takes the workload down and brings it back: that may be seen later."""
        return self._readmit is not None

    def found(self, back: Stage | None) -> None:
        """An operation before left the workload suspended, and this stage brings it back; None where none did."""
        self.on = back is not None
        if back is not None and back.name == "readmit":
            self._readmit = _only(back.actions)

    def was_resumed(self, who: str) -> None:
        """Somebody else resumed the workload."""
        self.on, self.resumed_by = False, who

    async def carry_out(self, stage: Stage) -> None:
        """Takes the workload down, or brings it back. While the outcome of the write is open, it counts as suspended.

        Raises what the transport raises, and Superseded where the workload carries another record by now."""
        if stage.name == "evict":
            await self._evict(_only(stage.actions))
        elif stage.name == "suspend":
            await self._set(True)
        else:
            await self._back()

    async def _back(self) -> None:
        if self._readmit is not None:
            await self._admit(self._readmit)
        else:
            await self._set(False)

    async def _set(self, wanted: bool) -> None:
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

    async def _evict(self, write: Write) -> None:
        """The record goes ahead: what is evicted always has one that says so."""
        await self._hold.change(self._deadline, phase="evicting")
        self.on, self._readmit = True, activate(write.path, write.uid, True)
        await self._cluster.send(write, deadline=self._deadline)
        self.writes += 1

    async def _admit(self, write: Write) -> None:
        deadline = self._cluster.now() + RESUME_SECONDS
        await self._cluster.send(write, deadline=deadline)
        self.on = False
        self.writes += 1
        await self._hold.change(deadline, phase="readmitting")

    async def end(self, notice: Callable[[str], None]) -> None:
        """Brings the workload back; where that cannot be done, `notice` is given the word for the person."""
        try:
            await self._back()
        except NotFound:
            self.on = False
        except Exception as raised:
            await self._resume_at_least(told(raised), notice)

    async def _resume_at_least(self, failed: JsrError, notice: Callable[[str], None]) -> None:
        """The resume with the record did not go through: the same without it, where that may help, else the word that
        it is suspended."""
        workload, context = self._hold.workload, self._cluster.context
        try:
            if isinstance(failed, OwnFault | Conflict) and self.on:
                write = self._readmit or suspend(workload, False)
                await self._cluster.send(write, deadline=self._cluster.now() + RESUME_SECONDS)
                self.on = False
        except Exception as raised:
            failed = told(raised)
        if self.on:
            again = jsr("restart", workload.reference, workload.namespace, context)
            notice(
                f"{workload.title} could not be resumed ({failed.message}) and may stay suspended; its record says so, "
                f"and the next `{again}` resumes it"
            )


def _only(actions: Sequence[Action]) -> Write:
    """The one write of a stage."""
    (action,) = actions
    assert isinstance(action, Write)
    return action
