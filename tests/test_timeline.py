"""The picture of a restart: what it shows, that it stays small and safe, and the file that it goes to."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobset_restart.cli.picturing import check_report_file, report_file, write_report
from jobset_restart.cli.replaying import replay
from jobset_restart.errors import Superseded, UsageError
from jobset_restart.events import Detached, Event, Failed, Finished, NextRound, PlannedSlot, Ready, Starting, Triggered
from jobset_restart.view.timeline import Recording, drawing, page, recorded
from jobset_restart.view.timeline.recording import bands, counted
from tests.picture import TIMELINE, timeline
from tests.recordings import large
from tests.test_progress import ANY_EVENT, SLOT_EVENTS, planned

RECORDED = Path(__file__).parent / "data" / "trouble.jsonl"
MOST_BYTES = 1_000_000
ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "section",
    "h1",
    "h2",
    "p",
    "dl",
    "dt",
    "dd",
    "figure",
    "div",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "desc",
    "rect",
    "text",
    "path",
    "line",
}
ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "scope",
    "class",
    "id",
    "role",
    "aria-labelledby",
    "xmlns",
    "viewbox",
    "width",
    "height",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "d",
}
Form = Callable[[Sequence[Recording]], str]
FORMS = pytest.mark.parametrize("form", [page, drawing], ids=["html", "svg"])
HOSTILE = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from(["<script>alert(1)</script>", "]]></style><img src=x onerror=y>", "&lt;b&gt;", "\ud800\x1b[31m"]),
    st.just('"><a href="javascript:x">'),
)


class Read(HTMLParser):
    """The elements, attributes and words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> Read:
    reader = Read()
    reader.feed(text)
    reader.close()
    return reader


def words_of(events: Sequence[Event]) -> list[str]:
    """The words of both forms, each as one text."""
    of = recorded(events)
    return [" ".join(read(form([of])).words) for form in (page, drawing)]


def slot_failing(**how: str) -> list[Event]:
    slot = "workers/0/0"
    return [
        planned(slot, "workers/0/1"),
        Triggered(time=101, slot=slot),
        Starting(time=103, slot=slot, reason=how.get("waits", "ContainerCreating")),
        Failed(time=110, slot=slot, node="n1", reason=how.get("fails", "OOMKilled")),
    ]


# ---------------------------------------------------------------- what it shows


def test_what_did_not_come_back_is_named_with_its_reason() -> None:
    end = Finished(time=111, operation="op1", exit_code=4, reason="1 slots did not come back")
    for words in words_of([*slot_failing(), end]):
        assert "Restart of JobSet ns/train" in words
        assert "exit 4: 1 slots did not come back" in words
        assert "failed: OOMKilled" in words
        assert "never triggered" in words, "workers/0/1"


def test_the_slowest_are_shown_with_what_they_waited_for_longest() -> None:
    lives = [
        event
        for n, took in enumerate((3, 40, 5))
        for event in (
            Triggered(time=100, slot=f"w/0/{n}"),
            Starting(time=101, slot=f"w/0/{n}", reason="ImagePullBackOff"),
            Ready(time=100 + took, slot=f"w/0/{n}"),
        )
    ]
    of = recorded([planned("w/0/0", "w/0/1", "w/0/2"), *sorted(lives, key=lambda event: event.time)])
    assert [line.slot for line in of.slowest(2)] == ["w/0/1", "w/0/2"]
    assert "starting for 39s (ImagePullBackOff)" in page([of])
    assert "starting for 39s (ImagePullBackOff)" in drawing([of])


def test_rounds_and_budgets_are_shown() -> None:
    for words in words_of(large(200)):
        assert "restart 200 slots in place by image, then recreate 2 slots by pods" in words
        assert "about 13s, then about 30s" in words
        assert "round 2, pods" in words
        assert "Job backoffLimit llama-workers-0" in words


def test_a_recording_that_was_left_or_breaks_off_says_so() -> None:
    left = Detached(time=120, operation="op1", follow="jsr restart train --resume op1")
    for words in words_of([*slot_failing(), left]):
        assert "its client left it: 0 of 2 slots were back; carry on with: jsr restart train --resume op1" in words
    for words in words_of(slot_failing()):
        assert "the recording ends in the middle: 0 of 2 slots were back" in words


def test_a_slot_that_is_restarted_again_counts_from_its_first_touch() -> None:
    again = NextRound(
        time=120,
        operation="op1",
        round=2,
        strategy="recreate",
        trigger="pods",
        slots=[PlannedSlot(slot="workers/0/0", trigger="pods")],
    )
    of = recorded(
        [*slot_failing(), again, Triggered(time=121, slot="workers/0/0"), Ready(time=130, slot="workers/0/0")]
    )
    line = of.lines["workers/0/0"]
    assert (line.state, line.round, line.took(of.end)) == ("ready", 2, 29.0)


@FORMS
@pytest.mark.parametrize("slots", [1, 40, 41, 5_000])
def test_it_stays_small(form: Form, slots: int) -> None:
    assert len(form([recorded(large(slots))]).encode()) < MOST_BYTES


@FORMS
@pytest.mark.parametrize("at_most", [30, 400])
def test_slots_that_never_stand_still_do_not_fill_it(form: Form, at_most: int) -> None:
    names = [f"w/0/{n}" for n in range(40)]
    flapping = [
        kind(time=100 + at / 10, slot=name, reason="r" * 400)
        for at in range(at_most)
        for name in names
        for kind in (Triggered, Starting)
    ]
    assert len(form([recorded([planned(*names), *flapping])]).encode()) < MOST_BYTES


# ---------------------------------------------------------------- whatever is in it


@given(st.lists(ANY_EVENT, max_size=40), st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_events_make_a_page_and_a_picture_that_can_be_read(events: list[Event], begun: bool) -> None:
    of = recorded([planned("workers/0/0"), *events] if begun else events)
    assert read(page([of])).elements <= ELEMENTS
    ElementTree.fromstring(drawing([of]).encode())


@given(HOSTILE, HOSTILE, HOSTILE)
@settings(deadline=None, max_examples=150)
def test_nothing_from_a_cluster_is_markup(name: str, waits: str, fails: str) -> None:
    plan = planned(f"{name}/0/0")
    events = [
        type(plan)(
            time=99, operation=fails, jobset=name, namespace=waits, context=name, reason=fails, slots=plan.slots
        ),
        Triggered(time=100, slot=f"{name}/0/0", node=waits, pod=fails),
        *slot_failing(waits=waits, fails=fails),
        Finished(time=112, operation="op1", exit_code=4, reason=name),
    ]
    of = recorded(events)
    told = read(page([of]))
    assert told.elements <= ELEMENTS
    assert told.attributes <= ATTRIBUTES
    for element in ElementTree.fromstring(drawing([of]).encode()).iter():
        assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in ELEMENTS
        assert {attribute.lower() for attribute in element.attrib} <= ATTRIBUTES


@FORMS
def test_nothing_is_loaded_from_elsewhere(form: Form) -> None:
    text = form([recorded(large(50))]).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|@import|<script|<link|\bsrc=|\bhref=", text)


@given(st.lists(SLOT_EVENTS, max_size=60), st.integers(1, 50))
def test_at_every_moment_each_slot_is_in_one_state(events: list[Event], steps: int) -> None:
    of = recorded([planned("workers/0/0", "driver/0/1"), *sorted(events, key=lambda event: event.time)])
    found = counted(of.lines.values(), of.begin, of.end, steps)
    assert all(value >= 0 for row in found.values() for value in row)
    assert sum(row[-1] for row in found.values()) == len(of.lines)
    for state, row in found.items():
        assert row[-1] == sum(line.state == state for line in of.lines.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 999)), unique=True, max_size=300), st.integers(1, 50))
def test_every_slot_is_in_one_band(slots: list[tuple[str, int]], most: int) -> None:
    names = [f"{group}/0/{index}" for group, index in slots]
    lines = list(recorded([planned(*names)] if names else []).lines.values())
    found = bands(lines, most)
    assert len(found) <= most
    assert sorted(line.slot for band in found for line in band.lines) == sorted(names)
    if len({group for group, _ in slots}) <= most:
        assert all(len({line.slot[0] for line in band.lines}) == 1 for band in found)


@FORMS
def test_who_cannot_see_it_is_told(form: Form) -> None:
    text = form([recorded(large(100))])
    named = re.search(r'role="img" aria-labelledby="([\w-]+) ([\w-]+)"', text)
    assert named is not None
    assert all(f'id="{each}"' in text for each in named.groups())
    assert "100 slots over" in text
    assert "half of the slots were back within" in text


# ---------------------------------------------------------------- the file


def test_it_is_written_when_the_restart_ends(tmp_path: Path) -> None:
    file = tmp_path / "restart.html"
    with report_file(str(file)) as report:
        assert report is not None
        assert "is not over" in file.read_text(), "what is there when the client is killed"
        for event in slot_failing():
            report(event)
    assert "OOMKilled" in file.read_text()
    assert "is not over" not in file.read_text()


def test_it_is_written_when_the_restart_dies(tmp_path: Path) -> None:
    file = tmp_path / "restart.svg"

    def dies() -> None:
        with report_file(str(file)) as report:
            assert report is not None
            report(planned("workers/0/0"))
            raise Superseded("ann holds it")

    with pytest.raises(Superseded):
        dies()
    assert "it ended early: ann holds it" in file.read_text()


@pytest.mark.parametrize("name", ["r.pdf", "r", "no/such/folder/r.html", "there.html", "link.html", "file.svg/r.html"])
def test_what_cannot_be_written_is_refused_before_anything_begins(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "file.svg").write_text("mine")
    (tmp_path / "link.html").symlink_to(tmp_path / "gone.html")
    before = sorted(tmp_path.iterdir())
    for refuses in (check_report_file, lambda path: write_report(path, [Recording()])):
        with pytest.raises(UsageError, match="nothing was changed"):
            refuses(str(tmp_path / name))
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.html").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="is not writable; nothing was changed"):
        check_report_file(str(tmp_path / "r.html"))


def test_a_full_disk_is_said_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "r.html"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with report_file(str(file)) as report:
            assert report is not None
            report(planned("workers/0/0"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert f"warning: the report {file} could not be written: File too large" in capsys.readouterr().err


def test_the_picture_in_the_docs_is_what_is_drawn() -> None:
    assert timeline() == TIMELINE.read_text(encoding="utf-8"), "python -m tests.picture draws it anew"


def test_a_recording_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("r.html", "r.svg"):
        assert replay(str(RECORDED), report=str(tmp_path / name)) == 0
        text = (tmp_path / name).read_text()
        assert "exit 130: interrupted: 18 of 24 slots are back" in text
        assert "ImagePullBackOff" in text
    assert "JobSet training/llama, operation 7d1c03ae: exit 130" in capsys.readouterr().out
    with pytest.raises(UsageError, match="already exists"):
        replay(str(RECORDED), report=str(tmp_path / "r.html"))
