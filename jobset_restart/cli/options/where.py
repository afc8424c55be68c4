"""The options that say which cluster, which workload, and which slots of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli import complete

if TYPE_CHECKING:
    from jobset_restart.cli.targets import Target


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which cluster and namespace."""

    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Default: the context's.", autocompletion=complete.namespaces
        ),
    ] = None
    context: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The kubeconfig context to use.", autocompletion=complete.contexts),
    ] = None
    kubeconfig: Annotated[str | None, typer.Option(metavar="FILE", help="The kubeconfig file to use.")] = None
    impersonate: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="Act as this user (impersonation).")
    ] = None

    def check(self) -> None:
        """Raises UsageError for what cannot be a namespace."""
        from jobset_restart.cli.targets import check_name

        if self.namespace is not None:
            check_name("namespace", self.namespace)


NameOfKind = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The name, after a kind.", autocompletion=complete.names)
]


@dataclass(frozen=True, kw_only=True)
class OfPods:
    """Pods by their labels: with the word `pods` whatever Pods carry them."""

    selector: Annotated[
        str | None, typer.Option("-l", "--selector", metavar="LABELS", help="Only Pods with these: a=b,c.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One workload: NAME of a JobSet, KIND/NAME, or KIND NAME."""

    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD",
            help="The JobSet's name; or KIND/NAME, such as lws/serving; or a kind.",
            autocompletion=complete.workloads,
        ),
    ]
    name: NameOfKind = None

    def target(self, selector: str | None = None, *, part: bool = False) -> Target:
        """The workload that is meant, or Pods where `selector` says which; `part`: it may say which part of a workload.
        Raises UsageError."""
        from jobset_restart.cli.targets import one

        return one(self.workload, self.name, selector, part=part)


@dataclass(frozen=True, kw_only=True)
class Workloads:
    """One workload, all of a kind, or all there are."""

    workload: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="The JobSet's name; or KIND/NAME, such as lws/serving; or a kind, alone for all of it. All without.",
            autocompletion=complete.workloads,
        ),
    ] = None
    name: NameOfKind = None

    def target(self, selector: str | None = None) -> Target | None:
        """What is meant, Pods where `selector` says which; None for all there are. Raises UsageError."""
        from jobset_restart.cli.targets import any_of

        return any_of(self.workload, self.name, selector)


@dataclass(frozen=True, kw_only=True)
class Everywhere:
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Those of all namespaces.")] = False


@dataclass(frozen=True, kw_only=True)
class Selected(OfPods):
    """Which slots. Nothing given: all."""

    replicated_jobs: Annotated[
        tuple[str, ...],
        typer.Option(
            "--replicated-job", "--group", metavar="NAME", help="Only this ReplicatedJob, or other group (repeatable)."
        ),
    ] = ()
    job_indexes: Annotated[
        tuple[int, ...],
        typer.Option(
            "--job-index", "--index", metavar="INDEX", help="Only Jobs, or groups, of this index (repeatable)."
        ),
    ] = ()
    pods: Annotated[tuple[str, ...], typer.Option("--pod", metavar="NAME", help="Only this Pod (repeatable).")] = ()
    nodes: Annotated[
        tuple[str, ...], typer.Option("--node", metavar="NODE", help="Only Pods on this node (repeatable).")
    ] = ()
