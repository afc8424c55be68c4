"""Looks at the Nodes around those that Pods are to leave, and at what else runs on a machine that is to be tainted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import field

from jobset_restart.errors import Forbidden, NotFound
from jobset_restart.objects import ApiStruct, Name, Named
from jobset_restart.scheduling import DemandingPod, NodeSelector, Place, Surroundings
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import CORE, pod_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobset_restart.cluster import Cluster

MOST_PODS = 64
"""So many Pods are looked at: those of one node are made from few templates."""


class ClaimSpec(ApiStruct):
    volume_name: Name = ""


class Claim(ApiStruct):
    spec: ClaimSpec = field(default_factory=ClaimSpec)


class VolumeAffinity(ApiStruct):
    required: NodeSelector | None = None


class VolumeSpec(ApiStruct):
    node_affinity: VolumeAffinity | None = None


class PersistentVolume(ApiStruct):
    spec: VolumeSpec = field(default_factory=VolumeSpec)


async def look_around(cluster: Cluster, leaving: Sequence[SlotState], off: Sequence[str]) -> Surroundings:
    """What surrounds the Pods in these slots, which are to leave their Nodes, and who else is on the Nodes that are
    `off`. What may not be read is left out, with a note. Raises what the transport raises."""
    asked = [state.pod.metadata for state in leaving if state.pod][:MOST_PODS]
    places, tenants, found = await asyncio.gather(
        _places(cluster),
        _tenants(cluster, off),
        asyncio.gather(*(_pod(cluster, meta.namespace, meta.name) for meta in asked)),
    )
    pods = {pod.metadata.name: pod for pod in found if pod is not None}
    claims = {(pod.metadata.namespace, claim) for pod in pods.values() for claim in pod.claims}
    selectors = await asyncio.gather(*(_volume(cluster, *claim) for claim in sorted(claims)))
    volumes = {name: nodes for (_, name), nodes in zip(sorted(claims), selectors, strict=True) if nodes is not None}
    notes = () if places is not None else ("no permission to list Nodes: whether another one fits cannot be told",)
    return Surroundings(places=places, pods=pods, volumes=volumes, tenants=tenants, notes=notes)


async def _places(cluster: Cluster) -> dict[str, Place] | None:
    try:
        listed = await cluster.list(f"{CORE}/nodes", Place)
    except Forbidden:
        return None
    return {place.metadata.name: place for place in listed.items}


async def _tenants(cluster: Cluster, nodes: Sequence[str]) -> dict[str, list[tuple[str, str]]] | None:
    """Every Pod on these Nodes, None where Pods of all namespaces may not be listed."""
    path = f"{CORE}/pods"
    try:
        lists = await asyncio.gather(
            *(cluster.list(path, Named, field_selector=f"spec.nodeName={node}", consistent=False) for node in nodes)
        )
    except Forbidden:
        return None
    rows = ([(p.metadata.namespace, p.metadata.name) for p in listing.items] for listing in lists)
    return dict(zip(nodes, rows, strict=True))


async def _pod(cluster: Cluster, namespace: str, name: str) -> DemandingPod | None:
    try:
        return await cluster.get(pod_path(namespace, name), DemandingPod)
    except (Forbidden, NotFound):
        return None


async def _volume(cluster: Cluster, namespace: str, claim: str) -> NodeSelector | None:
    """The Nodes that the volume of this claim can be used on, None where that cannot be told or is all of them."""
    try:
        bound = await cluster.get(f"{CORE}/namespaces/{namespace}/persistentvolumeclaims/{claim}", Claim)
        if not bound.spec.volume_name:
            return None
        volume = await cluster.get(f"{CORE}/persistentvolumes/{bound.spec.volume_name}", PersistentVolume)
    except (Forbidden, NotFound):
        return None
    return volume.spec.node_affinity.required if volume.spec.node_affinity else None
