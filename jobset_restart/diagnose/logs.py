"""The newest lines of a container's log: when they were written, and which step they tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from statistics import median, median_low

from msgspec import Struct

from jobset_restart.objects import seconds

MOST_LINE = 2_000
"""Characters of a line that are looked at, from its beginning and from its end: a progress bar redraws a line of
megabytes, and ends with what it says last."""
KEPT_TEXT = 200
KEPT_TIMES = 12
LEAST_SILENCE = 20.0
"""Seconds without a step that mean nothing, however often a container prints one: it may write a checkpoint."""
UNKNOWN_SILENCE = 60.0
"""Seconds without a line that mean nothing where a container prints no steps."""
RHYTHMS = 2
"""So many of its longest distances are added to that."""
MOST_CLOCK = 60.0
"""A clock that is farther off than this was not read off a log: something else happened."""
GOES_ON = 2
"""So many steps after an error tell that it was none that ends the work. One may come after it: what is printed waits
in a buffer, what is wrong does not."""
SLOWER = 3.0
SLOW_SECONDS = 5.0

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) ?")
_STEP = re.compile(
    r"(?<![A-Za-z0-9.])(?:global[ _-]?|train[ _-]?)?(?:step|iter(?:ation)?|batch|update)s?\b"
    r"[\"']?\s{0,4}[:=#\[(]?\s{0,4}[\"']?(\d{1,15})(?!\d|\.\d)"
    r"|(?<!\d)(\d{1,15})/\d{1,15} \[",
    re.IGNORECASE | re.ASCII,
)
"""`step 12`, `step=12`, `Step: 12/1000`, `"step": 12`, `iter 12`, `global_step=12`, `[batch 12]`, and tqdm's
`12/1000 [`."""


_COMPLAINT = re.compile(
    r"^Traceback \(most recent call last\)|\b[A-Z]\w*(?:Error|Exception)\b|CUDA error|NCCL WARN|\bKilled\b"
    r"|\bSIG(?:SEGV|KILL|ABRT)\b"
    r"|Segmentation fault|[Oo]ut of memory|\bXid\b|ECC error",
    re.ASCII,
)
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_LOSS = re.compile(r"\b(?:loss|epoch|perplexity)\b", re.IGNORECASE | re.ASCII)
"""What else a line tells that only advancing work prints, with a number that is no step: the line is the mark then."""


class Tail(Struct, frozen=True, kw_only=True):
    """The end of a log. Times are seconds since the epoch by the clock of the Pod's node.

    `newest` is when the newest of its `lines` was written, None where there is none; `gaps` are the seconds between
    them. Marks are lines that only advancing work prints: with a step, or a loss. `marks` counts those that differ,
    `mark_gaps` are the seconds between them, `mark` is the newest and `mark_at` its time; `step` is the newest step
    where there is one; `complaint` a line after it that tells of an error. `error` says why there is nothing to read.
    """

    newest: float | None = None
    lines: int = 0
    gaps: tuple[float, ...] = ()
    marks: int = 0
    mark: str = ""
    mark_at: float = 0.0
    mark_gaps: tuple[float, ...] = ()
    step: int | None = None
    complaint: str = ""
    text: str = ""
    error: str = ""

    @property
    def steps(self) -> bool:
        """Whether it shows how work advances."""
        return self.marks > 1

    @property
    def last(self) -> float:
        """When it last told that something advances."""
        return self.mark_at if self.steps else (self.newest or 0.0)

    @property
    def rhythm(self) -> float:
        """The longest of the last distances between what it tells, 0.0 where that is not known."""
        return max(self.mark_gaps if self.steps else self.gaps, default=0.0)

    @property
    def allowed_silence(self) -> float:
        """Seconds after `last` from which on the container counts as silent."""
        return (LEAST_SILENCE if self.steps else UNKNOWN_SILENCE) + RHYTHMS * self.rhythm

    def slowed(self, silent: float) -> bool:
        """Whether the newest distance, or the silence since, is far above the earlier ones."""
        if len(self.mark_gaps) < 4:
            return False
        return max(silent, self.mark_gaps[-1]) >= max(SLOW_SECONDS, SLOWER * median_low(self.mark_gaps[:-2]))


def step_pattern(text: str) -> re.Pattern[str]:
    """The pattern of a step: its first group, or all of it, is the number. Raises re.error."""
    return re.compile(text)


def read_tail(body: bytes, pattern: re.Pattern[str] | None = None) -> Tail:
    """The end of a log as the API server sends it with `timestamps`. What has no time of its own (the words of a
    kubelet that has no log, the rest of a line that was cut) is no line."""
    times: list[float] = []
    marks: list[tuple[str, float]] = []
    text, complaint, since, step = "", "", 0, None
    for line in body.split(b"\n"):
        found = _STAMP.match(line)
        at = _time(found) if found else None
        if found is None or at is None:
            continue
        times.append(at)
        text = _shown(line[found.end() :])
        number = _step(text, pattern or _STEP)
        step = number if number is not None else step
        mark = str(number) if number is not None else text[:KEPT_TEXT] if _LOSS.search(text) else ""
        if mark and (not marks or marks[-1][0] != mark):
            marks.append((mark, at))
            since += 1
            complaint = complaint if since < GOES_ON else ""
        elif _COMPLAINT.search(text):
            complaint, since = text[-KEPT_TEXT:], 0
    if not times:
        return Tail(error=_words(body) or "its log is empty")
    mark, mark_at = marks[-1] if marks else ("", 0.0)
    return Tail(
        newest=max(times),
        lines=len(times),
        gaps=_gaps(times[-KEPT_TIMES:]),
        marks=len({mark for mark, _ in marks}),
        mark=mark,
        mark_at=mark_at,
        mark_gaps=_gaps([at for _, at in marks[-KEPT_TIMES:]]),
        step=step,
        complaint=complaint,
        text=text[-KEPT_TEXT:],
    )


def _gaps(times: list[float]) -> tuple[float, ...]:
    return tuple(max(0.0, after - before) for before, after in pairwise(times))


def _time(found: re.Match[bytes]) -> float | None:
    """Digits after the sixth are dropped: Python's times have microseconds."""
    day, fraction, zone = found.groups(b"")
    try:
        return seconds((day + fraction[:7] + zone).decode())
    except (ValueError, OverflowError):
        return None


def _shown(line: bytes) -> str:
    """What a reader would see of the line: what follows its last carriage return."""
    if len(line) > 2 * MOST_LINE:
        line = line[:MOST_LINE] + line[-MOST_LINE:]
    text = _COLOUR.sub("", line.decode(errors="replace"))
    parts = [part for part in text.split("\r") if part.strip()]
    return parts[-1] if parts else ""


def _step(text: str, pattern: re.Pattern[str]) -> int | None:
    """The last step that the line tells."""
    last = None
    for last in pattern.finditer(text):  # noqa: B007 - the last one counts
        pass
    if last is None:
        return None
    digits = next((group for group in last.groups() if group), "") or last[0]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 15 else None


def _words(body: bytes) -> str:
    return " ".join(body[:KEPT_TEXT].decode(errors="replace").split())


def clock_differences(measured: Iterable[tuple[str, float]]) -> dict[str, float]:
    """By node, how many seconds its clock is ahead of the API server's: the median of what was measured there."""
    by_node: dict[str, list[float]] = {}
    for node, ahead in measured:
        by_node.setdefault(node, []).append(ahead)
    return {node: median(values) for node, values in by_node.items()}


def clocks_by_steps(tails: Iterable[tuple[str, Tail]]) -> dict[str, float]:
    """By node, how many seconds its clock is ahead of the others', judged by when their containers wrote the same step:
    what waits for one another prints it at the same moment. Empty where they do not agree on a step."""
    written: dict[int, list[tuple[str, float]]] = {}
    for node, tail in tails:
        if tail.step is not None and tail.steps and tail.mark == str(tail.step):
            written.setdefault(tail.step, []).append((node, tail.mark_at))
    if not written:
        return {}
    same = max(written.values(), key=len)
    if len({node for node, _ in same}) < 2:
        return {}
    middle = median(at for _, at in same)
    found = clock_differences((node, at - middle) for node, at in same)
    return {node: ahead for node, ahead in found.items() if abs(ahead) <= MOST_CLOCK}
