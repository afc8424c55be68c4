"""`jsr demo`, run as a person runs it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobset_restart.demo import comparison
from jobset_restart.demo.comparison import Restart
from jobset_restart.events import Budget
from jobset_restart.report import ResultReport, SlotResultReport

WITHIN = 90
COMMAND = [sys.executable, "-m", "jobset_restart", "demo", "--nodes", "4"]


class Place:
    """A home, which is the place of temporary files too, and the processes that have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }

    def processes(self) -> list[int]:
        """Those that were started here and still run."""
        mark = f"HOME={self.folder}\0".encode()
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                environment = (each / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment:
                found.append(int(each.name))
        return found

    def left(self) -> list[object]:
        return [*self.folder.iterdir(), *self.processes()]

    def until(self, number: int) -> None:
        """Waits until so many processes run here."""
        end = time.monotonic() + WITHIN
        while len(self.processes()) < number:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.processes():
        os.kill(process, signal.SIGKILL)


def test_shows_both_and_leaves_nothing(place: Place) -> None:
    done = subprocess.run(
        COMMAND,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "$ jsr restart demo --in-place --yes" in done.stderr
    assert "$ jsr restart demo --recreate --yes" in done.stderr
    assert "5/5 back" in done.stderr
    rows = {row[0]: row[1:] for row in (re.split(r"\s{3,}", line) for line in done.stdout.splitlines())}
    assert re.search(r"^ +IN PLACE +RECREATE$", done.stdout, re.MULTILINE)
    assert rows["trigger"] == ["native", "suspend"]
    assert rows["Pods kept"] == ["5 of 5", "0 of 5"]
    assert rows["API writes"] == ["1", "2"]
    assert rows["spent of maxRestarts, in-place attempts"] == ["1 of 100", "1 of 100"]
    assert rows["spent of maxRestarts, restarts of one container"] == ["1 of 100", "nothing"]
    assert rows["time"][0].endswith("s")
    assert re.fullmatch(r"(driver|workers)/0/\d, .*s", rows["slowest slot"][0])
    assert "\x1b" not in done.stdout + done.stderr
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_interrupted_leaves_nothing(place: Place, number: signal.Signals, processes: int) -> None:
    """At once, while the cluster starts, and in the middle of a restart."""
    with subprocess.Popen(COMMAND, env=place.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Starting" in process.stderr.readline()
        place.until(processes)
        process.send_signal(number)
        _, said = process.communicate(timeout=WITHIN)
        assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert place.left() == []


def test_killed_leaves_no_cluster(place: Place) -> None:
    with subprocess.Popen(COMMAND, env=place.environment, stderr=subprocess.DEVNULL) as process:
        place.until(2)
        process.kill()
    end = time.monotonic() + WITHIN
    while place.left():
        assert time.monotonic() < end, place.left()
        time.sleep(0.1)


def test_ctrl_c_on_a_terminal_brings_the_cursor_back(place: Place) -> None:
    process, near = pty.fork()
    if process == 0:  # as a shell starts its jobs: the terminal's Ctrl-C is for them
        os.execve(sys.executable, COMMAND, place.environment)
    shown = _read_until(near, b"\x1b[?25l")  # the live view hides it
    os.write(near, b"\x03")
    shown += _read_until(near, None)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"Traceback" not in shown
    assert place.left() == []


def _read_until(terminal: int, mark: bytes | None) -> bytes:
    """What is shown up to the mark, or to the end."""
    shown, end = b"", time.monotonic() + WITHIN
    while mark is None or mark not in shown:
        assert time.monotonic() < end, shown
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    return shown


# ---------------------------------------------------------------- the comparison


def _restart(trigger: str, seconds: float, after: set[str], budgets: list[Budget], slots: dict[str, float]) -> Restart:
    result = ResultReport(
        jobset="demo",
        namespace="default",
        trigger=trigger,
        exit_code=0,
        seconds=seconds,
        writes=3,
        budgets=budgets,
        slots=[SlotResultReport(slot=name, outcome="restarted", seconds=took) for name, took in slots.items()],
    )
    return Restart(result, {"a", "b"}, after)


def test_the_comparison() -> None:
    budget = Budget(name="maxRestarts", limit=10, before=3, after=4)
    in_place = _restart("native", 2.0, {"a", "b"}, [budget], {"workers/0/0": 1.5, "workers/0/1": 1.9})
    recreate = _restart("suspend", 8.0, {"a", "c"}, [], {"workers/0/0": 7.5})
    assert comparison.rows(in_place, recreate, speed=2.0) == [
        ("trigger", "native", "suspend"),
        ("time", "4.0s", "16s"),
        ("slowest slot", "workers/0/1, 3.8s", "workers/0/0, 15s"),
        ("Pods kept", "2 of 2", "1 of 2"),
        ("API writes", "3", "3"),
        ("spent of maxRestarts", "1 of 10", "nothing"),
    ]
    assert "was 4.0 times as fast and kept every Pod" in comparison.verdict(in_place, recreate)
