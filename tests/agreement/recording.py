"""Recordings as they lie on the disk: `FOLDER/RUN/SCENARIO.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """What was heard of one object: `event` is ADDED, MODIFIED, DELETED or LISTED."""

    time: float
    event: str
    resource: str
    object: Object


@dataclass(frozen=True)
class Recording:
    """One run of one scenario. `outcome` is pytest's word, "cut short" where the run ended before the scenario did."""

    test: str
    outcome: str
    lines: list[Line]


def read(file: Path) -> Recording:
    with file.open(encoding="utf-8") as lines:
        header, *rest = (json.loads(line) for line in lines)
    footer = rest.pop() if rest and "outcome" in rest[-1] else {"outcome": "cut short"}
    return Recording(header["test"], footer["outcome"], [Line(**line) for line in rest])


def runs(folder: Path) -> Iterator[list[Path]]:
    """The files of each run."""
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield sorted(run.glob("*.jsonl"))
