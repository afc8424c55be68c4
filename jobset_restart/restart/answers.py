"""What the answer to each action means for the slots it was for: told to the tracker as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jobset_restart.errors import ExecFailed, JsrError, NotFound, Unreachable
from jobset_restart.events import Event
from jobset_restart.plan import Plan
from jobset_restart.slots import Slot, unit_text
from jobset_restart.stages import Stage, StageName
from jobset_restart.track import Tracker
from jobset_restart.writes import Action, Exec, Write, job_path

if TYPE_CHECKING:
    from jobset_restart.cluster import ActionResult


class Answers:
    """`writes` counts the writes that were accepted, `refused` holds what was answered to one for the whole workload.

    `now` gives seconds since the epoch; `tell` takes the tracker's events.
    """

    def __init__(
        self, plan: Plan, tracker: Tracker, now: Callable[[], float], tell: Callable[[Iterable[Event]], None]
    ) -> None:
        self._tracker, self._now, self._tell = tracker, now, tell
        self._by_name = {str(planned.state.slot): [planned.state.slot] for planned in plan.slots}
        self._units: dict[str, list[Slot]] = {}
        self._by_job: dict[str, list[Slot]] = {}
        for planned in plan.scope:
            self._units.setdefault(unit_text(planned.state.slot.unit), []).append(planned.state.slot)
            if planned.state.job is not None:
                meta = planned.state.job.metadata
                self._by_job.setdefault(job_path(meta.namespace, meta.name), []).append(planned.state.slot)
        self.writes = 0
        self.refused: JsrError | None = None
        self.nodes: list[tuple[StageName, str]] = []

    def answered(self, stage: Stage, action: Action, done: ActionResult) -> None:
        """One action of the stage was answered."""
        slots = self._slots(stage, action)
        if done.error is None:
            self.writes += isinstance(action, Write)
            if stage.name in ("cordon", "taint"):
                self.nodes.append((stage.name, action.path.rpartition("/")[2]))
            self._sent(slots)
        elif isinstance(action, Write):
            self._not_written(stage, action, slots, done.error)
        elif isinstance(done.error, Unreachable):
            self._sent(slots)  # the container may have taken the connection down with it: what the watch sees decides
        elif isinstance(done.error, ExecFailed):
            for slot in slots:
                message = done.error.message
                self._tell(self._tracker.exec_refused(slot, action.container, message, self._now()))
        else:
            self._refused(slots, done.error)

    def _slots(self, stage: Stage, action: Action) -> Iterable[Slot]:
        """The slots an action is for: its own, those of the unit or Job it deletes, or all of its stage."""
        if action.slot:
            return self._by_name.get(action.slot) or self._units.get(action.slot, [])
        if isinstance(action, Exec) or action.path in self._by_job:
            return self._by_job.get(action.path, [])
        return stage.slots

    def _not_written(self, stage: Stage, action: Write, slots: Iterable[Slot], error: JsrError) -> None:
        gone = isinstance(error, NotFound) and (action.verb == "delete" or stage.name == "release")
        if gone and (action.path in self._by_job or action.slot in self._units):
            self._sent(slots)  # the Job or the leader went meanwhile, and its Pods with it
        elif not gone and not action.slot and action.path not in self._by_job:
            self.refused = self.refused or error
        elif not gone:
            self._refused(slots, error)

    def _sent(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            self._tell(self._tracker.sent(slot, self._now()))

    def _refused(self, slots: Iterable[Slot], error: JsrError) -> None:
        for slot in slots:
            self._tell(self._tracker.refused(slot, error.message, self._now()))
