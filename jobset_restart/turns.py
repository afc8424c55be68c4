"""What an operation sends next: stage by stage, as the slots sent before are seen to come back. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from msgspec import Struct, structs

from jobset_restart.plan import Plan
from jobset_restart.seen import SlotTrack
from jobset_restart.slots import Slot
from jobset_restart.stages import Stage
from jobset_restart.track import Tracker
from jobset_restart.triggers.image import REFUSALS
from jobset_restart.waits import PROVING_SECONDS
from jobset_restart.window import Window

GIVEN_UP = REFUSALS - {"ErrImagePull"}
"""Reasons for which a slot that went first is not waited for any longer. ErrImagePull is tried again at once."""


class Turn(Struct, frozen=True):
    """What to do now: send the stage, wait for something to change, or nothing any more ("over"). `halted` is then why
    the later stages are not sent, and `failed` the slots that are given up."""

    kind: Literal["send", "wait", "over"]
    stage: Stage | None = None
    halted: str = ""
    failed: tuple[Slot, ...] = ()


WAIT = Turn("wait")


class Turns:
    """The stages of a plan that are still to be sent. Ask `next` whenever something was seen; what it says to send
    counts as sent."""

    def __init__(self, plan: Plan) -> None:
        self._left = list(plan.stages)
        self._awaited = [planned.state.slot for planned in plan.scope if planned.sent]
        self._ahead: Stage | None = None
        """The stage that went first and is not back yet."""
        self.canary_failed = False
        """Whether slots that went ahead of others did not come back."""
        self._plain = False
        """Whether references without a tag are sent, because the container runtime refused one with tag and digest."""
        whole_units = plan.trigger is not None and plan.trigger.reach == "unit"
        self._window = Window(self._awaited, whole_units=whole_units)

    def next(self, tracker: Tracker, now: float, stuck: Collection[Slot] = ()) -> Turn:
        """The next thing to do, by what the tracker has seen. `now` is the time, in seconds since the epoch; `stuck`
        are slots that are not waited for any longer."""
        self._window.heed(tracker.news())
        if self._ahead is not None and (refused := self._refused(self._ahead, tracker)):
            return self._without_tag(self._ahead, refused) or self._halt(tracker, refused)
        if (turn := self._refill(tracker, stuck)) is not None:
            return turn
        stage = self._left[0] if self._left else None
        if stage is None:
            undecided = self._ahead is not None and self._ahead.otherwise and not self._back(tracker, now)
            return WAIT if undecided and not self._failed(tracker, stuck) else Turn("over")
        if stage.after == "stopped" and not tracker.stopped:
            return WAIT
        if stage.after == "ready":
            back = self._back(tracker, now)
            if failed := self._failed(tracker, stuck):
                return self._halt(tracker, [failed], waits=failed.slot in stuck)
            if not back or not _complete(stage.complete, tracker):
                return WAIT
        if not stage.places:
            return self._send(stage)
        self._left.pop(0)
        self._ahead = stage if stage.canary else None
        self._awaited += reversed(stage.slots)
        self._window.open(stage, tracker.slots)
        return self.next(tracker, now, stuck)

    def _refill(self, tracker: Tracker, stuck: Collection[Slot]) -> Turn | None:
        """What the window does: it sends as many as there are places for, and waits while it has some left. None where
        it has nothing to do with what is next."""
        stage = self._window.stage
        if stage is None:
            return None
        if failed := self._window.failed(frozenset() if self._plain else GIVEN_UP):
            return self._halt(tracker, failed) if self._window.left or self._left else None
        portions = self._window.take()
        if not portions and self._window.left and (held := _all_stuck(tracker, stuck)):
            return self._halt(tracker, held, waits=True)
        if not portions:
            return WAIT if self._window.left else None
        actions = [action for each in portions for action in each.to_send(plain=self._plain)]
        slots = tuple(slot for each in portions for slot in each.slots)
        return Turn("send", structs.replace(stage, actions=actions, slots=slots, otherwise=()))

    def _send(self, stage: Stage) -> Turn:
        self._left.pop(0)
        self._ahead = stage if stage.canary else None
        self._awaited += stage.slots
        actions = stage.otherwise if self._plain and stage.otherwise else stage.actions
        return Turn("send", structs.replace(stage, actions=actions))

    def _back(self, tracker: Tracker, now: float) -> bool:
        """Whether every slot sent so far is back. Each is looked at until it is, and not again."""
        for_ = PROVING_SECONDS if self._ahead is not None and self._left else 0.0
        while self._awaited and _stayed(tracker.slots[self._awaited[-1]], for_, now):
            self._awaited.pop()
        return not self._awaited

    def _failed(self, tracker: Tracker, stuck: Collection[Slot]) -> SlotTrack | None:
        """The slot that holds the others up, where it has failed. That the Job replaces a Pod which did not survive its
        restart is no reason to try that on others."""
        track = tracker.slots[self._awaited[-1]] if self._awaited else None
        if track is None:
            return None
        return track if track.state == "failed" or track.broken or track.slot in stuck else None

    def _refused(self, ahead: Stage, tracker: Tracker) -> list[SlotTrack]:
        """Those that went first and whose container cannot be started."""
        reasons = REFUSALS if ahead.otherwise and not self._plain else frozenset() if self._plain else GIVEN_UP
        tracks = (tracker.slots[slot] for slot in ahead.slots)
        return [track for track in tracks if track.state == "starting" and track.reason in reasons]

    def _without_tag(self, ahead: Stage, refused: list[SlotTrack]) -> Turn | None:
        """The reference without a tag for these slots, None where that was tried already. What is shown of the slot
        until the kubelet has taken it up is the refusal of before, so from now on it is waited for to the end."""
        slots = {str(track.slot) for track in refused}
        actions = [action for action in ahead.otherwise if action.slot in slots]
        if self._plain or not actions:
            return None
        self._plain = True
        why = f"without a tag, for the container runtime does not take it: {refused[0].reason}"
        return Turn("send", Stage(name=ahead.name, actions=actions, slots=(), why=why))

    def _halt(self, tracker: Tracker, failed: list[SlotTrack], *, waits: bool = False) -> Turn:
        """Nothing more is sent, for these slots failed, or keep all others waiting (`waits`)."""
        self.canary_failed = self.canary_failed or self._ahead is not None
        names = ", ".join(str(track.slot) for track in failed[:3])
        self._left, self._ahead = [], None
        self._window.close()
        untouched = sum(track.sent_at is None and track.state != "failed" for track in tracker.slots.values())
        if not untouched:
            return Turn("over")
        return Turn(
            "over",
            halted=f"not touched, for {names} did not come back",
            failed=() if waits else tuple(t.slot for t in failed),
        )


def _stayed(track: SlotTrack, seconds: float, now: float) -> bool:
    """Whether the slot is back, and has been for so long."""
    return track.state == "ready" and (track.ready_since is None or now - track.ready_since >= seconds)


def _all_stuck(tracker: Tracker, stuck: Collection[Slot]) -> list[SlotTrack]:
    """The slots under way, where nothing is to be expected of any of them."""
    under_way = [t for t in tracker.slots.values() if t.sent_at is not None and t.state != "ready"] if stuck else []
    return under_way if all(track.slot in stuck for track in under_way) else []


def _complete(replicated_jobs: tuple[str, ...], tracker: Tracker) -> bool:
    """Whether the slots of these ReplicatedJobs have run to their end; what was complete before is not in scope."""
    return not replicated_jobs or all(
        any(pod.status.phase == "Succeeded" for pod in track.pods.values())
        for track in tracker.slots.values()
        if track.slot.group in replicated_jobs
    )
