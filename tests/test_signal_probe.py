"""The signal trigger against kernels: what PID 1 is, and the command that looks again, run by a real shell."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.pid1 import NAME_LENGTH, NOT_CAUGHT, Means, command, means, number, read_probe
from tests.probes import answer

SIGNALS = [int(each) for each in signal.Signals]
SHELLS = [path for each in ("sh", "dash", "bash") if (path := shutil.which(each))]


def test_the_files_of_a_kernel_are_read() -> None:
    found = read_probe(answer("sh", 0x14002, "120", "30", (8, 4711), "/usr/bin/prlimit"))
    assert (found.name, found.caught, found.cpu, found.children, found.prlimit) == ("sh", 0x14002, 1.5, 2, True)
    assert (found.catches("TERM"), found.catches("HUP"), found.error) == (True, False, "")
    bare = read_probe(answer(children=()))
    assert (bare.children, bare.prlimit) == (0, False)


@pytest.mark.parametrize(
    "name", ["my (odd) app)", "a\nb) S 9", "1 (x) S 0", "x\nSigCgt:\tffff", ") S 0 1 1 0", "ünïcode", " "]
)
def test_a_process_may_be_called_anything(name: str) -> None:
    found = read_probe(answer(name, user="7", system="5"))
    assert (found.caught, found.cpu, found.children, found.error) == (0x4002, 0.12, 0, "")


@given(
    st.text(max_size=300),
    st.integers(0, 2**64 - 1),
    st.integers(0, 10**18),
    st.lists(st.integers(2, 4_000_000), max_size=9),
)
def test_whatever_a_process_is_called_its_numbers_are_read(name: str, caught: int, ticks: int, pids: list[int]) -> None:
    found = read_probe(answer(name.replace("\r", "").replace("\x85", ""), caught, str(ticks), "0", tuple(pids)))
    assert (found.error, found.caught, found.cpu, found.children) == ("", caught, ticks / 100, len(pids))
    assert len(found.name) <= NAME_LENGTH


def test_numbers_that_no_kernel_writes_are_no_answer() -> None:
    assert read_probe(answer(user="9" * 400)).error
    assert read_probe(answer(user="²")).error
    assert read_probe(answer().replace("SigCgt:\t", "SigCgt:\t" + "f" * 400)).error
    assert read_probe(answer(children=(1,) * 10_000_000)).children < 100_000


@given(st.integers(0, len(answer()) - 1))
def test_an_answer_that_is_cut_off_is_an_error_or_right(length: int) -> None:
    found = read_probe(answer("sh", 0x14002)[:length])
    assert found.error or (found.name, found.caught) == ("sh", 0x14002)


@given(st.text())
def test_anything_else_is_an_error(text: str) -> None:
    assert read_probe(text).error


def test_nothing_is_done_about_what_could_not_be_seen() -> None:
    assert means(read_probe("")) is None


CHILD = """\
import signal, sys, time
for each in sys.argv[1:]:
    signal.signal(int(each), lambda number, frame: sys.exit(10 + number))
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", CHILD, *map(str, request.param)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("child", "name", "code"),
    [((15,), "TERM", 25), ((2, 10, 12), "USR1", 20), ((1,), "HUP", 11), ((10,), "TERM", None), ((12,), "USR1", None)],
    indirect=["child"],
)
def test_the_command_looks_again_before_it_sends(
    child: subprocess.Popen[bytes], shell: str, name: str, code: int | None
) -> None:
    _, *rest = command(Means(name, 0), child.pid)
    done = subprocess.run([shell, *rest], capture_output=True, check=False)
    if code is None:
        assert (done.returncode, done.stdout, done.stderr) == (NOT_CAUGHT, b"", b"")
        assert child.poll() is None
    else:
        assert (done.returncode, done.stderr) == (0, b"")
        assert child.wait() == code


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_command_does_nothing_where_there_is_no_process() -> None:
    done = subprocess.run(command(Means("TERM", 143), 4_194_305), capture_output=True, check=False)
    assert done.returncode != 0


@given(st.sampled_from(SIGNALS), st.integers(0, 2**64 - 1))
def test_the_pattern_is_the_bit(wanted: int, caught: int) -> None:
    from fnmatch import fnmatchcase

    script = command(Means(str(wanted), 0))[-1]
    pattern = script.partition("in ")[2].partition(")")[0]
    assert fnmatchcase(f"SigCgt:\t{caught:016x}", pattern) == bool(caught >> (number(str(wanted)) - 1) & 1)
