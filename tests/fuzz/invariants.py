"""What holds for every run of `jsr`, whatever it was given. One function says what a run broke."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

README = Path(__file__).parent.parent.parent / "README.md"
CODES = frozenset(int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(encoding="utf-8"), re.MULTILINE))
"""The table of exit codes of the README."""
MOST_BYTES = 300 * 1024 * 1024
CPU_SECONDS = 60.0
"""How long a run may compute; what goes round in circles is ended then."""
GRACE_SECONDS = 120.0
"""How long after its deadline a run may last: what it suspended is resumed first."""
OWN_FAULTS = (
    "a fault in jsr itself",
    "Traceback (most recent call last)",
    "left out from here on",
    "not shown from here on",
    "the live view failed",
)
RECORD = "jobset-restart.io/operation"
_OF_RICH = re.compile(r"\x1b\[[0-9;]*[mABCDGHJK]|\x1b\[\?(25|1049)[hl]|\r")
"""Colours and cursor movements that the live view draws with."""


class Sent(Struct, frozen=True):
    """A request that changes something, as the server got it."""

    method: str
    path: str
    body: Any = None


class Ran(Struct, kw_only=True):
    """One run. `seconds` is how long it took by the clock it lives by, None where nothing is said of that, `deadline`
    how long it was given; `grew` by how many bytes it made the process grow at most. `sent` is what the server got that
    changes something, `planned` the actions that a dry run showed before (None where nothing may change);
    `suspended` whether it left the JobSet so. `terminal`: stderr was one."""

    argv: tuple[str, ...]
    code: int | None
    stdout: str
    stderr: str
    crash: BaseException | None = None
    seconds: float | None = None
    deadline: float = 600.0
    grew: int = 0
    sent: list[Sent] = []
    planned: list[dict[str, Any]] | None = None
    suspended: bool = False
    terminal: bool = False


def broken(ran: Ran) -> list[str]:
    """A sentence for each invariant that the run broke."""
    return [
        *_ends(ran),
        *_in_words(ran),
        *_bounded(ran),
        *_harmless("stdout", ran.stdout),
        *_harmless("stderr", _OF_RICH.sub("", ran.stderr) if ran.terminal else ran.stderr),
        *_as_planned(ran),
        *(["it left the JobSet suspended"] if ran.suspended and "may stay suspended" not in ran.stderr else []),
    ]


def _ends(ran: Ran) -> Iterator[str]:
    if ran.crash is not None:
        yield f"it raised {type(ran.crash).__name__}: {str(ran.crash)[:300]}"
    elif ran.code not in CODES:
        yield f"exit code {ran.code} is not in the README: {ran.stderr[-300:]}"


def _in_words(ran: Ran) -> Iterator[str]:
    for text in (ran.stdout, ran.stderr):
        for fault in OWN_FAULTS:
            if fault in text:
                at = text.index(fault)
                yield f"it says {text[at : at + 300]!r}"
                return
    if ran.code and not (ran.stderr.strip() or ran.stdout.strip()):
        yield f"exit code {ran.code} without a word"


def _bounded(ran: Ran) -> Iterator[str]:
    if ran.grew > MOST_BYTES:
        yield f"it took {ran.grew >> 20} MiB"
    if ran.seconds is not None and ran.seconds > ran.deadline + GRACE_SECONDS:
        yield f"it took {ran.seconds:.0f} s with a deadline of {ran.deadline:.0f} s"
    if len(ran.stdout) + len(ran.stderr) > 20_000_000:
        yield f"it printed {len(ran.stdout) + len(ran.stderr):,} characters"


def _harmless(stream: str, text: str) -> Iterator[str]:
    if text.isascii() and text.replace("\n", "").isprintable():
        return
    bad = {char for char in set(text) - {"\n"} if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    if bad:
        at = min(map(text.index, bad))
        yield f"{stream} has {sorted(bad)!r}: {text[max(0, at - 40) : at + 40]!r}"


def _as_planned(ran: Ran) -> Iterator[str]:
    planned = [_plain(each["verb"], each["path"], each.get("body")) for each in ran.planned or () if "body" in each]
    for each in ran.sent:
        if ran.planned is not None and (_keeps_record(each) or each.path.endswith("/events")):
            continue
        if _plain(each.method.lower(), each.path, each.body) not in planned:
            yield f"it sent {each.method} {each.path} {str(each.body)[:200]}, which the plan did not say"
            return


def _keeps_record(sent: Sent) -> bool:
    """A write of the record on the JobSet, and of nothing else."""
    if sent.method != "PATCH" or "/jobsets/" not in sent.path or sent.path.endswith("/status"):
        return False
    body = sent.body or {}
    meta = body.get("metadata", {})
    return body.keys() <= {"metadata"} and meta.keys() <= {"annotations", "uid", "resourceVersion"}


def _plain(verb: str, path: str, body: Any) -> tuple[str, str, str]:
    """A write without what differs from run to run: the operation's id, the record, the resourceVersion."""
    text = json.dumps(body or {}, sort_keys=True)
    known: dict[str, Any] = json.loads(text)
    meta = known.get("metadata", {})
    meta.pop("resourceVersion", None)
    if "/jobsets/" in path and not path.endswith("/status"):
        meta.pop("annotations", None)
    mark = re.search(r'"id": ?"([0-9a-z]+)"', str(meta.get("annotations", {}).get(RECORD, "")))
    plain = json.dumps(known, sort_keys=True)
    return verb, path, plain.replace(mark[1], "ID") if mark else plain


# ---------------------------------------------------------------- watching over a run


class GoesRoundInCircles(Exception):
    """A run computed for CPU_SECONDS."""


class Measured:
    grew = 0


@contextlib.contextmanager
def watched_over() -> Iterator[Measured]:
    """Measures by how much the process grows within the block, and ends what computes without end."""

    def end(_: int, __: object) -> None:
        raise GoesRoundInCircles(f"it computed for {CPU_SECONDS:.0f} s")

    measured = Measured()
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    at_first = _forget_peak()
    try:
        yield measured
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        measured.grew = max(0, _peak() - at_first)


def _forget_peak() -> int:
    """Bytes of this process now, from which its peak counts anew (proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
