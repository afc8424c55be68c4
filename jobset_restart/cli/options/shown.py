"""The options for what is shown, and in which form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The form of the result."""

    output: Annotated[
        Literal["table", "wide", "json", "yaml", "name"],
        typer.Option("--output", "-o", help="The form of the result on stdout."),
    ] = "table"


@dataclass(frozen=True, kw_only=True)
class Verbosity:
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more: every finding, every retry.")] = False


@dataclass(frozen=True, kw_only=True)
class Telling(Shown, Verbosity):
    """The form of the result, and how much is said besides."""
