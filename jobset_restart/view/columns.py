"""Columns and lines of text on a console, as kubectl prints them: no boxes, and nothing cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from jobset_restart.harmless import plain


class Headed(Protocol):
    """A document about one workload."""

    @property
    def workload_kind(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def context(self) -> str: ...


WIDE_GAP = 3
NARROW_GAP = 2
LEAST_LAST_COLUMN = 24
BELOW_INDENT = 4
COLOURS = {
    "Running": "green",
    "Completed": "green",
    "Degraded": "red",
    "NotReady": "red",
    "Unreadable": "red",
    "Failed": "red",
    "Suspended": "yellow",
    "Restarting": "cyan",
    "Starting": "cyan",
    "Deleting": "yellow",
    "blocker": "bold red",
    "warning": "yellow",
    "note": "cyan",
    "restarted": "green",
    "recreated": "green",
    "failed": "red",
    "timed out": "red",
    "gone": "red",
}


def rows(console: Console, header: Sequence[str], lines: Iterable[Sequence[str]], optional: Sequence[str] = ()) -> None:
    """Prints columns as wide as their content; words that are states are coloured. Nothing is ever cut.

    On a terminal that is too narrow the columns move together, those that are `optional` go, in their order, and the
    last column is wrapped, below its line where it has no room beside it.
    """
    table = [list(header), *([plain(cell) for cell in line] for line in lines)]
    room = console.width if console.is_terminal else None
    gap = WIDE_GAP
    if room is not None and _needed(table, gap) > room:
        gap = NARROW_GAP
        table = _without(table, optional, room)
    *widths, last = _widths(table, gap)
    fits = room is None or sum(widths) + last - gap <= room
    below = room is not None and not fits and room - sum(widths) < LEAST_LAST_COLUMN
    indent = BELOW_INDENT if below else sum(widths)
    for number, (*cells, end) in enumerate(table):
        style = "bold" if number == 0 else ""
        line = Text()
        for cell, width in zip(cells, widths, strict=True):
            line.append(set_cell_size(cell, width), style or COLOURS.get(cell, ""))
        text = Text(end, style or COLOURS.get(end, ""))
        parts = list(text.wrap(console, max(1, room - indent))) if room is not None and not fits else [text]
        if below:
            _print(console, line)
            parts = parts if number else []
        elif parts:
            _print(console, line.append_text(parts.pop(0)))
        for part in parts:
            _print(console, Text(" " * indent).append_text(part))


def _widths(table: list[list[str]], gap: int) -> list[int]:
    return [max(map(cell_len, column)) + gap for column in zip(*table, strict=True)]


def _needed(table: list[list[str]], gap: int) -> int:
    """What a table needs at least: all of its columns, but only a part of the last, which can be wrapped."""
    *widths, last = _widths(table, gap)
    return sum(widths) + min(last - gap, LEAST_LAST_COLUMN)


def _without(table: list[list[str]], optional: Sequence[str], room: int) -> list[list[str]]:
    """The table without as many of the optional columns as it takes to fit."""
    for title in optional:
        if _needed(table, NARROW_GAP) > room:
            drop = table[0].index(title)
            table = [row[:drop] + row[drop + 1 :] for row in table]
    return table


def say(console: Console, text: Text | str) -> None:
    """Prints a line, on a terminal wrapped between words with what follows indented."""
    line = text if isinstance(text, Text) else Text(plain(text))
    if not console.is_terminal or line.cell_len <= console.width:
        _print(console, line)
        return
    indent = len(line.plain) - len(line.plain.lstrip()) + 2
    first, *_ = line.wrap(console, console.width)
    _print(console, first)
    start = len(first.plain.rstrip())
    rest = line[start + len(line.plain[start:]) - len(line.plain[start:].lstrip()) :]
    for part in rest.wrap(console, max(LEAST_LAST_COLUMN, console.width - indent)):
        _print(console, Text(" " * indent).append_text(part))


def _print(console: Console, line: Text) -> None:
    """One line made harmless; what the output's encoding has no character for becomes a question mark."""
    line.rstrip()
    line.plain = plain(line.plain).encode(console.encoding, "replace").decode(console.encoding)
    console.print(line, soft_wrap=True)


def headed(report: Headed, name: str) -> Text:
    """How every page begins: which workload, and in which of one's many clusters."""
    head = Text(f"{plain(report.workload_kind)} {plain(report.namespace)}/{plain(name)}", "bold")
    head.append(f" (context {plain(report.context)})" if report.context else "", "not bold")
    return head.append(": ")
