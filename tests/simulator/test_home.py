"""The directory of a running cluster: whose it is, and whose the number in it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobset_restart.simulator import home as homes
from jobset_restart.simulator.errors import SimulatorError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found = tmp_path / "home"
    found.mkdir(mode=0o700)
    return found


def test_a_process_that_signed_is_known(home: Path) -> None:
    homes.sign(home)
    assert homes.process(home) == os.getpid()


@LINUX
@pytest.mark.parametrize("started", ["", "0", "1"])
def test_a_number_that_has_become_another_process_is_nobody(home: Path, started: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        homes.write_private(home / homes.PROCESS, f"{bystander.pid} {started}")
        assert homes.process(home) is None
        bystander.kill()


@pytest.mark.parametrize("text", ["1", "1 1", "0", "-1", "-5 7", "", "x", "99999999999999999999 1", "²"])
def test_what_is_no_process_of_ours_is_nobody(home: Path, text: str) -> None:
    (home / homes.PROCESS).write_text(text, encoding="utf-8")
    assert homes.process(home) is None


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused(home: Path, mode: int) -> None:
    homes.sign(home)
    home.chmod(mode)
    for use in (homes.runs, homes.take, lambda home: homes.ask(home, {"do": "stop"})):
        with pytest.raises(SimulatorError, match="others may write to"):
            use(home)
    assert (home / homes.PROCESS).exists()


def test_a_directory_that_others_may_read_is_made_private(home: Path) -> None:
    home.chmod(0o755)
    homes.leave(home, homes.take(home))
    assert not home.exists()
