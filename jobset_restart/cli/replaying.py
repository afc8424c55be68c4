"""`jsr replay`: what `--events` wrote, shown again."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import msgspec

from jobset_restart.cli.picturing import write_report
from jobset_restart.cli.showing import give_up, stdout_console, view_for
from jobset_restart.cli.sinks import MOST_LINE, Sinks
from jobset_restart.errors import UsageError
from jobset_restart.events import Event, Planned, decode
from jobset_restart.view.replay import replay as through
from jobset_restart.view.timeline import recorded

LAST_SECOND = 253402300799.0
"""The end of the year 9999, beyond which times cannot be written."""
MOST_EVENTS = 5_000_000
MOST_DRAWN = 20
"""Operations of one file in a report."""


def replay(path: str, speed: float | None = None, report: str | None = None) -> int:
    """Shows a recorded event file through the view that fits the terminal, one operation after the other, and on stdout
    what came of each. With `report`, writes their timelines there; then nobody is made to wait, unless a `speed` is
    asked for. Raises UsageError for a file that holds anything else, and a report that cannot be written."""
    if speed is not None and not (math.isfinite(speed) and speed >= 0):
        raise UsageError(f"--speed {speed:g} is not a factor", "write 1, 10 or 0.5; 0 shows everything at once")
    operations = list(_operations(_read(path)))
    if not operations:
        raise UsageError(f"{path} holds no events")
    if report is not None:
        write_report(report, [recorded(events) for events in operations[-MOST_DRAWN:]])
        speed = speed or 0.0
        if len(operations) > MOST_DRAWN:
            print(f"the report tells of the last {MOST_DRAWN} of {len(operations):,} operations", file=sys.stderr)
    speed = 1.0 if speed is None else speed
    from jobset_restart.view import summary

    for events in operations:
        with view_for() as view:
            sinks = Sinks(view, (), lambda: 0.0, give_up=lambda view=view: give_up(view))  # type: ignore[misc]
            through(events, sinks, speed=speed or None, sleep=time.sleep)
        summary.show_summary(stdout_console(), sinks.progress)
        summary.show_end(stdout_console(), sinks.progress)
    return 0


def _read(path: str) -> Iterator[Event]:
    """The events of the file. A last line that was cut, by a client that was killed, is left out."""
    number = 0
    try:
        with open(path, "rb") as file:
            while line := file.readline(MOST_LINE):
                number += 1
                if number > MOST_EVENTS:
                    raise UsageError(f"{path} has more than {MOST_EVENTS:,} lines: too many for a recording")
                if line.strip():
                    try:
                        yield _checked(decode(line))
                    except (ValueError, RecursionError) as error:
                        if number > 1 and not line.endswith(b"\n") and len(line) < MOST_LINE:
                            return
                        raise UsageError(f"{path}, line {number}, is not an event: {_words(error)}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read: {why}") from None


def _checked(event: Event) -> Event:
    """Raises ValueError for a time at which nothing can have happened."""
    for when in (event.time, event.deadline if isinstance(event, Planned) else 0.0):
        if not (math.isfinite(when) and 0 <= when <= LAST_SECOND):
            raise ValueError(f"{when:g} is not a time")
    return event


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError | msgspec.MsgspecError) else "it is nested too deeply"


def _operations(events: Iterator[Event]) -> Iterator[list[Event]]:
    """The events of one operation after the other: a file may have been added to. Carrying an operation on is the same
    operation."""
    current: list[Event] = []
    operation = ""
    for event in events:
        if isinstance(event, Planned) and operation and event.operation != operation:
            yield current
            current = []
        if isinstance(event, Planned):
            operation = event.operation
        current.append(event)
    if current:
        yield current
