"""The options for what may follow where slots do not come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli.options.values import timeout_seconds
from jobset_restart.errors import UsageError
from jobset_restart.vocabulary import Rung

if TYPE_CHECKING:
    from jobset_restart.plan import Request


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """How far a restart may go by itself for slots that do not come back, and when it does."""

    escalate: Annotated[
        Rung | None,
        typer.Option(
            help="How far to go for slots that do not come back: force, a new Pod, Job, or all. Default: none."
        ),
    ] = None
    step_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long a slot has before the next step. Default: grace period, pulls and more."
        ),
    ] = None

    def allowing(self, request: Request, *, wait: bool) -> Request:
        """The request, with what may follow upon it. Raises UsageError where the options make no sense together."""
        from msgspec import structs

        if self.step_timeout is not None and self.escalate is None:
            raise UsageError("--step-timeout needs --escalate", "for example --escalate pod --step-timeout 2m")
        if self.escalate is not None and not wait:
            raise UsageError("--escalate and --no-wait contradict each other: who leaves sees nothing that is stuck")
        within = None if self.step_timeout is None else timeout_seconds(self.step_timeout, "--step-timeout")
        return structs.replace(request, escalate=self.escalate or "", step_timeout=within)
