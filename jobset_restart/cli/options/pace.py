"""The options for how many slots go at once, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.errors import UsageError
from jobset_restart.vocabulary import OrderName

if TYPE_CHECKING:
    from jobset_restart.plan import Request


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How much of the workload may be down at once."""

    max_unavailable: Annotated[
        str | None, typer.Option(metavar="N|P%", help="At most so many slots down at once. Default: all.")
    ] = None
    order: Annotated[OrderName | None, typer.Option(help="By what they go. Default: as they stand.")] = None
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on with the others when one fails.")] = False

    def asked_in(self, request: Request, min_ready_seconds: float | None, *, resumes: bool = False) -> Request:
        """The request with this pace, and how long a slot has to stay Ready. `resumes`: an operation is carried on, and
        its record says the pace. Raises UsageError."""
        from msgspec import structs

        from jobset_restart.triggers import pacing
        from jobset_restart.triggers.registry import BY_NAME, TRIGGERS

        if resumes and (self.max_unavailable or self.order or self.keep_going):
            raise UsageError("an operation that is carried on keeps its pace", "leave out all but --resume")
        if self.max_unavailable is not None:
            able = [str(trigger) for trigger in TRIGGERS if trigger.paced]
            try:
                pacing.check(self.max_unavailable)
            except ValueError as error:
                raise UsageError(f"--max-unavailable: {error}", "write a number, such as 2, or a share: 25%") from None
            if request.via and not BY_NAME[request.via].paced:
                raise UsageError(
                    f"--max-unavailable: {request.via} restarts everything with one write and cannot be paced",
                    f"use {', '.join(f'--via {name}' for name in able)}, or leave --via away",
                )
        elif self.keep_going:
            raise UsageError("--keep-going needs --max-unavailable: without it everything goes at once")
        elif self.order and not request.canary:
            raise UsageError("--order needs --max-unavailable or --canary: without them everything goes at once")
        return structs.replace(
            request,
            max_unavailable=self.max_unavailable or "",
            order=self.order or "",
            keep_going=self.keep_going,
            min_ready_seconds=min_ready_seconds,
        )
