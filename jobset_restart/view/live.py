"""The live view: one screen that fits 80x24, redrawn when it is told the time, never more than five times a second.

It is meant to be calm: what is shown keeps its place from one redraw to the next, and seconds are whole.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jobset_restart.events import Event, Planned
from jobset_restart.harmless import plain
from jobset_restart.progress import STATES, Progress, SlotProgress, State
from jobset_restart.view.text import duration, shortened, speed
from jobset_restart.workloads.kinds import JOBSET

REDRAW_SECONDS = 0.2
COLOUR: dict[State, str] = {
    "waiting": "bright_black",
    "triggered": "blue",
    "stopping": "yellow",
    "starting": "cyan",
    "ready": "green",
    "failed": "red",
}
MARK: dict[State, str] = {
    "ready": "█",
    "starting": "▓",
    "stopping": "▒",
    "triggered": "░",
    "waiting": "·",
    "failed": "×",
}
ASCII_MARK: dict[State, str] = {
    "ready": "#",
    "starting": "+",
    "stopping": "-",
    "triggered": ":",
    "waiting": ".",
    "failed": "x",
}
BAR_ORDER: tuple[State, ...] = ("ready", "starting", "stopping", "triggered", "failed", "waiting")
MOST_BARS = 8
MOST_SLOTS = 10
MOST_EVENTS = 4
SHOWN_FAILURES = 3
BELOW_BARS = 9
"""Lines kept free for slots and events, before further bars get any."""
LATE_SECONDS = 2.0
"""Of many slots, those that were in their state for a shorter time are not worth a line yet."""
WIDE = 110


class LiveView:
    """A sink of events, a context manager, and a clock face: `tick(now)` redraws if it is time to."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress()
        self._console = console
        self._drawn_at = float("-inf")
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._ascii = not (console.encoding or "").lower().startswith("utf")
        self._marks = ASCII_MARK if self._ascii else MARK
        self._cut = "~" if self._ascii else "…"
        self._most_rows = 0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        self.progress.apply(event)

    def tick(self, now: float) -> None:
        """Redraws unless the last time was less than REDRAW_SECONDS ago."""
        if 0 <= now - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn_at = now
        self._live.update(self.render(now), refresh=True)

    # ------------------------------------------------------------ drawing

    def render(self, now: float) -> Group:
        """The screen at this moment, never more lines or columns than the console has."""
        width, height = self._console.width - 1, self._console.height - 1
        planned = self.progress.planned
        if planned is None:
            return self._fitted([Text("planning ...")], width, height)
        lines = [*self._header(planned, now, width), self._alert()]
        below = [self._totals(width), *self._barrier(width)]
        room = height - len(lines) - len(below)
        lines += [*self._bars(width, min(MOST_BARS, room - BELOW_BARS)), *below]
        room = height - len(lines)
        events = self._events(min(MOST_EVENTS, (room - 2) // 3))
        slots = self._slots(now, width, min(MOST_SLOTS, room - len(events) - 1))
        return self._fitted([*lines, *slots, *events], width, height)

    def _fitted(self, lines: list[Text], width: int, height: int) -> Group:
        """The lines made harmless and cut to the screen; where it knows ASCII only, everything else is replaced."""
        fitted = []
        for line in lines[: max(1, height)]:
            line.rstrip()
            line.plain = plain(line.plain)
            if self._ascii and not line.plain.isascii():
                line.plain = "".join(char if char.isascii() else "?" for char in line.plain)
            if line.cell_len > width:
                line.truncate(max(0, width - 1))
                line.append(self._cut)
            line.no_wrap = True
            fitted.append(line)
        return Group(*fitted)

    def _header(self, planned: Planned, now: float, width: int) -> list[Text]:
        kind = "" if planned.kind == JOBSET.kind else f"{planned.kind} "
        name = Text(f"{kind}{planned.namespace}/{planned.jobset}", "bold")
        if planned.context:
            name.append(f"  context {planned.context}", "not bold dim")
        clock = Text(duration(self.progress.elapsed(now), whole=True), "bold")
        if planned.deadline:
            clock.append(f" of {duration(planned.deadline - planned.time, whole=True)}", "not bold dim")
        current = self.progress.round or planned
        how = "in place" if current.strategy == "in-place" else current.strategy
        trigger = Text(f"{how} by {current.trigger}", "cyan")
        if current.round > 1:
            trigger.append(f"  round {current.round}", "yellow")
        trigger.append(f"  operation {planned.operation}", "dim")
        phase = Text(self.progress.phase, "yellow")
        phase.append("".join(f"  {word}" for word in self._pace(now)), "default")
        return [_apart(name, clock, width), _apart(trigger, phase, width)]

    def _alert(self) -> Text:
        """A line that is empty as long as all is well, so that nothing moves when it is not."""
        if self.progress.disconnected:
            return Text(f"the API server is away: {self.progress.disconnected}; still trying", "bold red")
        return Text()

    def _bars(self, width: int, most: int) -> list[Text]:
        jobs = list(self.progress.by_replicated_job.items())
        shown = jobs if len(jobs) <= max(1, most) else jobs[: max(0, most - 1)]
        rest = jobs[len(shown) :]
        if rest:
            total = {state: sum(counts[state] for _, counts in rest) for state in STATES}
            shown = [*shown, (f"and {len(rest)} more" if shown else f"all {len(rest)}", total)]
        tallies = [f"{counts['ready']:,}/{sum(counts.values()):,}" for _, counts in shown]
        label = min(max(8, width // 4), max((len(name) for name, _ in shown), default=0))
        tally = max((2 * len(f"{sum(counts.values()):,}") + 1 for _, counts in shown), default=0)
        bars = []
        for (name, counts), text in zip(shown, tallies, strict=True):
            bar = Text(f"{shortened(name, label, self._cut):<{label}}  ")
            for state, cells in _shares(counts, max(6, width - label - tally - 4)):
                bar.append(self._marks[state] * cells, COLOUR[state])
            bar.append(f"  {text:>{tally}}")
            bars.append(bar)
        return bars

    def _pace(self, now: float) -> list[str]:
        rate, eta = self.progress.rate(now), self.progress.eta(now)
        soon = [] if eta is None else [f"ETA {duration(max(eta, 1.0), whole=True)}"]
        return [speed(rate), *soon] if rate else soon

    def _totals(self, width: int) -> Text:
        """How many slots are in each state, closer together where the line is too short."""
        counts = [(state, number) for state in BAR_ORDER if (number := self.progress.counts[state])]
        for after_mark, between in ((" ", "  "), ("", " ")):
            text = Text()
            for state, number in counts:
                text.append(self._marks[state] + after_mark, COLOUR[state])
                text.append(f"{number:,} {state}{between}")
            text.rstrip()
            if text.cell_len <= width:
                break
        return text

    def _barrier(self, width: int) -> list[Text]:
        barrier = self.progress.barrier
        if barrier is None:
            return []
        text = Text(f"barrier: {barrier.arrived:,}/{barrier.total:,} at attempt {barrier.attempt}")
        if barrier.held_by:
            text.append("; held by: ")
            missing = max(len(barrier.held_by), barrier.total - barrier.arrived)
            text.append(_named(barrier.held_by, missing, width - text.cell_len), "yellow")
        return [text]

    def _slots(self, now: float, width: int, most: int) -> list[Text]:
        """Every slot where there are few, each in its place; else the failed and the slowest. What was once that many
        lines stays so, and what follows keeps its place."""
        if most < 1:
            return []
        title, slots = "slots", list(self.progress.slots.values())
        if len(slots) > most:
            late = [s for s in self.progress.stragglers(most) if s.state != "waiting" and now - s.since >= LATE_SECONDS]
            failed = self.progress.failures(max(SHOWN_FAILURES, most - len(late)))
            title, slots = "slowest", [*failed, *late][:most]
        rows = self._rows(slots, now, wide=width >= WIDE)
        self._most_rows = min(most, max(self._most_rows, len(rows)))
        if not self._most_rows:
            return []
        return [Text(title if rows else "", "bold"), *rows, *[Text()] * (self._most_rows - len(rows))]

    def _rows(self, slots: list[SlotProgress], now: float, *, wide: bool) -> list[Text]:
        names = [shortened(slot.slot, 40 if wide else 20, self._cut) for slot in slots]
        pods = [shortened(slot.pod, 40, self._cut) if wide else "" for slot in slots]
        nodes = [shortened(slot.node or "-", 40 if wide else 20, self._cut) for slot in slots]
        widths = [max(map(len, column), default=0) for column in (names, pods, nodes)]
        rows = []
        for slot, *cells in zip(slots, names, pods, nodes, strict=True):
            text = Text("  " + "".join(f"{cell:<{w}}  " for cell, w in zip(cells, widths, strict=True) if w))
            text.append(f"{slot.state:<9}", COLOUR[slot.state])
            if slot.state != "failed":
                text.append(f"{duration(_age(slot, now), whole=True):>6}", "dim")
            if slot.reason:
                text.append(f"  {slot.reason}", COLOUR["failed"] if slot.state == "failed" else "")
            rows.append(text)
        return rows

    def _events(self, most: int) -> list[Text]:
        recent = list(self.progress.recent)[-most:] if most > 0 else []
        if not recent:
            return []
        began = self.progress.planned.time if self.progress.planned else 0.0
        rows = [Text(f"  {duration(max(0.0, h.time - began), whole=True):>6}  {h!s}", "dim") for h in recent]
        return [Text("events", "bold"), *rows]


def _age(slot: SlotProgress, now: float) -> float:
    """Seconds in its state; of a slot that is back, what it took."""
    return now - slot.since if slot.state != "ready" else slot.since - slot.entered.get("triggered", slot.since)


def _apart(left: Text, right: Text, width: int) -> Text:
    """Left and right at the two ends of a line; the left is cut where both do not fit."""
    room = width - right.cell_len - 2
    if left.cell_len > room > 0:
        left.truncate(room, overflow="ellipsis")
    left.append(" " * max(2, width - left.cell_len - right.cell_len))
    return left.append_text(right)


def _named(names: list[str], total: int, room: int) -> str:
    """As many of the names as there is room for, and how many more there are."""
    for shown in range(len(names), 0, -1):
        rest = f" and {total - shown:,} more" if total > shown else ""
        text = ", ".join(names[:shown]) + rest
        if len(text) <= room:
            return text
    return f"{total:,}"


def _shares(counts: dict[State, int], room: int) -> list[tuple[State, int]]:
    """Cells per state that add up to `room`, at least one for every state that has a slot."""
    total = sum(counts.values())
    if not total:
        return []
    cells = {state: max(1, counts[state] * room // total) if counts[state] else 0 for state in BAR_ORDER}
    largest = max(cells, key=lambda state: cells[state])
    cells[largest] = max(0, cells[largest] + room - sum(cells.values()))
    return [(state, cells[state]) for state in BAR_ORDER if cells[state]]
