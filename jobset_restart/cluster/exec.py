"""The protocol of exec over WebSocket, without I/O: v5.channel.k8s.io and v4 before it.

The first byte of a frame is its channel: 1 stdout, 2 stderr, 3 the Status that ends it; 255 (v5) closes one.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from jobset_restart.cluster import limits
from jobset_restart.cluster.decoding import UNREADABLE
from jobset_restart.errors import ExecFailed
from jobset_restart.objects import Status
from jobset_restart.writes import Exec

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, ERROR = 1, 2, 3
EXEC_SECONDS = 30.0
NOT_THERE = (126, 127)
"""What a shell, and the kubelet for a command without one, exit with when the command cannot be run (POSIX, 2.8.2)."""


class ExecResult(Struct, frozen=True):
    """What the command left. `exit_code` (0 to 255) is None where the connection ended before the command was heard
    to."""

    exit_code: int | None
    stdout: str
    stderr: str
    reason: str = ""


class Channels:
    """Collects the frames of one exec. Of each channel the first EXEC_KEPT_BYTES are kept."""

    def __init__(self) -> None:
        self._out = {STDOUT: bytearray(), STDERR: bytearray()}
        self._status: Status | None = None
        self._seen = 0

    def feed(self, frame: bytes) -> None:
        """Raises ExecFailed where the command prints without end."""
        if not frame:
            return
        self._seen += len(frame)
        if self._seen > limits.EXEC_BYTES:
            raise ExecFailed(f"the command printed more than {limits.EXEC_BYTES // limits.MIB} MiB")
        channel, data = frame[0], frame[1:]
        if channel == ERROR and data:
            try:
                self._status = msgspec.json.decode(data, type=Status)
            except UNREADABLE:
                self._status = Status(status="Failure", message=data.decode(errors="replace"))
        elif channel in self._out:
            kept = self._out[channel]
            kept += data[: limits.EXEC_KEPT_BYTES - len(kept)]

    @property
    def ended(self) -> bool:
        return self._status is not None

    def result(self) -> ExecResult:
        code, reason = None, ""
        if self._status is not None:
            code, reason = _exit_code(self._status), self._status.message[: limits.MESSAGE_CHARACTERS]
        out, err = (bytes(self._out[c]).decode(errors="replace") for c in (STDOUT, STDERR))
        return ExecResult(code, out, err, reason)


def _exit_code(status: Status) -> int | None:
    """0 for Success, the cause ExitCode for a command that failed, None for a command that could not be run."""
    if status.status == "Success":
        return 0
    for cause in status.details.causes if status.details else ():
        digits = cause.message
        if cause.reason == "ExitCode" and digits.isascii() and digits.isdecimal() and len(digits) <= 3:
            return int(digits) if int(digits) <= 255 else None
    return None


def refusal(result: ExecResult, exec_: Exec) -> ExecFailed | None:
    """The error of a command that says it did nothing, by its exit code or before it began. A connection that ends
    with the container is no failure: that may be what the command was for.

    That a container has no such command is told in words alone: os/exec's ErrNotFound and ENOENT, as runc reports
    them.
    """
    where = f"container {exec_.container} of {exec_.path.rpartition('/')[2]}"
    meaning = dict(exec_.refusals).get(result.exit_code) if result.exit_code is not None else None
    if meaning is None and result.exit_code in NOT_THERE:
        meaning = "the command is not there"
    if meaning is not None:
        return ExecFailed(f"{where}: {meaning}; nothing was done")
    never_began = any(words in result.reason for words in ("not found", "no such file"))
    if result.exit_code is None and never_began and not result.stdout:
        return ExecFailed(f"{where}: {result.reason}")
    return None


def query(exec_: Exec) -> list[tuple[str, str]]:
    """The query of the exec subresource (core/v1 PodExecOptions)."""
    return [
        ("container", exec_.container),
        ("stdout", "true"),
        ("stderr", "true"),
        *(("command", word) for word in exec_.command),
    ]
