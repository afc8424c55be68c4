"""The pod worker: what the kubelet does to a Pod, one piece of blocking work after the other.

``sync_pod`` is ``Kubelet.SyncPod`` with the runtime manager's ``SyncPod``; ``terminate`` is ``SyncTerminatingPod`` with
``SyncTerminatedPod``. They are generators: they yield the time they want to go on at, and are sent the time it is then.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf

from jobset_restart.simulator.controllers.containers import FINISHED, TERMINATING, Backoff, Container, Run, Steps
from jobset_restart.simulator.controllers.images import Failure, parse
from jobset_restart.simulator.controllers.pod_actions import Actions, init_containers, is_sidecar, pod_actions
from jobset_restart.simulator.controllers.pod_status import TERMINAL, Address, pod_status, stopped_for_good
from jobset_restart.simulator.controllers.programs import program
from jobset_restart.simulator.controllers.runtime import Runtime
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import Obj, Objs, Store, timestamp

MINIMUM_GRACE = 2
"""minimumGracePeriodInSeconds."""
RESYNC, ERROR_PAUSE = 60.0, 10.0
"""resyncInterval and backOffPeriod."""
BLINK = 1e-3
"""How long a program that ends at once is still there once it has been seen."""


class PodWorker:
    """Works on the Pods of every node; what it knows of one is in its Run."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._crashes = Backoff(600.0)
        self._pulls = Backoff(600.0)
        self._pull_errors: dict[tuple[str, ...], str] = {}
        self.writing = False
        """Whether the change in the store is this kubelet's own."""

    def work(self, store: Store, run: Run, now: float) -> Steps:
        """What the Pod needs now."""
        pod = _pod(store, run)
        if pod is None or run.stage == FINISHED:
            return now
        if "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") in TERMINAL:
            run.stage = TERMINATING
        if run.stage == TERMINATING:
            return (yield from self._terminate(store, run, now))
        return (yield from self._sync(store, run, now))

    def forget(self, run: Run) -> None:
        """The Pod is gone."""
        self._runtime.files.forget(run.uid)
        for name, containers in run.history.items():
            self._runtime.trainings.forget(each.id for each in containers)
            self._crashes.forget((run.uid, name, each.reference) for each in containers)
            self._pulls.forget((run.uid, each.reference) for each in containers)

    def write(self, store: Store, run: Run, status: Obj, now: float) -> Obj | None:
        """Write a status if it differs; returns the Pod as it is then, None if it is gone."""
        pod = _pod(store, run)
        if pod is None or pod.get("status") == status:
            return pod
        self.writing = True
        try:
            return store.update("pods", {**pod, "status": status}, now, subresource="status")
        finally:
            self.writing = False

    def event(self, store: Store, run: Run, spec: Obj, kind: str, reason: str, message: str, now: float) -> None:
        """An Event about a container (``GenerateContainerRef``)."""
        pod = _pod(store, run)
        if pod is not None:
            names = [each["name"] for each in pod["spec"]["containers"]]
            part = f"spec.{'containers' if spec['name'] in names else 'initContainers'}{{{spec['name']}}}"
            record(store, pod, kind, reason, message, "kubelet", now, part=part, host=run.node)

    def _report(self, store: Store, run: Run, now: float, *, stopped: bool = False, final: bool = False) -> str:
        """Write the Pod's status; returns the phase it is in. A terminal phase is kept back until its containers
        are known to be stopped (``mergePodStatus``); the final status of a Pod has one (``TerminatePod``)."""
        pod = _pod(store, run)
        if pod is None:
            return "Failed"
        host = node_address(store, run.node)
        status = pod_status(
            pod, run, Address(host, host if pod["spec"].get("hostNetwork") else run.address), now, stopped=stopped
        )
        phase = str(status["phase"])
        if final:
            status = stopped_for_good(pod, status)
        elif phase in TERMINAL and not stopped:
            status["phase"] = pod["status"].get("phase", "Pending")
        self.write(store, run, status, now)
        return phase

    def _sync(self, store: Store, run: Run, now: float) -> Steps:
        if self._report(store, run, now) in TERMINAL:
            run.stage, run.retry = TERMINATING, now + self._runtime.lasting(self._runtime.profile.relist)
            return now
        pod = _pod(store, run)
        if pod is None:
            return now
        restarting = any(
            each["type"] == "AllContainersRestarting" and each["status"] == "True"
            for each in pod["status"]["conditions"]
        )
        actions = pod_actions(pod, run, restarting)
        dead = {name: each for name in run.history if (each := _dead(run, name))}
        now = yield from self._kill_all(store, run, pod, actions, now)
        if actions.create_sandbox:
            now = yield from self._sandbox(store, run, now)
        now, started = yield from self._start_all(store, run, pod, actions, dead, now)
        # That containers were killed, PLEG may have seen while this went on (``Runtime.settle``).
        if started or actions.reset or actions.kill_pod or actions.create_sandbox:
            run.relist = min(run.relist, now + self._runtime.lasting(self._runtime.profile.notice))
        for container in started:  # PLEG looks at once (``RequestPodRelist``), before the shortest program is over
            if container.doing is None:
                container.ends = max(container.ends, run.relist + BLINK)
        return now

    def _kill_all(self, store: Store, run: Run, pod: Obj, actions: Actions, now: float) -> Steps:
        """What has to go: the whole Pod, or some of its containers."""
        if actions.kill_pod:
            now = yield from self._kill_pod(store, run, pod, _grace(pod), now)
        for spec, container, message, probe in actions.kill:
            now = yield from self._kill(store, run, spec, container, _grace(pod, spec.get(probe)), message, now)
        for spec, container in actions.reset:
            now = yield from self._kill(store, run, spec, container, 0, "killing", now)
            run.history[spec["name"]].remove(container)
        if actions.reset:
            run.dirty = True
        return now

    def _start_all(
        self, store: Store, run: Run, pod: Obj, actions: Actions, dead: dict[str, Container], now: float
    ) -> Generator[float, float, tuple[float, list[Container]]]:
        """Start containers; returns the time, and those that did start. For the others it tries again later."""
        pauses, started = list[float](), list[Container]()
        for spec in (*actions.start_init, *actions.start):
            now, pause = yield from self._start(store, run, pod, spec, dead.get(spec["name"]), now)
            if not pause:
                started.append(run.history[spec["name"]][0])
                continue
            pauses.append(pause)
            if spec in actions.start_init and not is_sidecar(spec):
                break
        if pauses:
            run.retry = now + self._runtime.jittered(min(max(min(pauses) - now, 0.0), RESYNC))
        return now, started

    def _sandbox(self, store: Store, run: Run, now: float) -> Steps:
        """createPodSandbox; then only the condition that it is there is written (``OnPodSandboxReady``)."""
        now = yield from _until(now + self._runtime.lasting(self._runtime.profile.sandbox))
        run.sandbox = True
        pod = _pod(store, run)
        if pod is None:
            return now
        conditions = [
            _turned(each, now) if each["type"] == "PodReadyToStartContainers" else each
            for each in pod["status"]["conditions"]
        ]
        self.write(store, run, {**pod["status"], "conditions": conditions}, now)
        run.address = self._runtime.address(run.node)
        return now

    # Starting

    def _start(
        self, store: Store, run: Run, pod: Obj, spec: Obj, dead: Container | None, now: float
    ) -> Generator[float, float, tuple[float, float]]:
        """Start a container; returns the time, and when to try again (0: it started)."""
        name, image = spec["name"], spec["image"]
        key = (run.uid, name, image)
        if dead is not None and dead.finished is not None:
            end, length = self._crashes.until(key, dead.finished)
            if now < end:
                where = f"{pod['metadata']['name']}_{run.key[0]}({run.uid})"
                text = f"Back-off restarting failed container {name} in pod {where}"
                self.event(store, run, spec, "Warning", "BackOff", text, now)
                message = f"back-off {_go_duration(length)} restarting failed container={name} pod={where}"
                run.failures[name] = Failure("CrashLoopBackOff", message)
                return now, end
            self._crashes.next(key, dead.finished, now)
        now, failure = yield from self._image(store, run, spec, now)
        if failure is not None:
            self.event(store, run, spec, "Warning", "Failed", f"Error: {failure.reason}", now)
            run.failures[name] = failure
            return now, now + ERROR_PAUSE
        self.event(store, run, spec, "Normal", "Created", "Container created", now)
        now = yield from _until(self._runtime.held_until("stuck", run, now))
        now = yield from _until(now + self._runtime.lasting(self._runtime.profile.container_start))
        parsed = parse(image)
        assert parsed is not None
        self._runtime.create(run, _pod(store, run) or pod, spec, parsed, now)
        run.failures.pop(name, None)
        self.event(store, run, spec, "Normal", "Started", "Container started", now)
        return now, 0.0

    def _image(
        self, store: Store, run: Run, spec: Obj, now: float
    ) -> Generator[float, float, tuple[float, Failure | None]]:
        """``EnsureImageExists``."""
        reference = spec["image"]
        image, policy = parse(reference), spec.get("imagePullPolicy", "IfNotPresent")
        images, key = self._runtime.images, (run.uid, reference)
        if image is None:
            text = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": '
            text += "invalid reference format"
            self.event(store, run, spec, "Warning", "InspectFailed", text, now)
            return now, Failure("InvalidImageName", text)
        present = policy != "Always" and images.present(run.node, image)
        if present:
            text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            self.event(store, run, spec, "Normal", "Pulled", text, now)
            return now, None
        if policy == "Never":
            text = f'Container image "{reference}" is not present with pull policy of Never'
            self.event(store, run, spec, "Warning", "ErrImageNeverPull", text, now)
            return now, Failure("ErrImageNeverPull", text)
        if now < self._pulls.until(key, self._pulls.last(key))[0]:
            text = f'Back-off pulling image "{reference}"'
            self.event(store, run, spec, "Normal", "BackOff", text, now)
            return now, Failure("ImagePullBackOff", f"{text}: {self._pull_errors[key]}")
        self.event(store, run, spec, "Normal", "Pulling", f'Pulling image "{reference}"', now)
        known = images.present(run.node, image)
        began, cost = now, 0.0 if known else self._runtime.lasting(self._runtime.profile.pull)
        now = yield from _until(now + cost)
        now = yield from _until(self._runtime.held_until("pull", run, now))
        failure = None
        if self._runtime.held_until("pull-error", run, now) > now:
            failure = Failure("ErrImagePull", f'failed to pull image "{reference}": 503 Service Unavailable')
        failure = failure or images.pull(run.node, reference, image)
        if failure is not None:
            self.event(
                store, run, spec, "Warning", "Failed", f'Failed to pull image "{reference}": {failure.message}', now
            )
            self._pulls.next(key, now, now)
            self._pull_errors[key] = f"{failure.reason}: {failure.message}"
            return now, failure
        spent = f"{(now - began) * 1000:.0f}ms"
        text = f'Successfully pulled image "{reference}" in {spent} ({spent} including waiting). '
        self.event(
            store, run, spec, "Normal", "Pulled", text + f"Image size: {int(image.digest[7:14], 16)} bytes.", now
        )
        return now, None

    # Killing

    def _kill(
        self, store: Store, run: Run, spec: Obj, container: Container, grace: int, message: str, now: float
    ) -> Steps:
        """``killContainer``: preStop, the stop signal, KILL; over when the process is."""
        if container.running:
            self.event(store, run, spec, "Normal", "Killing", message, now)
            self._stop(spec, container, grace, now, now)
        return (yield from _dead_by(container, now))

    def _stop(self, spec: Obj, container: Container, grace: int, began: float, now: float) -> None:
        """Have a container stop: its preStop hook began at ``began``, its turn to be stopped is ``now``."""
        hook = _hook_seconds(spec) if grace > 0 else 0.0
        at = max(now, began + min(hook, grace))
        self._runtime.stop(spec, container, at, max(grace - int(at - began), MINIMUM_GRACE))

    def _kill_pod(self, store: Store, run: Run, pod: Obj, grace: int, now: float) -> Steps:
        """``killPodWithSyncResult``: all containers at once, sidecars after them in reverse order; then the sandbox."""
        began = now
        regular = _running(run, pod["spec"]["containers"])
        inits = _running(run, init_containers(pod))
        for spec, _ in (*regular, *inits):
            self.event(store, run, spec, "Normal", "Killing", f"Stopping container {spec['name']}", now)
        for spec, container in (*regular, *(each for each in inits if not is_sidecar(each[0]))):
            self._stop(spec, container, grace, began, now)
        for _, container in regular:
            now = yield from _dead_by(container, now)
        for spec, container in reversed(inits):
            if is_sidecar(spec) and container.running:
                self._stop(spec, container, grace, began, now)
            now = yield from _dead_by(container, now)
        if run.sandbox:
            now = yield from _until(now + self._runtime.lasting(self._runtime.profile.sandbox_stop))
        run.sandbox = False
        return now

    def _terminate(self, store: Store, run: Run, now: float) -> Steps:
        """``SyncTerminatingPod`` and ``SyncTerminatedPod``; a Pod marked for deletion goes with grace 0."""
        self._report(store, run, now)
        pod = _pod(store, run)
        if pod is None:
            return now
        left = pod["metadata"].get("deletionGracePeriodSeconds")
        now = yield from self._kill_pod(store, run, pod, _grace(pod) if left is None else left, now)
        self._report(store, run, now, stopped=True)
        now = yield from _until(now + self._runtime.lasting(self._runtime.profile.removal))
        self._report(store, run, now, stopped=True, final=True)
        run.stage, run.relist, run.retry = FINISHED, inf, inf
        pod = _pod(store, run)
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            store.delete("pods", *run.key, now, grace=0, uid=run.uid)
        return now


def node_address(store: Store, node: str) -> str:
    """A node's InternalIP."""
    found = store.find("nodes", "", node)
    addresses = (found or {}).get("status", {}).get("addresses") or ()
    return next((str(each["address"]) for each in addresses if each["type"] == "InternalIP"), "127.0.0.1")


def _pod(store: Store, run: Run) -> Obj | None:
    """The Pod as it is now, if it is still the same one."""
    pod = store.find("pods", *run.key)
    return pod if pod is not None and pod["metadata"]["uid"] == run.uid else None


def _until(at: float) -> Steps:
    now = yield at
    while now < at:
        now = yield at
    return now


def _dead_by(container: Container, now: float) -> Steps:
    """Wait for a process to end, whenever that comes to be."""
    while container.running:
        now = yield container.ends
    return now


def _dead(run: Run, name: str) -> Container | None:
    """The newest exited container of a name, which the crash-loop back-off goes by (``doBackOff``)."""
    return next((each for each in run.history[name] if not each.running), None)


def _running(run: Run, specs: Objs) -> list[tuple[Obj, Container]]:
    found = [(spec, run.newest(spec["name"])) for spec in specs]
    return [(spec, container) for spec, container in found if container is not None and container.running]


def _grace(pod: Obj, probe: Obj | None = None) -> int:
    """``setTerminationGracePeriod``."""
    if probe and probe.get("terminationGracePeriodSeconds") is not None:
        return int(probe["terminationGracePeriodSeconds"])
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _hook_seconds(spec: Obj) -> float:
    """How long a preStop hook takes; one over HTTP takes no time."""
    hook = (spec.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    words = (hook.get("exec") or {}).get("command") or ()
    return program(tuple(words)).ends()[0] if words else 0.0


def _turned(condition: Obj, now: float) -> Obj:
    """The condition, True from now on."""
    return {**condition, "status": "True", "lastTransitionTime": timestamp(now)}


def _go_duration(seconds: float) -> str:
    """``time.Duration.String``: 10s, 1m20s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
