"""The only code that knows HTTP, behind the seam that everything else knows a cluster by."""

from jobset_restart.cluster.access import contexts
from jobset_restart.cluster.client import HttpCluster, connect
from jobset_restart.cluster.exec import ExecResult
from jobset_restart.cluster.protocol import ActionResult, Cluster, Listing
from jobset_restart.cluster.watch import WatchBatch

__all__ = ["ActionResult", "Cluster", "ExecResult", "HttpCluster", "Listing", "WatchBatch", "connect", "contexts"]
