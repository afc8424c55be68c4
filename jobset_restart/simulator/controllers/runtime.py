"""The container runtime of every node, and the processes in it: containerd, runc and the kernel."""

from __future__ import annotations

import random
from math import ceil, inf

from jobset_restart.simulator.controllers.agent import agent, is_agent
from jobset_restart.simulator.controllers.containers import Container, Run
from jobset_restart.simulator.controllers.files import Act, Files, act, mounts
from jobset_restart.simulator.controllers.images import Image, Images
from jobset_restart.simulator.controllers.pod_actions import init_containers, is_sidecar
from jobset_restart.simulator.controllers.programs import KILLED, Program, Step, number, program
from jobset_restart.simulator.faults import Faults
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.training.processes import plain
from jobset_restart.simulator.training.trainings import PYSPY, Trainings
from jobset_restart.simulator.training.view import View

TERM = 15
_SAME = 1e-5
"""Sums of the same seconds differ by less."""


class Runtime:
    """Makes containers, sends signals, and knows when processes end. Each duration has the profile's spread."""

    def __init__(self, profile: Profile, source: random.Random, faults: Faults | None = None) -> None:
        self.profile = profile
        self._faults = faults or Faults()
        self.images = Images()
        self.files = Files()
        self.trainings = Trainings(self._faults)
        self._random = source
        self._networks: dict[str, tuple[int, int]] = {}

    def lasting(self, seconds: float) -> float:
        """A duration of the profile, for one Pod, once."""
        spread = self.profile.spread
        return seconds * self._random.lognormvariate(0.0, spread) if spread else seconds

    def jittered(self, seconds: float) -> float:
        """``wait.Jitter(seconds, 0.5)``, as far as this cluster has jitter."""
        return seconds * (1 + 0.5 * self._random.random()) if self.profile.spread else seconds

    def held_until(self, kind: str, run: Run, now: float) -> float:
        """When a fault of this kind lets the Pod go on; ``now`` where there is none."""
        fault = self._faults.pod(kind, *run.key, now)
        return fault.ends if fault else now

    def address(self, node: str) -> str:
        """The next address of a node's network: 10.0.0.0/8 in 1,022 addresses a node, round and round (host-local)."""
        number, last = self._networks.get(node, (len(self._networks), 0))
        self._networks[node] = number, last % 1022 + 1
        value = (number % 16384) * 1024 + last % 1022 + 1
        return f"10.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"

    def create(self, run: Run, pod: Obj, spec: Obj, image: Image, now: float) -> Container:
        """Start a container; its PID 1 runs from ``now`` on."""
        previous = run.newest(spec["name"])
        process, mine = program((*spec.get("command", ()), *spec.get("args", ()))), None
        if is_agent(spec):
            mine, process = agent(spec, pod, now + self.lasting(self.profile.agent))
        if process.is_guess() and spec in init_containers(pod) and not is_sidecar(spec):
            process = Program(process.name, (Step(self.lasting(self.profile.init), held=True),))
        identity = f"{self._random.getrandbits(256):064x}"
        container = Container(
            name=spec["name"],
            id=identity,
            reference=spec["image"],
            image=self.images.shown(spec["image"], image),
            image_id=image.id,
            restarts=previous.restarts + 1 if previous else run.logs.get(spec["name"], 0),
            program=process,
            started=now,
            origin=now,
            ends=inf,
            code=0,
            mounts=mounts(pod, spec, identity, run.node),
            agent=mine,
        )
        self._goes_on(container, process, now)
        words = (*spec.get("command", ()), *spec.get("args", ()))
        training = self.trainings.started(pod, spec["name"], identity, words, now)
        if training is not None and training.pyspy != "no":
            self.files.do(Act("touch", (PYSPY,)), container.mounts)
        if mine is None and self._faults.pod("crash", *run.key, now):
            container.ends, container.code = now, 1
        self._probe(run, spec, container)
        run.add(container)
        return container

    def _probe(self, run: Run, spec: Obj, container: Container) -> None:
        """When its probes will say something new. They pass, but for a barrier that is up and a missing file."""
        probe = spec.get("startupProbe")
        if probe is None:
            self._probe_readiness(run, spec, container, container.started)
            return
        container.has_startup = True
        first = _tick(run, probe, container.started + probe.get("initialDelaySeconds", 0))
        container.startup_due, container.startup_passes = first, True
        if container.agent is not None and probe.get("httpGet", {}).get("path") == container.agent.path:
            container.refused_due = first
            failures = probe.get("failureThreshold", 3) - 1
            container.startup_due = first + failures * probe.get("periodSeconds", 10)
            container.startup_passes = False

    def barrier_down(self, run: Run, spec: Obj, container: Container, now: float) -> None:
        """The agent lifted its barrier: as a sidecar it answers the startup probe, else it starts its worker."""
        assert container.agent is not None
        container.agent.lifted = True
        probe = spec.get("startupProbe")
        if container.agent.worker:
            spent, container.code = program(("bash", "-c", container.agent.worker)).ends()
            container.ends = now + spent
        elif probe and container.startup is None:
            first = _tick(run, probe, max(now, container.started + probe.get("initialDelaySeconds", 0)))
            if first <= container.refused_due:
                container.refused_due = inf
            if first <= container.startup_due:
                container.startup_due, container.startup_passes = first, True

    def _probe_readiness(self, run: Run, spec: Obj, container: Container, now: float) -> None:
        """Ready when the readiness probe has succeeded; the first try comes at once (``manualTriggerCh``)."""
        probe = spec.get("readinessProbe")
        if probe is None:
            container.ready = True
            return
        container.checks = _checked(probe)
        delay = probe.get("initialDelaySeconds", 0)
        first = _tick(run, probe, container.started + delay) if delay else now + self.lasting(self.profile.notice)
        wait = 0 if container.checks else probe.get("successThreshold", 1) - 1
        container.ready_due = first + wait * probe.get("periodSeconds", 10)

    def _check(self, run: Run, probe: Obj, container: Container, now: float) -> None:
        """A readiness probe that looks for a file goes on looking (``successThreshold`` 1)."""
        assert container.checks is not None
        container.ready_due = now + probe.get("periodSeconds", 10)
        found = self.files.do(container.checks, container.mounts)
        container.misses = 0 if found else container.misses + 1
        ready = found or (container.ready and container.misses < probe.get("failureThreshold", 3))
        if ready != container.ready:
            container.ready, run.dirty = ready, True

    def probed(self, run: Run, spec: Obj, container: Container, now: float) -> bool:
        """Take the probe results that are due; returns whether the startup probe was among them."""
        if container.ready_due <= now and container.checks:
            self._check(run, spec["readinessProbe"], container, now)
        elif container.ready_due <= now:
            container.ready, container.ready_due = True, inf
            run.dirty = True
        if container.startup_due > now:
            return False
        container.startup, container.startup_due = container.startup_passes, inf
        if container.startup:
            self._probe_readiness(run, spec, container, now)
        return True

    def _goes_on(self, container: Container, rest: Program, origin: float) -> None:
        """PID 1 is ``rest`` from ``origin`` on."""
        spent, code, doing = rest.runs()
        container.program, container.origin = rest, origin
        container.ends, container.code, container.doing = origin + spent, code, doing
        if container.fate is not None:
            self._end(container, *container.fate)

    def _do(self, container: Container, doing: Program) -> None:
        """What PID 1 does with files now decides how it goes on."""
        assert doing.act is not None
        assert doing.then is not None
        assert doing.otherwise is not None
        passed = self.files.do(doing.act, container.mounts)
        self._goes_on(container, doing.then if passed else doing.otherwise, container.ends)

    def settle(self, run: Run, now: float) -> None:
        """Containers whose process has ended by now are exited; PLEG will notice."""
        for container in run.live():
            while container.doing is not None and container.ends <= now:
                self._do(container, container.doing)
            if container.ends <= now:
                for each in container.cleans:
                    self.files.do(each, container.mounts)
                container.finished = container.ends
                self.trainings.ended(container.id, container.ends)
                container.startup_due = container.ready_due = container.refused_due = inf
                if container.agent:
                    container.agent.due = inf
                run.relist = min(run.relist, max(now, container.ends + self.lasting(self.profile.notice)))

    def stop(self, spec: Obj, container: Container, at: float, grace: float) -> None:
        """StopContainer at ``at``: the stop signal, and KILL ``grace`` seconds later."""
        name = str((spec.get("lifecycle") or {}).get("stopSignal", "TERM"))
        self.signal(container, number(name) or TERM, at)
        self._end(container, at + grace + self.lasting(self.profile.container_stop), KILLED)

    def signal(self, container: Container, signal: int, at: float) -> None:
        """A signal to PID 1. Without a handler it does nothing, whoever sends it (pid_namespaces(7)); a handler runs
        when the shell's foreground command is over."""
        running, step, left = container.program.at(at - container.origin)
        code = running.caught.get(signal)
        if code is not None:
            takes = left if step.held else self.lasting(self.profile.container_stop)
            self._end(container, at + takes, code, running.cleans.get(signal, ()))

    def kill_children(self, container: Container, at: float) -> bool:
        """``kill -9 -1`` from inside: everything but PID 1. Returns whether there was anything."""
        rest = container.program.without_child(at - container.origin)
        if rest is None:
            return False
        self._goes_on(container, rest, at + self.lasting(self.profile.container_stop))
        return True

    def limit_cpu(self, container: Container, seconds: float, at: float) -> None:
        """``prlimit --cpu``: the kernel's own KILL, once PID 1 has computed that long."""
        running, _, _ = container.program.at(at - container.origin)
        if running.busy:
            self._end(container, max(at, container.origin + seconds / running.busy), KILLED)

    def cpu(self, container: Container, at: float) -> float:
        """Seconds PID 1 has computed."""
        running, _, _ = container.program.at(at - container.origin)
        return max(0.0, at - container.origin) * running.busy

    @staticmethod
    def process(container: Container, at: float) -> tuple[Program, bool]:
        """What PID 1 is at ``at``, and whether it has a child."""
        running, step, _ = container.program.at(at - container.origin)
        return running, step.child

    def clock(self, node: str, now: float) -> float:
        """How many seconds a node's clock is ahead."""
        return self._faults.clock(node, now)

    def view(self, container: Container, at: float) -> View:
        """The processes in it, as the kernel shows them."""
        running, child = self.process(container, at)
        found = self.trainings.view(container.id, child, running.mask(), container.started, at)
        if found is not None:
            return found
        state = "R" if running.busy else "S"
        processes = plain(running.name, child, state, self.cpu(container, at))
        return View(processes, age=at - container.started, caught={1: running.mask()})

    @staticmethod
    def _end(container: Container, at: float, code: int, cleans: tuple[Act, ...] = ()) -> None:
        """A signal ends it at ``at``, if nothing ends it before."""
        if container.fate is None or at < container.fate[0]:
            container.fate = at, code, cleans
        if at < container.ends + _SAME:
            container.ends, container.code, container.doing, container.cleans = at, code, None, cleans


def _checked(probe: Obj) -> Act | None:
    """The file that a probe's command looks for; None if it does not."""
    words = (probe.get("exec") or {}).get("command") or ()
    return act(words) if words else None


def _tick(run: Run, probe: Obj, after: float) -> float:
    """The first tick of a probe's worker after ``after``."""
    period = probe.get("periodSeconds", 10)
    return float(run.began + (ceil((after - run.began) / period) or 1) * period)
