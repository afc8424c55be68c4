"""The part of a restart that may be under way at once, and what goes next when a place in it is free. Pure.

A place is taken from the moment something is sent until what it was sent for is back and has stayed so. What is not
Ready by itself goes before what is, and takes a place like everything else: nothing that is Ready is taken down while
as many are down already. The work is that of what has changed, however many slots there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush

from msgspec import Struct

from jobset_restart.seen import SlotTrack, available, keeps_its_pod
from jobset_restart.slots import Slot, Unit, key_text
from jobset_restart.stages import Stage
from jobset_restart.writes import Action

Key = Slot | Unit


class Portion(Struct, frozen=True):
    """What goes at once: a slot, or a unit with all its slots. `otherwise` are the actions to take instead where the
    container runtime refuses a tag beside a digest."""

    slots: tuple[Slot, ...]
    actions: list[Action]
    otherwise: list[Action]

    def to_send(self, *, plain: bool) -> list[Action]:
        return self.otherwise if plain and self.otherwise else self.actions


class Window:
    """`whole_units`: a unit goes at once and takes one place. `sent` are the slots that another client has triggered
    already. Open it for a stage, tell it what was seen, and take what there are places for."""

    def __init__(self, sent: Iterable[Slot], *, whole_units: bool) -> None:
        self._whole_units = whole_units
        self.stage: Stage | None = None
        """The stage it is open for, None before the first."""
        self._tracks: Mapping[Slot, SlotTrack] = {}
        self._gone = set(sent)
        """The slots whose turn has come."""
        self._under_way: dict[Key, set[Slot]] = {}
        """What takes a place, and which slots of it are not back."""
        self._suspects: dict[Slot, SlotTrack] = {}
        """Slots under way of which something was seen since it was last asked what has failed."""
        self._given_up: set[Slot] = set()
        self._portions: list[Portion] = []
        self._at: dict[Slot, int] = {}
        """Where in the order a slot of the stage stands."""
        self._taken: set[int] = set()
        self._next = 0
        self._not_ready: list[int] = []
        """A heap of what was seen not Ready before its turn came, by its place in the order."""

    def heed(self, changed: Iterable[SlotTrack]) -> None:
        """Something was seen of these slots."""
        for track in changed:
            if track.slot in self._gone:
                self._follow(track)
            elif track.slot in self._at and not available(track):
                heappush(self._not_ready, self._at[track.slot])

    def _follow(self, track: SlotTrack) -> None:
        key = self._key(track.slot)
        if track.state == "ready":
            self._given_up.discard(track.slot)
            self._free(key, track.slot)
        elif track.slot not in self._given_up:
            self._suspects[track.slot] = track
            self._under_way.setdefault(key, set()).add(track.slot)

    def _free(self, key: Key, slot: Slot) -> None:
        self._suspects.pop(slot, None)
        down = self._under_way.get(key, set())
        down.discard(slot)
        if not down:
            self._under_way.pop(key, None)

    def _key(self, slot: Slot) -> Key:
        return slot.unit if self._whole_units else slot

    def open(self, stage: Stage, tracks: Mapping[Slot, SlotTrack]) -> None:
        """The stage is next. `tracks` are all slots as they are seen."""
        actions, otherwise = _by_target(stage.actions), _by_target(stage.otherwise)
        slots: dict[Key, list[Slot]] = {}
        for slot in stage.slots:
            slots.setdefault(self._key(slot), []).append(slot)
        self.stage, self._tracks = stage, tracks
        self._portions = [
            Portion(tuple(mine), actions.get(key_text(key), []), otherwise.get(key_text(key), []))
            for key, mine in slots.items()
        ]
        self._at = {slot: at for at, portion in enumerate(self._portions) for slot in portion.slots}
        self._taken, self._next, self._not_ready = set(), 0, []
        self.heed(tracks[slot] for slot in self._at)

    def close(self) -> None:
        """Nothing more is to be taken."""
        self.stage, self._portions, self._at = None, [], {}
        self._taken.clear()

    @property
    def left(self) -> bool:
        """Whether something of the stage still waits for its turn."""
        return len(self._taken) < len(self._portions)

    def failed(self, stuck: Collection[str]) -> list[SlotTrack]:
        """The slots under way that have failed, or wait for a reason in `stuck`, and for which the others have to stay
        untouched. Where the stage keeps going they are given up, and take no place any more. That a Job replaces a Pod
        which did not survive its restart is no reason to try that on others."""
        lost = [t for t in self._suspects.values() if t.state == "failed" or t.broken or _waits(t, stuck)]
        self._suspects.clear()
        if self.stage is None or self.stage.canary or not self.stage.keep_going:
            return lost
        for track in lost:
            self._given_up.add(track.slot)
            self._free(self._key(track.slot), track.slot)
        return []

    def take(self) -> list[Portion]:
        """What is to be sent now; its turn has come with that. What is being replaced without us takes a place too, and
        nothing is sent for it."""
        found: list[Portion] = []
        while (at := self._first()) is not None:
            portion = self._portions[at]
            tracks = [self._tracks[slot] for slot in portion.slots]
            still_there = any(map(keeps_its_pod, tracks))
            left = [track for track in tracks if track.state not in ("ready", "failed")]
            if still_there and not portion.actions:
                continue  # nothing can be sent for it, and it runs on as it is
            self._gone.update(track.slot for track in left)
            for track in left:
                self._follow(track)
            if still_there and left:
                found.append(portion)
        return found

    def _first(self) -> int | None:
        """What goes next, None where there is no place or nothing left."""
        if self.stage is None or len(self._under_way) >= self.stage.places:
            return None
        while self._not_ready:
            at = heappop(self._not_ready)
            slots = self._portions[at].slots
            if at not in self._taken and not all(available(self._tracks[slot]) for slot in slots):
                self._taken.add(at)
                return at
        while self._next < len(self._portions):
            at, self._next = self._next, self._next + 1
            if at not in self._taken:
                self._taken.add(at)
                return at
        return None


def _by_target(actions: Iterable[Action]) -> dict[str, list[Action]]:
    found: dict[str, list[Action]] = {}
    for action in actions:
        found.setdefault(action.slot, []).append(action)
    return found


def _waits(track: SlotTrack, reasons: Collection[str]) -> bool:
    return track.state == "starting" and track.reason in reasons
