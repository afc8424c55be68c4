"""The last restarts of a workload, one a line, the newest first; and each at length."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from jobset_restart.report.history import HistoryReport, PastRestartReport
from jobset_restart.view.columns import headed, rows, say
from jobset_restart.view.text import counted, downtime, duration, outcomes, spent


def show_history(console: Console, report: HistoryReport, *, wide: bool = False) -> None:
    """A line for each restart; `wide` says of each what was asked for, its rounds, and what it cost."""
    kept = f"the last {counted(len(report.items), 'restart')}" if report.items else "no restart is recorded"
    say(console, headed(report, report.name).append(kept))
    for note in report.notes:
        say(console, f"  {note}")
    if not report.items:
        return
    priced = any(each.gpu_cost is not None for each in report.items)
    header = ["STARTED", "OPERATION", "HOW", "STATE", "TOOK", "POD-SECONDS", *(["GPU COST"] if priced else [])]
    lines = [_line(each, priced=priced) for each in report.items]
    rows(console, [*header, "BY", "OUTCOME"], lines, optional=["POD-SECONDS", "BY"])
    for each in report.items if wide else ():
        _show_details(console, each)


def _line(entry: PastRestartReport, *, priced: bool) -> Sequence[str]:
    tried = dict.fromkeys([*(each.trigger for each in entry.rounds), entry.trigger])
    return [
        f"{entry.started[:19].replace('T', ' ')}Z" if entry.started else "-",
        entry.operation,
        ", then ".join(filter(None, tried)) or "-",
        entry.state or "-",
        duration(entry.seconds),
        f"{entry.pod_seconds:,.0f}" if entry.pod_seconds else "-",
        *([f"{entry.gpu_cost or 0:,.2f}"] if priced else []),
        entry.owner.partition(" (")[0] or "-",
        _outcome(entry),
    ]


def _outcome(entry: PastRestartReport) -> str:
    """ "exit 4: 3 restarted, 1 failed"; of one that was not seen to its end, what is known."""
    if entry.exit_code is not None:
        counts = f": {outcomes(entry.outcomes)}" if entry.outcomes else ""
        return f"exit {entry.exit_code}{counts}"
    if entry.state == "lapsed":
        return f"its client died; {counted(entry.slots, 'slot')}"
    return f"{entry.reason or counted(entry.slots, 'slot')}"


def _show_details(console: Console, entry: PastRestartReport) -> None:
    console.print()
    say(console, f"{entry.operation} by {entry.owner or 'somebody unknown'}: {entry.asked or 'as the plan chose'}")
    scope = f": {', '.join(entry.scope)}" if entry.scope else ""
    say(console, f"  slots:   {entry.slots:,}{scope}")
    if entry.ended:
        say(console, f"  {'ended' if entry.state == 'finished' else 'last heard of'}: {entry.ended}")
    for each in entry.rounds:
        how = f"round {each.round}, {each.strategy} by {each.trigger}"
        say(console, f"  {how}: {outcomes(each.outcomes)} in {duration(each.seconds)}: {each.reason}")
    for budget in entry.budgets:
        say(console, f"  spent:   {spent(budget)}")
    if entry.pod_seconds:
        say(console, f"  down:    {downtime(entry.pod_seconds, entry.resource_seconds, entry.gpu_cost)}")
    if entry.reason:
        say(console, f"  said:    {entry.reason}")
