"""Completion of live names. Quick or not at all: every failure is an empty list."""

from __future__ import annotations

import contextlib
from typing import Any

import typer

DEADLINE_SECONDS = 2.0


def workloads(ctx: typer.Context, incomplete: str) -> list[str]:
    """The JobSets of the namespace given so far, and the kinds; after KIND/ the names of that kind."""
    from jobset_restart.cli.targets import HANDLED
    from jobset_restart.workloads.kinds import JOBSET, WORKLOAD_KINDS

    kind, slash, _ = incomplete.partition("/")
    if slash:
        return _names(ctx, kind, incomplete, f"{kind}/")
    kinds = [f"{each.names[-1]}/" for each in WORKLOAD_KINDS if each.resource in HANDLED]
    return [*_names(ctx, JOBSET.resource, incomplete), *(word for word in kinds if word.startswith(incomplete))]


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of the kind that stands before."""
    return _names(ctx, str(ctx.params.get("workload") or ""), incomplete)


def _names(ctx: typer.Context, called: str, incomplete: str, prefix: str = "") -> list[str]:
    """What there is of the kind that is called so."""
    from jobset_restart.cli.targets import HANDLED
    from jobset_restart.workloads.kinds import kind_called

    kind = kind_called(called)
    if kind is None or kind.resource not in HANDLED:
        return []

    async def ask(cluster: Any, namespace: str) -> list[str]:
        from jobset_restart.objects import Named

        found = await cluster.list(kind.collection(namespace), Named, consistent=False)
        return [prefix + item.metadata.name for item in found.items]

    return _asked(ctx, incomplete, ask)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    async def ask(cluster: Any, _: str) -> list[str]:
        from jobset_restart.objects import Named
        from jobset_restart.writes import CORE

        return [n.metadata.name for n in (await cluster.list(f"{CORE}/namespaces", Named, consistent=False)).items]

    return _asked(ctx, incomplete, ask)


def contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    with contextlib.suppress(Exception):
        from jobset_restart.cluster.access import contexts as known

        return [name for name in known(_given(ctx).get("kubeconfig")) if name.startswith(incomplete)]
    return []


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The options so far, before the command and after it."""
    return {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value is not None}}


def _asked(ctx: typer.Context, incomplete: str, ask: Any) -> list[str]:
    import asyncio

    async def answer() -> list[str]:
        from jobset_restart.cluster import connect

        given = _given(ctx)
        where = (given.get(option) for option in ("kubeconfig", "context", "impersonate"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            async with await connect(*where) as cluster:
                names: list[str] = await ask(cluster, given.get("namespace") or cluster.namespace)
                return sorted(name for name in names if name.startswith(incomplete))

    with contextlib.suppress(Exception):
        return asyncio.run(answer())
    return []
