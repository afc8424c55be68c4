"""From a name to a snapshot: one request each for the workload, its children and its Pods, and the Nodes they are
on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from jobset_restart.cluster.above import about, belongs, topmost
from jobset_restart.cluster.missing import explained
from jobset_restart.cluster.protocol import Listing
from jobset_restart.cluster.queued import admission
from jobset_restart.creation import refusals
from jobset_restart.errors import Forbidden, Invalid, NotFound, UsageError
from jobset_restart.objects import Event, Node, Pod
from jobset_restart.owners import controller
from jobset_restart.slots import Unit
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.kinds import JOBSET, POD, WorkloadKind
from jobset_restart.workloads.registry import READERS, Reader
from jobset_restart.workloads.workload import Several, Single, SlotState, Sources, Workload
from jobset_restart.writes import CORE

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

NODES_ASKED_ONE_BY_ONE = 24


async def resolve(
    cluster: Cluster, namespace: str, name: str, kind: WorkloadKind = JOBSET, *, consistent: bool = True
) -> Snapshot:
    """The workload of this kind and name as it stands, for a plan, or the topmost one that it is a part of;
    `consistent=False` takes what the API server has in its cache, for a look.

    Raises NotFound, with near names or how to install the API as the hint, UsageError for labels that are none,
    TooLarge, and what the transport raises.
    """
    snapshot = await _as_it_stands(cluster, namespace, name, kind, consistent)
    meant = await _meant(cluster, snapshot, consistent)
    (known,) = await with_refusals(cluster, namespace, [meant])
    return known


async def _meant(cluster: Cluster, below: Snapshot, consistent: bool) -> Snapshot:
    """The workload that is meant by the one that was named: the topmost one that it is a part of, else itself."""
    above = await topmost(cluster, below.namespace, below.workload.kind, below.workload.metadata)
    said = [above.note] if above.note else []
    if above.kind is None:
        return structs.replace(below, owners=said)
    title = f"{above.kind.kind} {above.name}"
    try:
        whole = await _as_it_stands(cluster, below.namespace, above.name, above.kind, consistent)
    except (Forbidden, NotFound) as error:
        return structs.replace(
            below, owners=[*said, f"{title} owns {below.workload.title} and cannot be read: {error.message}"]
        )
    if not belongs(whole, below):
        return structs.replace(
            below, owners=[*said, f"{title} is named as owner of {below.workload.title}: it is not made of it"]
        )
    return structs.replace(whole, owners=[about(whole, below), *said], part=_unit(whole, below))


def _unit(whole: Snapshot, below: Snapshot) -> Unit | None:
    """Where the Job that was asked for stands in the whole, None where it is no Job."""
    uid = below.workload.metadata.uid
    return next((whole.workload.unit_of(job) for job in whole.jobs if job.metadata.uid == uid), None)


async def _as_it_stands(cluster: Cluster, namespace: str, name: str, kind: WorkloadKind, consistent: bool) -> Snapshot:
    reader = READERS[kind.resource]
    try:
        found: Any = None
        sources = reader.sources(namespace, name, None)
        if sources is None:
            found = await cluster.get(kind.path(namespace, name), reader.type)
            sources = reader.sources(namespace, name, found)
            assert sources is not None
        workload, children, pods = await read(cluster, reader, sources, found, consistent=consistent)
    except NotFound as error:
        raise await explained(cluster, namespace, name, kind, error) from None
    except Invalid as error:
        if kind is not POD or not error.reason:  # the labels of a selection alone are sent as they were typed
            raise
        raise UsageError(f"{name!r} is not a label selector: {error}", "write a=b,c!=d,e") from None
    (nodes, notes), (queued, unseen) = await asyncio.gather(
        _nodes(cluster, {p.spec.node_name for p in pods.items if p.spec.node_name}, consistent),
        admission(cluster, workload),
    )
    snapshot = take(
        workload,
        [child for listing in children for child in listing.items],
        pods.items,
        nodes,
        cluster.now(),
        resource_version=pods.resource_version,
        children_versions=tuple(listing.resource_version for listing in children),
        context=cluster.context,
    )
    return structs.replace(snapshot, notes=[*notes, *unseen], admission=queued)


async def read(
    cluster: Cluster, reader: Reader, sources: Sources, found: Any, *, consistent: bool
) -> tuple[Workload, list[Listing[Any]], Listing[Pod]]:
    """The workload, its children by source, and its Pods, all asked for at once. `found` is the object that carries the
    claim, where it was read already."""
    singles = sources.parts if found is not None else (sources.itself, *sources.parts)
    lists = (*sources.children, sources.pods)
    answers = await asyncio.gather(
        *(_part(cluster, single, optional=single is not sources.itself) for single in singles),
        *(_list(cluster, several, consistent) for several in lists),
    )
    objects, listings = answers[: len(singles)], answers[len(singles) :]
    itself, *parts = objects if found is None else (found, *objects)
    *children, pods = listings
    if _came_between(sources, children, pods):
        children = [await _list(cluster, several, True) for several in sources.children]
    return reader.workload(itself, parts), children, pods


def _came_between(sources: Sources, children: Iterable[Listing[Any]], pods: Listing[Pod]) -> bool:
    """Whether a Pod names a child that is not among these: it may have been created between two lists."""
    kinds = {several.type.__name__ for several in sources.children}
    known = {child.metadata.uid for listing in children for child in listing.items}
    owners = (controller(pod.metadata) for pod in pods.items)
    return any(owner and owner.kind in kinds and owner.uid not in known for owner in owners)


async def _part(cluster: Cluster, single: Single, *, optional: bool) -> Any:
    """The object; None for a part that is not there: it may be suspended, or on its way. What is made when it is needed
    may be missing as well."""
    try:
        return await cluster.get(single.path, single.type)
    except NotFound:
        if optional or single.otherwise is not None:
            return single.otherwise
        raise


async def _list(cluster: Cluster, several: Several, consistent: bool) -> Listing[Any]:
    return await cluster.list(several.collection, several.type, label_selector=several.labels, consistent=consistent)


async def with_refusals(cluster: Cluster, namespace: str | None, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """The snapshots with the Events that say why Jobs or Pods of these workloads are missing, where any are: of the
    namespace, or of all (None). Without the permission there is a note."""
    selectors = _refusals_of(snapshots)
    path = f"{CORE}{f'/namespaces/{namespace}' if namespace else ''}/events"
    try:
        found = await asyncio.gather(
            *(cluster.list(path, Event, field_selector=each, consistent=False) for each in selectors)
        )
    except Forbidden:
        note = "no permission to list Events: why Pods are missing cannot be told"
        return [structs.replace(snapshot, notes=[*snapshot.notes, note]) for snapshot in snapshots]
    known = refusals(event for listing in found for event in listing.items)
    return [structs.replace(snapshot, refusals=known) for snapshot in snapshots]


def _refusals_of(snapshots: Sequence[Snapshot]) -> list[str]:
    """The field selectors of the Events that can say why something is missing: of one workload where only one misses
    children."""
    selectors: dict[str, None] = {}
    names: dict[str, set[str]] = {}
    for snapshot in snapshots:
        sources, jobs = snapshot.workload.sources, snapshot.workload.made_of_jobs
        if snapshot.workload.lacking and _should_run(snapshot.workload):
            names.setdefault(sources.part_refused, set()).add(sources.itself.name)
        for state in _missing(snapshot):
            if state.job or not jobs:
                selectors[sources.pod_refused] = None
            else:
                names.setdefault(sources.child_refused, set()).add(sources.itself.name)
    for selector, those in names.items():
        selectors[f"{selector},involvedObject.name={those.pop()}" if len(those) == 1 else selector] = None
    return [selector for selector in selectors if selector]


def _missing(snapshot: Snapshot) -> list[SlotState]:
    """The slots that should have a Pod and have none."""
    if not _should_run(snapshot.workload):
        return []
    return [state for state in snapshot.slots.values() if state.pod is None and state.expected]


def _should_run(workload: Workload) -> bool:
    return not (workload.over() or workload.suspended or workload.metadata.deletion_timestamp)


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
