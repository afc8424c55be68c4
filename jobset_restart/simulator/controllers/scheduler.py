"""The scheduler: one Pod after the other to the best node, no faster than the profile's rate.

Room is counted in Pods; other resources, volumes, priorities and preemption are not modelled: whatever else a Pod asks
for, a node has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from jobset_restart.simulator.controllers.constraints import node_demands
from jobset_restart.simulator.controllers.node_index import NodeIndex
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import Key, Obj, Store, key_of, timestamp

NAME = "default-scheduler"
QUEUE: Key = ("", "")
"""The one key of this controller: there is one queue."""
BATCH = 100
"""Pods per reconcile where time does not set the pace."""
_ABOUT_PODS = ("Too many pods", "pod affinity", "anti-affinity")
"""Excuses that Pods which come or go may take away (the queueing hints of NodeResourcesFit and InterPodAffinity)."""


class Scheduler:
    """``scheduleOne`` over a queue. A Pod that fits nowhere waits until nodes or Pods change."""

    def __init__(self, profile: Profile) -> None:
        self._pause = 0.0 if profile.schedule_rate == inf else 1.0 / profile.schedule_rate
        self._free = 0.0
        self._index = NodeIndex()
        self._queue: dict[Key, None] = {}
        self._waiting: dict[str, dict[Key, None]] = {}
        """Pods that fit nowhere, those alike together: when one of them fails again, so would the others."""
        self._for_pods: set[str] = set()
        """Which of them wait for other Pods to come or go; the others wait for nodes."""
        self._moved = self._pods_moved = False

    def wakes(
        self, _store: Store, resource: str, change: str, obj: Obj, old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        """Keeps the picture of nodes and Pods up to date; one look at the queue when there is something to do."""
        if resource == "nodes":
            name = obj["metadata"]["name"]
            if change == "DELETED" or old is None or _matters(obj) != _matters(old):
                self._index.set_node(name, None if change == "DELETED" else obj)
                self._moved = True
        elif resource == "pods":
            self._pod_changed(change == "DELETED", obj, old)
        else:
            return
        if self._queue or ((self._moved or self._pods_moved) and self._waiting):
            yield QUEUE, 0.0

    def reconcile(self, store: Store, _key: Key, now: float) -> float | None:
        """Schedule the next Pods; returns when the one after them is due."""
        if now < self._free:
            return self._free
        if self._moved or self._pods_moved:
            again = [keys for alike, keys in self._waiting.items() if self._moved or alike in self._for_pods]
            self._moved = self._pods_moved = False
            self._queue.update((next(iter(keys)), None) for keys in again)
        for _ in range(BATCH):
            if not self._queue:
                return None
            pod = next(iter(self._queue))
            del self._queue[pod]
            self._schedule(store, pod, now)
            if self._pause:
                self._free = now + self._pause
                return self._free if self._queue else None
        return now if self._queue else None

    def _pod_changed(self, gone: bool, pod: Obj, old: Obj | None) -> None:
        key, bound = key_of(pod), pod["spec"].get("nodeName")
        if bound and not gone and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            if self._index.occupy(pod) and any("podAffinity" in alike for alike in self._waiting):
                self._pods_moved = True  # somebody may have waited for this one's company
        elif self._index.release(key):
            self._pods_moved = True
        elif gone:
            self._forget(key)
        elif not bound and (old is None or pod["spec"] is not old["spec"]) and _is_mine(pod):
            self._queue[key] = None

    def _schedule(self, store: Store, key: Key, now: float) -> None:
        pod = store.find("pods", *key)
        if pod is None or pod["spec"].get("nodeName") or not _is_mine(pod):
            self._forget(key)
            return
        node, excuse = self._index.place(pod)
        alike = _alike(pod)
        if not node:
            self._waiting.setdefault(alike, {})[key] = None
            hinted = any(each in excuse for each in _ABOUT_PODS)
            (self._for_pods.add if hinted else self._for_pods.discard)(alike)
            _refuse(store, pod, excuse, now)
            return
        self._forget(key)
        self._queue.update(dict.fromkeys(list(self._waiting.get(alike, ()))[:1]))
        _bind(store, pod, node, now)

    def _forget(self, key: Key) -> None:
        self._queue.pop(key, None)
        for alike in [alike for alike, keys in self._waiting.items() if key in keys]:
            del self._waiting[alike][key]
            if not self._waiting[alike]:
                del self._waiting[alike]
                self._for_pods.discard(alike)


def _bind(store: Store, pod: Obj, node: str, now: float) -> None:
    """``BindingREST.setPodNodeAndMetadata``, and the Event."""
    meta = pod["metadata"]
    status = pod.get("status", {})
    done = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp(now)}
    others = [each for each in status.get("conditions") or () if each["type"] != "PodScheduled"]
    bound = {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": {**status, "conditions": [*others, done]}}
    store.update("pods", bound, now, subresource="binding")
    message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
    record(store, pod, "Normal", "Scheduled", message, NAME, now)


def _refuse(store: Store, pod: Obj, excuse: str, now: float) -> None:
    """``handleSchedulingFailure``: the Event, and the condition if it says something new."""
    record(store, pod, "Warning", "FailedScheduling", excuse, NAME, now)
    status = pod.get("status", {})
    conditions = list(status.get("conditions") or ())
    old = next((each for each in conditions if each["type"] == "PodScheduled"), None)
    since = old["lastTransitionTime"] if old and old["status"] == "False" else timestamp(now)
    new = {"type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": since}
    new |= {"reason": "Unschedulable", "message": excuse, "observedGeneration": pod["metadata"].get("generation", 1)}
    if new == old:
        return
    conditions = [each for each in conditions if each is not old] + [new]
    store.update("pods", {**pod, "status": {**status, "conditions": conditions}}, now, subresource="status")


def _is_mine(pod: Obj) -> bool:
    spec = pod["spec"]
    mine = spec.get("schedulerName", NAME) == NAME
    return mine and not spec.get("schedulingGates") and "deletionTimestamp" not in pod["metadata"]


def _alike(pod: Obj) -> str:
    """Pods with the same text fail together. Who minds other Pods is compared with its labels too."""
    affinity = pod["spec"].get("affinity")
    labels = pod["metadata"].get("labels") if affinity else None
    return f"{pod['metadata']['namespace']} {node_demands(pod)} {affinity} {labels}"


def _matters(node: Obj) -> tuple[object, ...]:
    """What of a node a Pod's place depends on."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), status.get("allocatable")
