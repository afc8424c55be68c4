"""The option for the picture of a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from jobset_restart.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Where the timeline of a restart goes."""

    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a timeline to this new file: an .html page or an .svg."),
    ] = None

    def check(self, *, for_real: bool) -> None:
        """Raises UsageError."""
        if self.report is not None and not for_real:
            raise UsageError(
                "--report tells of a restart that was carried out, and --dry-run carries none out",
                "leave one of the two out",
            )
