"""What the ends of the logs tell."""

from __future__ import annotations

from jobset_restart.diagnose.signals.registry import CLOCK_SLACK, Sight, signal
from jobset_restart.diagnose.stacks import FEW


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
