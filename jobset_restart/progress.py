"""A pure fold of events into everything the views show: the one source of every view.

Counts are kept as events come, so that each costs the same at four slots and at 20,000. Time comes from the events, and
as an argument where a question depends on it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any, Literal

from msgspec import Struct, field

from jobset_restart.events import (
    Barrier,
    Budget,
    Captured,
    Claimed,
    Detached,
    Disconnected,
    Event,
    Failed,
    Finished,
    NextRound,
    Noticed,
    Phase,
    Planned,
    Ready,
    Reconnected,
    Retried,
    SlotEvent,
    Starting,
    Stopping,
    Triggered,
)

State = Literal["waiting", "triggered", "stopping", "starting", "ready", "failed"]
STATES: tuple[State, ...] = ("waiting", "triggered", "stopping", "starting", "ready", "failed")
RATE_WINDOW = 5.0
REMEMBERED = 8
ENOUGH = 50
"""Slots back, of any number, that make a rate one can go by."""
STEPS = ("trigger to stop", "stop to start", "start to ready", "trigger to ready")

STATE_OF: dict[type[Event], State] = {
    Triggered: "triggered",
    Stopping: "stopping",
    Starting: "starting",
    Ready: "ready",
    Failed: "failed",
}


class SlotProgress(Struct):
    """Where one slot stands; `entered` holds when it first reached each state, seconds since the epoch."""

    slot: str
    state: State = "waiting"
    since: float = 0.0
    pod: str = ""
    node: str = ""
    reason: str = ""
    entered: dict[str, float] = field(default_factory=dict)


class Happening(Struct):
    """Something worth a sentence, at `time`. Where the same happens to many, `subject` is the first and `more` counts
    the others."""

    time: float
    text: str
    subject: str = ""
    more: int = 0

    def __str__(self) -> str:
        others = f" and {self.more:,} more" if self.more else ""
        return f"{self.subject}{others} {self.text}" if self.subject else self.text

    def joins(self, others: Iterable[Happening]) -> bool:
        """Whether the same already happened to another subject; it is then counted there."""
        same = next((h for h in others if self.subject and h.subject and h.text == self.text), None)
        if same is not None:
            same.more += 1
        return same is not None


class Quantiles(Struct, frozen=True):
    """Seconds: the median, the 90th percentile and the most, of `count` slots."""

    count: int
    p50: float
    p90: float
    most: float


class Progress:
    """Apply events in their order, then ask."""

    def __init__(self) -> None:
        self.planned: Planned | None = None
        self.round: Planned | NextRound | None = None
        """What opened the round that runs, or ran last."""
        self.finished: Finished | None = None
        self.detached: Detached | None = None
        self.barrier: Barrier | None = None
        self.disconnected: str = ""
        self.phase = ""
        self.retries = 0
        self.now = 0.0
        self.slots: dict[str, SlotProgress] = {}
        self.counts: dict[State, int] = dict.fromkeys(STATES, 0)
        self.by_replicated_job: dict[str, dict[State, int]] = {}
        self.recent: deque[Happening] = deque(maxlen=REMEMBERED)
        self._ready_times: list[float] = []
        self._by_state: dict[State, dict[str, SlotProgress]] = {state: {} for state in STATES}

    def apply(self, event: Event) -> None:
        """Takes one event in."""
        self.now = max(self.now, event.time)
        if isinstance(event, SlotEvent) and type(event) in STATE_OF:
            self._move(event, STATE_OF[type(event)])
        self._take(event)
        happened = happening(event)
        if happened and not happened.joins(self.recent):
            self.recent.append(happened)

    def _take(self, event: Event) -> None:
        match event:
            case Planned():
                self._begin(event)
            case NextRound():
                self._begin_round(event)
            case Phase():
                self.phase = event.phase
            case Barrier():
                self.barrier = event
            case Retried():
                self.retries += 1
            case Disconnected():
                self.disconnected = event.reason
            case Reconnected():
                self.disconnected = ""
            case Detached():
                self.detached = event
            case Finished():
                self.finished = event

    def _begin(self, event: Planned) -> None:
        self.planned = self.round = event
        for planned in event.slots:
            if planned.trigger and planned.slot not in self.slots:
                self._enter(SlotProgress(planned.slot, "waiting", event.time, planned.pod, planned.node))

    def _begin_round(self, event: NextRound) -> None:
        """The slots of the round are waited for from the beginning."""
        self.round, self.barrier = event, None
        for planned in event.slots:
            if planned.trigger:
                if planned.slot in self.slots:
                    self._count(self.slots[planned.slot], -1)
                self._enter(SlotProgress(planned.slot, "waiting", event.time, planned.pod, planned.node))

    def _enter(self, slot: SlotProgress) -> SlotProgress:
        self.slots[slot.slot] = slot
        self._count(slot, 1)
        return slot

    def _count(self, slot: SlotProgress, by: int) -> None:
        name = slot.slot.partition("/")[0]
        row = self.by_replicated_job.get(name)
        if row is None:
            row = self.by_replicated_job[name] = dict.fromkeys(STATES, 0)
        row[slot.state] += by
        self.counts[slot.state] += by
        if by > 0:
            self._by_state[slot.state][slot.slot] = slot
        else:
            del self._by_state[slot.state][slot.slot]

    def _move(self, event: SlotEvent, state: State) -> None:
        slot = self.slots.get(event.slot) or self._enter(SlotProgress(event.slot, since=event.time))
        if slot.state != state:
            self._count(slot, -1)
            slot.state, slot.since = state, event.time
            self._count(slot, 1)
            if state == "ready":
                insort(self._ready_times, event.time)
        slot.entered.setdefault(state, event.time)
        if state == "ready":
            slot.entered[state] = event.time
        slot.pod, slot.node, slot.reason = event.pod or slot.pod, event.node or slot.node, event.reason

    # ------------------------------------------------------------ questions

    @property
    def total(self) -> int:
        """The slots in scope."""
        return len(self.slots)

    def elapsed(self, now: float) -> float:
        """Seconds since the plan, until the end if there was one."""
        began = self.planned.time if self.planned else now
        return max(0.0, (self.finished.time if self.finished else now) - began)

    def rate(self, now: float) -> float:
        """Slots that came back per second, over the last RATE_WINDOW seconds or, if less, since the first did."""
        times = self._ready_times
        lately = bisect_right(times, now) - bisect_left(times, now - RATE_WINDOW)
        return lately / min(RATE_WINDOW, max(now - times[0], 1.0)) if lately else 0.0

    def eta(self, now: float) -> float | None:
        """Seconds until all are back: at the present rate once enough are back to tell, before that what the plan
        predicted. None where neither says anything."""
        ready = self.counts["ready"]
        left = self.total - ready - self.counts["failed"]
        if not left or not self.round:
            return None
        if ready >= max(3, min(ENOUGH, self.total / 20)):
            rate = self.rate(now)
            return left / rate if rate else None
        remaining = self.round.predicted - max(0.0, now - self.round.time)
        return remaining if remaining > 0 else None

    def stragglers(self, most: int) -> list[SlotProgress]:
        """The slots that are not back, those longest in their state first, those not yet triggered last."""
        moving = (self._by_state[state].values() for state in ("triggered", "stopping", "starting"))
        longest = heapq.merge(*moving, key=lambda slot: slot.since)
        return list(islice(chain(longest, self._by_state["waiting"].values()), most))

    def failures(self, most: int) -> list[SlotProgress]:
        """The slots that failed, the first to fail first."""
        return list(islice(self._by_state["failed"].values(), most))

    def quantiles(self) -> dict[str, Quantiles]:
        """Seconds per step (STEPS), over the slots that went through it."""
        found: dict[str, list[float]] = {step: [] for step in STEPS}
        for slot in self.slots.values():
            marks = [slot.entered.get(state) for state in ("triggered", "stopping", "starting", "ready")]
            for step, begin, end in zip(STEPS, (*marks[:3], marks[0]), (*marks[1:], marks[3]), strict=True):
                if begin is not None and end is not None and end >= begin:
                    found[step].append(end - begin)
        return {step: _quantiles(values) for step, values in found.items() if values}

    def slowest(self, most: int) -> list[tuple[SlotProgress, float]]:
        """The slots that came back last, with the seconds from trigger to ready."""
        done = [
            (slot, slot.entered["ready"] - slot.entered["triggered"])
            for slot in self.slots.values()
            if {"ready", "triggered"} <= slot.entered.keys()
        ]
        return sorted(done, key=lambda row: -row[1])[:most]

    def budgets(self) -> list[Budget]:
        return self.finished.budgets if self.finished else []


def _quantiles(values: list[float]) -> Quantiles:
    values.sort()
    last = len(values) - 1
    return Quantiles(len(values), values[last // 2], values[int(last * 0.9 + 0.5)], values[last])


def _claimed(event: Claimed) -> str:
    dead = f", taken over from operation {event.took_over}, whose client is dead" if event.took_over else ""
    return f"claimed as operation {event.operation}{dead}"


def _next_round(event: NextRound) -> str:
    how = "recreating" if event.strategy == "recreate" else "restarting in place"
    slots = sum(bool(planned.trigger) for planned in event.slots)
    rung = f" (--escalate {event.rung})" if event.rung else ""
    return f"round {event.round}{rung}: {how} {slots:,} slot{'' if slots == 1 else 's'} by {event.trigger}"


def _detached(event: Detached) -> str:
    untouched = f", {event.not_triggered:,} slots not triggered" if event.not_triggered else ""
    return f"left running{untouched}; carry on with: {event.follow}"


def _captured(event: Captured) -> str:
    lacks = f", {event.missing:,} things missing" if event.missing else ""
    cut = f"; it was cut short: {event.reason}" if event.reason else ""
    return f"evidence of {event.slots:,} slots is in {event.path}, taken in {event.seconds:.1f}s{lacks}{cut}"


_SENTENCES: dict[type[Event], Callable[[Any], tuple[str, str]]] = {
    Claimed: lambda e: (_claimed(e), ""),
    NextRound: lambda e: (_next_round(e), ""),
    Phase: lambda e: (e.phase + (f" ({e.reason})" if e.reason else ""), ""),
    Failed: lambda e: (f"failed: {e.reason}", e.slot),
    Retried: lambda e: (f"tried again: {e.reason}", e.request),
    Disconnected: lambda e: (f"the API server is away: {e.reason}; still trying", ""),
    Reconnected: lambda e: (f"the API server is back after {e.seconds:.1f}s", ""),
    Noticed: lambda e: (e.message, ""),
    Detached: lambda e: (_detached(e), ""),
    Captured: lambda e: (_captured(e), ""),
}


def happening(event: Event) -> Happening | None:
    """The event in words, None for those that are shown by the counts."""
    say = _SENTENCES.get(type(event))
    if say is None:
        return None
    text, subject = say(event)
    return Happening(event.time, text, subject)
