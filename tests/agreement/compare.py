"""Two sides, each with one or more runs of the same scenarios: what only one of them shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.agreement import observe, schema
from tests.agreement.recording import Recording

Group = tuple[str, str]
"""A scenario and which of its objects."""


@dataclass
class Side:
    """Everything one side showed.

    `shown`: by group, what each object of the group in each run went through. `ended`: by scenario, object and facet,
    the values at the end. `fields`: the fields of all objects.
    """

    outcomes: dict[str, set[str]] = field(default_factory=dict)
    shown: dict[Group, list[set[str]]] = field(default_factory=dict)
    ended: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    fields: dict[str, schema.Seen] = field(default_factory=dict)

    def add(self, recording: Recording, *, whole: bool = True) -> None:
        """Takes in a recording; without `whole` only how the scenario ended."""
        test = recording.test
        self.runs[test] = self.runs.get(test, 0) + 1
        self.outcomes.setdefault(test, set()).add(recording.outcome)
        if not whole:
            return
        for life in observe.lives(recording.lines):
            self.shown.setdefault((test, life.group), []).append(observe.transitions(life))
        self.shown.setdefault((test, "Events"), []).append(observe.events(recording.lines))
        for (key, facet), value in observe.finals(recording).items():
            self.ended.setdefault((test, key, facet), set()).add(value)
        for path, seen in schema.paths(recording.lines).items():
            mine = self.fields.setdefault(path, schema.Seen())
            mine.types |= seen.types
            mine.values |= seen.values if len(mine.values) <= schema.FEW else set()


@dataclass(frozen=True)
class Difference:
    """`text` says what, in words that stay the same from run to run; `detail` how often and where."""

    text: str
    detail: str = ""


def outcomes(real: Side, embedded: Side) -> Iterator[Difference]:
    """Scenarios that pass on one side only."""
    for test in sorted(real.outcomes.keys() & embedded.outcomes.keys()):
        there, here = real.outcomes[test], embedded.outcomes[test]
        if there != here:
            yield Difference(f"outcome of {test}: real {_list(there)}, embedded {_list(here)}")


def endings(real: Side, embedded: Side) -> Iterator[Difference]:
    """Objects that end otherwise than they ever did on the real side. The same facet is told of once per scenario."""
    found: dict[str, list[str]] = {}
    for place in sorted(real.ended.keys() | embedded.ended.keys()):
        test, key, facet = place
        on_both = (test, key, "exists") in real.ended and (test, key, "exists") in embedded.ended
        if not on_both and facet not in ("exists", "objects one after the other"):
            continue  # an object that only one side has: said once
        absent = {"-"}
        there, here = real.ended.get(place, absent), embedded.ended.get(place, absent)
        if not here <= there:
            group = key if "/" not in key else key.partition("/")[0]
            text = f"end of {test} {group} {facet}: real {_list(there)}, embedded {_list(here)}"
            found.setdefault(text, []).append(key)
    for text, keys in found.items():
        yield Difference(text, f"{len(keys)} of them" if len(keys) > 1 else "")


def journeys(real: Side, embedded: Side, *, always: bool = True) -> Iterator[Difference]:
    """What one side shows every time (at least twice) at some place, and the other never: told once where the other
    shows it nowhere, else of each place. Without `always` what one side shows now and then and the other nowhere: no
    error, for those who write a status may sum changes up.
    """
    for who, one, other in (("real", real, embedded), ("embedded", embedded, real)):
        anywhere = set[str]().union(*(shown for lives in other.shown.values() for shown in lives))
        every_time, now_and_then = _places(one, other)
        found = every_time if always else {t: p for t, p in now_and_then.items() if t not in {*every_time, *anywhere}}
        for text, places in sorted(found.items(), key=lambda item: (item[0] in anywhere, -len(item[1]), item[0])):
            counts = f"{_count(text, one)} against {_count(text, other)}"
            if text in anywhere:
                for test, group in sorted(places):
                    yield Difference(f"only {who} in {test}: {text}", f"{counts}; {group}")
            else:
                test, group = places[0]
                word = "only" if always else "sometimes only"
                yield Difference(f"{word} {who}: {text}", f"{counts}; in {len(places)} groups, as {test} {group}")


def _places(one: Side, other: Side) -> tuple[dict[str, list[Group]], dict[str, list[Group]]]:
    """By what is shown, the groups that both sides have in which every one of at least two shows it, and those in
    which any does; in neither case one where the other side does too."""
    every_time: dict[str, list[Group]] = {}
    now_and_then: dict[str, list[Group]] = {}
    for group in one.shown.keys() & other.shown.keys():
        lives, there = one.shown[group], set[str]().union(*other.shown[group])
        for text in set[str]().union(*lives) - there:
            now_and_then.setdefault(text, []).append(group)
            if len(lives) > 1 and all(text in shown for shown in lives):
                every_time.setdefault(text, []).append(group)
    return every_time, now_and_then


def _count(text: str, side: Side) -> str:
    """How many of the objects of this kind show it."""
    kind = re.split(r"\W", text)[0]
    lives = [shown for (_, group), lives in side.shown.items() for shown in lives if re.split(r"\W", group)[0] == kind]
    return f"{sum(text in shown for shown in lives)}/{len(lives)}"


def fields(real: Side, embedded: Side) -> Iterator[Difference]:
    yield from map(Difference, schema.differences(real.fields, embedded.fields))


def _list(values: Iterable[str]) -> str:
    return "|".join(sorted(values))
