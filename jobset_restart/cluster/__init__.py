"""The only code that knows HTTP."""

from jobset_restart.cluster.access import contexts
from jobset_restart.cluster.client import ActionResult, Cluster, Listing, connect
from jobset_restart.cluster.exec import ExecResult
from jobset_restart.cluster.watch import WatchBatch

__all__ = ["ActionResult", "Cluster", "ExecResult", "Listing", "WatchBatch", "connect", "contexts"]
