"""Which slots of a round do not come back by themselves: those whose time is over, and those of which it can be seen
before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobset_restart.places import ended
from jobset_restart.seen import SlotTrack
from jobset_restart.slots import Slot
from jobset_restart.track import Tracker
from jobset_restart.triggers.image import REFUSALS

HOPELESS_SECONDS = 30.0
"""How long a reason that seldom passes by itself must last: an image that cannot be pulled has been tried three times
by then (kubelet, 10 s doubled), and a Pod that is refused about as often (Job controller, back-off)."""
DEAF_SECONDS = 5.0
"""How long a container that does not handle TERM may take to end all the same, by its preStop hook for one."""
LOOK_SECONDS = 0.2
"""The least time between two looks at all slots."""


class Stuck:
    """Ask `over` whenever something may have been seen. `slots` are the stuck ones with the reason, of those
    `hopeless` will not come back however long one waits.

    `patience` is how many seconds each slot has from the time it was triggered; those that are `deaf` do not notice it,
    and use their grace period in vain. In a native restart whoever waits at
    the barrier is not stuck: who holds it is.
    """

    def __init__(self, patience: float, deaf: Collection[Slot] = ()) -> None:
        self._patience, self._deaf = patience, deaf
        self.slots: dict[Slot, str] = {}
        self.hopeless: set[Slot] = set()
        self._since: dict[Slot, float] = {}
        """Since when a slot has had a reason that seldom passes."""
        self._looked = float("-inf")
        self._all = self._none_to_hope = False

    def forget_deaf(self) -> None:
        """Nothing can be done for the deaf that ends them before their time: they have it like all others."""
        self._deaf, self._looked = (), float("-inf")

    def over(self, tracker: Tracker, now: float, *, last: bool = False) -> bool:
        """Whether every slot is back, stuck, or waiting at the barrier for one that is stuck; where this round is the
        `last`, hopeless in place of stuck. `now` is seconds since the epoch."""
        self.look(tracker, now)
        return self._none_to_hope if last else self._all

    def look(self, tracker: Tracker, now: float) -> None:
        """Looks at every slot that is not back."""
        if now - self._looked < LOOK_SECONDS and not tracker.done:
            return
        self._looked = now
        waiting = self._judge(tracker, tracker.pending(), now)
        self._all = bool(self.slots) and not waiting
        self._none_to_hope = self._all and self.hopeless == self.slots.keys()

    def _judge(self, tracker: Tracker, tracks: Iterable[SlotTrack], now: float) -> int:
        """Sorts the slots; returns how many of them there is still hope for."""
        self.slots, self.hopeless, hope = {}, set(), 0
        before, self._since = self._since, {}
        for track in tracks:
            if reason := self._never(tracker, track, before, now):
                self.slots[track.slot] = reason
                self.hopeless.add(track.slot)
            elif tracker.waits_at_barrier(track):
                continue
            elif reason := self._late(track, now):
                self.slots[track.slot] = reason
            elif track.sent_at is not None or track.state != "waiting":
                hope += 1
        return hope

    def _late(self, track: SlotTrack, now: float) -> str:
        """What is said of the slot where it has had its time, else ""."""
        took = now - track.sent_at if track.sent_at is not None else 0.0
        if track.slot in self._deaf and track.state == "triggered" and took >= DEAF_SECONDS:
            return "PID 1 does not handle TERM"
        return (track.reason or f"still {track.state} after {took:.0f} s") if took >= self._patience else ""

    def _never(self, tracker: Tracker, track: SlotTrack, before: dict[Slot, float], now: float) -> str:
        """Why the slot will not come back by itself, "" where it may."""
        if track.state == "failed":
            return track.reason or "failed"
        if tracker.machines.down:
            pods = (pod for pod in track.pods.values() if not ended(pod))
            if why := tracker.machines.why(pods):
                return why
        seldom = track.reason if track.state == "starting" and track.reason in REFUSALS else ""
        if not seldom and track.vacant and track.sent_at is not None:
            seldom = tracker.members.refusal(track.slot)
        if not seldom:
            return ""
        self._since[track.slot] = before.get(track.slot, now)
        return seldom if now - self._since[track.slot] >= HOPELESS_SECONDS else ""
