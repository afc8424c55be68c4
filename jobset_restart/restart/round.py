"""One round of an operation: a plan, sent stage by stage as its slots come back, and judged by its own tracker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from jobset_restart.events import Emit, Event, NextRound, Phase, Planned
from jobset_restart.ladder import Footing
from jobset_restart.machines import Machines
from jobset_restart.plan import Plan
from jobset_restart.restart.answers import Answers
from jobset_restart.restart.escalate import Standing, TurnsLeft, as_left
from jobset_restart.restart.outline import outline
from jobset_restart.restart.suspending import Suspension
from jobset_restart.seen import SlotTrack
from jobset_restart.slots import Slot
from jobset_restart.spans import rounded
from jobset_restart.stages import Stage
from jobset_restart.stuck import Stuck
from jobset_restart.track import Tracker
from jobset_restart.turns import Turns

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

PHASES = {
    "trigger": "triggering",
    "delete": "deleting",
    "cordon": "cordoning nodes",
    "taint": "tainting nodes as out of service",
    "release": "releasing Pods of lost machines",
    "suspend": "suspending",
    "resume": "resuming",
    "evict": "evicting",
    "readmit": "readmitting",
}


class Ground(Struct, frozen=True, kw_only=True):
    """What all rounds of a tenure stand on. `changed` is set whenever something was seen; `deadline` is seconds since
    the epoch; `min_ready_seconds` is None where each plan says it."""

    cluster: Cluster
    suspension: Suspension
    machines: Machines
    emit: Emit
    changed: asyncio.Event
    deadline: float
    min_ready_seconds: float | None
    concurrency: int | None


class Round:
    """`number` counts the rounds of the operation from 1. The plan is not kept: whoever made it lets go of it, and its
    Pods are gone with it."""

    def __init__(self, plan: Plan, ground: Ground, number: int, began: float, earlier: Tracker | None = None) -> None:
        self._ground, self.number, self.began = ground, number, began
        self.outline = outline(plan)
        asked = ground.min_ready_seconds
        least = plan.min_ready_seconds if asked is None else asked
        self.tracker = Tracker(plan, began, least, ground.machines, number=number, earlier=earlier)
        self.stuck = Stuck(plan.patience, plan.deaf)
        self._escalates = bool(plan.request.escalate)
        self.answers = Answers(plan, self.tracker, ground.cluster.now, self.tell)
        self._turns = Turns(plan)
        self._stop = asyncio.Event()
        self._phase = ("", "")
        self.sent_all = False
        """Whether nothing is left to be sent."""

    def stop(self) -> None:
        """Nothing more is sent; what is in flight completes."""
        self._stop.set()

    async def drive(self) -> None:
        """Sends what there is to send, each stage when its turn has come. Raises what a write for the whole workload
        was refused with."""
        now = self._ground.cluster.now
        self.tell(self.tracker.begin(now()))
        if self.outline.finishes:
            self.tell(self.tracker.sent_all(now()))
        while not self._stop.is_set():
            turn = self._turns.next(self.tracker, now(), self._left_behind(now()))
            if turn.kind == "over":
                self.tell(self.tracker.leave(turn.halted, turn.failed, now()))
                self.sent_all = True
                break
            if turn.stage is None:
                self._ground.changed.clear()
                await self._ground.changed.wait()
            else:
                await self._send(turn.stage)
        self._ground.changed.set()

    async def _send(self, stage: Stage) -> None:
        phase = PHASES[stage.name], stage.why
        if phase != self._phase:  # a window sends a stage in many parts
            self._ground.emit(Phase(time=self._ground.cluster.now(), phase=phase[0], reason=phase[1]))
        self._phase = phase
        if stage.name in ("suspend", "resume", "evict", "readmit"):
            await self._ground.suspension.carry_out(stage)
            if stage.name in ("suspend", "evict"):
                self.tell(self.tracker.sent_all(self._ground.cluster.now()))
            return
        await self._ground.cluster.send_all(
            stage.actions,
            partial(self.answers.answered, stage),
            concurrency=self._ground.concurrency,
            stop=self._stop,
            deadline=self._ground.deadline,
        )
        if self.answers.refused is not None:
            raise self.answers.refused

    def _left_behind(self, now: float) -> Collection[Slot]:
        """The slots that the others do not wait for, where something else may be done for them."""
        if not self._escalates:
            return ()
        self.stuck.look(self.tracker, now)
        return self.stuck.slots

    def over(self, now: float, *, last: bool) -> bool:
        """Whether nothing is to be sent and nothing to be waited for any more in this round; where it is the `last`, no
        slot is given up that may come back however late."""
        if not self.sent_all:
            return False
        return self.tracker.done or (self._escalates and self.stuck.over(self.tracker, now, last=last))

    def tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._ground.emit(event)

    # ------------------------------------------------------------ what is told of it

    @property
    def canary_failed(self) -> bool:
        """Whether slots that went ahead of others did not come back."""
        return self._turns.canary_failed

    @property
    def refused_throughout(self) -> bool:
        """Whether everything that was sent was refused, so that nothing was restarted and nothing is under way."""
        tracks = self.tracker.slots.values()
        refused = self.answers.refused is not None or any(track.refusal or track.refusals for track in tracks)
        untouched = all(track.sent_at is None and track.state in ("waiting", "failed") for track in tracks)
        return refused and untouched

    def standing(self, waiting: TurnsLeft) -> Standing:
        """What came out, for the choice of the next round. `waiting` are the slots of all rounds whose turn never
        came."""
        of, left = self.outline, self.left()
        return Standing(
            request=of.request,
            again=of.again,
            refused_throughout=self.refused_throughout,
            left=tuple(as_left(track, self.tracker.machines, seated=track.slot in of.seated) for track in left),
            footing=Footing(slots=tuple(each.slot for each in of.slots), triggers=of.triggers),
            waiting=waiting,
            number=self.number,
        )

    def left(self) -> list[SlotTrack]:
        """The slots that do not come back, as far as can be told now."""
        stuck, untouched = self.stuck.slots, self.tracker.untouched
        pending = (track for track in self.tracker.pending() if track.slot not in untouched)
        return [track for track in pending if track.state == "failed" or track.slot in stuck]

    def planned(self) -> Planned:
        """The event that opens an operation with this round."""
        of = self.outline
        return Planned(
            time=self.began,
            operation=of.operation,
            jobset=of.jobset,
            kind=of.kind,
            group=of.group,
            namespace=of.namespace,
            context=of.context,
            strategy=of.strategy,
            trigger=of.trigger,
            reason=of.reason,
            deadline=self._ground.deadline,
            predicted=of.prediction.likely,
            prediction=rounded(of.prediction),
            writes=of.actions,
            slots=of.planned_slots(),
            round=self.number,
        )

    def follows(self, because: str) -> NextRound:
        """The event that opens this round after another, `because` of what came of that."""
        of = self.outline
        return NextRound(
            time=self.began,
            operation=of.operation,
            round=self.number,
            strategy=of.strategy,
            trigger=of.trigger,
            rung=of.request.rung,
            reason=of.reason,
            because=because,
            predicted=of.prediction.likely,
            prediction=rounded(of.prediction),
            writes=of.actions,
            slots=of.planned_slots(),
        )
