"""Names that were typed: what nothing is called, and what was probably meant. Pure."""

from __future__ import annotations

import difflib
from bisect import bisect
from collections.abc import Collection, Iterable

from msgspec import Struct

SHOWN = 8
MOST_COMPARED = 400
"""Of more names only those that sort near by are compared: the names of thousands of Pods begin alike."""


class Absent(Struct, frozen=True):
    """Something named that is not there: what it would be ("Pod"), its name, and what was probably meant."""

    kind: str
    name: str
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def absent(kind: str, names: Iterable[object], known: Iterable[object]) -> list[Absent]:
    """Those of the names that nothing known has."""
    there = set(map(str, known))
    wanted = dict.fromkeys(map(str, names))
    return [Absent(kind, name, suggestion(name, there)) for name in wanted if name not in there]


def suggestion(name: str, known: Collection[str], plain: Collection[str] = ()) -> str:
    """The known names that are near this one, as a question, or else some of those there are: "did you mean train?",
    "there are serve, train". Empty where there are none. Where many names mean the same, `plain` has one of each."""
    near = _near(name, known)
    if near:
        return f"did you mean {' or '.join(near)}?"
    there = sorted(plain or known)
    if not there:
        return ""
    return f"there {'is' if len(there) == 1 else 'are'} {', '.join(there[:SHOWN])}{' ...' if there[SHOWN:] else ''}"


def followed(hint: str, more: str) -> str:
    """The hint with more after it, as one sentence; a question ends by itself."""
    return f"{hint}{'' if hint.endswith('?') else ';'} {more}"


def _near(name: str, known: Collection[str]) -> list[str]:
    if len(known) > MOST_COMPARED:
        there = sorted(known)
        place = bisect(there, name)
        known = there[max(0, place - MOST_COMPARED // 2) : place + MOST_COMPARED // 2]
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)
