"""`python -m tests.picture`: draws what README and docs show: the live view of a recorded restart as it was at one
moment, the timeline of another, and the diagnosis of a hang."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
from rich.console import Console

from jobset_restart.events import Event, decode
from jobset_restart.report.diagnosis import DiagnosisReport
from jobset_restart.view.diagnosis import show_diagnosis
from jobset_restart.view.live import LiveView
from jobset_restart.view.timeline import drawing, recorded

HERE = Path(__file__).parent
RECORDED = HERE / "data" / "demo.jsonl"
PICTURE = HERE.parent / "examples" / "live-view.svg"
TROUBLE = HERE / "data" / "trouble.jsonl"
TIMELINE = HERE.parent / "examples" / "timeline.svg"
HANG = HERE / "data" / "hang.json"
"""What `jsr diagnose hung -o json` printed of a real one."""
DIAGNOSIS = HERE.parent / "examples" / "diagnosis.svg"
MOMENT = 0.9
"""Which part of the restart has passed."""


def picture() -> str:
    """The SVG of the live view."""
    events = _events(RECORDED)
    now = events[0].time + MOMENT * (events[-1].time - events[0].time)
    console = Console(
        file=io.StringIO(), width=100, height=24, record=True, force_terminal=True, color_system="truecolor"
    )
    view = LiveView(console)
    for event in events:
        if event.time <= now:
            view(event)
    console.print(view.render(now))
    return _drawn(console, "jsr restart demo --in-place", "jsr-live-view")


def diagnosis() -> str:
    """The SVG of what a diagnosis prints."""
    report = msgspec.json.decode(HANG.read_bytes(), type=DiagnosisReport)
    console = Console(file=io.StringIO(), width=120, record=True, force_terminal=True, color_system="truecolor")
    show_diagnosis(console, report)
    return _drawn(console, f"jsr diagnose {report.name}", "jsr-diagnosis")


def _drawn(console: Console, title: str, name: str) -> str:
    drawn = console.export_svg(title=title, unique_id=name)
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def timeline() -> str:
    """The SVG of the timeline."""
    return drawing([recorded(_events(TROUBLE))])


def _events(file: Path) -> list[Event]:
    return [decode(line) for line in file.read_bytes().splitlines()]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    TIMELINE.write_text(timeline(), encoding="utf-8")
    DIAGNOSIS.write_text(diagnosis(), encoding="utf-8")
