"""The timeline as SVG: how many slots were in which state, band by band, and the slowest of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from jobset_restart.progress import State
from jobset_restart.view.text import counted as number_of
from jobset_restart.view.text import duration, shortened
from jobset_restart.view.timeline.facts import delayed, described, facts, foreseen, outcome, title
from jobset_restart.view.timeline.markup import STACK, STYLE, safe
from jobset_restart.view.timeline.recording import Band, Line, Recording, bands, counted

WIDTH = 1000
LABELS = 200
"""Where the names end and time begins."""
PLOT = WIDTH - LABELS - 14
WHOLE = 110
"""Height of the row that shows all slots."""
ROW, GAP = 15, 4
MOST_ROWS = 40
MOST_SLOWEST, SAID_SLOWEST = 20, 5
STEPS, STEPS_OF_ALL = 240, 480
MOST_SPANS = 60
"""A slot that went through more states is drawn as a band is, so that no slot fills the file."""
NAME = 30
"""Characters of a slot's name at its row."""
LINE = 150
"""Characters of a line of text."""
FORESEEN_AT_MOST = 1.5
"""How far beyond its end the axis goes for the sake of what was predicted."""
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800)
MOST_TICKS = 10
NEXT_LABEL = 110
"""Pixels between two labels above the plot."""


class Scale(Struct, frozen=True):
    """From seconds since the epoch to pixels."""

    begin: float
    end: float

    def x(self, time: float) -> float:
        share = (time - self.begin) / max(self.end - self.begin, 1e-9)
        return round(LABELS + PLOT * min(1.0, max(0.0, share)), 1)


def figure(of: Recording, name: str) -> tuple[str, int]:
    """The timeline as an <svg> element and its height in pixels. `name` is what ids in it begin with."""
    scale = Scale(of.begin, _axis_end(of))
    parts: list[str] = []
    y = _legend(parts, 0)
    top = y = _above(parts, of, scale, y)
    y = _whole(parts, of, scale, y)
    lines = list(of.lines.values())
    for band in bands(lines, MOST_ROWS):
        y = _row(parts, band, of, scale, y)
    if len(lines) > MOST_ROWS:
        y = _heading(parts, f"The {MOST_SLOWEST} slowest, those that did not come back first", y)
        for line in of.slowest(MOST_SLOWEST):
            y = _row(parts, Band(line.slot, [line]), of, scale, y)
    behind: list[str] = []
    y = _axis(behind, of, scale, top, y)
    words = f'<title id="{name}-t">{safe(title(of))}</title><desc id="{name}-d">{safe(described(of), 2000)}</desc>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
    head += f' role="img" aria-labelledby="{name}-t {name}-d">'
    return "\n".join([head, words, *behind, *parts, _marks(of, scale, top, y - 20), "</svg>"]), y


def drawing(recordings: Sequence[Recording]) -> str:
    """The whole file: one timeline below the other, each under what it came to in words."""
    parts: list[str] = []
    y = 10
    for number, of in enumerate(recordings, 1):
        words, well = outcome(of)
        parts.append(_text(10, y + 18, title(of), "title"))
        y += 40
        parts.append(f'<rect x="10" y="{y - 9}" width="8" height="8" class="{"ready" if well else "failed"}"/>')
        for line in (words, *(f"{label}: {text}" for label, text in facts(of)), *_slowest(of)):
            parts.append(_text(24, y, shortened(line, LINE)))
            y += 17
        element, height = figure(of, f"o{number}")
        parts.append(f'<svg x="0" y="{y + 6}"' + element.removeprefix("<svg"))
        y += height + 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    style = f'<style>{STYLE}</style><rect width="100%" height="100%" class="page"/>'
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + head + style + "\n".join(parts) + "</svg>\n"


def _axis_end(of: Recording) -> float:
    last = max((line.spans[-1].begin for line in of.lines.values()), default=of.end)
    end = max(of.end, last, of.begin + 0.1)
    foreseen = max((each.time + each.predicted for each in of.rounds if each.predicted), default=end)
    longest = of.begin + (end - of.begin) * FORESEEN_AT_MOST
    return max(end, foreseen) if foreseen <= longest else end


def _slowest(of: Recording) -> Iterable[str]:
    for line in of.slowest(SAID_SLOWEST):
        took = duration(line.took(of.end))
        yield f"Slow: {line.slot} on {line.node or 'no node'}, {took}: {delayed(line, of.end)}"


# ---------------------------------------------------------------- rows


def _whole(parts: list[str], of: Recording, scale: Scale, y: int) -> int:
    lines = list(of.lines.values())
    parts.append(_text(LABELS - 8, y + WHOLE / 2, f"all {number_of(len(lines), 'slot')}", "head end"))
    _area(parts, lines, scale, y, WHOLE, STEPS_OF_ALL, of.end)
    return y + WHOLE + 2 * GAP


def _row(parts: list[str], band: Band, of: Recording, scale: Scale, y: int) -> int:
    """One slot as the states it went through, several as how many of them were in which."""
    only = band.lines[0] if len(band.lines) == 1 else None
    label = f'<text x="{LABELS - 8}" y="{y + ROW - 3}" class="end">{safe(shortened(band.name, NAME))}'
    about = f"{only.pod or 'no Pod'} on {only.node or 'no node'}" if only else number_of(len(band.lines), "slot")
    parts.append(f"{label}<title>{safe(f'{band.name}: {about}')}</title></text>")
    if only and len(only.spans) <= MOST_SPANS:
        _spans(parts, only, of, scale, y)
    else:
        _area(parts, band.lines, scale, y, ROW, STEPS, of.end)
    return y + ROW + GAP


def _spans(parts: list[str], line: Line, of: Recording, scale: Scale, y: int) -> None:
    """Spans too short to be seen are left out."""
    drawn = 0.0
    for span, till in line.pieces(of.end):
        x, end = scale.x(span.begin), scale.x(till)
        if end <= drawn and drawn:
            continue
        drawn = max(end, x + 0.5)
        words = f"{line.slot}: {span.state} for {duration(till - span.begin)}"
        words += f" from +{duration(span.begin - of.begin)}" + (f": {span.reason}" if span.reason else "")
        shape = f'<rect class="{span.state}" x="{x}" y="{y}" width="{drawn - x:.1f}" height="{ROW}">'
        parts.append(f"{shape}<title>{safe(words, LINE)}</title></rect>")


def _area(parts: list[str], lines: list[Line], scale: Scale, y: int, height: int, steps: int, end: float) -> None:
    """How many of the slots were in which state, one on the other. Each state is drawn together with those below it,
    the highest first, so that the lower ones cover their part."""
    if not lines:
        return
    found = counted(lines, scale.begin, end, steps)
    width = scale.x(end) - LABELS
    sums: list[tuple[State, list[int]]] = []
    below = [0] * (steps + 1)
    for state in STACK:
        if state in found:
            below = [a + b for a, b in zip(below, found[state], strict=True)]
            sums.append((state, below))
    for state, row in reversed(sums):
        points = [(LABELS + width * place / steps, height * value / len(lines)) for place, value in enumerate(row)]
        parts.append(f'<path class="{state}" d="{_steps(points, y + height)}"><title>{state}</title></path>')


def _steps(points: Iterable[tuple[float, float]], floor: int) -> str:
    """A line that goes along and then up or down, closed at the floor."""
    path, at = "", -1.0
    x = 0.0
    for x, up in points:
        if not path:
            path = f"M{x:g},{floor}"
        if up != at:
            path += f"H{x:.1f}V{floor - up:.1f}"
            at = up
    return f"{path}H{x:.1f}V{floor}Z"


# ---------------------------------------------------------------- around the rows


def _legend(parts: list[str], y: int) -> int:
    x = LABELS
    for state in reversed(STACK):
        parts.append(f'<rect class="{state}" x="{x}" y="{y + 4}" width="12" height="12"/>')
        parts.append(_text(x + 17, y + 14, state))
        x += 34 + 7 * len(state)
    parts.append(f'<line class="foreseen" x1="{x}" x2="{x + 14}" y1="{y + 10}" y2="{y + 10}"/>')
    parts.append(_text(x + 19, y + 14, "predicted"))
    return y + 26


def _above(parts: list[str], of: Recording, scale: Scale, y: int) -> int:
    """The rounds, and below them what the operation as a whole went through."""
    several = len(of.rounds) > 1
    rounds = [(each.time, f"round {each.number}, {each.trigger}") for each in of.rounds] if several else []
    for labels in (rounds, [(mark.time, mark.text) for mark in of.marks]):
        if labels:
            _labels(parts, labels, scale, y + 12)
            y += 18
    return y


def _labels(parts: list[str], labels: list[tuple[float, str]], scale: Scale, y: int) -> None:
    """As many as there is room for; the table has all."""
    free = 0.0
    for time, words in labels:
        x = scale.x(time)
        if x >= free and x <= WIDTH - 60:
            room = int((WIDTH - x) / 6.5)
            parts.append(_text(x, y, shortened(words, min(room, 40)), "soft"))
            free = x + max(NEXT_LABEL, 6.5 * min(len(words), 40))


def _heading(parts: list[str], words: str, y: int) -> int:
    parts.append(_text(LABELS, y + 20, words, "head"))
    return y + 30


def _axis(parts: list[str], of: Recording, scale: Scale, top: int, y: int) -> int:
    length = scale.end - scale.begin
    step = next((each for each in TICKS if length / each <= MOST_TICKS), length / MOST_TICKS)
    for number in range(int(length / step) + 1):
        x = scale.x(of.begin + number * step)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{y}"/>')
        parts.append(_text(x, y + 14, f"+{duration(number * step, whole=step >= 1)}", "soft middle"))
    for since, till in of.outages[:100]:
        x, end = scale.x(since), scale.x(of.end if till is None else till)
        shape = f'<rect class="outage" x="{x}" y="{top}" width="{max(1.0, end - x):.1f}" height="{y - top}">'
        parts.append(f"{shape}<title>the API server was away</title></rect>")
    return y + 24


def _marks(of: Recording, scale: Scale, top: int, bottom: int) -> str:
    """Where rounds began, where each was predicted to end, and where it ended."""
    found = _ranges(of, scale, top - 6)
    found += [_line("mark", scale.x(each.time), top - 4, bottom, f"round {each.number}") for each in of.rounds[1:50]]
    for each in of.rounds[:50]:
        at = each.time + each.predicted
        if each.predicted and at <= scale.end:
            found.append(_line("foreseen", scale.x(at), top - 4, bottom, f"predicted: {duration(each.predicted)}"))
    if of.finished or of.detached:
        found.append(_line("mark", scale.x(of.end), top - 4, bottom, f"the end, after {duration(of.seconds)}"))
    return "".join(found)


def _ranges(of: Recording, scale: Scale, y: int) -> list[str]:
    """Between which ends each round was predicted to end."""
    found = []
    for each in of.rounds[:50]:
        if each.prediction and each.prediction.high > 0:
            x, end = scale.x(each.time + each.prediction.low), scale.x(each.time + each.prediction.high)
            shape = f'<rect class="range" x="{x}" y="{y}" width="{end - x:.1f}" height="4">'
            found.append(f"{shape}<title>{safe(f'predicted: {foreseen(each)}')}</title></rect>")
    return found


def _line(kind: str, x: float, top: int, bottom: int, words: str) -> str:
    shape = f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}">'
    return f"{shape}<title>{safe(words)}</title></line>"


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{named}>{safe(words)}</text>'
