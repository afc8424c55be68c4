"""The Pod garbage collector (pkg/controller/podgc): Pods that no kubelet will ever finish."""

from __future__ import annotations

from collections.abc import Iterator

from jobset_restart.simulator.controllers.node import targeted
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Key, Obj, Store, key_of

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
QUARANTINE = 40.0
"""How long a node has to be missing before its Pods go (``quarantineTime``), seconds."""


class PodGC:
    """Looks at Pods once a period. Keys are ("", node) and, for Pods without a node, the Pod's own."""

    def __init__(self, profile: Profile) -> None:
        self._period = profile.pod_gc
        self._due: dict[Key, float] = {}
        self._missing: dict[str, float] = {}
        self._quarantined: set[str] = set()
        self._out: set[str] = set()

    def wakes(
        self, _store: Store, resource: str, change: str, obj: Obj, _old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        """Nodes gone or out of service, with Pods; Pods that are told to go and have nobody to stop them."""
        if resource == "nodes":
            name = obj["metadata"]["name"]
            if change == "DELETED":
                self._quarantined.add(name)
                self._out.discard(name)
                yield ("", name), 0.0
                return
            self._quarantined.discard(name)
            self._missing.pop(name, None)
            if _out_of_service(obj):
                self._out.add(name)
                yield ("", name), 0.0
            else:
                self._out.discard(name)
        elif resource == "pods" and change != "DELETED":
            node = obj["spec"].get("nodeName")
            if node in self._quarantined or (node in self._out and "deletionTimestamp" in obj["metadata"]):
                yield ("", node), 0.0
            elif not node and "deletionTimestamp" in obj["metadata"]:
                yield key_of(obj), 0.0

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """``gcTerminating``, ``gcOrphaned`` or ``gcUnscheduledTerminating``, at the next turn of the period."""
        turn = self._turn(key, now)
        if turn > now:
            return turn
        if key[0]:
            pod = store.find("pods", *key)
            if pod and not pod["spec"].get("nodeName") and "deletionTimestamp" in pod["metadata"]:
                _fail_and_delete(store, pod, now)
            return None
        node = store.find("nodes", "", key[1])
        if node is None:
            return self._orphans(store, key[1], now)
        if _out_of_service(node):
            for pod in store.by_node(key[1]):
                if "deletionTimestamp" in pod["metadata"]:
                    _fail_and_delete(store, pod, now)
        return None

    def _turn(self, key: Key, now: float) -> float:
        """When the collector, which runs once a period, gets to a key that came up at ``now``."""
        if not self._period:
            return now
        due = self._due.setdefault(key, now - now % self._period + self._period)
        if now >= due:
            del self._due[key]
        return due

    def _orphans(self, store: Store, node: str, now: float) -> float | None:
        pods = store.by_node(node)
        if not pods:
            return None
        end = self._missing.setdefault(node, now) + QUARANTINE
        if now < end:
            return end
        for pod in pods:
            fresh = targeted(pod, "DeletionByPodGC", "PodGC: node no longer exists", now)
            _fail_and_delete(store, fresh, now)
        return None


def _out_of_service(node: Obj) -> bool:
    """The taint, on a node that is not ready."""
    conditions = node.get("status", {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    taints = (node.get("spec") or {}).get("taints") or ()
    return not ready and any(each["key"] == OUT_OF_SERVICE for each in taints)


def _fail_and_delete(store: Store, pod: Obj, now: float) -> None:
    """``markFailedAndDeletePod``: phase Failed unless it has ended, then gone without grace."""
    namespace, name = key_of(pod)
    if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
        failed = {**pod, "status": {**pod.get("status", {}), "phase": "Failed"}}
        store.update("pods", failed, now, subresource="status")
    if store.find("pods", namespace, name):
        store.delete("pods", namespace, name, now, grace=0, uid=pod["metadata"]["uid"])
