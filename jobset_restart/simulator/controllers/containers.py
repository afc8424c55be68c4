"""What the kubelet and the container runtime know of one Pod: its sandbox, its containers, the worker's place."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from jobset_restart.simulator.controllers.agent import Agent
from jobset_restart.simulator.controllers.files import Act, Mount
from jobset_restart.simulator.controllers.images import Failure
from jobset_restart.simulator.controllers.programs import Program
from jobset_restart.simulator.store import Key

Steps = Generator[float, float, float]
"""Blocking work: yields when it wants to go on, is sent the time it is then, and returns the time it ended."""

SYNC, TERMINATING, FINISHED = "sync", "terminating", "finished"
"""What a pod worker has to do (``PodWorkType``); terminated and finished are one here."""


@dataclass(slots=True, eq=False)
class Container:
    """One container of the runtime (``kubecontainer.Status``) and its PID 1."""

    name: str
    id: str
    reference: str
    """The image of the spec it was made from: the part of ``HashContainer`` that can change."""
    image: str
    image_id: str
    restarts: int
    program: Program
    started: float
    origin: float
    """The second of ``program`` 0."""
    ends: float
    """When PID 1 will end as far as is known now, with ``code``."""
    code: int
    mounts: tuple[Mount, ...] = ()
    doing: Program | None = None
    """What does something with files at ``ends`` instead of exiting."""
    fate: tuple[float, int, tuple[Act, ...]] | None = None
    """When the signals it got end it at the latest, its exit code then, and what its handler does with files."""
    cleans: tuple[Act, ...] = ()
    """What the handler that ends it does with files."""
    finished: float | None = None
    startup: bool | None = None
    """The startup probe's result; None while there is none, or no such probe."""
    has_startup: bool = False
    startup_due: float = inf
    startup_passes: bool = True
    refused_due: float = inf
    """When its startup probe will first find a barrier that is up."""
    ready: bool = False
    ready_due: float = inf
    checks: Act | None = None
    """The file its readiness probe looks for."""
    misses: int = 0
    """Readiness probes that failed in a row."""
    agent: Agent | None = None

    @property
    def running(self) -> bool:
        return self.finished is None

    @property
    def is_started(self) -> bool:
        """``isContainerStarted``."""
        return self.finished is None and (not self.has_startup or self.startup is True)

    @property
    def reason(self) -> str:
        return "Error" if self.code else "Completed"

    def due(self) -> float:
        """When something happens in it next."""
        agent = min(self.agent.due, self.refused_due) if self.agent else inf
        return min(self.ends, self.startup_due, self.ready_due, agent)


@dataclass(slots=True, eq=False)
class Run:
    """A Pod on its node."""

    key: Key
    uid: str
    node: str
    began: float
    """When the kubelet first saw it: probes tick from here."""
    address: str = ""
    sandbox: bool = False
    history: dict[str, list[Container]] = field(default_factory=dict)
    """Containers by name, newest first; at most one dead one behind the newest (MaxPerPodContainer)."""
    logs: dict[str, int] = field(default_factory=dict)
    """The restartCount that the log directory would give a container whose predecessors are removed."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Why containers did not start at the last sync (``reasonCache``)."""
    stage: str = SYNC
    worker: Steps | None = None
    resume: float = inf
    dirty: bool = True
    """Whether something happened that the worker has not looked at."""
    relist: float = inf
    """When PLEG will see what changed in the runtime."""
    retry: float = inf
    """When the worker looks again by itself."""
    news: bool = False
    """Whether the Pod's JobSet changed since its agent last looked."""

    def newest(self, name: str) -> Container | None:
        """``FindContainerStatusByName``."""
        found = self.history.get(name)
        return found[0] if found else None

    def live(self) -> Iterator[Container]:
        """Running containers."""
        for each in self.history.values():
            if each and each[0].finished is None:
                yield each[0]

    def add(self, container: Container) -> None:
        """A container was created; of its predecessors the last is kept."""
        self.history[container.name] = [container, *self.history.get(container.name, ())[:1]]
        self.logs[container.name] = container.restarts + 1

    def due(self) -> float:
        """When the Pod needs a look next."""
        due = min(self.relist, self.retry)
        if self.worker is not None:
            due = min(due, self.resume)
        for container in self.live():
            due = min(due, container.due())
        return due


class Backoff:
    """flowcontrol.Backoff: 10 s, doubling to 300 s, forgotten after ``expiry`` seconds without a failure."""

    def __init__(self, expiry: float) -> None:
        self._expiry = expiry
        self._entries: dict[tuple[str, ...], tuple[float, float]] = {}

    def until(self, key: tuple[str, ...], event: float) -> tuple[float, float]:
        """(end, length) of the pause after a failure at ``event``; both 0 when there is none (``IsInBackOffSince``)."""
        delay, last = self._entries.get(key, (0.0, -inf))
        return (event + delay, delay) if event - last <= self._expiry else (0.0, 0.0)

    def next(self, key: tuple[str, ...], event: float, now: float) -> None:
        """One failure more."""
        delay, last = self._entries.get(key, (0.0, -inf))
        grown = min(delay * 2, 300.0) if delay and event - last <= self._expiry else 10.0
        self._entries[key] = (grown, now)

    def last(self, key: tuple[str, ...]) -> float:
        """When the last failure was counted."""
        return self._entries.get(key, (0.0, -inf))[1]

    def forget(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Drop the entries of a Pod that is gone."""
        for key in keys:
            self._entries.pop(key, None)
