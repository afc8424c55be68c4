"""The options for how long it may take, and how much is sent at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli.groups import fill
from jobset_restart.cli.options.values import MOST_SECONDS, owner, timeout_seconds
from jobset_restart.errors import UsageError

if TYPE_CHECKING:
    from jobset_restart.restart import Options


Timeout = Annotated[str, typer.Option(metavar="DURATION", help="How long at most, such as 90s or 10m.")]


@dataclass(frozen=True, kw_only=True)
class Deadline:
    timeout: Timeout = "10m"

    def seconds(self) -> float:
        """The time-out in seconds. Raises UsageError."""
        return timeout_seconds(self.timeout)


@dataclass(frozen=True, kw_only=True)
class Parallel:
    concurrency: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many requests in flight.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Limits(Deadline, Parallel):
    """How long an operation may take, how long Pods have to stay Ready, and how much is sent at once."""

    min_ready_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="How long a Pod must stay Ready to count. Default: 0, longer after a crash."
        ),
    ] = None
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is back.")] = True

    def options(self) -> Options:
        """How to carry an operation out. Raises UsageError."""
        from jobset_restart.restart import Options

        if self.min_ready_seconds is not None and not 0 <= self.min_ready_seconds <= MOST_SECONDS:
            raise UsageError(f"--min-ready-seconds {self.min_ready_seconds:g} is not between 0 and a year")
        if self.wait is False and self.min_ready_seconds:
            raise UsageError("--min-ready-seconds needs --wait")
        return fill(Options, self, owner=owner(), timeout=self.seconds())
