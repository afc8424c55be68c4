"""The reasons to suspect a Pod, one small function each.

A signal's id, weight, title and whether it is enough by itself stand in its registration; its full text is the
function's docstring, from which `jsr explain` and the documentation come. A function takes a `Sight` and returns what
exactly was seen, or "" where there is nothing to say. Pure.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from statistics import median

from msgspec import Struct

from jobset_restart.diagnose.observation import Machine, Observation, Progress, Seen, clocks
from jobset_restart.diagnose.processes import Process, alike
from jobset_restart.diagnose.stacks import FEW, ODD, Standing, Standings
from jobset_restart.slots import Slot

CLOCK_SLACK = 10.0
"""Seconds by which one log must have ended before the others to mean something."""
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
            found["disk"] += bool(_disk(seen))
            found["looked"] += seen.look is not None
            found["zombie"] += bool(_in_state(seen, "Z"))
            found["stopped"] += bool(_in_state(seen, "Tt"))
            found["oom"] += bool(_oom(seen))
            found["state"] += bool(seen.state or not seen.ready)
            found["restarts"] += seen.restarts > 0
            found.update({f"event {each.partition(' ')[0]}" for each in _events(self.observation, seen)})
        return dict(found)

    @cached_property
    def clocks(self) -> dict[str, float]:
        return clocks(self.observation)

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


# ---------------------------------------------------------------- silence


@signal("DX101", 0.6, "it stopped printing while others go on", enough=True)
def stopped(sight: Sight) -> str:
    """Most Pods still print new steps and this one does not, for longer than it usually takes. Pods that never print
    steps (every rank but the first, in many programs) are not judged by this."""
    whole, slot = sight.whole, sight.seen.slot
    if slot not in whole.stopped or len(whole.stopped) > FEW * len(whole.progress.silent):
        return ""
    return f"no line for {whole.progress.silent[slot]:.0f} s while others go on"


@signal("DX102", 0.3, "its step is behind the others'", enough=True)
def lags(sight: Sight) -> str:
    """The newest step in its log is lower than that of at least three quarters of the Pods of its group. Ranks that
    wait for one another are at the same step, or one apart: so by itself this says little, and where all are at the
    same step nothing."""
    tail = sight.seen.tail
    steps = sight.whole.steps.get(sight.seen.slot.group)
    if tail is None or tail.step is None or not steps:
        return ""
    ahead = sum(number for step, number in steps.items() if step > tail.step)
    if ahead < 0.75 * steps.total() or steps.total() < 3:
        return ""
    usual = steps.most_common(1)[0][0]
    return f"its last step is {tail.step:,}, the others' {usual:,}"


@signal("DX103", 0.2, "its log ended first")
def first(sight: Sight) -> str:
    """Its last line is at least 10 s older than is usual in its group. Clocks of nodes differ: they are compared
    with the API server's in the containers, or by the steps that ranks print at the same moment."""
    silent = sight.whole.progress.silent.get(sight.seen.slot)
    usual = sight.whole.silence.get(sight.seen.slot.group)
    if silent is None or usual is None or sight.whole.progress.advance == "advances":
        return ""
    if sight.seen.look is None and not sight.whole.clocks and silent - usual < 6 * CLOCK_SLACK:
        return ""
    return f"its last line is {silent - usual:.0f} s older than the others'" if silent - usual >= CLOCK_SLACK else ""


@signal("DX104", 0.5, "its log ends in an error", enough=True)
def complains(sight: Sight) -> str:
    """After its last step its log tells of an error (a traceback, CUDA or NCCL, a signal, want of memory), and those of
    at least three quarters of the Pods do not. Where ranks that wait complain as well, of a time-out, nobody is named
    for it."""
    tail = sight.seen.tail
    return f"its log ends in: {tail.complaint}" if tail and tail.complaint and sight.whole.few("complaint") else ""


# ---------------------------------------------------------------- stacks


@signal("DX201", 0.93, "it does not wait where the others wait for it", enough=True)
def awaited(sight: Sight) -> str:
    """Most Pods stand in a collective operation (all_reduce, broadcast, barrier ... of torch.distributed, NCCL, Gloo,
    MPI, Horovod, JAX), which ends only when every rank has come; this one has a rank that is elsewhere, or that is
    gone. That is the one the others wait for. It is told only where those elsewhere are at most half of all."""
    standing = sight.standing
    if sight.whole.behind > FEW or not (standing.behind or standing.missing):
        return ""
    if not standing.behind:
        return "the program the others run is gone here"
    many = f"{standing.behind} of its ranks are" if standing.behind > 1 else "it is"
    return f"the others wait in {_waited_in(sight.whole)}; {many} in {shown(standing.odd[0]) if standing.odd else '?'}"


@signal("DX202", 0.6, "it stands where few others stand", enough=True)
def odd(sight: Sight) -> str:
    """Most Pods have their processes at one place, or at a few that many share, such as stages of a pipeline (the stack
    of the main thread, without lines and numbers; without py-spy, where the kernel has it), and this one has a process
    elsewhere, which is not in a collective. It is told only where such Pods are at most a quarter of all, and not
    where most are in uninterruptible sleep: those wait for no rank, but for what they share."""
    standing = sight.standing
    whole = sight.whole
    if standing.behind or standing.missing or not standing.odd or whole.odd > ODD or whole.behind > FEW:
        return ""
    if whole.counts["disk"] > FEW * whole.counts["looked"]:
        return ""
    if any(each.behind for each in sight.whole.standings.of.values()):
        return ""
    how = "by the kernel, " if standing.by_kernel else ""
    return f"{how}it stands in {shown(standing.odd[0])}, as few others do"


@signal("DX203", 0.4, "all others wait, and it cannot be looked into", enough=True)
def eliminated(sight: Sight) -> str:
    """Every Pod that could be looked into waits in a collective operation; so whoever they wait for is among the few
    that could not."""
    whole = sight.whole
    if not whole.standings.all_wait or not whole.few("unlooked") or not unread(sight.seen, whole.standings):
        return ""
    processes = sight.seen.look.processes if sight.seen.look else []
    why = sight.seen.look_error or next((p.error for p in processes if p.error), "nothing is known of it")
    return f"all the others wait in {_waited_in(whole)}, and it could not be looked into: {why}"


# ---------------------------------------------------------------- processes


@signal("DX301", 0.3, "a process in uninterruptible sleep")
def disk(sight: Sight) -> str:
    """A thread is in state D: it waits for a disk, a network file system or a driver, and not even KILL ends it. Told
    where few Pods have one; where all have, the storage they share is at fault and no Pod."""
    return _disk(sight.seen) if sight.whole.few("disk") else ""


@signal("DX302", 0.3, "a process that ended and was not reaped")
def zombie(sight: Sight) -> str:
    """A process has ended (state Z) and its parent has not taken notice: a rank that died under its launcher, for
    example. Told where few Pods have one."""
    names = _in_state(sight.seen, "Z")
    return f"{names[0]} has ended and was not reaped" if names and sight.whole.few("zombie") else ""


@signal("DX303", 0.7, "a process that is stopped", enough=True)
def halted(sight: Sight) -> str:
    """A process is stopped by a signal or a debugger (state T or t) and does nothing until it is continued."""
    names = _in_state(sight.seen, "Tt")
    return f"{names[0]} is stopped (by a signal or a debugger)" if names and sight.whole.few("stopped", FEW) else ""


@signal("DX304", 0.3, "the kernel killed something here for want of memory")
def out_of_memory(sight: Sight) -> str:
    """The container's cgroup counts OOM kills: a process other than PID 1 may be gone while the Pod looks well."""
    return f"{_oom(sight.seen)} OOM kills in its container" if sight.whole.few("oom") and _oom(sight.seen) else ""


@signal("DX305", 0.5, "its container does not run, or the Pod is not Ready", enough=True)
def not_running(sight: Sight) -> str:
    """The slot has no running container, or its Pod is not Ready, while at most half of all are so."""
    seen = sight.seen
    if not sight.whole.few("state", FEW) or not (seen.state or not seen.ready):
        return ""
    return seen.state or "the Pod is not Ready"


@signal("DX306", 0.0, "its container was restarted")
def restarted(sight: Sight) -> str:
    """Its container has been restarted and those of most others have not. It is context and no suspicion: a container
    that came back a minute ago is not slower for it."""
    seen = sight.seen
    if not seen.restarts or not sight.whole.few("restarts"):
        return ""
    since = f", the last time {seen.tail_at - seen.started:.0f} s ago" if seen.started and seen.tail_at else ""
    return f"restarted {seen.restarts} times{since}" if seen.restarts > 1 else f"restarted once{since}"


# ---------------------------------------------------------------- machines


@signal("DX401", 0.7, "its node is not Ready", enough=True)
def node_not_ready(sight: Sight) -> str:
    """The kubelet of its node does not report, or the Node is gone. The containers may run on, or not."""
    machine, machines = sight.machine, sight.whole.observation.machines
    if machines is None or not sight.seen.node:
        return ""
    bad = sum(
        1 for s in sight.whole.slots.values() if s.node and (s.node not in machines or machines[s.node].not_ready)
    )
    if bad > FEW * len(sight.whole.slots):
        return ""
    if machine is None:
        return f"node {sight.seen.node} is gone"
    return f"node {machine.name} is not Ready: {machine.not_ready}" if machine.not_ready else ""


@signal("DX402", 0.3, "its node reports a problem")
def node_problem(sight: Sight) -> str:
    """A condition of its Node says so: memory, disk or PID pressure, no network, or a condition that a tool such as
    node-problem-detector sets (XID, ECC, NIC ...)."""
    problems = _of(sight, "problems")
    return f"node {sight.seen.node}: {', '.join(problems[:3])}" if problems else ""


@signal("DX403", 0.1, "its node is tainted or cordoned")
def node_tainted(sight: Sight) -> str:
    """Somebody or something has taken the node out of use: a taint that few of the other nodes have."""
    taints = _of(sight, "taints")
    return f"node {sight.seen.node} has {', '.join(taints[:3])}" if taints else ""


@signal("DX404", 0.15, "Warnings of the last hour")
def warned(sight: Sight) -> str:
    """Events of type Warning of the last hour on the Pod or its Node, such as failed probes, of a reason that at most
    a quarter of the Pods have Events of."""
    whole = sight.whole
    said = [each for each in _events(whole.observation, sight.seen) if whole.few(f"event {each.partition(' ')[0]}")]
    return "; ".join(said[:2])


@signal("DX405", 0.4, "nothing answers in its container", enough=True)
def unreachable(sight: Sight) -> str:
    """The command that looks into a container did not come back from this one in time, and from most others it did: the
    kubelet or the container runtime of its node hangs, or the container's processes cannot be started."""
    if not sight.seen.unreachable or not sight.whole.few("unreachable"):
        return ""
    return f"no answer from its container: {sight.seen.look_error}"


# ---------------------------------------------------------------- words


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


def shown(process: Process) -> str:
    """Where a process stands, in a few words."""
    if process.stack:
        return " < ".join(process.stack[:SHOWN_FRAMES])
    state = {"D": "uninterruptible sleep", "S": "sleep", "R": "running", "T": "stopped"}.get(
        process.state, process.state
    )
    where = f" in {process.wchan}" if process.wchan else ""
    return f"{process.name} ({state}{where})"


def _waited_in(whole: Whole) -> str:
    group = next((group for group in whole.standings.groups if group.waiting), None)
    return group.stack[0].partition(" (")[0] if group else "a collective operation"


def _disk(seen: Seen) -> str:
    for process in seen.look.processes if seen.look else ():
        if process.state == "D" or process.stuck:
            where = f" in {process.wchan}" if process.wchan and process.state == "D" else ""
            return f"{(process.stuck or [process.name])[0]} is in uninterruptible sleep{where}"
    return ""


def _in_state(seen: Seen, states: str) -> list[str]:
    return [p.name for p in (seen.look.processes if seen.look else ()) if p.state and p.state in states]


def _oom(seen: Seen) -> int:
    return seen.look.cgroup.get("oom_kill", 0) if seen.look else 0


def _events(observation: Observation, seen: Seen) -> list[str]:
    found = observation.events
    return list(dict.fromkeys([*found.get(("Pod", seen.pod), ()), *found.get(("Node", seen.node), ())]))


def _of(sight: Sight, what: str) -> list[str]:
    """What this node says and at most a quarter of the nodes do."""
    machines = sight.whole.observation.machines
    if not machines or sight.machine is None:
        return []
    mine: list[str] = getattr(sight.machine, what)
    counts = Counter(each for machine in machines.values() for each in getattr(machine, what))
    return [each for each in mine if counts[each] <= max(1.0, ODD * len(machines)) and len(machines) > 1]
