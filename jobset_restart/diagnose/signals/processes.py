"""What the state of the processes and of their container tells."""

from __future__ import annotations

from statistics import median

from jobset_restart.diagnose.signals.registry import THROTTLED, Sight, in_state, oom, signal, throttled, uninterruptible
from jobset_restart.diagnose.stacks import FEW, LEAST_PEERS

DIFFERENT = 0.5
"""So many CPUs more or less than the others use are told."""


@signal("DX301", 0.3, "a process in uninterruptible sleep")
def disk(sight: Sight) -> str:
    """A thread is in state D: it waits for a disk, a network file system or a driver, and not even KILL ends it. Told
    where few Pods have one; where all have, the storage they share is at fault and no Pod."""
    return uninterruptible(sight.seen) if sight.whole.few("disk") else ""


@signal("DX302", 0.3, "a process that ended and was not reaped")
def zombie(sight: Sight) -> str:
    """A process has ended (state Z) and its parent has not taken notice: a rank that died under its launcher, for
    example. Told where few Pods have one."""
    names = in_state(sight.seen, "Z")
    return f"{names[0]} has ended and was not reaped" if names and sight.whole.few("zombie") else ""


@signal("DX303", 0.7, "a process that is stopped", enough=True)
def halted(sight: Sight) -> str:
    """A process is stopped by a signal or a debugger (state T or t) and does nothing until it is continued."""
    names = in_state(sight.seen, "Tt")
    return f"{names[0]} is stopped (by a signal or a debugger)" if names and sight.whole.few("stopped", FEW) else ""


@signal("DX304", 0.3, "the kernel killed something here for want of memory")
def out_of_memory(sight: Sight) -> str:
    """The container's cgroup counts OOM kills: a process other than PID 1 may be gone while the Pod looks well."""
    return f"{oom(sight.seen)} OOM kills in its container" if sight.whole.few("oom") and oom(sight.seen) else ""


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


@signal("DX307", 0.2, "its CPU limit holds it back")
def held_back(sight: Sight) -> str:
    """In at least a quarter of its CPU periods, since it started or between two looks, the kernel made the container
    wait, because it had used what its limit allows (cgroup cpu.stat: nr_throttled of nr_periods), and few others are
    so. A rank that computes more slowly than the others keeps them waiting."""
    share = throttled(sight.seen)
    if share < THROTTLED or not sight.whole.few("throttled"):
        return ""
    return f"its CPU limit held it back in {100 * share:.0f} % of the periods"


@signal("DX308", 0.2, "it uses more or less CPU than the others")
def computes(sight: Sight) -> str:
    """Between two looks its processes used at least half a CPU more, or less, than the median of the other Pods that
    were looked into twice: it computes where they wait, or sleeps where they poll. It supports what the stacks say, and
    tells something where there are none."""
    whole, mine = sight.whole, sight.whole.cores.get(sight.seen.slot)
    others = [used for slot, used in whole.cores.items() if slot != sight.seen.slot]
    if mine is None or len(others) < LEAST_PEERS or abs(mine - median(others)) < DIFFERENT:
        return ""
    return f"it uses {mine:.1f} CPUs, the others {median(others):.1f}"
