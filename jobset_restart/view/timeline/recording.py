"""Events folded into what a timeline shows: through which states each slot went, and when. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise

from msgspec import Struct, field

from jobset_restart.events import (
    Claimed,
    Detached,
    Disconnected,
    Event,
    Finished,
    NextRound,
    Phase,
    Planned,
    Reconnected,
    SlotEvent,
)
from jobset_restart.progress import STATE_OF, Happening, Progress, State, happening
from jobset_restart.spans import Prediction

REMEMBERED = 60
"""Happenings that are kept from the beginning, and as many from the end."""
JOINED = 8
"""How far back the same happening to another slot is looked for."""


class Span(Struct):
    """A state that a slot was in from `begin` (seconds since the epoch) until the next span begins, and what was last
    said of it."""

    state: State
    begin: float
    reason: str = ""


class Line(Struct):
    """What became of one slot. The last of its spans is the state it was left in."""

    slot: str
    pod: str
    node: str
    round: int
    spans: list[Span]

    @property
    def state(self) -> State:
        return self.spans[-1].state

    def pieces(self, end: float) -> Iterable[tuple[Span, float]]:
        """Each span and when it ended, the last at `end`."""
        yield from ((span, after.begin) for span, after in pairwise(self.spans))
        yield self.spans[-1], max(end, self.spans[-1].begin)

    def took(self, end: float) -> float:
        """Seconds from the first time that it was touched until it was back for good, or until `end`."""
        touched = next((span.begin for span in self.spans if span.state != "waiting"), self.spans[0].begin)
        return max(0.0, (self.spans[-1].begin if self.state == "ready" else end) - touched)

    def longest(self, end: float) -> tuple[Span, float] | None:
        """The state that it was in for longest on its way, and for how many seconds; None where it never left."""
        on_its_way = [(span, till - span.begin) for span, till in self.pieces(end) if span.state not in IDLE]
        return max(on_its_way, key=lambda each: each[1], default=None)

    def last_words(self) -> str:
        """The last reason that was given, "" where none was."""
        return next((span.reason for span in reversed(self.spans) if span.reason), "")


IDLE = ("waiting", "ready", "failed")


class Opened(Struct, frozen=True, kw_only=True):
    """A round that began at `time`: how, for how many slots, and why. `predicted` are the seconds expected of it,
    `prediction` the same as a range, where the recording has that."""

    number: int
    time: float
    strategy: str
    trigger: str
    slots: int
    reason: str
    because: str
    predicted: float
    prediction: Prediction | None = None


class Mark(Struct, frozen=True):
    """The whole operation moved on."""

    time: float
    text: str


class Recording:
    """Give it the events of one operation in their order, then ask. `fault` is what the client died of, where it
    did."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.began: float | None = None
        self.owner = ""
        self.fault = ""
        self.lines: dict[str, Line] = {}
        self.rounds: list[Opened] = []
        self.marks: list[Mark] = []
        self.outages: list[tuple[float, float | None]] = []
        self.left_alone: set[str] = set()
        self.happened: list[Happening] = []
        self.happened_last: deque[Happening] = deque(maxlen=REMEMBERED)
        self.not_kept = 0
        """How many happenings between the first and the last are not kept."""

    def apply(self, event: Event) -> None:
        """Takes one event in."""
        self.progress.apply(event)
        if self.began is None:
            self.began = event.time
        if isinstance(event, SlotEvent) and type(event) in STATE_OF:
            self._move(event, STATE_OF[type(event)])
        self._take(event)
        self._remember(event)

    def _take(self, event: Event) -> None:
        match event:
            case Planned():
                self._open(event, carried_on=bool(self.rounds))
            case NextRound():
                self._open(event, carried_on=False)
            case Claimed():
                self.owner = event.owner
            case Phase():
                self.marks.append(Mark(event.time, event.phase + (f" ({event.reason})" if event.reason else "")))
            case Disconnected():
                self.outages.append((event.time, None))
            case Reconnected() if self.outages and self.outages[-1][1] is None:
                self.outages[-1] = (self.outages[-1][0], event.time)

    def _open(self, event: Planned | NextRound, *, carried_on: bool) -> None:
        meant = [planned for planned in event.slots if planned.trigger]
        self.left_alone |= {planned.slot for planned in event.slots if not planned.trigger}
        because = event.because if isinstance(event, NextRound) else "carried on" if carried_on else ""
        self.rounds.append(
            Opened(
                number=event.round,
                time=event.time,
                strategy=event.strategy,
                trigger=event.trigger,
                slots=len(meant),
                reason=event.reason,
                because=because,
                predicted=event.predicted,
                prediction=event.prediction,
            )
        )
        for planned in meant:
            line = self.lines.get(planned.slot)
            if line is None:
                spans = [Span("waiting", event.time)]
                self.lines[planned.slot] = Line(planned.slot, planned.pod, planned.node, event.round, spans)
            elif isinstance(event, NextRound):
                line.round = event.round
                line.spans.append(Span("waiting", max(event.time, line.spans[-1].begin)))

    def _move(self, event: SlotEvent, state: State) -> None:
        line = self.lines.get(event.slot)
        if line is None:
            line = Line(event.slot, "", "", self.rounds[-1].number if self.rounds else 1, [])
            self.lines[event.slot] = line
        line.pod, line.node = event.pod or line.pod, event.node or line.node
        if line.spans and line.state == state:
            line.spans[-1].reason = event.reason or line.spans[-1].reason
        else:
            begin = max(event.time, line.spans[-1].begin) if line.spans else event.time
            line.spans.append(Span(state, begin, event.reason))

    def _remember(self, event: Event) -> None:
        happened = happening(event)
        recent = [*self.happened[-JOINED:], *list(self.happened_last)[-JOINED:]][-JOINED:]
        if happened is None or happened.joins(recent):
            return
        if len(self.happened) < REMEMBERED:
            self.happened.append(happened)
            return
        self.not_kept += len(self.happened_last) == REMEMBERED
        self.happened_last.append(happened)

    # ------------------------------------------------------------ questions

    @property
    def planned(self) -> Planned | None:
        return self.progress.planned

    @property
    def finished(self) -> Finished | None:
        return self.progress.finished

    @property
    def detached(self) -> Detached | None:
        return self.progress.detached

    @property
    def begin(self) -> float:
        """When it began, seconds since the epoch."""
        return self.began or 0.0

    @property
    def end(self) -> float:
        """When it ended, or was last heard of."""
        return max(self.begin, self.finished.time if self.finished else self.progress.now)

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    def slowest(self, most: int) -> list[Line]:
        """The slots that are not back, the others after them, in each case those that took longest first."""
        end = self.end
        ranked = sorted(self.lines.values(), key=lambda line: (line.state == "ready", -line.took(end)))
        return ranked[:most]

    def not_back(self) -> int:
        """How many slots are not back."""
        return sum(line.state != "ready" for line in self.lines.values())


def recorded(events: Iterable[Event]) -> Recording:
    """The recording of these events, which are one operation's."""
    recording = Recording()
    for event in events:
        recording.apply(event)
    return recording


class Band(Struct, frozen=True):
    """Slots that are drawn as one row."""

    name: str
    lines: list[Line] = field(default_factory=list)


def bands(lines: list[Line], most: int) -> list[Band]:
    """The slots in at most `most` rows: each in one of its own where they are so few, else as many of a group together
    as it takes, and across groups where there are more groups than rows."""
    if len(lines) <= most:
        return [Band(line.slot, [line]) for line in lines]
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.slot.partition("/")[0], []).append(line)
    parts = list(groups.values()) if len(groups) <= most else [lines]
    size = -(-len(lines) // most)
    while sum(-(-len(part) // size) for part in parts) > most:
        size += max(1, size // 16)
    chunks = (part[at : at + size] for part in parts for at in range(0, len(part), size))
    return [Band(_name(chunk), chunk) for chunk in chunks]


def _name(lines: list[Line]) -> str:
    """ "workers/0/128 to 255": what both ends have in common is said once."""
    first, last = lines[0].slot.split("/"), lines[-1].slot.split("/")
    if first == last:
        return lines[0].slot
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return f"{'/'.join(first)} to {'/'.join(last[same:])}"


def counted(lines: Iterable[Line], begin: float, end: float, steps: int) -> dict[State, list[int]]:
    """How many of the slots were in each state at `steps` + 1 moments, evenly spread from `begin` to `end`."""
    length = max(end - begin, 1e-9)
    change: dict[State, list[int]] = {}

    def at(time: float) -> int:
        return min(steps, max(0, round((time - begin) / length * steps)))

    for line in lines:
        before: State | None = None
        for span in line.spans:
            place = at(span.begin)
            change.setdefault(span.state, [0] * (steps + 1))[place] += 1
            if before is not None:
                change[before][place] -= 1
            before = span.state
    for row in change.values():
        for place in range(1, steps + 1):
            row[place] += row[place - 1]
    return change
