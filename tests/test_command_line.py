"""Options: what is refused before any cluster is asked, and which cluster they mean."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cli import run
from jobset_restart.cli.options import MOST_SECONDS, timeout_seconds
from jobset_restart.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1h30m", 5400), ("0.5s", 0.5), ("1.5", 1.5), ("8784h", MOST_SECONDS)],
)
def test_durations(text: str, seconds: float) -> None:
    assert timeout_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0s", "-5s", "-1", "nan", "inf", "infinity", "1e9", "\N{SUPERSCRIPT TWO}", "5\N{SUPERSCRIPT TWO}s"),
        *("\N{ARABIC-INDIC DIGIT THREE}s", "99999999999h", "9" * 5000, "", " ", "1d", "soon", "1h-5m", "1..5s", "."),
        *("s", "1s1", "+5s", "5 s", "1_0s", "0x10s", "5s\n"),
    ],
)
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout "):
        timeout_seconds(text)


@given(st.text(max_size=40))
def test_any_text_is_a_duration_within_bounds_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 < timeout_seconds(text) <= MOST_SECONDS


EMPTY = [
    "--resume",
    "--selector",
    "--signal",
    "--events",
    "--report",
    "-c",
    "--replicated-job",
    "--pod",
    "--node",
    "--node-down",
]


@pytest.mark.parametrize("option", [*EMPTY, "--allow", "-n", "--context", "--kubeconfig", "--as"])
def test_an_empty_value_never_means_none(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["restart", "train", "--yes", option, ""]) == 2
    assert "was given an empty value" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--capture-max", "8"], ["--capture-timeout", "9s"]], ids=" ".join)
def test_bounds_of_no_capture_make_no_sense(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["restart", "train", "--yes", *option]) == 2
    assert "need --capture" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--capture-max", "0"], ["--capture-timeout", "0s"], ["--to", ""]], ids=" ".join)
def test_a_capture_of_nothing_makes_no_sense(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "train", *option]) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["explain", "JSR201"], ["status", "a", "b"], ["--via"], ["restart", "--via"]], ids=" ".join
)
def test_what_the_parser_refuses_is_repeated_as_text(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "\x1b[2J\u202e\x07"]) == 2
    said = capsys.readouterr().err
    assert "Usage: jsr" in said
    assert not any(char in said for char in "\x1b\u202e\x07")


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "a", "status", "-n", "b"],
        ["--context", "a", "restart", "train", "--context", "b"],
        ["-o", "json", "status", "-o", "yaml"],
        ["-n", "a", "status", "-A"],
        ["-A", "status", "-n", "a"],
        ["-A", "status", "train"],
    ],
    ids=" ".join,
)
def test_options_before_and_after_the_command_may_not_differ(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "a", "explain"],
        ["-A", "restart", "train"],
        ["-v", "wait", "train"],
        ["-n", "a", "sim", "status"],
        ["-o", "json", "replay", "file"],
        ["--context", "a", "demo"],
    ],
    ids=" ".join,
)
def test_options_before_a_command_that_does_not_know_them_are_not_swallowed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert "has no option --" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300"])
def test_ready_seconds_within_bounds(value: str) -> None:
    assert run(["restart", "train", "--yes", "--min-ready-seconds", value]) == 2


def test_a_completion_that_cannot_be_installed_ends_in_a_line(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-m", "jobset_restart", "--install-completion", "bash"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert ended.returncode in (0, 1, 2), ended
    assert "Traceback" not in ended.stderr
    if ended.returncode:
        assert str(tmp_path) in ended.stderr


@pytest.mark.parametrize("columns", ["0", "-1", "1", "\N{SUPERSCRIPT TWO}", "wide", "99999999999999999999", "10"])
def test_any_columns(columns: str) -> None:
    recorded = Path(__file__).parent / "data" / "trouble.jsonl"
    command = [sys.executable, "-m", "jobset_restart", "replay", str(recorded), "--speed", "0"]
    environment = {**os.environ, "COLUMNS": columns, "LINES": columns}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended
    assert "operation" in ended.stdout
