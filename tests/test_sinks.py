"""Where events go: what fails is left out, said once, and stops nothing; and what --events may write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobset_restart.cli.sinks import Sinks, View, check_event_file, event_file
from jobset_restart.errors import UsageError
from jobset_restart.events import Event, Finished, Noticed, Ready, Triggered, decode, encode
from jobset_restart.progress import Progress
from jobset_restart.view.lines import LinesView
from tests.test_progress import planned

SLOT = "workers/0/0"
END = Finished(time=120, operation="op1", exit_code=0, reason="every slot is back")


class Fails:
    """A view that shows one thing and then fails, drawing or listening."""

    def __init__(self, *, drawing: bool) -> None:
        self.progress = Progress()
        self._drawing = drawing
        self.calls = 0

    def __call__(self, event: Event) -> None:
        self.progress.apply(event)
        if not self._drawing:
            self.calls += 1
            raise RuntimeError("no ear")

    def tick(self, now: float) -> None:
        if self._drawing:
            self.calls += 1
            raise RuntimeError(f"no pen at {now:g}")


def play(sinks: Sinks) -> None:
    sinks(planned(SLOT))
    sinks.tick(101)
    sinks(Triggered(time=102, slot=SLOT))
    sinks.tick(103)
    sinks(Ready(time=110, slot=SLOT))
    sinks.tick(111)
    sinks(END)


@pytest.mark.parametrize("drawing", [True, False], ids=["tick", "event"])
def test_lines_go_on_where_a_view_fails_and_say_so_once(drawing: bool) -> None:
    written: list[str] = []
    given_up: list[int] = []
    view = Fails(drawing=drawing)
    play(Sinks(view, [], lambda: 101.0, give_up=lambda: given_up.append(1), write=written.append))
    assert (view.calls, given_up) == (1, [1])
    text = "\n".join(written)
    assert text.count("the live view failed, lines go on from here: RuntimeError: no") == 1
    assert "1/1 back" in text, "what it was told before is not lost"
    assert written[-1].endswith("finished: every slot is back")


def test_a_terminal_that_cannot_be_given_back_stops_nothing() -> None:
    written: list[str] = []

    def fails() -> None:
        raise OSError(5, "Input/output error")

    play(Sinks(Fails(drawing=True), [], lambda: 101.0, give_up=fails, write=written.append))
    assert "1/1 back" in "\n".join(written)


def test_lines_that_cannot_be_written_stop_nothing(tmp_path: Path) -> None:
    def fails(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    file = tmp_path / "events"
    with event_file(str(file)) as log:
        sinks = Sinks(LinesView(fails), [log], lambda: 101.0)
        play(sinks)
    kinds = [type(decode(line)) for line in file.read_bytes().splitlines()]
    assert kinds.count(Noticed) == 1, "said once, to what is left"
    assert kinds[-1] is Finished
    assert sinks.progress.finished == END


def test_an_event_file_that_cannot_be_written_is_left_out_and_said_so_once(tmp_path: Path) -> None:
    written: list[str] = []
    with event_file(str(tmp_path / "events")) as log:
        assert log is not None
        log._file.close()
        play(Sinks(LinesView(written.append), [log], lambda: 101.0))
    text = "\n".join(written)
    assert text.count(f"the event file {tmp_path / 'events'} is left out from here on") == 1
    assert written[-1].endswith("finished: every slot is back")


# ---------------------------------------------------------------- the file


def test_what_is_there_is_neither_overwritten_nor_followed_nor_waited_for(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("apiVersion: v1\n")
    link = tmp_path / "link"
    link.symlink_to(kubeconfig)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "elsewhere")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    names = [kubeconfig, link, dangling, pipe, tmp_path, Path("/dev/null"), Path("/dev/zero"), tmp_path / "a\0b"]
    for path in names:
        for append in (False, True):
            with pytest.raises(UsageError, match="nothing was changed"), event_file(str(path), append=append):
                pass
    assert kubeconfig.read_text() == "apiVersion: v1\n"
    assert not (tmp_path / "elsewhere").exists()


def test_events_are_added_to_events_alone(tmp_path: Path) -> None:
    file = tmp_path / "events"
    for append in (False, True, True):
        with event_file(str(file), append=append) as log:
            assert log is not None
            log(END)
    assert file.read_bytes() == (encode(END) + b"\n") * 3
    empty = tmp_path / "empty"
    empty.touch()
    with event_file(str(empty), append=True) as log:
        assert log is not None


def test_it_is_told_before_anything_is_asked_and_leaves_nothing_behind(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("words")
    with pytest.raises(UsageError, match="already"):
        check_event_file(str(there), append=False)
    with pytest.raises(UsageError, match="something other than events"):
        check_event_file(str(there), append=True)
    check_event_file(str(tmp_path / "new"), append=False)
    assert not (tmp_path / "new").exists()


def _is_a_view(view: View) -> View:
    return view


def test_the_failing_view_of_these_tests_is_a_view() -> None:
    assert _is_a_view(Fails(drawing=True)).progress.total == 0
