"""From a name to a snapshot: one request each for the JobSet, its Jobs and its Pods, and the Nodes they are on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobset_restart.cluster.lists import Unreadable, each_readable
from jobset_restart.creation import JOB_REFUSED, POD_REFUSED, refusals
from jobset_restart.errors import ApiError, Forbidden, NotFound
from jobset_restart.names import suggestion
from jobset_restart.objects import Event, Job, JobSet, Node, Pod
from jobset_restart.owners import of_unknown_jobs
from jobset_restart.snapshot import SlotState, Snapshot, condition, take
from jobset_restart.workloads.kinds import JOBSET_NAME
from jobset_restart.writes import BATCH, CORE, JOBSETS, jobset_path

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

NODES_ASKED_ONE_BY_ONE = 24
INSTALL = (
    "install it: kubectl apply --server-side -f "
    "https://github.com/kubernetes-sigs/jobset/releases/latest/download/manifests.yaml"
)


async def resolve(cluster: Cluster, namespace: str, name: str, *, consistent: bool = True) -> Snapshot:
    """The JobSet of this name as it stands, for a plan; `consistent=False` takes what the API server has in its cache,
    for a look.

    Raises NotFound, with near names or how to install JobSet as the hint, TooLarge, and what the transport raises.
    """
    selector = f"{JOBSET_NAME}={name}"
    try:
        jobset, jobs, pods = await asyncio.gather(
            cluster.get(jobset_path(namespace, name), JobSet),
            cluster.list(f"{BATCH}/namespaces/{namespace}/jobs", Job, label_selector=selector, consistent=consistent),
            cluster.list(f"{CORE}/namespaces/{namespace}/pods", Pod, label_selector=selector, consistent=consistent),
        )
        if of_unknown_jobs(pods.items, jobs.items):  # a Job that came between the two lists
            jobs = await cluster.list(f"{BATCH}/namespaces/{namespace}/jobs", Job, label_selector=selector)
    except NotFound as error:
        raise await _explained(cluster, namespace, name, error) from None
    nodes, notes = await _nodes(cluster, {p.spec.node_name for p in pods.items if p.spec.node_name}, consistent)
    snapshot = take(
        jobset,
        jobs.items,
        pods.items,
        nodes,
        cluster.now(),
        resource_version=pods.resource_version,
        jobs_version=jobs.resource_version,
        context=cluster.context,
    )
    snapshot.notes = notes
    await add_refusals(cluster, namespace, [snapshot])
    return snapshot


async def add_refusals(cluster: Cluster, namespace: str | None, snapshots: Sequence[Snapshot]) -> None:
    """Asks for the Events that say why Jobs or Pods of these JobSets are missing, where any are: of the namespace, or
    of all (None). Without the permission there is a note."""
    missing = [(snapshot, state) for snapshot in snapshots for state in _missing(snapshot)]
    selectors = [POD_REFUSED] if any(state.job for _, state in missing) else []
    jobless = {snapshot.name for snapshot, state in missing if state.job is None}
    if jobless:
        selectors.append(f"{JOB_REFUSED},involvedObject.name={jobless.pop()}" if len(jobless) == 1 else JOB_REFUSED)
    path = f"{CORE}{f'/namespaces/{namespace}' if namespace else ''}/events"
    try:
        found = await asyncio.gather(
            *(cluster.list(path, Event, field_selector=each, consistent=False) for each in selectors)
        )
    except Forbidden:
        for snapshot in snapshots:
            snapshot.notes.append("no permission to list Events: why Pods are missing cannot be told")
        return
    known = refusals(event for listing in found for event in listing.items)
    for snapshot in snapshots:
        snapshot.refusals = known


def _missing(snapshot: Snapshot) -> list[SlotState]:
    """The slots that should have a Pod and have none."""
    jobset = snapshot.jobset
    over = any(condition(jobset.status.conditions, kind) for kind in ("Completed", "Failed"))
    if over or jobset.spec.suspend or jobset.metadata.deletion_timestamp:
        return []
    return [state for state in snapshot.slots.values() if state.pod is None and state.expected]


async def jobsets(cluster: Cluster, namespace: str | None) -> list[JobSet]:
    """The JobSets of a namespace, or of all (None). Raises NotFound where the cluster has no JobSet API."""
    found, _ = await readable_jobsets(cluster, namespace)
    return found


async def readable_jobsets(cluster: Cluster, namespace: str | None) -> tuple[list[JobSet], list[Unreadable]]:
    """The JobSets of a namespace, or of all (None), and those that cannot be read. Raises NotFound where the cluster
    has no JobSet API."""
    where = f"/namespaces/{namespace}" if namespace else ""
    try:
        return await each_readable(cluster, f"{JOBSETS}{where}/jobsets", JobSet)
    except NotFound:
        raise _not_installed(cluster) from None


def _not_installed(cluster: Cluster) -> NotFound:
    return NotFound(
        f"the cluster at {cluster.server} has no JobSet API (jobset.x-k8s.io/v1alpha2)", INSTALL, status=404
    )


async def _explained(cluster: Cluster, namespace: str, name: str, error: NotFound) -> ApiError:
    """What a 404 on the JobSet means: no JobSet API, no such namespace, or no such name."""
    try:
        known = [jobset.metadata.name for jobset in await jobsets(cluster, namespace)]
    except Forbidden:
        return error
    except NotFound as missing:
        return missing
    none = f"namespace {namespace} has no JobSets; choose another with -n, or see `jsr status -A`"
    hint = suggestion(name, known) or none
    return NotFound(f"JobSet {name} not found in namespace {namespace}", hint, status=404, reason="NotFound")


async def _nodes(cluster: Cluster, names: set[str], consistent: bool) -> tuple[dict[str, Node] | None, list[str]]:
    """The Nodes of these names; those that are gone are left out. None and a note where they may not be read."""
    path = f"{CORE}/nodes"
    try:
        if len(names) > NODES_ASKED_ONE_BY_ONE:
            listed = await cluster.list(path, Node, consistent=consistent)
            return {n.metadata.name: n for n in listed.items if n.metadata.name in names}, []
        found = await asyncio.gather(*(_node(cluster, f"{path}/{name}") for name in sorted(names)))
        return {node.metadata.name: node for node in found if node is not None}, []
    except Forbidden:
        return None, ["no permission to read Nodes: dead nodes show only through their Pods' Ready condition"]


async def _node(cluster: Cluster, path: str) -> Node | None:
    try:
        return await cluster.get(path, Node)
    except NotFound:
        return None
