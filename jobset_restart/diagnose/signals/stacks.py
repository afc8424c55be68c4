"""What it tells where the processes stand."""

from __future__ import annotations

from jobset_restart.diagnose.signals.registry import Sight, shown, signal, stirs, unread, waited_in
from jobset_restart.diagnose.stacks import FEW, ODD


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
    return f"the others wait in {waited_in(sight.whole)}; {many} in {shown(standing.odd[0]) if standing.odd else '?'}"


@signal("DX202", 0.6, "it stands where few others stand", enough=True)
def odd(sight: Sight) -> str:
    """Most Pods have their processes at one place, or at a few that many share, such as stages of a pipeline (the stack
    of the main thread, without lines and numbers; without py-spy, where the kernel has it), and this one has a process
    elsewhere, which is not in a collective. It is told only where such Pods are at most a quarter of all, and not
    where most are in uninterruptible sleep: those wait for no rank, but for what they share. Where steps go on
    or are not to be seen, one that stood elsewhere at a second look does something, and is not told of."""
    standing = sight.standing
    whole = sight.whole
    if standing.behind or standing.missing or not standing.odd or whole.odd > ODD or whole.behind > FEW:
        return ""
    if whole.counts["disk"] > FEW * whole.counts["looked"]:
        return ""
    goes_on = whole.progress.guessed or (standing.by_kernel and whole.progress.advance != "stands")
    if goes_on and stirs(sight.seen):
        return ""
    if whole.missed:
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
    return f"all the others wait in {waited_in(whole)}, and it could not be looked into: {why}"
