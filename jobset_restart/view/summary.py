"""What came of an operation: its phases in numbers, what it spent, and how a recorded one ended."""

from __future__ import annotations

from rich.console import Console

from jobset_restart.commands import jsr
from jobset_restart.progress import Progress
from jobset_restart.view.columns import rows, say
from jobset_restart.view.table import SHOWN, SHOWN_BUDGETS, SHOWN_REASONS
from jobset_restart.view.text import duration, spent
from jobset_restart.workloads.kinds import reference

SHOWN_SLOWEST = 3


def show_summary(console: Console, progress: Progress) -> None:
    """The phases in numbers, the slowest slots, and what was spent."""
    lines = [
        [step, f"{q.count:,}", duration(q.p50), duration(q.p90), duration(q.most)]
        for step, q in progress.quantiles().items()
    ]
    if lines:
        rows(console, ["PHASE", "SLOTS", "P50", "P90", "MAX"], lines)
    slowest = [[s.slot, duration(took), s.node or "-"] for s, took in progress.slowest(SHOWN_SLOWEST)]
    if slowest and progress.total > SHOWN:
        rows(console, ["SLOWEST", "TOOK", "NODE"], slowest)
    if progress.retries:
        say(console, f"requests tried again: {progress.retries:,}")
    for budget in progress.budgets()[:SHOWN_BUDGETS]:
        say(console, f"spent: {spent(budget)}")
    if progress.planned and progress.finished and not progress.detached:
        planned = progress.planned
        name = reference(planned.kind, planned.group, planned.jobset)
        say(console, f"more: {jsr('status', name, planned.namespace, planned.context)}")


def show_end(console: Console, progress: Progress) -> None:
    """How a recorded operation ended, and what did not come back; or that the recording breaks off."""
    for slot in progress.failures(SHOWN):
        say(console, f"failed: {slot.slot} on {slot.node or 'no node'}: {slot.reason}")
    planned, finished, total = progress.planned, progress.finished, progress.total
    name = (
        f"{planned.kind} {planned.namespace}/{planned.jobset}, operation {planned.operation}"
        if planned
        else "operation"
    )
    back = f"{progress.counts['ready']:,}/{total:,} slots were back"
    if finished is not None:
        say(console, f"{name}: exit {finished.exit_code}: {finished.reason or back}")
        return
    left = f"; carry on with: {progress.detached.follow}" if progress.detached else ""
    what = "its client left it" if progress.detached else "the recording ends in the middle"
    say(console, f"{name}: {what} after {duration(progress.elapsed(progress.now))}: {back}{left}")
    for slot in progress.stragglers(SHOWN_REASONS):
        say(
            console,
            f"  {slot.slot} on {slot.node or 'no node'} was {slot.state}{f': {slot.reason}' if slot.reason else ''}",
        )
