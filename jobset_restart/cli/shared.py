"""The options that may stand before the command, as with kubectl, or after it."""

from __future__ import annotations

from typing import TypeVar

import typer
from msgspec import Struct

from jobset_restart.cli.wish import Where
from jobset_restart.errors import UsageError

T = TypeVar("T")


class Before(Struct, frozen=True, kw_only=True):
    """What stood before the command; None where it did not."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    impersonate: str | None = None
    output: str | None = None
    all_namespaces: bool = False
    verbose: bool = False

    def given(self) -> list[str]:
        """The names of the options that were given."""
        values = {
            "--namespace": self.namespace,
            "--context": self.context,
            "--kubeconfig": self.kubeconfig,
            "--as": self.impersonate,
            "--output": self.output,
            "--all-namespaces": self.all_namespaces or None,
            "--verbose": self.verbose or None,
        }
        return [name for name, value in values.items() if value is not None]


def before(ctx: typer.Context) -> Before:
    """What stood before the command."""
    found = ctx.find_root().obj
    return found if isinstance(found, Before) else Before()


def where(
    ctx: typer.Context, namespace: str | None, context: str | None, kubeconfig: str | None, impersonate: str | None
) -> Where:
    """Which cluster and namespace. Raises UsageError where what stands before the command and after it differ, and for
    empty values: they come from variables that are not set, and would mean another cluster than was meant."""
    first = before(ctx)
    return Where(
        either("--namespace", first.namespace, namespace),
        either("--context", first.context, context),
        either("--kubeconfig", first.kubeconfig, kubeconfig),
        either("--as", first.impersonate, impersonate),
    )


def output(ctx: typer.Context, after: str | None) -> str:
    """The form of the result, a table unless another was asked for. Raises UsageError for two different ones."""
    return either("--output", before(ctx).output, after) or "table"


def either(option: str, first: str | None, second: str | None) -> str | None:
    """The value of an option that may have been given twice. Raises UsageError."""
    for value in (first, second):
        if value is not None and not value.strip():
            raise UsageError(f"{option} was given an empty value", "leave it out, or check the variable it comes from")
    if first is not None and second is not None and first != second:
        raise UsageError(
            f"{option} {first} before the command and {option} {second} after it contradict each other",
            "nothing was done: give it once",
        )
    return first if second is None else second


def refuse_before(ctx: typer.Context, *known: str) -> None:
    """Raises UsageError where an option before the command means nothing to it."""
    strange = [name for name in before(ctx).given() if name not in known]
    if strange:
        raise UsageError(f"`jsr {ctx.info_name}` has no option {strange[0]}", f"see `jsr {ctx.info_name} --help`")
