"""`python -m tests.picture`: draws the live view of a recorded restart, as it was at one moment, for the README."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from jobset_restart.events import decode
from jobset_restart.view.live import LiveView

HERE = Path(__file__).parent
RECORDED = HERE / "data" / "demo.jsonl"
PICTURE = HERE.parent / "examples" / "live-view.svg"
MOMENT = 0.9
"""Which part of the restart has passed."""


def picture() -> str:
    """The SVG."""
    events = [decode(line) for line in RECORDED.read_bytes().splitlines()]
    now = events[0].time + MOMENT * (events[-1].time - events[0].time)
    console = Console(
        file=io.StringIO(), width=100, height=24, record=True, force_terminal=True, color_system="truecolor"
    )
    view = LiveView(console)
    for event in events:
        if event.time <= now:
            view(event)
    console.print(view.render(now))
    drawn = console.export_svg(title="jsr restart demo --in-place", unique_id="jsr-live-view")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
