"""How signals are registered, and what one of them sees: a slot among all.

A signal's id, weight, title and whether it is enough by itself stand in its registration; its full text is the
function's docstring, from which `jsr explain` and the documentation come. A function takes a `Sight` and returns what
exactly was seen, or "" where there is nothing to say. Pure.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from statistics import median

from msgspec import Struct

from jobset_restart.diagnose.observation import Machine, Observation, Progress, Seen, clocks
from jobset_restart.diagnose.processes import Process, alike
from jobset_restart.diagnose.stacks import ODD, RUNNING, Standing, Standings, place
from jobset_restart.slots import Slot

CLOCK_SLACK = 10.0
"""Seconds by which one log must have ended before the others to mean something."""
CAME_LATER = 20.0
"""Seconds between the last step and a container's start from which on it has nothing to do with it."""
LEAST_PERIODS = 8
"""A period is 0.1 s."""
_PERIODS, _THROTTLED = "nr_periods", "nr_throttled"
THROTTLED = 0.25
LATE = 25.0
"""Seconds after which a kubelet has failed to renew its Lease twice (kubelet, nodeLeaseRenewIntervalFraction: a quarter
of 40 s)."""
LEAST_APART = 0.5
"""Seconds between two looks that tell how much CPU was used: it is counted in hundredths."""
SHOWN_FRAMES = 3


class Whole:
    """Everything that was seen, and what is worked out of it once for all slots."""

    def __init__(self, observation: Observation, progress: Progress, standings: Standings) -> None:
        self.observation, self.progress, self.standings = observation, progress, standings
        self.stopped = frozenset(progress.stopped)

    @property
    def slots(self) -> dict[Slot, Seen]:
        return self.observation.slots

    @cached_property
    def steps(self) -> dict[str, Counter[int]]:
        """By group, how many Pods had which step last."""
        found: dict[str, Counter[int]] = {}
        for slot, seen in self.slots.items():
            if seen.tail and seen.tail.step is not None:
                found.setdefault(slot.group, Counter())[seen.tail.step] += 1
        return found

    @cached_property
    def silence(self) -> dict[str, float]:
        """By group, the usual seconds since the last line."""
        found: dict[str, list[float]] = {}
        for slot, seconds in self.progress.silent.items():
            found.setdefault(slot.group, []).append(seconds)
        return {group: median(values) for group, values in found.items() if len(values) > 2}

    @cached_property
    def behind(self) -> float:
        """The share of the Pods that do not wait where others do."""
        return self._share(lambda standing: bool(standing.behind or standing.missing))

    @cached_property
    def odd(self) -> float:
        """The share of the Pods with a process at a place of its own."""
        return self._share(lambda standing: bool(standing.odd))

    @cached_property
    def missed(self) -> bool:
        """Whether a Pod does not wait where the others do, and may be the reason."""
        behind = (slot for slot, standing in self.standings.of.items() if standing.behind)
        return any(not came_later(self, self.slots[slot]) for slot in behind)

    @cached_property
    def cores(self) -> dict[Slot, float]:
        """How many CPUs the Pods use that were looked into twice."""
        return {slot: used for slot, seen in self.slots.items() if (used := cores(seen)) is not None}

    def _share(self, wanted: Callable[[Standing], bool]) -> float:
        """Of the Pods that were looked into."""
        all_ = self.standings.of.values()
        return sum(1 for each in all_ if wanted(each)) / len(all_) if all_ else 0.0

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many Pods have what is a reason only where few have it."""
        found = Counter[str]()
        for seen in self.slots.values():
            found["unlooked"] += unread(seen, self.standings)
            found["unreachable"] += seen.unreachable
            found["complaint"] += bool(seen.tail and seen.tail.complaint)
            found["disk"] += bool(uninterruptible(seen))
            found["looked"] += seen.look is not None
            found["zombie"] += bool(in_state(seen, "Z"))
            found["stopped"] += bool(in_state(seen, "Tt"))
            found["throttled"] += throttled(seen) >= THROTTLED
            found["oom"] += bool(oom(seen))
            found["state"] += bool(seen.state or not seen.ready)
            found["restarts"] += seen.restarts > 0
            found.update({f"event {each.partition(' ')[0]}" for each in events(self.observation, seen)})
        return dict(found)

    @cached_property
    def clocks(self) -> dict[str, float]:
        return clocks(self.observation)

    @property
    def machines(self) -> dict[str, Machine]:
        return self.observation.machines or {}

    @cached_property
    def unready(self) -> int:
        """How many Pods are on a Node that is not Ready, or gone."""
        nodes = (seen.node for seen in self.slots.values() if seen.node)
        return sum(1 for node in nodes if node not in self.machines or self.machines[node].not_ready)

    @cached_property
    def late(self) -> dict[str, float]:
        """The Nodes whose kubelets are late, and by how many seconds. A kubelet writes the time by the clock of its
        node."""
        ages = {n: m.lease_age + self.clocks.get(n, 0.0) for n, m in self.machines.items() if m.lease_age is not None}
        return {name: age for name, age in ages.items() if age >= LATE}

    @cached_property
    def told_of_machines(self) -> dict[str, Counter[str]]:
        """How many Nodes have each of the problems and taints that there are."""
        every = self.machines.values()
        return {what: Counter(each for m in every for each in getattr(m, what)) for what in ("problems", "taints")}

    def few(self, what: str, share: float = ODD) -> bool:
        """Whether so few Pods have it that it tells them from the others."""
        return 0 < self.counts[what] <= max(1.0, share * len(self.slots)) and self.counts[what] < len(self.slots)


class Sight(Struct, frozen=True):
    """One slot among all."""

    whole: Whole
    seen: Seen

    @property
    def standing(self) -> Standing:
        return self.whole.standings.of.get(self.seen.slot) or Standing()

    @property
    def machine(self) -> Machine | None:
        return (self.whole.observation.machines or {}).get(self.seen.node)


Check = Callable[[Sight], str]


class Signal(Struct, frozen=True, kw_only=True):
    """One registered signal. `weight` (0 to 1) is how much it speaks for the Pod; `enough` tells that it makes a
    suspect by itself, where the others only support one."""

    id: str
    weight: float
    title: str
    enough: bool
    check: Check

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.check.__doc__ or "")


SIGNALS: dict[str, Signal] = {}


def signal(id: str, weight: float, title: str, *, enough: bool = False) -> Callable[[Check], Check]:  # noqa: A002
    """Registers a signal under its stable id."""

    def register(check: Check) -> Check:
        if id in SIGNALS:
            raise ValueError(f"there are two signals {id}")
        SIGNALS[id] = Signal(id=id, weight=weight, title=title, enough=enough, check=check)
        return check

    return register


# ---------------------------------------------------------------- what was seen of a Pod


def unread(seen: Seen, standings: Standings) -> bool:
    """Whether it should have ranks, and where these stand could not be told. A driver that runs something else has
    none."""
    if seen.slot.group not in standings.groups_waiting:
        return False
    if seen.look is None:
        return True
    mine = standings.of.get(seen.slot) or Standing()
    ranks = [p for p in seen.look.processes if alike((p.name,))[0] in standings.ranks]
    return not (mine.waiting or mine.odd or mine.missing) and any(not p.stack for p in ranks)


def stirs(seen: Seen) -> bool | None:
    """Whether its processes stood elsewhere at the second look. None where there was none, or where both times the
    kernel only tells that they compute."""
    if seen.look is None or seen.again is None:
        return None
    before, after = ([place(process) for process in look.processes] for look in (seen.look, seen.again))
    return None if before == after and set(after) == {RUNNING} else before != after


def shown(process: Process) -> str:
    """Where a process stands, in a few words."""
    if process.stack:
        return " < ".join(process.stack[:SHOWN_FRAMES])
    state = {"D": "uninterruptible sleep", "S": "sleep", "R": "running", "T": "stopped"}.get(
        process.state, process.state
    )
    where = f" in {process.wchan}" if process.wchan else ""
    return f"{process.name} ({state}{where})"


def came_later(whole: Whole, seen: Seen) -> bool:
    """Whether its container started well after the standstill began: it cannot be the cause. One that started as it
    began may well have crashed then."""
    going = whole.progress
    if going.advance != "stands" or going.since is None or seen.started is None:
        return False
    return seen.started - whole.clocks.get(seen.node, 0.0) > going.since + CAME_LATER


def throttled(seen: Seen) -> float:
    """The share of the CPU periods of its container in which it was held back: between two looks, or since it
    started, whichever is more."""
    first, last = (look.cgroup if look else {} for look in (seen.look, seen.again))
    between = {name: last.get(name, 0) - first.get(name, 0) for name in (_PERIODS, _THROTTLED)}
    return max((_share(each) for each in (first, between)), default=0.0)


def _share(counts: Mapping[str, int]) -> float:
    return counts.get(_THROTTLED, 0) / counts[_PERIODS] if counts.get(_PERIODS, 0) >= LEAST_PERIODS else 0.0


def cores(seen: Seen) -> float | None:
    """How many CPUs its processes used between two looks; None where there were not two, or too soon after another."""
    if seen.look is None or seen.again is None:
        return None
    seconds = seen.again.uptime - seen.look.uptime
    before = {process.pid: process.cpu for process in seen.look.processes}
    used = [p.cpu - before[p.pid] for p in seen.again.processes if p.cpu >= before.get(p.pid, p.cpu + 1)]
    return sum(used) / seconds if seconds >= LEAST_APART and used else None


def waited_in(whole: Whole) -> str:
    group = next((group for group in whole.standings.groups if group.waiting), None)
    return group.stack[0].partition(" (")[0] if group else "a collective operation"


def uninterruptible(seen: Seen) -> str:
    for process in seen.look.processes if seen.look else ():
        if process.state == "D" or process.stuck:
            where = f" in {process.wchan}" if process.wchan and process.state == "D" else ""
            return f"{(process.stuck or [process.name])[0]} is in uninterruptible sleep{where}"
    return ""


def in_state(seen: Seen, states: str) -> list[str]:
    return [p.name for p in (seen.look.processes if seen.look else ()) if p.state and p.state in states]


def oom(seen: Seen) -> int:
    return seen.look.cgroup.get("oom_kill", 0) if seen.look else 0


def events(observation: Observation, seen: Seen) -> list[str]:
    found = observation.events
    return list(dict.fromkeys([*found.get(("Pod", seen.pod), ()), *found.get(("Node", seen.node), ())]))
