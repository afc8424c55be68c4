"""The picture of a restart, looked at in a browser."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from jobset_restart.events import Event, Failed, Finished, Triggered
from jobset_restart.view.timeline import drawing, page, recorded
from jobset_restart.view.timeline.markup import STYLE
from tests.browser import Pixel, browser, dom, looked_at
from tests.recordings import large
from tests.test_progress import planned

WIDTH, HEIGHT = 1040, 1500
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(autouse=True)
def _has_browser() -> None:
    browser()


def colours(dark: bool) -> dict[str, Pixel]:
    """The colours of the style by name, in a light or a dark room."""
    found = re.findall(r"--(\w+):#([0-9a-f]{6}|[0-9a-f]{3})\b", STYLE)
    half = len(found) // 2
    return {
        name: tuple(bytes.fromhex(hexes if len(hexes) == 6 else "".join(c * 2 for c in hexes)))
        for name, hexes in (found[half:] if dark else found[:half])
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("form", ["html", "svg"])
def test_the_states_of_5000_slots_are_seen(tmp_path: Path, form: str, dark: bool) -> None:
    of = [recorded(large(5_000))]
    file = tmp_path / f"restart.{form}"
    file.write_text(page(of) if form == "html" else drawing(of), encoding="utf-8")
    rows = looked_at(file, WIDTH, HEIGHT, dark=dark)
    seen = Counter(pixel for row in rows[::3] for pixel in row[::3])
    named = colours(dark)
    assert seen.most_common(1)[0][0] in (named["page"], named["ready"])
    assert seen[named["page"]] > 1000
    for state in ("ready", "starting", "stopping", "triggered", "waiting"):
        assert seen[named[state]] > 20, state
    assert seen[named["ink"]] > 20, "there is text, and it can be told from the page"


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    name = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    file = tmp_path / "restart.html"
    events: list[Event] = [
        planned(f"{name}/0/0"),
        Triggered(time=101, slot=f"{name}/0/0", node=name, pod=name),
        Failed(time=103, slot=f"{name}/0/0", reason=name),
        Finished(time=104, operation=name, exit_code=4, reason=name),
    ]
    file.write_text(page([recorded(events)]), encoding="utf-8")
    text = dom(file)
    assert "<title>Restart of JobSet ns/train</title>" in text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert "<tbody" in text
