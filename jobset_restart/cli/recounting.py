"""`jsr history`: the last restarts of a workload."""

from __future__ import annotations

import asyncio

from jobset_restart.cli.opening import opened
from jobset_restart.cli.options import GpuPrice, Where
from jobset_restart.cli.showing import print_document, stdout_console
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
    if print_document(report, form):
        return 0
    from jobset_restart.view.history import show_history

    show_history(stdout_console(), report, wide=form == "wide")
    return 0
