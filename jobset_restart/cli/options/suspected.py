"""The options that take what a diagnosis named."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli.options.values import timeout_seconds
from jobset_restart.errors import UsageError

if TYPE_CHECKING:
    from jobset_restart.suspects import Suspects


@dataclass(frozen=True, kw_only=True)
class Suspected:
    """Only what a diagnosis suspects."""

    suspects: Annotated[
        str | None,
        typer.Option("--suspects", metavar="FILE", help="Only the suspects of `jsr diagnose -o json`; - reads stdin."),
    ] = None
    suspects_age: Annotated[str, typer.Option(metavar="DURATION", help="How old that may be.")] = "15m"

    def seconds(self) -> float:
        """How old the suspects may be. Raises UsageError."""
        return timeout_seconds(self.suspects_age, "--suspects-age")

    def read(self, *, resumed: bool) -> Suspects | None:
        """What the file says, None without one. Raises UsageError."""
        self.seconds()
        if self.suspects is None:
            return None
        if resumed:
            raise UsageError("--suspects and --resume contradict each other: an operation knows its slots")
        from jobset_restart.suspects import read_suspects

        return read_suspects(_bytes(self.suspects), self.suspects)


def _bytes(file: str) -> bytes:
    from jobset_restart.suspects import MOST_BYTES

    if file == "-":
        if sys.stdin.isatty():
            raise UsageError("--suspects - reads standard input, which is a terminal", "name a file")
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as opened:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise UsageError(f"--suspects {file} is no file; nothing was changed")
            return opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no name of a file"
        raise UsageError(f"--suspects {file}: {why}; nothing was changed") from None
