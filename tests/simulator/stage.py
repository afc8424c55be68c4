"""A store and some controllers in virtual time, without the rest of the World: tests write what is missing by hand."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.controllers import Controller
from jobset_restart.simulator.controllers.node import node_object
from jobset_restart.simulator.store import Key, Obj, Objs, Store, timestamp
from jobset_restart.simulator.validation import admit

START = 1_800_000_000.0
RUNNING = {"state": {"running": {"startedAt": timestamp(START)}}, "ready": True, "restartCount": 0, "name": "worker"}


class Stage:
    """``run(seconds)`` reconciles what is due within that time."""

    def __init__(self, *controllers: Controller, nodes: int = 0, pods: int = 110) -> None:
        self.now = START
        self.store = Store(admit)
        self._controllers = controllers
        self._due: dict[tuple[int, Key], float] = {}
        self.store.subscribe(self._wake)
        self.store.create("namespaces", {"metadata": {"name": "default"}}, self.now)
        for index in range(nodes):
            self.node(f"node-{index}", index=index, pods=pods)

    def run(self, seconds: float = 0.0) -> None:
        end = self.now + seconds
        for _ in range(100_000):
            ready = [(due, each) for each, due in self._due.items() if due <= end]
            if not ready:
                break
            due, (index, key) = min(ready)
            del self._due[index, key]
            self.now = max(self.now, due)
            again = self._controllers[index].reconcile(self.store, key, self.now)
            if again is not None:
                self._enqueue(index, key, max(again, self.now))
        else:
            raise AssertionError(f"no end of it: {self._due}")
        self.now = end

    def touch(self, controller: int, key: Key) -> None:
        """Have a controller look at a key now."""
        self._enqueue(controller, key, self.now)

    def node(self, name: str, index: int = 0, pods: int = 110, labels: dict[str, str] | None = None) -> Obj:
        return self.store.create("nodes", node_object(name, index, pods, labels or {}, self.now), self.now)

    def pod(self, name: str, labels: dict[str, str] | None = None, meta: Obj | None = None, **spec: Any) -> Obj:
        """Create a Pod with one container."""
        body = {"containers": [{"name": "worker", "image": "busybox:1.36"}], **spec}
        metadata = {"name": name, "namespace": "default", "labels": labels or {}, **(meta or {})}
        return self.store.create("pods", {"metadata": metadata, "spec": body}, self.now)

    def status(self, pod: Obj, **status: Any) -> Obj:
        """Write a Pod's status, as its kubelet would."""
        fresh = self.get_pod(pod["metadata"]["name"])
        return self.store.update(
            "pods", {**fresh, "status": {**fresh["status"], **status}}, self.now, subresource="status"
        )

    def start(self, pod: Obj) -> Obj:
        """A Pod runs and is Ready."""
        conditions = self.get_pod(pod["metadata"]["name"])["status"].get("conditions", ())
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp(self.now)}
        return self.status(pod, phase="Running", conditions=[*conditions, ready], containerStatuses=[RUNNING])

    def get_pod(self, name: str) -> Obj:
        return self.store.get("pods", "default", name)

    def nodes_of(self, *names: str) -> list[str]:
        return [self.get_pod(name)["spec"].get("nodeName", "") for name in names]

    def pods(self) -> Objs:
        return self.store.list("pods", "default")

    def events(self, reason: str) -> list[str]:
        """Messages of the Events with this reason, oldest first."""
        return [each["message"] for each in self.store.all("events") if each["reason"] == reason]

    def _wake(self, resource: str, change: str, obj: Obj, old: Obj | None) -> None:
        for index, controller in enumerate(self._controllers):
            for key, delay in controller.wakes(self.store, resource, change, obj, old):
                self._enqueue(index, key, self.now + delay)

    def _enqueue(self, index: int, key: Key, due: float) -> None:
        self._due[index, key] = min(due, self._due.get((index, key), due))


def conditions(obj: Obj) -> dict[str, Any]:
    """type -> condition."""
    return {each["type"]: each for each in obj["status"].get("conditions", ())}
