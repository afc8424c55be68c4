"""Whether what a workload consists of follows its spec.suspend. A state machine without a clock and without I/O.

Trainer passes spec.suspend of a TrainJob on to its JobSet together with everything else that it would make of the
JobSet now (Trainer v2, JobSet plugin, Build). Where the runtime has changed since, the JobSet does not accept that, for
its replicatedJobs are immutable (JobSet, webhook): it is never suspended, and its Pods run on.
"""

from __future__ import annotations

from jobset_restart.creation import reason
from jobset_restart.objects import Event
from jobset_restart.workloads.workload import Workload

ANSWERED_SECONDS = 10.0
"""How long it may take to be suspended though its controller said that it could not: it tries again and again."""
SILENT_SECONDS = 60.0
"""The same, where the controller says nothing: it may be starting, or electing a leader (15 s by default)."""


class Heeding:
    """Feed it the workload, the Events about it, and time. `given_up` says why it is waited for no longer, "" while it
    is."""

    def __init__(self) -> None:
        self.given_up = ""
        self._part, self._why = "", ""
        self._since = 0.0

    @property
    def waits(self) -> bool:
        """Whether a part has not followed yet."""
        return bool(self._part)

    def see(self, workload: Workload, now: float) -> None:
        """The workload as it is now."""
        part = workload.unheeding
        if part != self._part:
            self._part, self._why, self._since = part, "", now

    def refused(self, event: Event) -> None:
        """Its controller said that it could not change a part."""
        self._why = f"{event.reason}: {reason(event)}"

    def tick(self, now: float) -> bool:
        """Whether it is given up, now that time has passed."""
        if not self._part or now - self._since < (ANSWERED_SECONDS if self._why else SILENT_SECONDS):
            return False
        why = self._why or "no Event says why"
        self.given_up = f"{self._part} was not suspended with it ({why}); --via jobs does without that"
        return True
