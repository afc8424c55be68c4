"""What the command lines of this package share (`jsr`, `jsr demo`, `jsr sim`): their settings, and how one ends."""

from __future__ import annotations

import io
import sys
from typing import Any, Protocol

import typer

from jobset_restart.harmless import plain


class ForThePerson(Protocol):
    """An error that is told in words, and ends the program with its own exit code."""

    message: str
    hint: str
    exit_code: int


def program(**settings: Any) -> typer.Typer:
    """A command line with the settings they share."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def run(app: typer.Typer, name: str, arguments: list[str] | None, ours: type[Exception]) -> int:
    """Runs one command line and returns its exit code. Errors of the kind `ours`, which are ForThePerson, and what the
    parser complains of are printed on stderr; others are raised."""
    try:
        result = app(arguments, standalone_mode=False, prog_name=name)
    except typer.TyperException as error:
        said = io.StringIO()  # it repeats the arguments, whatever they hold
        error.show(said)  # type: ignore[attr-defined]  # every one that leaves the parser has it
        print("\n".join(map(plain, said.getvalue().rstrip("\n").split("\n"))), file=sys.stderr)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except ours as error:
        return tell(error)  # type: ignore[arg-type]
    return result if isinstance(result, int) else 0


def tell(error: ForThePerson) -> int:
    """Prints an error, what happened and what to do next, and returns its exit code."""
    print(f"error: {plain(error.message)}", file=sys.stderr)
    if error.hint:
        print("hint: " + "\n".join(map(plain, error.hint.splitlines())), file=sys.stderr)
    return error.exit_code
