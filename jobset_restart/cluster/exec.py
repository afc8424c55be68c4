"""The protocol of exec over WebSocket, without I/O: v5.channel.k8s.io and v4 before it.

The first byte of a frame is its channel: 1 stdout, 2 stderr, 3 the Status that ends it; 255 (v5) closes one.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from jobset_restart.objects import Status
from jobset_restart.writes import Exec

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, ERROR = 1, 2, 3
KEPT = 64 * 1024


class ExecResult(Struct, frozen=True):
    """What the command left. `exit_code` is None where the connection ended before the command was heard to."""

    exit_code: int | None
    stdout: str
    stderr: str
    reason: str = ""


class Channels:
    """Collects the frames of one exec. Output beyond KEPT bytes a channel is dropped."""

    def __init__(self) -> None:
        self._out = {STDOUT: bytearray(), STDERR: bytearray()}
        self._status: Status | None = None

    def feed(self, frame: bytes) -> None:
        if not frame:
            return
        channel, data = frame[0], frame[1:]
        if channel == ERROR and data:
            try:
                self._status = msgspec.json.decode(data, type=Status)
            except msgspec.MsgspecError:
                self._status = Status(status="Failure", message=data.decode(errors="replace"))
        elif channel in self._out and len(self._out[channel]) < KEPT:
            self._out[channel] += data

    @property
    def ended(self) -> bool:
        return self._status is not None

    def result(self) -> ExecResult:
        code, reason = None, ""
        if self._status is not None:
            code, reason = _exit_code(self._status), self._status.message
        out, err = (bytes(self._out[c]).decode(errors="replace") for c in (STDOUT, STDERR))
        return ExecResult(code, out, err, reason)


def _exit_code(status: Status) -> int | None:
    """0 for Success, the cause ExitCode for a command that failed, None for a command that could not be run."""
    if status.status == "Success":
        return 0
    for cause in status.details.causes if status.details else ():
        if cause.reason == "ExitCode" and cause.message.isdigit():
            return int(cause.message)
    return None


def query(exec_: Exec) -> list[tuple[str, str]]:
    """The query of the exec subresource (core/v1 PodExecOptions)."""
    return [
        ("container", exec_.container),
        ("stdout", "true"),
        ("stderr", "true"),
        *(("command", word) for word in exec_.command),
    ]
