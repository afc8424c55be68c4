"""The question whether to go on, on a terminal: every way of not saying yes changes nothing, at once."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import jobset, replicated_job
from tests.e2e.picture import OPERATION, Picture, assert_nothing_changed
from tests.e2e.place import Place
from tests.e2e.terminal import Terminal

QUESTION = "go ahead? [y/N] "
SOON = 20
"""Seconds; it is an end without Enter that is asked for, not a fast one."""


@pytest.fixture
def before(place: Place) -> Picture:
    place.create(jobset("train", replicated_job(pods=1)))
    return place.settled("train")


def untouched(place: Place, before: Picture) -> None:
    assert_nothing_changed(before, place.picture("train"))
    assert OPERATION not in place.jobset("train")["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("keys", "code"),
    [("\x03", 130), ("\x04", 3), ("\n", 3), ("n\n", 3), ("yes please\n", 3), ("y\x03", 130), ("\x1b[A\n", 3)],
    ids=["ctrl-c", "ctrl-d", "enter", "n", "words", "y and ctrl-c", "arrow"],
)
def test_every_other_answer_changes_nothing(place: Place, jsr: Jsr, before: Picture, keys: str, code: int) -> None:
    terminal = Terminal(jsr, "restart", "train", "--in-place")
    asked = terminal.until(QUESTION)
    assert f"1 slot of JobSet {place.namespace}/train (context " in asked.replace("\r\n", " ")
    terminal.type(keys)
    assert terminal.ended(SOON) == code, terminal.screen
    assert "nothing was changed" in terminal.screen
    assert "Traceback" not in terminal.screen
    untouched(place, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_at_the_question_changes_nothing(
    place: Place, jsr: Jsr, before: Picture, number: signal.Signals
) -> None:
    terminal = Terminal(jsr, "restart", "train", "--in-place")
    terminal.until(QUESTION)
    terminal.signal(number)
    assert terminal.ended(SOON) == 130, terminal.screen
    assert "nothing was changed" in terminal.screen
    untouched(place, before)


def test_a_terminal_that_goes_away_changes_nothing(place: Place, jsr: Jsr, before: Picture) -> None:
    terminal = Terminal(jsr, "restart", "train", "--in-place")
    terminal.until(QUESTION)
    terminal.hang_up()
    assert terminal.ended(SOON) != 0
    untouched(place, before)


def test_yes_restarts(place: Place, jsr: Jsr, before: Picture) -> None:
    terminal = Terminal(jsr, "restart", "train", "--in-place")
    terminal.until(QUESTION)
    terminal.type("y\n")
    assert terminal.ended(120) == 0, terminal.screen
    assert "restarted" in terminal.screen
    assert jsr.status("train")["operation"]["exitCode"] == 0
    assert jsr.status("train")["operation"]["done"] == 1


def test_declined_with_a_document_is_the_plan_on_stdout(place: Place, jsr: Jsr, before: Picture) -> None:
    terminal = Terminal(jsr, "restart", "train", "--in-place", "-o", "json")
    terminal.until(QUESTION)
    terminal.type("n\n")
    assert terminal.ended(SOON) == 3
    assert '"kind": "RestartPlan"' in terminal.screen
    untouched(place, before)
