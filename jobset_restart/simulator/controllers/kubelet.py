"""The kubelets of all nodes: pods, containers, exec, logs, and the power switch of a node.

A node that is off does nothing, and nobody is told; its containers go on, as they do when only its kubelet has stopped,
and what became of them is reported when it is back.

Not modelled: volumes, eviction and resize, postStart hooks, liveness probes that fail (nothing is run: every probe
passes, but for the barrier of an in-place-restart agent), ephemeral containers, image volumes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import inf

from jobset_restart.simulator.controllers.agent import ATTEMPT, JOBSET_NAME, decide, relevant
from jobset_restart.simulator.controllers.containers import FINISHED, Container, Run
from jobset_restart.simulator.controllers.images import Failure
from jobset_restart.simulator.controllers.pod_actions import init_containers
from jobset_restart.simulator.controllers.pod_worker import PodWorker, node_address
from jobset_restart.simulator.controllers.runtime import Runtime
from jobset_restart.simulator.controllers.shell import Shell, date
from jobset_restart.simulator.faults import Faults, Scheduled
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Key, Obj, Store, StoreError, key_of

PORT = 10250
MOST_LINES = 1000
"""How far back logs go."""


class Kubelet:
    """Runs the Pods that are bound to nodes."""

    def __init__(self, profile: Profile, source: random.Random, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._runtime = Runtime(profile, source, self._faults)
        self._worker = PodWorker(self._runtime)
        self._runs: dict[Key, Run] = {}
        self._off: set[str] = set()
        self._now = 0.0

    def is_on(self, node: str) -> bool:
        """Whether the node's machine is on."""
        return node not in self._off

    def power(self, store: Store, node: str, on: bool) -> None:
        """Switch a node's machine off or on; its Pods have to be looked at afterwards."""
        if not on:
            self._off.add(node)
            return
        self._off.discard(node)
        for pod in store.by_node(node):
            run = self._runs.get(key_of(pod))
            if run is not None:
                run.dirty = run.news = True

    def set_registry(self, target: str, answers: bool) -> None:
        """Have pulls fail, or work again (``Images.set_registry``)."""
        self._runtime.images.set_registry(target, answers)

    def exit_all(self, key: Key, now: float) -> None:
        """The processes of a Pod's running containers, agents apart, exit with 1."""
        run = self._runs.get(key)
        for container in run.live() if run is not None else ():
            if container.agent is None:
                container.ends, container.code = now, 1

    def training_hit(self, store: Store, scheduled: Scheduled, begins: bool, now: float) -> None:
        """A fault of trainings begins or ends: for the Pods it hits, by name or by a label of their node."""
        trainings = self._runtime.trainings
        for node in store.all("nodes"):
            name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
            trainings.labels[name] = labels
            keys = [key_of(pod) for pod in store.by_node(name)]
            hit = [key for key in keys if self._faults.trains(scheduled, *key, labels)]
            if hit:
                (trainings.begins if begins else trainings.ends)(scheduled, hit, now)

    def wakes(self, store: Store, resource: str, change: str, obj: Obj, old: Obj | None) -> Iterable[tuple[Key, float]]:
        """Pods that are bound, change or go; agents' Pods when what an agent looks at changes in their JobSet."""
        if resource == "pods" and not self._worker.writing:
            key = key_of(obj)
            run = self._runs.get(key)
            if not obj["spec"].get("nodeName") or not self._concerns(change, obj, old, run):
                return ()
            if run is not None:
                run.dirty = True
            return ((key, 0.0),)
        if resource == "jobsets" and (old is None or relevant(obj) != relevant(old)):
            return self._agents(store, *key_of(obj))
        return ()

    @staticmethod
    def _concerns(change: str, obj: Obj, old: Obj | None, run: Run | None) -> bool:
        if change != "MODIFIED" or old is None or run is None:
            return True
        meta, before = obj["metadata"], old["metadata"]
        same = all(meta.get(name) == before.get(name) for name in ("generation", "deletionGracePeriodSeconds"))
        return not same or obj.get("status") != old.get("status")

    def _agents(self, store: Store, namespace: str, jobset: str) -> list[tuple[Key, float]]:
        found = []
        for pod in store.by_label("pods", JOBSET_NAME, jobset):
            run = self._runs.get(key_of(pod))
            if run is not None and run.key[0] == namespace and any(each.agent for each in run.live()):
                run.news = True
                found.append((run.key, self._runtime.lasting(self._runtime.profile.agent_watch)))
        return found

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """What is due for one Pod: its processes, its probes, its agent, its worker. Returns when the next is."""
        self._now = max(self._now, now)
        pod, run = store.find("pods", *key), self._runs.get(key)
        if run is not None and (pod is None or pod["metadata"]["uid"] != run.uid):
            self._worker.forget(self._runs.pop(key))
            run = None
        node = pod["spec"].get("nodeName") if pod else None
        if pod is None or not node or node in self._off:
            return None
        if run is None:
            run = self._runs[key] = Run(key, pod["metadata"]["uid"], node, now)
        if run.stage == FINISHED:
            return None
        self._runtime.settle(run, now)
        for container in tuple(run.live()):
            self._look_after(store, run, pod, container, now)
        run.news = False
        if min(run.relist, run.retry) <= now:
            run.relist = inf if run.relist <= now else run.relist
            run.dirty = True
        self._work(store, run, now)
        due = run.due()
        return due if due < inf else None

    def _look_after(self, store: Store, run: Run, pod: Obj, container: Container, now: float) -> None:
        """Probe results that are due, and what the agent does."""
        if container.refused_due <= now:
            container.refused_due = inf
            self._refused(store, run, _spec(pod, container.name), now)
        if min(container.startup_due, container.ready_due) <= now:
            spec = _spec(pod, container.name)
            if self._runtime.probed(run, spec, container, now):
                self._tell_started(store, run, container, now)
        agent = container.agent
        if agent is None or not (agent.due <= now or (run.news and agent.due == inf)):
            return
        agent.due = inf
        move = decide(agent, store.find("jobsets", run.key[0], agent.jobset))
        if move.annotate is not None:
            agent.attempt = move.annotate
            _annotate(store, run, move.annotate, now)
        if move.exits is not None:
            container.ends, container.code = now, move.exits
            self._runtime.settle(run, now)
        elif move.lifts:
            self._runtime.barrier_down(run, _spec(pod, container.name), container, now)

    def _refused(self, store: Store, run: Run, spec: Obj, now: float) -> None:
        """The Event of a startup probe that finds nobody listening: the agent listens once its barrier is down. Its
        repeats, one a period, are not counted."""
        get = spec["startupProbe"]["httpGet"]
        where = f"{run.address}:{get['port']}"
        url = f"{str(get.get('scheme', 'HTTP')).lower()}://{where}{get['path']}"
        message = f'Startup probe failed: Get "{url}": dial tcp {where}: connect: connection refused'
        self._worker.event(store, run, spec, "Warning", "Unhealthy", message, now)

    def _tell_started(self, store: Store, run: Run, container: Container, now: float) -> None:
        """A startup probe succeeded: ``started`` is written at once (``SetContainerStartup``), the rest with the next
        sync, which waits for PLEG (``GetNewerThan``). A failed one is acted on at once."""
        pod = store.find("pods", *run.key)
        if not container.startup or pod is None:
            run.dirty = True
            return
        run.relist = min(run.relist, now + self._runtime.lasting(self._runtime.profile.notice))
        status = dict(pod["status"])
        for field in ("initContainerStatuses", "containerStatuses"):
            if any(each.get("containerID") == f"containerd://{container.id}" for each in status.get(field) or ()):
                status[field] = [
                    {**each, "started": True} if each["name"] == container.name else each for each in status[field]
                ]
        self._worker.write(store, run, status, now)

    def _work(self, store: Store, run: Run, now: float) -> None:
        """Have the Pod's worker go on, or begin again if something happened meanwhile."""
        while run.stage != FINISHED:
            if run.worker is None:
                if not run.dirty:
                    return
                run.dirty, run.retry = False, inf
                run.worker, sent = self._worker.work(store, run, now), None
            else:
                sent = now
            try:
                run.resume = run.worker.send(sent)  # type: ignore[arg-type]  # a generator begins with None
            except StopIteration:
                run.worker, run.resume = None, inf
            else:
                self._runtime.settle(run, now)
                if run.resume > now:
                    return

    def execute(
        self, store: Store, pod: Obj, container: str, command: list[str], stdin: bytes, now: float
    ) -> tuple[bytes, bytes, int]:
        """Run a command in a container: (stdout, stderr, exit code). Raises StoreError 400, 500 and 501."""
        self._now = max(self._now, now)
        spec = _valid_spec(pod, container)
        node = pod["spec"].get("nodeName")
        if not node:
            raise StoreError(400, "BadRequest", f"pod {pod['metadata']['name']} does not have a host assigned")
        if node in self._off:
            where = f"{node_address(store, node)}:{PORT}"
            raise StoreError(500, "", f"error dialing backend: dial tcp {where}: connect: connection refused")
        if stdin:
            raise StoreError(501, "NotImplemented", "the embedded cluster's containers read nothing from stdin")
        run = self._runs.get(key_of(pod))
        if run is not None:
            self._runtime.settle(run, now)
        found = run.newest(container) if run else None
        if found is None or not found.running:
            raise StoreError(500, "InternalError", f'container not found ("{container}")')
        stdout, stderr, code = Shell(self._runtime, pod, spec, found, now).run(command)
        return stdout.encode(), stderr.encode(), code

    def logs(
        self, pod: Obj, container: str, previous: bool, now: float, limit: int = MOST_LINES
    ) -> list[tuple[float, str]]:
        """The last ``limit`` lines a container printed until ``now``, at most 1,000, each with its time by the clock of
        its node.

        Raises StoreError 400 and 500 (``validateContainerLogStatus``)."""
        names = [each["name"] for each in (*init_containers(pod), *pod["spec"]["containers"])]
        if not container and len(pod["spec"]["containers"]) > 1:
            text = f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: "
            raise StoreError(400, "BadRequest", f"{text}[{' '.join(names)}]")
        spec = _valid_spec(pod, container or pod["spec"]["containers"][0]["name"])
        node = pod["spec"].get("nodeName")
        if not node:
            return []  # as ``LogLocation`` has it
        if node in self._off:
            raise StoreError(500, "", f"dial tcp {node}:{PORT}: connect: connection refused")
        run = self._runs.get(key_of(pod))
        history = run.history.get(spec["name"], []) if run else []
        where = f'container "{spec["name"]}" in pod "{pod["metadata"]["name"]}"'
        if previous and len(history) < 2:
            raise StoreError(400, "BadRequest", f"previous terminated {where} not found")
        if not history:
            failure = run.failures.get(spec["name"]) if run else None
            raise StoreError(400, "BadRequest", f"{where} is waiting to start: {_waiting(pod, failure)}")
        found = history[1 if previous else 0]
        until, ahead = now if found.finished is None else found.finished, self._faults.clock(node, now)
        lines = self._runtime.trainings.lines(found.id, found.started, until, min(limit, MOST_LINES))
        if lines is None:
            printed = found.program.printed(until - found.origin, MOST_LINES)
            timed = [(found.origin + second, line) for second, line in printed]
            lines = [(at, date(at + ahead) if line == "%date%" else line + "\n") for at, line in timed][-limit:]
        return [(at + ahead, line) for at, line in lines]


def _spec(pod: Obj, name: str) -> Obj:
    """The spec of a container that is known to be there."""
    return next(each for each in (*init_containers(pod), *pod["spec"]["containers"]) if each["name"] == name)


def _valid_spec(pod: Obj, name: str) -> Obj:
    """``validateContainer`` of the API server. Raises StoreError 400."""
    found: list[Obj] = [each for each in (*init_containers(pod), *pod["spec"]["containers"]) if each["name"] == name]
    if found:
        return found[0]
    raise StoreError(400, "BadRequest", f"container {name} is not valid for pod {pod['metadata']['name']}")


def _annotate(store: Store, run: Run, attempt: int, now: float) -> None:
    """``patchPodInPlaceRestartAttempt``."""
    pod = store.find("pods", *run.key)
    if pod is None or pod["metadata"]["uid"] != run.uid:
        return
    annotations = {**(pod["metadata"].get("annotations") or {}), ATTEMPT: str(attempt)}
    store.update("pods", {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}, now)


def _waiting(pod: Obj, failure: Failure | None) -> str:
    reason = failure.reason if failure else "PodInitializing" if init_containers(pod) else "ContainerCreating"
    words = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
    return words.get(reason, reason)
