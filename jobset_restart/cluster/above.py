"""From a workload to the topmost workload that owns it: by controller references, as far as their kinds are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from jobset_restart.errors import Forbidden, NotFound
from jobset_restart.objects import Named, ObjectMeta, OwnerReference
from jobset_restart.owners import controller, group_of
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.kinds import WorkloadKind
from jobset_restart.workloads.registry import reader_of

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

MOST_LEVELS = 4
"""A Job of a JobSet of a TrainJob of something else; with that, no chain of references is followed for ever."""


QUIET = frozenset({"CronJob"})
"""Kinds of owner that leave alone what they have made, once it is there (cronjob controller, syncCronJob)."""


class Above(Struct, frozen=True, kw_only=True):
    """The topmost owner of a kind that is known: `kind` is None where there is none. `note` tells of an owner further
    up that does not count, and why."""

    kind: WorkloadKind | None = None
    name: str = ""
    note: str = ""


async def topmost(cluster: Cluster, namespace: str, kind: WorkloadKind, meta: ObjectMeta) -> Above:
    """What stands above the object of this kind with this metadata. An owner counts only if it is there under the UID
    that the reference names. Costs a request for each known owner, and none where there is none.

    Raises what the transport raises, but for the lack of a permission to read an owner."""
    above, title = Above(), f"{kind.kind} {meta.name}"
    for _ in range(MOST_LEVELS):
        owner = controller(meta)
        if owner is None or owner.kind in QUIET:
            break
        reader = reader_of(owner.kind, group_of(owner))
        if reader is None:
            return structs.replace(above, note=f"{_title(owner)} owns {title}, and how that reacts is not known")
        found, why = await _read(cluster, reader.kind.path(namespace, owner.name), owner)
        if found is None:
            return structs.replace(above, note=f"{_title(owner)} owns {title} and {why}")
        above, meta, title = Above(kind=reader.kind, name=owner.name), found, _title(owner)
    return above


async def _read(cluster: Cluster, path: str, owner: OwnerReference) -> tuple[ObjectMeta | None, str]:
    """The owner's metadata, or None and what is wrong with it."""
    try:
        found = (await cluster.get(path, Named)).metadata
    except Forbidden:
        return None, "may not be read: whether it reacts to a restart cannot be told"
    except NotFound:
        return None, "is not there any more"
    if found.uid != owner.uid:
        return None, "was replaced by another of this name"
    return found, ""


def _title(owner: OwnerReference) -> str:
    return f"{owner.kind} {owner.name}"


def belongs(snapshot: Snapshot, below: Snapshot) -> bool:
    """Whether the workload of `below` is a part of that of `snapshot`, as it says itself: anybody may write the name
    and UID of another's object into the ownerReferences of his own."""
    uid = below.workload.metadata.uid
    own = (*(part.metadata.uid for part in snapshot.workload.parts), *(job.metadata.uid for job in snapshot.jobs))
    return uid in own


def about(snapshot: Snapshot, below: Snapshot) -> str:
    """The note that what was asked about is a part of something else."""
    whole, part = snapshot.workload, below.workload
    job = next((job for job in snapshot.jobs if job.metadata.uid == part.metadata.uid), None)
    if job is None:
        return f"{part.title} belongs to {whole.title}, which is what is meant here"
    group, indexes = whole.unit_of(job)
    return f"{part.title} belongs to {whole.title}: of that, {'/'.join([group, *map(str, indexes)])} is meant here"
