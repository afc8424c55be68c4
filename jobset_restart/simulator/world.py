"""The embedded cluster without a clock: a store, controllers, and a queue of what is due when.

Time is virtual: ``run_until(now)`` does everything due up to ``now`` (seconds since the epoch), in order, and says
when the next thing is due. One seed makes a run repeatable to the last UID.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count

from jobset_restart.simulator.controllers import Controller
from jobset_restart.simulator.controllers.garbage import GarbageController
from jobset_restart.simulator.controllers.job import JobController
from jobset_restart.simulator.controllers.jobset import JobSetController
from jobset_restart.simulator.controllers.kubelet import MOST_LINES, Kubelet
from jobset_restart.simulator.controllers.node import NodeController, node_object
from jobset_restart.simulator.controllers.owners import OwnerController, is_owned
from jobset_restart.simulator.controllers.podgc import PodGC
from jobset_restart.simulator.controllers.quota import QuotaController
from jobset_restart.simulator.controllers.scheduler import Scheduler
from jobset_restart.simulator.faults import Fault, Faults, Scheduled
from jobset_restart.simulator.profile import INSTANT, Profile
from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.store import Key, Obj, Store, StoreError, key_of
from jobset_restart.simulator.validation import admit
from jobset_restart.simulator.versions import DEFAULT, VERSIONS

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_BY_KIND = {(each.api_version, each.kind): name for name, each in RESOURCES.items()}


class World:
    """A cluster of ``nodes`` nodes that starts at ``start`` and behaves as ``profile`` says.

    ``kubernetes`` is the version it stands for, one of ``VERSIONS``; with ``owners`` somebody resumes the JobSets
    that Kueue or Trainer would."""

    def __init__(
        self,
        *,
        nodes: int = 0,
        profile: Profile = INSTANT,
        seed: int = 0,
        start: float = 0.0,
        window: int = 20_000,
        kubernetes: str = DEFAULT,
        owners: bool = False,
    ) -> None:
        self.now = start
        self.profile = profile
        self.version = VERSIONS[kubernetes]
        self.store = Store(partial(admit, version=self.version), seed=seed, window=window, guard=QuotaController.guard)
        self.faults = Faults(seed)
        self.on_fault: Callable[[Scheduled, bool], None] = lambda _scheduled, _begins: None
        """Told of every fault when it begins (True) and when it ends."""
        self.kubelet = Kubelet(profile, random.Random(seed + 1), self.faults)  # noqa: S311 - repeatable, not secret
        self._node_controller = NodeController(profile, self.kubelet.is_on)
        self._controllers: tuple[Controller, ...] = (
            JobSetController(profile, is_owned) if owners else JobSetController(profile),
            JobController(profile),
            Scheduler(profile),
            self._node_controller,
            PodGC(profile),
            self.kubelet,
            GarbageController(profile),
            QuotaController(profile),
            *((OwnerController(profile),) if owners else ()),
            _Switch(self),
        )
        self._queue: list[tuple[float, int, int, Key]] = []
        self._due: dict[tuple[int, Key], float] = {}
        self._order = count()
        self._unsubscribe = self.store.subscribe(self._wake)
        for name in NAMESPACES:
            self.store.create("namespaces", {"metadata": {"name": name}}, start)
        self.add_nodes(nodes)

    def run_until(self, now: float, limit: int | None = None) -> float | None:
        """Do what is due up to ``now``, at most ``limit`` things; returns when the next is due (<= now: cut short)."""
        done = 0
        while self._queue and self._queue[0][0] <= now and (limit is None or done < limit):
            due, _, index, key = heappop(self._queue)
            if self._due.get((index, key)) != due:
                continue
            del self._due[index, key]
            self.now = max(self.now, due)
            done += 1
            again = self._controllers[index].reconcile(self.store, key, self.now)
            if again is not None:
                self._enqueue(index, key, max(again, self.now))
        if not self._queue or self._queue[0][0] > now:
            self.now = max(self.now, now)
        return self._queue[0][0] if self._queue else None

    def settle(self, seconds: float = 600.0) -> None:
        """Run until nothing is due within the next ``seconds``, or that much time has passed."""
        self.run_until(self.now + seconds)

    def load(self, manifests: Iterable[Obj]) -> None:
        """Create each object now; ``v1 List`` is opened; no namespace means default. Raises StoreError."""
        for manifest in manifests:
            if manifest.get("kind") == "List":
                self.load(manifest["items"])
                continue
            kind = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
            if kind not in _BY_KIND:
                raise StoreError(404, "NotFound", f"the embedded cluster does not know {kind[1]} of {kind[0]}")
            resource = _BY_KIND[kind]
            meta = dict(manifest["metadata"])
            if RESOURCES[resource].namespaced:
                meta.setdefault("namespace", "default")
            self.store.create(resource, {**manifest, "metadata": meta}, self.now)

    def add_nodes(self, number: int, pods: int = 110, labels: dict[str, str] | None = None) -> None:
        """Add Ready nodes named node-N, with room for ``pods`` Pods each."""
        first = self.store.count("nodes")
        for index in range(first, first + number):
            self.store.create(
                "nodes", node_object(f"node-{index}", index, pods, labels or {}, self.now, self.version), self.now
            )

    def execute(
        self, namespace: str, pod: str, container: str, command: list[str], stdin: bytes = b""
    ) -> tuple[bytes, bytes, int]:
        """Run a command in a container: (stdout, stderr, exit code). Raises StoreError (400, 404, 500)."""
        found = self.store.get("pods", namespace, pod)
        answer = self.kubelet.execute(self.store, found, container, command, stdin, self.now)
        self._enqueue(self._controllers.index(self.kubelet), (namespace, pod), self.now)
        return answer

    def logs(
        self, namespace: str, pod: str, container: str, previous: bool, now: float, limit: int = MOST_LINES
    ) -> list[tuple[float, str]]:
        """The last ``limit`` lines a container printed until ``now``, each with its time by the clock of its node.
        Raises StoreError (400, 404, 500)."""
        return self.kubelet.logs(self.store.get("pods", namespace, pod), container, previous, now, limit)

    def clock_ahead(self, namespace: str, pod: str, now: float) -> float:
        """How many seconds the clock of a Pod's node is ahead."""
        found = self.store.find("pods", namespace, pod)
        return self.faults.clock(found["spec"].get("nodeName", ""), now) if found else 0.0

    def add_fault(self, fault: Fault, start: float | None = None) -> Scheduled:
        """Puts a fault on the clock, ``fault.at`` seconds after ``start`` (now, if it is not given)."""
        scheduled = self.faults.add(fault, self.now if start is None else start)
        for begins, due in ((True, scheduled.begins), (False, scheduled.ends)):
            self._enqueue(len(self._controllers) - 1, (str(begins), str(scheduled.number)), due)
        return scheduled

    def set_power(self, node: str, on: bool) -> None:
        """Switch a node's machine off or on; its Node object follows as the node lifecycle controller finds out."""
        self.store.get("nodes", "", node)
        self.kubelet.power(self.store, node, on)
        for controller in (self.kubelet, self._node_controller):
            self._enqueue(self._controllers.index(controller), ("", node), self.now)
        for pod in self.store.by_node(node):
            meta = pod["metadata"]
            self._enqueue(self._controllers.index(self.kubelet), (meta["namespace"], meta["name"]), self.now)

    def set_registry(self, target: str, answers: bool) -> None:
        """Have pulls of images fail, or work again: those of a node, of an image's host or repository, or all ("*")."""
        self.kubelet.set_registry(target, answers)

    def _wake(self, resource: str, change: str, obj: Obj, old: Obj | None) -> None:
        if resource == "events":  # no controller's concern (GC's ignored resources), and more than half of all writes
            return
        for index, controller in enumerate(self._controllers):
            for key, delay in controller.wakes(self.store, resource, change, obj, old):
                self._enqueue(index, key, self.now + delay)

    def _turn(self, scheduled: Scheduled, begins: bool) -> None:
        """A fault begins or ends: what does not ask by itself is switched."""
        if begins:
            self.faults.versions[scheduled.number] = self.store.resource_version
        if scheduled.fault.kind == "node":
            for node in self.faults.chosen(scheduled, [each["metadata"]["name"] for each in self.store.all("nodes")]):
                self.set_power(node, not begins)
        elif scheduled.fault.group == "pod":
            self._pods_hit(scheduled, begins)
        elif scheduled.fault.group == "training":
            self.kubelet.training_hit(self.store, scheduled, begins, self.now)
        self.on_fault(scheduled, begins)

    def _pods_hit(self, scheduled: Scheduled, begins: bool) -> None:
        pods = ["/".join(key_of(pod)) for pod in self.store.all("pods")]
        for name in self.faults.chosen(scheduled, pods):
            namespace, _, pod = name.partition("/")
            if begins and scheduled.fault.kind == "exit":
                self.kubelet.exit_all((namespace, pod), self.now)
            self._enqueue(self._controllers.index(self.kubelet), (namespace, pod), self.now)

    def _enqueue(self, index: int, key: Key, due: float) -> None:
        """Look at ``key`` at ``due``; an earlier appointment stands, a later one is dropped."""
        if self._due.get((index, key), due + 1.0) <= due:
            return
        self._due[index, key] = due
        heappush(self._queue, (due, next(self._order), index, key))


class _Switch:
    """Begins and ends faults as if they were objects to be looked at: the key is (whether it begins, its number)."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wakes(
        self, _store: Store, _resource: str, _change: str, _obj: Obj, _old: Obj | None
    ) -> Iterable[tuple[Key, float]]:
        return ()

    def reconcile(self, _store: Store, key: Key, _now: float) -> float | None:
        self._world._turn(self._world.faults.get(int(key[1])), key[0] == "True")
        return None
