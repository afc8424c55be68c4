"""Completion of live names. Quick or not at all: every failure is an empty list."""

from __future__ import annotations

import contextlib
from typing import Any

import typer

DEADLINE_SECONDS = 2.0


def jobset_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The JobSets of the namespace given so far."""

    async def ask(cluster: Any, namespace: str) -> list[str]:
        from jobset_restart.cluster.resolve import jobsets

        return [jobset.metadata.name for jobset in await jobsets(cluster, namespace)]

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
        async with asyncio.timeout(DEADLINE_SECONDS):
            where = (given.get(option) for option in ("kubeconfig", "context", "impersonate"))
            async with await connect(*where) as cluster:
                names: list[str] = await ask(cluster, given.get("namespace") or cluster.namespace)
                return sorted(name for name in names if name.startswith(incomplete))

    with contextlib.suppress(Exception):
        return asyncio.run(answer())
    return []
