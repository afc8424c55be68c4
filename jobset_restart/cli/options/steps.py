"""The options for what tells that work advances, and for a diagnosis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli.options.limits import Deadline, Parallel, Timeout
from jobset_restart.cli.options.values import timeout_seconds
from jobset_restart.errors import UsageError

if TYPE_CHECKING:
    from jobset_restart.gathering import Options as Gathering

MOST_PATTERN = 1000
"""Characters of a --step-pattern."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What tells that work advances."""

    step_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="What a step looks like in the log; its first group is the number."),
    ] = None

    def pattern(self) -> re.Pattern[str] | None:
        """The pattern of a step, None for the usual ones. Raises UsageError."""
        if self.step_pattern is None:
            return None
        if not self.step_pattern or len(self.step_pattern) > MOST_PATTERN:
            raise UsageError(f"--step-pattern is empty or longer than {MOST_PATTERN:,} characters")
        try:
            return re.compile(self.step_pattern)
        except re.error as error:
            raise UsageError(
                f"--step-pattern {self.step_pattern!r} is not a regular expression: {error}",
                r"for example --step-pattern 'Iteration\s+(\d+)'",
            ) from None


@dataclass(frozen=True, kw_only=True)
class Progress(Steps):
    """Whether it is enough that every Pod is Ready."""

    until_progress: Annotated[
        bool, typer.Option("--until-progress", help="Wait until the logs tell of a step beyond the last one.")
    ] = False

    def check(self, *, wait: bool) -> None:
        """Raises UsageError."""
        self.pattern()
        if self.until_progress and not wait:
            raise UsageError("--until-progress and --no-wait contradict each other")
        if self.step_pattern is not None and not self.until_progress:
            raise UsageError("--step-pattern needs --until-progress")


@dataclass(frozen=True, kw_only=True)
class Looks(Deadline, Parallel, Steps):
    """How a diagnosis looks, and for how long."""

    timeout: Timeout = "30s"
    stacks: Annotated[
        bool | None,
        typer.Option("--stacks/--no-stacks", help="Look into containers. Default: where the logs stand still."),
    ] = None
    silent_after: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long a silent log means nothing. Default: from its own rhythm."),
    ] = None
    container: Annotated[
        str | None,
        typer.Option("-c", "--container", metavar="NAME", help="Look at this container. Default: the first."),
    ] = None

    def options(self) -> Gathering:
        """What to look at. Raises UsageError."""
        from jobset_restart.gathering import Options

        silence = None if self.silent_after is None else timeout_seconds(self.silent_after, "--silent-after")
        return Options(
            stacks=self.stacks,
            concurrency=self.concurrency,
            pattern=self.pattern(),
            silent_after=silence,
            container=self.container or "",
        )
