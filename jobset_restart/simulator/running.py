"""A running embedded cluster: a World, its API server, and the socket it is controlled by."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from jobset_restart.simulator import home as homes
from jobset_restart.simulator import manifests
from jobset_restart.simulator.clock import wall_time
from jobset_restart.simulator.errors import SimulatorError
from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.home import Document
from jobset_restart.simulator.profile import PROFILES
from jobset_restart.simulator.server import Server
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.versions import DEFAULT
from jobset_restart.simulator.world import World

WARM_SECONDS = 3600
"""World time within which the Pods have to be Ready, or the cluster begins as it is."""
AGE_SECONDS, QUIET_SECONDS = 180.0, 10.0
"""How long ago the last Pod became Ready, and for how long nothing may happen before that time is skipped."""
JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to begin with. ``nodes`` None: enough for the Pods. ``warm``: with every Pod Ready."""

    objects: Sequence[Obj]
    nodes: int | None
    profile: str
    speed: float
    seed: int
    port: int
    warm: bool
    kubernetes: str = DEFAULT
    owners: bool = False
    faults: Sequence[Fault] = ()
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """The command line it was started with, by option."""


def build(settings: Settings) -> World:
    """The World, its nodes and objects in it, its time near the wall's. Raises SimulatorError for what is refused."""
    profile = PROFILES[settings.profile]
    warm = settings.warm and any(map(manifests.is_workload, settings.objects))
    # A warm start is played in virtual time, begun so much earlier that its Pods are some minutes old now.
    pods = sum(manifests.pods_of(each) for each in settings.objects)
    spent = 10.0 + 1.2 * pods / min(profile.pod_creates_rate, profile.schedule_rate)
    early = AGE_SECONDS + spent if warm else 0.0
    world = World(
        profile=profile,
        seed=settings.seed,
        start=wall_time() - early,
        kubernetes=settings.kubernetes,
        owners=settings.owners,
    )
    manifests.add_nodes(world, settings.objects, settings.nodes)
    manifests.load(world, settings.objects)
    if warm:
        _until_ready(world)
        _let_pass(world, wall_time())
    return world


def _until_ready(world: World) -> None:
    """Plays the World until all JobSets and Jobs are Ready, nothing more will happen, or WARM_SECONDS have passed."""
    end = world.now + WARM_SECONDS
    while world.now < end and not (
        all(map(_ready, world.store.all("jobsets"))) and all(map(_runs, world.store.all("jobs")))
    ):
        due = world.run_until(world.now + 1.0)
        if due is None or due > end:
            return


def _let_pass(world: World, end: float) -> None:
    """Skips time up to ``end`` as long as nothing happens in it: a program that would be over by then is not."""
    due = world.run_until(world.now)
    while due is not None and due < min(end, world.now + QUIET_SECONDS):
        due = world.run_until(due)
    if due is None or due >= end:
        world.run_until(end)


def _runs(job: Obj) -> bool:
    """Whether as many Pods of a Job that nothing stands above are Ready as it runs at once, or it is over."""
    spec, status = job["spec"], job.get("status") or {}
    over = any(each["type"] in ("Complete", "Failed") for each in status.get("conditions") or ())
    owned = bool(job["metadata"].get("ownerReferences"))
    wanted = min(spec.get("parallelism", 1), spec.get("completions") or spec.get("parallelism", 1))
    return owned or over or bool(spec.get("suspend")) or status.get("ready", 0) >= wanted


def _ready(jobset: Obj) -> bool:
    """Whether every Job's Pods are all Ready and, where there are agents, none waits any more."""
    spec, status = jobset["spec"], jobset.get("status") or {}
    ready = {each["name"]: each.get("ready", 0) for each in status.get("replicatedJobsStatus") or ()}
    wanted = {each["name"]: each.get("replicas", 1) for each in spec["replicatedJobs"]}
    native = (spec.get("failurePolicy") or {}).get("restartStrategy") == "InPlaceRestart"
    return ready == wanted and (not native or status.get("currentInPlaceRestartAttempt") is not None)


def run(home: Path, settings: Settings, ready: Callable[[Document], None], *, until_eof: bool = False) -> None:
    """Runs a cluster with its files in ``home`` until it is told to end: by a signal, through the control socket, or,
    if asked for, by the end of standard input. Calls ``ready`` with its status once it serves."""
    world = build(settings)
    gc.freeze()  # what there is now stays

    async def host() -> None:
        await _Host(home, world, settings).run(ready, until_eof)

    asyncio.run(host())


class _Host:
    def __init__(self, home: Path, world: World, settings: Settings) -> None:
        self._home, self._world, self._settings = home, world, settings
        self._server = Server(world, speed=settings.speed)
        self._over = asyncio.Event()
        self._began = time.monotonic()

    async def run(self, ready: Callable[[Document], None], until_eof: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._over.set)
        if until_eof:
            self._end_with(sys.stdin.fileno())
        await self._listen()
        try:
            text = yaml.safe_dump(self._server.kubeconfig(), sort_keys=False)
            homes.write_private(self._home / homes.KUBECONFIG, text)
            with contextlib.chdir(self._home):  # a socket's address has about 100 bytes
                control = await asyncio.start_unix_server(self._control, homes.CONTROL)
            for fault in self._settings.faults:
                self._server.add_fault(fault)
            ready(self._status())
            await self._over.wait()
            control.close()
        finally:
            await self._server.stop()

    async def _listen(self) -> None:
        port = self._settings.port
        try:
            await self._server.start(port)
        except OSError as error:
            why = "it is taken" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            raise SimulatorError(f"port {port} cannot be listened on: {why}", "--port 0 takes a free one") from None

    def _end_with(self, descriptor: int) -> None:
        def read() -> None:
            if not os.read(descriptor, 65536):
                asyncio.get_running_loop().remove_reader(descriptor)
                self._over.set()

        try:
            asyncio.get_running_loop().add_reader(descriptor, read)
        except (OSError, ValueError):
            raise SimulatorError("--until-eof needs a pipe or a terminal as standard input", exit_code=2) from None

    # Control

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, each a line of JSON."""
        with contextlib.suppress(OSError, ValueError):
            request = json.loads(await reader.readline())
            try:
                answer = await self._do(request)
            except (SimulatorError, StoreError) as error:
                answer = {"error": error.message}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _do(self, request: Document) -> Document:
        match request:
            case {"do": "status"}:
                return self._status()
            case {"do": "stop"}:
                self._over.set()
                return {}
            case {"do": "node", "name": str(name), "on": bool(on)}:
                self._server.power(name, on)
                return {}
            case {"do": "apiserver", "on": True}:
                await self._listen_again()
                return {}
            case {"do": "apiserver", "on": False}:
                await self._server.withdraw()
                return {}
            case {"do": "fault", "fault": dict(document)}:
                self._server.add_fault(Fault(**document))
                return {}
        return {"error": f"the embedded cluster does not understand {request}; is it of another version?"}

    async def _listen_again(self) -> None:
        try:
            await self._server.listen_again()
        except OSError as error:
            raise SimulatorError(f"the API server cannot come back: {error.strerror or error}") from None

    def _status(self) -> Document:
        store, settings = self._world.store, self._settings
        nodes = list(store.all("nodes"))
        return {
            "process": os.getpid(),
            "seconds": round(time.monotonic() - self._began, 1),
            "server": self._server.url,
            "serving": self._server.listening,
            "kubeconfig": str(self._home / homes.KUBECONFIG),
            "options": dict(settings.options),
            "kubernetes": settings.kubernetes,
            "profile": settings.profile,
            "about": PROFILES[settings.profile].about,
            "speed": settings.speed,
            "seed": settings.seed,
            "memoryBytes": _memory(),
            "nodes": len(nodes),
            "readyNodes": sum(_is_ready(node) for node in nodes),
            "pods": store.count("pods"),
            "jobsets": [self._jobset(each) for each in store.all("jobsets")],
        }

    def _jobset(self, jobset: Obj) -> Document:
        meta = jobset["metadata"]
        pods = [
            pod
            for pod in self._world.store.by_label("pods", JOBSET_NAME, meta["name"])
            if pod["metadata"]["namespace"] == meta["namespace"]
        ]
        ready = sum(map(_is_ready, pods))
        return {"namespace": meta["namespace"], "name": meta["name"], "pods": len(pods), "readyPods": ready}


def _is_ready(obj: Obj) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _memory() -> int:
    """Resident memory in bytes; where the system does not tell, the most there ever was."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
