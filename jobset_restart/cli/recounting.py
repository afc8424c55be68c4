"""`jsr history`: the last restarts of a workload."""

from __future__ import annotations

import asyncio

from jobset_restart.cli.options import GpuPrice, Where
from jobset_restart.cli.restarting import opened
from jobset_restart.cli.showing import stdout_console
from jobset_restart.cli.targets import Target


def history(target: Target, price: GpuPrice, where: Where, form: str) -> int:
    """Prints the history of one workload on stdout. Raises the errors of jobset_restart.errors."""
    where.check()
    price.check()
    return asyncio.run(_history(target, price.gpu_hour_price, where, form))


async def _history(target: Target, price: float | None, where: Where, form: str) -> int:
    from jobset_restart.cluster.resolve import resolve
    from jobset_restart.report.history import history_report

    async with await opened(where) as cluster:
        namespace = where.namespace or cluster.namespace
        snapshot = await resolve(cluster, namespace, target.name, target.kind, consistent=False)
        report = history_report(snapshot.workload, cluster.now(), cluster.context, price)
    if form in ("json", "yaml", "name"):
        from jobset_restart.view.document import render

        if text := render(report, form):
            print(text)
        return 0
    from jobset_restart.view.history import show_history

    show_history(stdout_console(), report, wide=form == "wide")
    return 0
