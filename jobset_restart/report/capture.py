"""The index of a capture: the document of `jsr capture`, and what a restart says of the one it took. Pure."""

from __future__ import annotations

from msgspec import field

from jobset_restart.events import APIVERSION
from jobset_restart.report import AboutWorkload, Report

FORMAT_VERSION = 1
"""Of the files in a capture and their places. It rises when something that is there moves or means something else."""


class MissingReport(Report, kw_only=True):
    """What could not be had: `what` (pod, events, log, previous log, stacks, diagnosis, nodes, object) of which
    container or object, and why."""

    what: str
    of: str = ""
    reason: str


class CapturedSlotReport(Report, kw_only=True):
    """A slot of the sample. `odd` says what is odd about it, the oddest first; nothing for one that stands for the
    others. `files` are below the capture's folder."""

    slot: str
    pod: str = ""
    node: str = ""
    odd: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    missing: list[MissingReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class CaptureReport(AboutWorkload, kw_only=True):
    """`slots` are those that were looked at, of `expected` in all. `complete` tells that everything was had that was
    asked for; `cut_short` why the capture ended before that, where it did; `missing` has what belongs to no slot, and
    `missing_count` counts all. `bytes` are those of the files before compression."""

    api_version: str = APIVERSION
    kind: str = "Capture"
    format_version: int = FORMAT_VERSION
    name: str
    namespace: str
    context: str = ""
    path: str
    started: str
    seconds: float = 0.0
    expected: int = 0
    complete: bool = False
    cut_short: str = ""
    verdict: str = ""
    bytes: int = 0
    missing_count: int = 0
    files: list[str] = field(default_factory=list)
    missing: list[MissingReport] = field(default_factory=list)
    slots: list[CapturedSlotReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def captured(self) -> int:
        """The slots of which anything was had."""
        return sum(bool(slot.files) for slot in self.slots)
