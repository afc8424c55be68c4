"""The options for machines that the Pods are to leave, or that are off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from jobset_restart.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Which nodes Pods are to leave, and what is written to nodes."""

    replace_nodes: Annotated[
        tuple[str, ...],
        typer.Option("--replace-node", metavar="NODE", help="Make the Pods there anew, elsewhere (repeatable)."),
    ] = ()
    cordon: Annotated[
        bool, typer.Option("--cordon", help="Cordon the nodes of --replace-node first; they stay so.")
    ] = False
    taint: Annotated[
        bool,
        typer.Option("--taint", help="Taint the nodes of --node-down out of service: every Pod there goes."),
    ] = False

    def check(self, node_down: tuple[str, ...], *, resumed: bool) -> None:
        """Raises UsageError where the options contradict each other. An operation that is carried on knows which nodes
        its Pods leave."""
        both = sorted({*self.replace_nodes} & {*node_down})
        if both:
            raise UsageError(
                f"{both[0]} is named by --replace-node and by --node-down; nothing was changed",
                "a machine that is off is given up with --node-down alone: its Pods are made anew elsewhere",
            )
        if self.cordon and not (self.replace_nodes or resumed):
            raise UsageError("--cordon needs --replace-node NODE", "it cordons the nodes that Pods are to leave")
        if self.taint and not node_down:
            raise UsageError("--taint needs --node-down NODE", "it is for machines that are off")
