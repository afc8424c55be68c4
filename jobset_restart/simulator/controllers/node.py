"""Nodes: what a kubelet posts about them, the node lifecycle controller and the taint eviction controller.

Heartbeats are not written: whether a machine is on says whether its kubelet would post them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobset_restart.simulator.controllers.constraints import tolerates
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import Key, Obj, Store, key_of, seconds, timestamp
from jobset_restart.simulator.versions import DEFAULT, VERSIONS, Version

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_KUBELET = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}


def node_object(
    name: str, index: int, pods: int, labels: dict[str, str], now: float, version: Version = VERSIONS[DEFAULT]
) -> Obj:
    """A Node as its kubelet registers it: Ready, with room for ``pods`` Pods; ``index`` makes its address."""
    # 192.168.0.0/16 for the first 65,536 machines; Pods have addresses of their own
    address = f"192.168.{index >> 8 & 255}.{index & 255}"
    resources = {"cpu": "64", "ephemeral-storage": "1Ti", "memory": "512Gi", "pods": str(pods)}
    standard = {
        f"{group}kubernetes.io/{name}": value
        for group in ("", "beta.")
        for name, value in (("arch", "amd64"), ("os", "linux"))
    }
    return {
        "metadata": {"name": name, "labels": {**standard, "kubernetes.io/hostname": name, **labels}},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [_condition(kind, *_KUBELET[kind], now) for kind in _KUBELET],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            **({"declaredFeatures": list(version.declared)} if version.declared else {}),
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://simulated",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "kubeletVersion": version.git,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "jsr simulator",
                "systemUUID": "",
            },
        },
    }


class NodeController:
    """``powered`` tells whether a node's machine is on. Keys are ("", node)."""

    def __init__(self, profile: Profile, powered: Callable[[str], bool]) -> None:
        self._grace = profile.node_grace
        self._powered = powered
        self._silent: dict[str, float] = {}
        """Since when no kubelet posts for these nodes."""
        self._unready: set[str] = set()
        self._disrupted = False
        """Every node is unready (``handleDisruption``): then none is tainted NoExecute, the fault may be ours."""
        self._tainted: dict[str, float] = {}
        """Since when these nodes have NoExecute taints (``taintedNodes``)."""
        self._due: dict[str, set[Key]] = {}
        """By node, the Pods that will be evicted when their toleration has run out (``taintEvictionQueue``)."""

    def wakes(
        self, _store: Store, resource: str, change: str, obj: Obj, old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        """Nodes that changed, and those with NoExecute taints when a Pod comes to them, or one goes that was to be
        evicted."""
        if resource == "nodes":
            yield ("", obj["metadata"]["name"]), 0.0
        elif resource == "pods" and (self._tainted or self._unready):
            node = obj["spec"].get("nodeName", "")
            if change == "DELETED":
                if key_of(obj) in self._due.get(node, ()):
                    yield ("", node), 0.0
                return
            came = old is None or old["spec"] is not obj["spec"]
            if came and (node in self._tainted or node in self._unready):
                yield ("", node), 0.0

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """Health, then taints, then evictions of one node; returns when something about it is next due."""
        name = key[1]
        node = store.find("nodes", "", name)
        if node is None:
            self._silent.pop(name, None)
            self._tainted.pop(name, None)
            self._unready.discard(name)
            self._let_be(store, name, set(), now)
            return None
        dues = [self._monitor(store, node, now)]
        disrupted = len(self._unready) == store.count("nodes")
        others = self._unready if disrupted != self._disrupted else set()
        self._disrupted = disrupted
        for each in sorted({name, *others}):
            self._taint(store, store.get("nodes", "", each), now)
        dues.append(self._evict(store, store.get("nodes", "", name), now))
        return min((due for due in dues if due is not None), default=None)

    def _monitor(self, store: Store, node: Obj, now: float) -> float | None:
        """``monitorNodeHealth``, and what a kubelet posts when its machine is back."""
        name, ready = node["metadata"]["name"], _status_of(node, "Ready")
        if self._powered(name):
            self._silent.pop(name, None)
            if ready == "Unknown":
                _post(store, node, _KUBELET, now)
                ready = "True"
        else:
            due = self._silent.setdefault(name, now) + self._grace
            if now < due:
                return due
            if ready != "Unknown":
                unknown = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
                _post(store, node, dict.fromkeys(_KUBELET, unknown), now)
                message = f"Node {name} status is now: NodeNotReady"
                record(store, node, "Normal", "NodeNotReady", message, "node-controller", now)
                ready = "Unknown"
        if ready == "True":
            self._unready.discard(name)
        else:
            self._unready.add(name)
            _mark_pods_not_ready(store, name, now)
        return None

    def _taint(self, store: Store, node: Obj, now: float) -> None:
        """``doNoScheduleTaintingPass`` and ``doNoExecuteTaintingPass``."""
        ready, spec = _status_of(node, "Ready"), node.get("spec") or {}
        key = {"True": "", "False": NOT_READY}.get(ready, UNREACHABLE)
        wanted = [(key, "NoSchedule")] if key else []
        if key and not self._disrupted:
            wanted.append((key, "NoExecute"))
        if spec.get("unschedulable"):
            wanted.append((UNSCHEDULABLE, "NoSchedule"))
        taints = spec.get("taints") or []
        ours = [each for each in taints if each["key"] in (NOT_READY, UNREACHABLE, UNSCHEDULABLE)]
        kept = [each for each in ours if (each["key"], each["effect"]) in wanted]
        present = [(each["key"], each["effect"]) for each in kept]
        missing = [each for each in wanted if each not in present]
        if len(kept) == len(ours) and not missing:
            return
        added = [{"key": name, "effect": effect, "timeAdded": timestamp(now)} for name, effect in missing]
        fresh = {**spec, "taints": [each for each in taints if each not in ours] + kept + added}
        if not fresh["taints"]:
            del fresh["taints"]
        store.update("nodes", {**node, "spec": fresh}, now)

    def _evict(self, store: Store, node: Obj, now: float) -> float | None:
        """``handleNodeUpdate`` of the taint eviction controller: delete Pods whose toleration ran out."""
        name = node["metadata"]["name"]
        taints = [each for each in (node.get("spec") or {}).get("taints") or () if each["effect"] == "NoExecute"]
        if not taints:
            self._tainted.pop(name, None)
            self._let_be(store, name, set(), now)
            return None
        since = self._tainted.setdefault(name, now)
        dues: list[float] = []
        waiting: set[Key] = set()
        ended: list[tuple[Obj, float]] = []
        for pod in store.by_node(name):
            span = _tolerated_span(pod, taints)
            if span is None or _has_target(pod):
                continue
            due = max(since, _bound_at(pod)) + span
            if due > now:
                dues.append(due)
                waiting.add(key_of(pod))
            else:
                ended.append((pod, span))
        self._let_be(store, name, waiting | {key_of(pod) for pod, span in ended if span}, now)
        self._due[name] = waiting
        for pod, _ in ended:
            _delete(store, pod, now)
        return min(dues, default=None)

    def _let_be(self, store: Store, node: str, waiting: set[Key], now: float) -> None:
        """``cancelWorkWithEvent`` for the Pods of the node that no longer wait for their eviction: they or the taints
        have gone, or they go at once."""
        for namespace, name in sorted(self._due.pop(node, set()) - waiting):
            about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}}
            message = f"Cancelling deletion of Pod {namespace}/{name}"
            record(store, about, "Normal", "TaintManagerEviction", message, "taint-eviction-controller", now)


def _condition(kind: str, status: str, reason: str, message: str, now: float) -> Obj:
    when = timestamp(now)
    texts = {"reason": reason, "message": message}
    return {"type": kind, "status": status, "lastHeartbeatTime": when, "lastTransitionTime": when, **texts}


def _status_of(node: Obj, kind: str) -> str:
    conditions = node.get("status", {}).get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "Unknown")


def _post(store: Store, node: Obj, posted: dict[str, tuple[str, str, str]], now: float) -> None:
    """Write conditions; what the controller says about a silent kubelet keeps the last heartbeat's time."""
    status = node.get("status", {})
    before = {each["type"]: each for each in status.get("conditions") or ()}
    for kind, texts in posted.items():
        new = _condition(kind, *texts, now)
        if texts[0] == "Unknown" and kind in before:
            new["lastHeartbeatTime"] = before[kind]["lastHeartbeatTime"]
        before[kind] = new
    fresh = {**node, "status": {**status, "conditions": list(before.values())}}
    store.update("nodes", fresh, now, subresource="status")


def _mark_pods_not_ready(store: Store, node: str, now: float) -> None:
    """``MarkPodsNotReady``: the condition only; the containers stay ``ready: true``, for nobody is there to tell."""
    for pod in store.by_node(node):
        status = pod.get("status", {})
        conditions = list(status.get("conditions") or ())
        for index, each in enumerate(conditions):
            if each["type"] == "Ready" and each["status"] != "False":
                conditions[index] = {**each, "status": "False", "lastTransitionTime": timestamp(now)}
                fresh = {**pod, "status": {**status, "conditions": conditions}}
                store.update("pods", fresh, now, subresource="status")
                record(store, pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller", now)


def _tolerated_span(pod: Obj, taints: list[Obj]) -> float | None:
    """Seconds a Pod may stay (``processPodOnNode``): 0 when it does not tolerate a taint, None for ever."""
    tolerations = pod["spec"].get("tolerations") or ()
    spans: list[float] = []
    for taint in taints:
        used = [each for each in tolerations if tolerates(each, taint)]
        if not used:
            return 0.0
        limits = [each["tolerationSeconds"] for each in used if each.get("tolerationSeconds") is not None]
        spans += [max(0.0, float(limit)) for limit in limits]
    return min(spans, default=None)


def _has_target(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(each["type"] == "DisruptionTarget" and each["status"] == "True" for each in conditions)


def _bound_at(pod: Obj) -> float:
    for each in pod.get("status", {}).get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "True":
            return seconds(each["lastTransitionTime"])
    return seconds(pod["metadata"]["creationTimestamp"])


def _delete(store: Store, pod: Obj, now: float) -> None:
    """``deletePodHandler``: the Event, the condition, the deletion with the Pod's own grace period."""
    namespace, name = key_of(pod)
    message = f"Marking for deletion Pod {namespace}/{name}"
    record(store, pod, "Normal", "TaintManagerEviction", message, "taint-eviction-controller", now)
    store.update("pods", targeted(pod, "DeletionByTaintManager", _TAINTED, now), now, subresource="status")
    store.delete("pods", namespace, name, now, uid=pod["metadata"]["uid"])


_TAINTED = "Taint manager: deleting due to NoExecute taint"


def targeted(pod: Obj, reason: str, message: str, now: float) -> Obj:
    """The Pod with the condition DisruptionTarget, True."""
    status = pod.get("status", {})
    others = [each for each in status.get("conditions") or () if each["type"] != "DisruptionTarget"]
    target = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp(now)}
    target |= {"reason": reason, "message": message, "observedGeneration": pod["metadata"].get("generation", 1)}
    return {**pod, "status": {**status, "conditions": [*others, target]}}
