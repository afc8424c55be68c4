"""The cluster that the options of the command line mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobset_restart.cli.options import Where

if TYPE_CHECKING:
    from jobset_restart.cluster import HttpCluster


async def opened(where: Where) -> HttpCluster:
    from jobset_restart.cluster import connect

    return await connect(where.kubeconfig, where.context, where.impersonate)
