"""All trainings of a cluster: which containers take part in which, and what faults do to them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jobset_restart.simulator.faults import Fault, Faults, Scheduled
from jobset_restart.simulator.training.gang import Gang, Place, Stop
from jobset_restart.simulator.training.lines import Line, printed
from jobset_restart.simulator.training.processes import processes
from jobset_restart.simulator.training.spec import ANNOTATION, Training, read
from jobset_restart.simulator.training.view import View

PYSPY = "/usr/bin/py-spy"
_GROUP = ("jobset.sigs.k8s.io/jobset-uid", "batch.kubernetes.io/controller-uid")
_STOPS: Mapping[str, Any] = {
    "rank-hang": "hang",
    "rank-storage": "storage",
    "rank-exit": "exit",
    "rank-slow": "slow",
    "collective": "collective",
}
THROTTLED = 0.3
"""This part of the ranks that are slow is so because of a CPU limit."""
_CURED = ("rank-hang", "rank-exit")
"""A new process is free of them."""


class Part(NamedTuple):
    """A container's place in a training: the gang, the Pod's name in it, and its command."""

    gang: Gang
    name: str
    words: tuple[str, ...]


class Trainings:
    """Told of containers as they start and end. Times are seconds since the epoch."""

    def __init__(self, faults: Faults, seed: int = 0) -> None:
        self._faults, self._seed = faults, seed
        self._gangs: dict[tuple[str, str], Gang] = {}
        self._parts: dict[str, Part] = {}
        self.labels: dict[str, Mapping[str, str]] = {}
        """Of nodes, as they were when a fault last began."""

    def started(
        self, pod: Mapping[str, Any], name: str, identity: str, words: tuple[str, ...], now: float
    ) -> Training | None:
        """The container ``name`` of a Pod started, under this id; returns the training it takes part in, if any."""
        training = training_of(pod)
        first = pod["spec"]["containers"][0]["name"]
        if training is None or name != (training.container or first):
            return None
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        group = next((labels[each] for each in _GROUP if labels.get(each)), meta["uid"])
        gang = self._gangs.setdefault((meta["namespace"], group), Gang(training))
        self._parts[identity] = Part(gang, meta["name"], words)
        gang.joins(meta["name"], place_of(labels), now)
        node = self.labels.get(pod["spec"].get("nodeName", ""), {})
        for scheduled in self._faults.trainings(meta["namespace"], meta["name"], node, now):
            if scheduled.fault.kind not in _CURED:
                gang.stop(meta["name"], self._stop(scheduled), now)
        return training

    def begins(self, scheduled: Scheduled, keys: Iterable[tuple[str, str]], now: float) -> None:
        """A fault of the group "training" begins for these Pods, (namespace, name) each."""
        hit = set(keys)
        for (namespace, _), gang in self._gangs.items():
            for name in gang.members:
                if (namespace, name) in hit:
                    gang.stop(name, self._stop(scheduled), now)

    def ends(self, scheduled: Scheduled, keys: Iterable[tuple[str, str]], now: float) -> None:
        """The fault is over for them."""
        hit, stop = set(keys), self._stop(scheduled)
        for (namespace, _), gang in self._gangs.items():
            for name in [name for name, each in gang.stops.items() if each == stop and (namespace, name) in hit]:
                gang.go_on(name, now)

    def _stop(self, scheduled: Scheduled) -> Stop:
        fault: Fault = scheduled.fault
        drawn = random.Random(f"{self._seed} {scheduled.number} variant").random()  # noqa: S311 - repeatable
        return Stop(_STOPS[fault.kind], drawn, fault.seconds if fault.kind == "rank-slow" else 0.0)

    def ended(self, identity: str, at: float) -> None:
        """The container with this id is over."""
        part = self._parts.get(identity)
        if part is not None:
            part.gang.leaves(part.name, at)

    def forget(self, identities: Iterable[str]) -> None:
        """The Pod of these containers is gone."""
        for identity in identities:
            part = self._parts.pop(identity, None)
            if part is not None:
                part.gang.members.pop(part.name, None)

    def touched(self, identity: str, paths: Iterable[str], there: bool, now: float) -> None:
        """Files were made or removed in a container: one of them may be what its rank stops at."""
        part = self._parts.get(identity)
        if part is None or part.gang.training.hang not in {*paths} - {""}:
            return
        if there:
            part.gang.stop(part.name, Stop("hang", 0.0), now)
        else:
            part.gang.go_on(part.name, now)

    def lines(self, identity: str, started: float, until: float, limit: int) -> list[Line] | None:
        """The last lines a container printed from ``started`` on; None where it takes part in no training."""
        part = self._parts.get(identity)
        return None if part is None else printed(part.gang, part.name, started, until, limit)

    def view(self, identity: str, child: bool, caught: int, started: float, now: float) -> View | None:
        """What is to be seen of the processes in a container now; None where it takes part in no training. ``child``
        says whether PID 1 waits for another process, ``caught`` is its mask of signals that have a handler."""
        part = self._parts.get(identity)
        if part is None:
            return None
        training, doing = part.gang.training, part.gang.doing(part.name, now)
        held_back = doing.stop is not None and doing.stop.kind == "slow" and doing.stop.variant < THROTTLED
        return View(
            processes(part.gang, part.name, part.words, child, now),
            age=now - started,
            caught={1: caught},
            denied=training.pyspy == "denied",
            cgroup=training.cgroup,
            throttled=0.9 * max(0.0, now - part.gang.stopped.get(part.name, now)) if held_back else 0.0,
        )


def training_of(pod: Mapping[str, Any]) -> Training | None:
    """The training a Pod takes part in. Raises ValueError for an annotation that makes no sense."""
    text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
    return None if text is None else read(text)


def place_of(labels: Mapping[str, str]) -> Place:
    """Where a Pod stands in its JobSet, or in its Job."""
    names = ("jobset.sigs.k8s.io/job-global-index", "batch.kubernetes.io/job-completion-index")
    job, index = (int(labels.get(name, 0)) for name in names)
    return job, index
