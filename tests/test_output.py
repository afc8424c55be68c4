"""Where the output cannot go: nobody reads it, it is closed, the disk is full. `jsr` says so in a line at most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LISTS_ALL = (sys.executable, "-m", "jobset_restart", "explain")
SIM_LISTS_ALL = (sys.executable, "-m", "jobset_restart", "sim", "profile", "realtime")


def in_shell(redirection: str, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    script = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    return subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [LISTS_ALL, SIM_LISTS_ALL], ids=["jsr", "sim"])
@pytest.mark.parametrize(("redirection", "code"), [(">&-", 0), (">&- <&-", 0), ("<&-", 0)])
def test_closed_streams(command: tuple[str, ...], redirection: str, code: int) -> None:
    ended = in_shell(redirection, command)
    assert (ended.returncode, ended.stderr) == (code, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("command", [LISTS_ALL, SIM_LISTS_ALL], ids=["jsr", "sim"])
def test_full_disk(command: tuple[str, ...]) -> None:
    ended = in_shell("> /dev/full", command)
    assert ended.returncode == 1
    assert ended.stderr == "error: the output could not be written: No space left on device\n"


@pytest.mark.parametrize("command", [LISTS_ALL, SIM_LISTS_ALL], ids=["jsr", "sim"])
def test_reader_that_goes_away(command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")
