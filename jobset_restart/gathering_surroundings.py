"""What is around the Pods of a diagnosis, fetched: Nodes, the Leases of their kubelets, and Events. Reads only; what
may not be read is noted in the observation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from jobset_restart.diagnose.nodes import LabelledNode, Lease, lease_age, machine, warnings
from jobset_restart.diagnose.observation import Observation
from jobset_restart.errors import Forbidden, JsrError, NotFound
from jobset_restart.objects import Event
from jobset_restart.writes import CORE

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

T = TypeVar("T")
NODES_ASKED_ONE_BY_ONE = 24
NODES = f"{CORE}/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Surroundings:
    """Writes what it finds into the observation."""

    def __init__(self, cluster: Cluster, namespace: str, observation: Observation) -> None:
        self._cluster, self._namespace, self._observation = cluster, namespace, observation
        pods = [seen for seen in observation.slots.values() if seen.pod]
        self._pods = {seen.pod for seen in pods}
        self._nodes = sorted({seen.node for seen in pods if seen.node})

    async def machines(self) -> None:
        """The Nodes of the Pods, and when their kubelets were heard of."""
        notes = self._observation.notes
        try:
            nodes = await self._of_nodes(NODES, LabelledNode)
        except Forbidden:
            notes.append("no permission to read Nodes: nothing is said of machines")
            return
        except JsrError as error:
            notes.append(f"the Nodes could not be read: {error.message}")
            return
        wanted = set(self._nodes)
        machines = {node.metadata.name: machine(node) for node in nodes if node.metadata.name in wanted}
        self._observation.machines = machines
        try:
            leases = await self._of_nodes(LEASES, Lease)
        except Forbidden:
            notes.append("no permission to read Leases in kube-node-lease: a kubelet that is late is not noticed")
            return
        except JsrError as error:
            notes.append(f"the Leases of the kubelets could not be read: {error.message}")
            return
        for lease in leases:
            if lease.metadata.name in machines:
                machines[lease.metadata.name].lease_age = lease_age(lease, self._cluster.now())

    async def _of_nodes(self, path: str, type_: type[T]) -> list[T]:
        """The objects that are named as the nodes."""
        if len(self._nodes) > NODES_ASKED_ONE_BY_ONE:
            return list((await self._cluster.list(path, type_, consistent=False)).items)
        found = await asyncio.gather(*(self._one(f"{path}/{name}", type_) for name in self._nodes))
        return [each for each in found if each is not None]

    async def _one(self, path: str, type_: type[T]) -> T | None:
        try:
            return await self._cluster.get(path, type_)
        except NotFound:
            return None

    async def events(self) -> None:
        """The Warnings of the last hour on the Pods and their Nodes."""
        found: list[Event] = []
        notes = self._observation.notes
        for namespace, kind in ((self._namespace, "Pod"), ("default", "Node")):
            selector = f"type=Warning,involvedObject.kind={kind}"
            try:
                path = f"{CORE}/namespaces/{namespace}/events"
                found += (await self._cluster.list(path, Event, field_selector=selector, consistent=False)).items
            except Forbidden:
                if kind == "Pod":
                    notes.append("no permission to list Events: what was told of the Pods is not known")
            except JsrError as error:
                notes.append(f"the Events of {kind}s could not be read: {error.message}")
        ours = {*(("Pod", name) for name in self._pods), *(("Node", name) for name in self._nodes)}
        about = (each for each in found if (each.involved_object.kind, each.involved_object.name) in ours)
        self._observation.events = warnings(about, self._cluster.now())
