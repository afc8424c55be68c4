"""Kueue's Workload of a workload in one of its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobset_restart.errors import Forbidden, NotFound
from jobset_restart.objects import KueueWorkload
from jobset_restart.suspension import queue
from jobset_restart.workloads.kueue import JOB_UID, VERSIONS, Admission, admission_of, collection
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster


async def admission(cluster: Cluster, workload: Workload) -> tuple[Admission | None, list[str]]:
    """What Kueue knows of the workload, None where it is in no queue or nothing is found; and notes on what could not
    be seen. Raises what the transport raises."""
    if not queue(workload.metadata):
        return None, []
    for version in VERSIONS:
        path = collection(version, workload.namespace)
        try:
            return await _found(cluster, workload, path), []
        except NotFound:
            continue
        except Forbidden:
            return None, ["no permission to list Kueue's Workloads: what it does with the queue cannot be seen"]
    return None, ["the cluster has no Workload API of Kueue, though the workload names a queue"]


async def _found(cluster: Cluster, workload: Workload, path: str) -> Admission | None:
    """By the label that Kueue puts on each. One that was made beforehand may have none yet: it is named."""
    selector = f"{JOB_UID}={workload.metadata.uid}"
    listed = await cluster.list(path, KueueWorkload, label_selector=selector, consistent=False)
    found = admission_of(workload, listed.items, path)
    name = workload.metadata.labels.prebuilt_workload_name
    if found is not None or not name:
        return found
    try:
        return admission_of(workload, [await cluster.get(f"{path}/{name}", KueueWorkload)], path)
    except NotFound:
        return None
