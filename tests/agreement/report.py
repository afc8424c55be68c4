"""The words about recordings and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tests.agreement import compare
from tests.agreement.accepted import Accepted, unused
from tests.agreement.compare import Difference, Side
from tests.agreement.normal import Facets
from tests.agreement.observe import Life, events, lives
from tests.agreement.recording import read, runs

CHAPTERS = {
    "Scenarios that end otherwise": compare.outcomes,
    "Objects that end otherwise": compare.endings,
    "States and transitions that only one side shows": compare.journeys,
    "Fields and values": compare.fields,
}


def sides(real: Path, embedded: Path, keyword: str) -> tuple[Side, Side]:
    """Both sides, as far as both have run the same scenarios to their end. Of one that passes on one side only nothing
    but that is compared: what it showed follows from it."""
    found = Side(), Side()
    files = [_by_scenario(folder, keyword) for folder in (real, embedded)]
    for name in sorted(files[0].keys() & files[1].keys()):
        ran = [[r for r in map(read, of[name]) if r.outcome in ("passed", "failed")] for of in files]
        if all(ran):
            alike = len({frozenset(r.outcome for r in recordings) for recordings in ran}) == 1
            for side, recordings in zip(found, ran, strict=True):
                for recording in recordings:
                    side.add(recording, whole=alike)
    return found


def _by_scenario(folder: Path, keyword: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in (file for run in runs(folder) for file in run if keyword in file.name):
        found.setdefault(file.name, []).append(file)
    return found


def differences(
    real: Side, embedded: Side, accepted: list[Accepted], out: TextIO, *, notes: bool = False
) -> list[Difference]:
    """Prints what differs; returns what is not accepted of it."""
    left: list[Difference] = []
    covered: list[Difference] = []
    for title, chapter in CHAPTERS.items():
        found = [*chapter(real, embedded)]
        taken = [one for one in found if any(entry.covers(one.text) for entry in accepted)]
        mine = [one for one in found if one not in taken]
        _print(f"{title}: {len(mine)}, and {len(taken)} accepted", mine, out)
        left += mine
        covered += taken
    if notes:
        _print("Accepted", covered, out)
        _print("Not every time", [*compare.journeys(real, embedded, always=False)], out)
        for entry in unused(accepted, (one.text for one in covered)):
            print(f"accepted, and not met: {entry.difference}", file=out)
    counts = f"{len(real.runs)} scenarios, real {sum(real.runs.values())} runs, embedded {sum(embedded.runs.values())}"
    print(f"{len(left)} differences, {len(covered)} accepted ones; {counts}", file=out)
    return left


def _print(title: str, found: list[Difference], out: TextIO) -> None:
    print(f"== {title}", file=out)
    for one in found:
        print(f"  {one.text}" + (f"\n      {one.detail}" if one.detail else ""), file=out)


# ---------------------------------------------------------------- one recording


def show(folder: Path, keyword: str, out: TextIO) -> None:
    """Prints what every object of the recordings under this folder went through, change by change."""
    for file in sorted(folder.rglob("*.jsonl")):
        if keyword not in file.name:
            continue
        recording = read(file)
        print(f"== {file}: {recording.test} {recording.outcome}", file=out)
        for life in lives(recording.lines):
            print(f"{life.key}", file=out)
            for line in steps(life):
                print(f"  {line}", file=out)
        for text in sorted(events(recording.lines)):
            print(text, file=out)


def steps(life: Life) -> Iterator[str]:
    """A line for each state: seconds, and what is different from the one before."""
    before: Facets = {}
    for time, state in zip(life.times, life.states, strict=True):
        changes = [f"{name}: {value}" for name, value in state.items() if before.get(name) != value]
        changes += [f"{name}: gone" for name in before if name not in state]
        yield f"{time:8.3f}  " + "; ".join(changes)
        before = state
