"""What goes wrong in an embedded cluster, and when: data, by schedule and seed.

Pure: time comes in as an argument, and the seed decides which requests, nodes and Pods a fault with a share below 1
hits. The World switches what has a beginning and an end; the API server and the kubelets ask when they are about to do
something.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

Group = Literal["request", "watch", "exec", "apiserver", "node", "pod", "training"]
KINDS: dict[str, tuple[Group, str]] = {
    "unauthorized": ("request", "401, though the credentials are good"),
    "forbidden": ("request", "403, whatever the permissions"),
    "throttled": ("request", "429 with a Retry-After of `seconds`"),
    "error": ("request", "500"),
    "unavailable": ("request", "503"),
    "reset": ("request", "the connection is cut before the request is carried out"),
    "lost": ("request", "the request is carried out, and the connection cut instead of an answer"),
    "hang": ("request", "no answer while the fault lasts, nor is the request carried out"),
    "slow": ("request", "an answer takes `seconds` longer"),
    "stale": ("request", "lists with resourceVersion=0 show what was there when the fault began"),
    "watch-cut": ("watch", "watches are cut, once each"),
    "watch-stall": ("watch", "watches say nothing while the fault lasts, not even bookmarks"),
    "watch-expired": ("watch", "watches end with an ERROR of 410 Expired"),
    "watch-error": ("watch", "watches end with an ERROR of 500"),
    "watch-doubled": ("watch", "watches tell every event twice"),
    "exec-refused": ("exec", "the kubelet cannot be dialed"),
    "exec-cut": ("exec", "the command runs, and the connection is cut before it says how it ended"),
    "exec-hang": ("exec", "neither runs nor answers while the fault lasts"),
    "apiserver": ("apiserver", "the API server is away"),
    "node": ("node", "the machine is off"),
    "clock": ("node", "the machine's clock is `seconds` ahead (behind, where negative): its logs show it"),
    "exit": ("pod", "running containers exit with code 1, once"),
    "crash": ("pod", "containers that start exit with code 1 at once"),
    "stuck": ("pod", "containers do not start while the fault lasts"),
    "pull": ("pod", "pulls do not end while the fault lasts"),
    "pull-error": ("pod", "pulls fail"),
    "rank-hang": ("training", "ranks stop before the collective, and all others wait there for them"),
    "rank-storage": ("training", "ranks stop in a read that the storage does not answer"),
    "rank-exit": ("training", "ranks end without their container ending, and all others wait for them"),
    "rank-slow": ("training", "ranks need `seconds` more for each step, and all others wait for them"),
    "collective": ("training", "ranks come to the collective, which does not end"),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``at`` is seconds after the beginning, ``lasts`` seconds from there, ``share`` the part of what ``target``
    matches that is hit, from 0 to 1.

    ``target`` is a pattern with ``*``: for requests, watches and exec over "VERB RESOURCE NAMESPACE/NAME" ("patch pods
    default/*", "create pods/exec *"), for nodes over their names, for Pods over "NAMESPACE/NAME". Those of trainings
    (``training/spec.py``) hit Pods, also by a label of their node, "LABEL=VALUE" ("example.com/rack=r1"). ``seconds``
    is the delay of ``slow`` and ``rank-slow``, the Retry-After of ``throttled``, and how far ``clock`` is ahead.

    Raises ValueError for what makes no sense.
    """

    kind: str
    at: float = 0.0
    lasts: float = 30.0
    target: str = "*"
    share: float = 1.0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}: there are {', '.join(KINDS)}")
        for name in ("at", "lasts", "share", "seconds"):
            value = getattr(self, name)
            least = -math.inf if (name, self.kind) == ("seconds", "clock") else 0.0
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not least <= value < math.inf or value == -math.inf:
                raise ValueError(f"{name} of {self.kind!r} is not a number of 0 or more: {value!r}")
        if self.share > 1:
            raise ValueError(f"share of {self.kind!r} is above 1: {self.share!r}")
        if not isinstance(self.target, str):
            raise ValueError(f"target of {self.kind!r} is not a text: {self.target!r}")

    @property
    def group(self) -> Group:
        return KINDS[self.kind][0]


def read(document: Any) -> list[Fault]:
    """The faults of a YAML document: a list of mappings with the fields of ``Fault``. Raises ValueError."""
    if not isinstance(document, list):
        raise ValueError("faults are a list of mappings, each with a kind")
    known = {each.name for each in fields(Fault)}
    found = []
    for number, entry in enumerate(document, 1):
        if not isinstance(entry, Mapping) or "kind" not in entry:
            raise ValueError(f"fault {number} is not a mapping with a kind")
        if strange := sorted(map(str, entry.keys() - known)):
            raise ValueError(f"fault {number} has unknown fields: {', '.join(strange)}; known are {', '.join(known)}")
        found.append(Fault(**entry))
    return found


class Scheduled(NamedTuple):
    """A fault on the clock. ``begins`` and ``ends`` are seconds since the epoch."""

    number: int
    fault: Fault
    begins: float
    ends: float


class Faults:
    """The faults of one cluster. ``seed`` decides what a share hits; the same questions get the same answers."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._random = random.Random(f"{seed} requests")  # noqa: S311 - repeatable, not secret
        self._scheduled: list[Scheduled] = []
        self.versions: dict[int, int] = {}
        """The resourceVersion at which a fault began, by its number."""

    def add(self, fault: Fault, start: float) -> Scheduled:
        """Puts a fault on the clock, counted from ``start``."""
        begins = start + fault.at
        added = Scheduled(len(self._scheduled), fault, begins, begins + fault.lasts)
        self._scheduled.append(added)
        return added

    def get(self, number: int) -> Scheduled:
        return self._scheduled[number]

    def request(self, what: str, now: float) -> Scheduled | None:
        """The fault that hits this request, "VERB RESOURCE NAMESPACE/NAME"."""
        return next((each for each in self._active("request", what, now) if self._hit(each)), None)

    def exec(self, what: str, now: float) -> Scheduled | None:
        return next((each for each in self._active("exec", what, now) if self._hit(each)), None)

    def watch(self, what: str, number: int, now: float) -> Scheduled | None:
        """The fault that hits this watch, the one of that ``number``."""
        return next((each for each in self._active("watch", what, now) if self._chosen(each, str(number))), None)

    def pod(self, kind: str, namespace: str, name: str, now: float) -> Scheduled | None:
        """The fault of this kind that hits a Pod."""
        what = f"{namespace}/{name}"
        active = (each for each in self._active("pod", what, now) if each.fault.kind == kind)
        return next((each for each in active if self._chosen(each, what)), None)

    def trainings(self, namespace: str, name: str, labels: Mapping[str, str], now: float) -> list[Scheduled]:
        """The faults of trainings that hit a Pod whose node has these labels."""
        active = [each for each in self._scheduled if each.begins <= now < each.ends and each.fault.group == "training"]
        return [each for each in active if self.trains(each, namespace, name, labels)]

    def trains(self, scheduled: Scheduled, namespace: str, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a fault of trainings hits a Pod whose node has these labels."""
        what, pattern = f"{namespace}/{name}", scheduled.fault.target
        names = [what, *(f"{label}={value}" for label, value in labels.items())] if "=" in pattern else [what]
        return any(fnmatchcase(each, pattern) for each in names) and self._chosen(scheduled, what)

    def clock(self, node: str, now: float) -> float:
        """How many seconds a node's clock is ahead."""
        active = self._active("node", node, now)
        return sum(each.fault.seconds for each in active if each.fault.kind == "clock" and self._chosen(each, node))

    def chosen(self, scheduled: Scheduled, names: Iterable[str]) -> list[str]:
        """Those of ``names`` (nodes; "NAMESPACE/NAME" of Pods) that a fault hits."""
        pattern = scheduled.fault.target
        return [each for each in names if fnmatchcase(each, pattern) and self._chosen(scheduled, each)]

    def next_edge(self, group: Group, now: float) -> float:
        """When the next fault of the group begins or ends; infinity where none does."""
        mine = (each for each in self._scheduled if each.fault.group == group)
        return min((time for each in mine for time in (each.begins, each.ends) if time > now), default=math.inf)

    def _active(self, group: Group, what: str, now: float) -> Iterator[Scheduled]:
        for each in self._scheduled:
            if each.begins <= now < each.ends and each.fault.group == group and fnmatchcase(what, each.fault.target):
                yield each

    def _hit(self, scheduled: Scheduled) -> bool:
        share = scheduled.fault.share
        return share >= 1 or self._random.random() < share

    def _chosen(self, scheduled: Scheduled, what: str) -> bool:
        """Always the same answer for the same thing, whoever asks and how often."""
        share = scheduled.fault.share
        drawn = random.Random(f"{self._seed} {scheduled.number} {what}").random()  # noqa: S311
        return share >= 1 or drawn < share
