"""`jsr restart --report`: the timeline of a restart, in a file of its own."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.place import Place


def test_a_restart_is_drawn_as_it_went_and_as_its_events_tell(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    place.settled("train")
    drawn, events, again = tmp_path / "restart.html", tmp_path / "events.jsonl", tmp_path / "again.html"
    jsr.restart("train", "--in-place", "--report", str(drawn), "--events", str(events)).exited(0)
    text = drawn.read_text(encoding="utf-8")
    assert "exit 0: every slot is back" in text
    for slot in ("workers/0/0", "workers/0/1"):
        assert f"{slot}: starting for" in text or f"{slot}: triggered for" in text, slot
    jsr.run("replay", str(events), "--report", str(again), namespaced=False).exited(0)
    assert again.read_text(encoding="utf-8") == text


def test_a_restart_that_is_refused_or_has_nowhere_to_be_drawn_changes_nothing(
    place: Place, jsr: Jsr, tmp_path: Path
) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    mine = tmp_path / "mine.svg"
    mine.write_text("mine", encoding="utf-8")
    for file, words in ((mine, "already exists"), (tmp_path / "no" / "r.svg", "no folder"), (tmp_path / "r", "form")):
        ended = jsr.restart("train", "--in-place", "--report", str(file)).exited(2)
        assert words in ended.stderr
        assert "nothing was changed" in ended.stderr
    assert mine.read_text(encoding="utf-8") == "mine"
    assert place.settled("train") == before


def test_a_restart_whose_deadline_passed_is_drawn_too(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    stubborn = container("worker", IGNORES_TERM)
    place.create(jobset("train", replicated_job("workers", stubborn, pods=2, grace=20)))
    place.settled("train")
    file = tmp_path / "restart.svg"
    jsr.restart("train", "--in-place", "--timeout", "4s", "--report", str(file)).exited(124)
    text = file.read_text(encoding="utf-8")
    assert "exit 124: the deadline passed with 2 slots not back" in text
    assert "triggered for" in text
