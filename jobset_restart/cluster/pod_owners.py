"""Reads who owns Pods, up to the topmost owner, level by level."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jobset_restart import claim
from jobset_restart.errors import ApiError, Forbidden, NotFound
from jobset_restart.objects import OwnerReference, WorkloadMeta
from jobset_restart.owners import controller
from jobset_restart.pod_owners import MOST_LEVELS, Above, Found, Owner, above, collection_of, group_of
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.registry import READERS

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

ASKED_ONE_BY_ONE = 24
"""More owners of one kind are listed."""


async def owners_above(cluster: Cluster, snapshot: Snapshot) -> list[Above]:
    """What stands above the Pods of the snapshot. An owner that may not be read, or is of a kind that is not known, is
    told as such. Raises what the transport raises."""
    found: dict[str, Found] = {}
    pods = [state.pod for state in snapshot.slots.values() if state.pod]
    metas: list[Any] = [pod.metadata for pod in pods]
    for _ in range(MOST_LEVELS):
        asked = {owner.uid: owner for meta in metas if (owner := controller(meta)) and owner.uid not in found}
        if not asked:
            break
        found |= await _read(cluster, snapshot.namespace, asked.values())
        metas = [each.object.metadata for uid in asked if (each := found[uid]).object is not None]
    now = cluster.now()

    def held(metadata: WorkloadMeta) -> str:
        lock = claim.lock_on(metadata)
        if lock is None or not claim.live(lock, now):
            return ""
        return f"is being restarted by {lock.owner or 'somebody'} (operation {lock.id or 'that cannot be read'})"

    return above(pods, found, held)


async def _read(cluster: Cluster, namespace: str, owners: Iterable[OwnerReference]) -> dict[str, Found]:
    by_kind: dict[tuple[str, str], list[OwnerReference]] = defaultdict(list)
    for owner in owners:
        by_kind[owner.kind, group_of(owner)].append(owner)
    answers = await asyncio.gather(*(_of_kind(cluster, namespace, known, mine) for known, mine in by_kind.items()))
    return {uid: found for answer in answers for uid, found in answer.items()}


async def _of_kind(
    cluster: Cluster, namespace: str, known: tuple[str, str], owners: list[OwnerReference]
) -> dict[str, Found]:
    """Those owners, which are all of one kind, by UID."""
    path = collection_of(*known, namespace)
    if not path:
        return {owner.uid: Found() for owner in owners}
    reader = next((r for r in READERS.values() if (r.kind.kind, r.kind.group) == known and r.answers), None)
    kind: type[Any] = reader.type if reader else Owner
    try:
        if len(owners) > ASKED_ONE_BY_ONE:
            objects = (await cluster.list(path, kind)).items
        else:
            objects = [o for o in await asyncio.gather(*(_one(cluster, path, owner, kind) for owner in owners)) if o]
    except Forbidden:
        return {owner.uid: Found(why="it may not be read, so whether it reacts cannot be told") for owner in owners}
    except ApiError as error:
        if error.status:
            raise
        return {owner.uid: Found(why=f"it cannot be read: {error.message}") for owner in owners}
    there = {each.metadata.uid: each for each in objects}
    gone = Found(why="it is not there any more")
    return {
        owner.uid: Found(object=each, answers=reader.answers(each) if reader and reader.answers else "")
        if (each := there.get(owner.uid)) is not None
        else gone
        for owner in owners
    }


async def _one(cluster: Cluster, path: str, owner: OwnerReference, kind: type[Any]) -> Any:
    try:
        return await cluster.get(f"{path}/{owner.name}", kind)
    except NotFound:
        return None
