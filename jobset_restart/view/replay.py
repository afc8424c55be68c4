"""Recorded events through a view, in the time they tell of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from jobset_restart.events import Event

TICK_SECONDS = 0.2
MOST_TICKS = 5000
"""Between two events, where nobody waits: an hour of silence should not take long to pass."""
MOST_WAITED = 600.0
"""Seconds that are waited between two events: whoever watches wants to see what came then."""


class TimedSink(Protocol):
    """A view: a sink of events that is told the time."""

    def __call__(self, event: Event) -> None: ...

    def tick(self, now: float) -> None: ...


def replay(
    events: Iterable[Event],
    view: TimedSink,
    *,
    speed: float | None = None,
    sleep: Callable[[float], None] | None = None,
) -> None:
    """Gives the events to the view, which sees time pass in steps of TICK_SECONDS between them.

    `speed` is how many recorded seconds pass in one that is waited for with `sleep`; with None there is no waiting.
    """
    now: float | None = None
    for event in events:
        if now is not None and event.time > now:
            _pass(view, now, event.time, speed, sleep)
        view(event)
        now = event.time if now is None else max(now, event.time)
        view.tick(now)


def _pass(
    view: TimedSink, begin: float, end: float, speed: float | None, sleep: Callable[[float], None] | None
) -> None:
    if speed:
        begin = max(begin, end - MOST_WAITED * speed)
    waits = speed is not None and sleep is not None
    step = TICK_SECONDS * (speed or 1.0) if waits else max(TICK_SECONDS, (end - begin) / MOST_TICKS)
    ticks = 0
    while (now := min(end, begin + (ticks + 1) * step)) < end:
        if speed and sleep:
            sleep(step / speed)
        view.tick(now)
        ticks += 1
    if speed and sleep:
        sleep((end - begin - ticks * step) / speed)
