"""`jsr replay`: whatever the file holds, it ends in words."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobset_restart.cli.replaying import replay
from jobset_restart.errors import JsrError
from jobset_restart.events import Detached, Event, Failed, Finished, Ready, Starting, Triggered, encode
from tests.test_progress import ANY_EVENT, planned

RECORDED = Path(__file__).parent / "data" / "trouble.jsonl"
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, *events: Event) -> str:
    file = folder / "events"
    file.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    return str(file)


def shown(capsys: pytest.CaptureFixture[str], path: str) -> str:
    assert replay(path, 0) == 0
    return capsys.readouterr().out


BEGUN: list[Event] = [
    planned("a/0/0", "a/0/1"),
    Triggered(time=101, slot="a/0/0"),
    Ready(time=103, slot="a/0/0", seconds=2),
]


def test_what_failed_and_how_it_ended_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Failed(time=104, slot="a/0/1", node="n7", reason="OOMKilled")
    end = Finished(time=105, operation="op1", exit_code=4, reason="1 slots did not come back: OOMKilled (1)")
    text = shown(capsys, write(tmp_path, *BEGUN, failed, end))
    assert "failed: a/0/1 on n7: OOMKilled" in text
    assert "JobSet ns/train, operation op1: exit 4: 1 slots did not come back" in text


def test_a_recording_that_breaks_off_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starting = Starting(time=104, slot="a/0/1", node="n7", reason="ImagePullBackOff")
    path = write(tmp_path, *BEGUN, starting)
    with open(path, "ab") as file:
        file.write(b'{"event":"rea')
    text = shown(capsys, path)
    assert "the recording ends in the middle after 4.0s: 1/2 slots were back" in text
    assert "a/0/1 on n7 was starting: ImagePullBackOff" in text


def test_an_operation_that_was_left_says_how_to_carry_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = Detached(time=104, operation="op1", follow="jsr restart train --resume op1")
    text = shown(capsys, write(tmp_path, *BEGUN, left))
    assert "its client left it after 4.0s: 1/2 slots were back; carry on with: jsr restart train --resume op1" in text


def test_operations_in_one_file_are_shown_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = planned("b/0/0")
    ends = [Finished(time=110, operation="op1", exit_code=code, reason=f"code {code}") for code in (0, 4)]
    other = type(second)(time=200.0, operation="op2", jobset="other", namespace="ns")
    text = shown(capsys, write(tmp_path, *BEGUN, ends[0], other, ends[1]))
    assert "JobSet ns/train, operation op1: exit 0: code 0" in text
    assert "JobSet ns/other, operation op2: exit 4: code 4" in text


def in_words(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        told, code = "", replay(path, 0)
    except JsrError as error:
        told, code = error.message, 0
    assert code == 0
    assert not told or path in told
    captured = capsys.readouterr()
    assert not any(char in captured.out + captured.err for char in "\x1b\x07\x9b\u202e\r")


@given(st.lists(ANY_EVENT, max_size=30), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=8)), max_size=4))
@FUZZ
def test_spoilt_recordings_end_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: list[Event], spoilt: list[tuple[int, bytes]]
) -> None:
    data = b"".join(encode(event) + b"\n" for event in [planned("a/0/0"), *events])
    for at, junk in spoilt:
        place = at % (len(data) + 1)
        data = data[:place] + junk + data[place + len(junk) :]
    file = tmp_path / "events"
    file.write_bytes(data)
    in_words(str(file), capsys)


@given(st.binary(max_size=300))
@FUZZ
def test_any_bytes_end_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    file = tmp_path / "events"
    file.write_bytes(data)
    in_words(str(file), capsys)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"noticed","time":1e400,"message":""}',
        b'{"event":"noticed","time":1e308,"message":""}',
        b'{"event":"noticed","time":-1,"message":""}',
        b'{"event":"noticed","time":' + b"9" * 5000 + b',"message":""}',
        b'{"event":"noticed","time":1,"message":"\xff\xfe"}',
        b'{"event":"noticed","time":1,"message":"\\ud800"}',
        b'{"event":"finished","time":1,"operation":"x","exitCode":' + b"9" * 400 + b"}",
        b'{"event":"noticed","time":1,"message":"","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"event":"reconnected","time":1,"seconds":1e308}',
        b'{"event":"planned","time":5,"operation":"x","jobset":"y","namespace":"z","predicted":1e308}',
        b'{"event":"barrier","time":1,"attempt":1,"arrived":99999999999999999999,"total":1}',
        b"\x00" * 100_000,
    ],
    ids=range(12),
)
@pytest.mark.parametrize("first", [True, False])
def test_strange_lines_end_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes, first: bool
) -> None:
    file = tmp_path / "events"
    file.write_bytes(line + b"\n" if first else encode(planned("a/0/0")) + b"\n" + line + b"\n")
    in_words(str(file), capsys)


def test_a_device_without_end_and_a_folder_end_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("/dev/zero", str(tmp_path), str(tmp_path / "missing"), "a\0b", "/dev/null"):
        in_words(path, capsys)


def test_a_pipe_is_read_as_it_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(RECORDED.read_bytes()))
    writer.start()
    assert "operation 7d1c03ae" in shown(capsys, str(pipe))
    writer.join()


@pytest.mark.parametrize("time", ["-1", "1e308", "253402300800"])
def test_a_time_at_which_nothing_can_have_happened_is_refused(tmp_path: Path, time: str) -> None:
    file = tmp_path / "events"
    file.write_bytes(b'{"event":"noticed","time":' + time.encode() + b',"message":""}\n')
    with pytest.raises(JsrError, match=r"line 1, is not an event: .* is not a time"):
        replay(str(file), 0)


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), -1.0])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(JsrError, match="is not a factor"):
        replay(str(RECORDED), speed)
