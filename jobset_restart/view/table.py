"""Reports as text for people: columns as kubectl prints them, the important first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from jobset_restart.commands import jsr
from jobset_restart.harmless import plain
from jobset_restart.report import (
    Advice,
    FindingReport,
    JobSetReport,
    JobSetReportList,
    NotReadyReport,
    OperationReport,
    PlanReport,
    Report,
    ResultReport,
    RungReport,
)
from jobset_restart.scheduling import OUT_OF_SERVICE
from jobset_restart.view.capture import was_captured, would_capture
from jobset_restart.view.columns import COLOURS, headed, rows, say
from jobset_restart.view.text import clipped, counted, doing, downtime, duration, expected, outcomes, spent
from jobset_restart.workloads.kinds import JOB, JOBSET, reference, title

SHOWN = 20
SHOWN_ACTIONS = 3
SHOWN_BUDGETS = 5
SHOWN_REASONS = 5
FINISHES = "JSR108"
"""The finding that says what becomes of an operation that left the JobSet suspended."""
MEANT = "JSR510"
"""The finding that says that something else is restarted than what was named."""


# ---------------------------------------------------------------- status


def show_status(console: Console, report: Report, *, wide: bool = False, namespaces: bool = False) -> None:
    """A JobSetReport, or a JobSetReportList as one line each."""
    if isinstance(report, JobSetReportList):
        _show_list(console, report, wide=wide, namespaces=namespaces)
    elif isinstance(report, JobSetReport):
        _show_one(console, report, wide=wide)


def _show_list(console: Console, report: JobSetReportList, *, wide: bool, namespaces: bool) -> None:
    where = f"namespace {report.namespace}" if report.namespace else "all namespaces"
    say(console, Text(plain(f"context {report.context}, {where}" if report.context else where), "dim"))
    for note in report.notes:
        say(console, note)
    if not report.items:
        say(console, "no workloads found")
        return
    kinds = len({(item.workload_kind, item.workload_group) for item in report.items}) > 1
    first = (["NAMESPACE"] if namespaces else []) + (["KIND"] if kinds else [])
    header = [*first, "NAME", "READY", "STATE", "RESTARTS", "IN-PLACE", "AGE", "LAST RESTART"]
    header += ["STRATEGY", "GROUPS" if kinds else "REPLICATED JOBS"] if wide else []
    lines = []
    for item in report.items:
        line = (
            ([item.namespace] if namespaces else [])
            + ([title(item.workload_kind, item.workload_group)] if kinds else [])
            + [item.name]
        )
        lines.append(line + _line(item, wide=wide, columns=len(header) - len(line)))
    rows(console, header, lines, optional=[] if wide else ["IN-PLACE", "LAST RESTART"])


def _line(item: JobSetReport, *, wide: bool, columns: int) -> list[str]:
    """What follows the name. What cannot be read is a row of dashes that ends in what is wrong."""
    if item.state == "Unreadable":
        return ["-", item.state, *["-"] * (columns - 3), "; ".join(item.notes)]
    line = [
        f"{item.ready:,}/{item.expected:,}",
        item.state,
        f"{item.restarts_towards_max}/{item.max_restarts}" if counted_by_jobset(item) else "-",
        "-" if item.current_in_place_attempt is None else str(item.current_in_place_attempt),
        duration(item.age),
        _short_operation(item.operation),
    ]
    if wide:
        groups = ", ".join(f"{r.name} {r.ready:,}/{r.expected:,}" for r in item.replicated_jobs)
        line += [item.restart_strategy or "-", groups]
    return line


def counted_by_jobset(report: JobSetReport) -> bool:
    """Whether there is a JobSet that counts restarts."""
    return report.workload_kind == JOBSET.kind or report.max_restarts > 0


def _short_operation(operation: OperationReport | None) -> str:
    if operation is None:
        return "-"
    if operation.state == "finished":
        return f"{operation.trigger}, exit {operation.exit_code}"
    return f"{operation.trigger}, {operation.state}"


def _show_one(console: Console, report: JobSetReport, *, wide: bool) -> None:
    head = headed(report, report.name)
    head.append(report.state, COLOURS.get(report.state, ""))
    head.append(f", {report.ready:,}/{report.expected:,} Pods ready, age {duration(report.age)}")
    say(console, head)
    for note in report.notes:
        say(console, f"  {note}")
    _show_operation(console, report.operation)
    _show_left(console, report.operation)
    console.print()
    _show_groups(console, report)
    console.print()
    _show_restarts(console, report)
    _show_not_ready(console, report.not_ready, wide=wide)
    _show_budgets(console, report, wide=wide)
    if report.advice:
        _show_advice(console, report.advice)


def _show_groups(console: Console, report: JobSetReport) -> None:
    """Completions are counted where Jobs run the Pods, and Jobs where the workload is none itself."""
    header = ["REPLICATED JOB" if report.workload_kind == JOBSET.kind else "GROUP", "READY"]
    jobs = any(r.expected_jobs or r.jobs for r in report.replicated_jobs)
    several = jobs and (report.workload_kind, report.workload_group) != (JOB.kind, JOB.group)
    header += (["JOBS"] if several else []) + (["COMPLETE"] if jobs else [])
    lines = []
    for r in report.replicated_jobs:
        line = [r.name, f"{r.ready:,}/{r.expected:,}"]
        line += [f"{r.jobs:,}/{r.expected_jobs:,}"] if several else []
        line += [f"{r.succeeded:,}"] if jobs else []
        lines.append([*line, f"{r.container_restarts:,}", f"{r.nodes:,}"])
    rows(console, [*header, "CONTAINER RESTARTS", "NODES"], lines)


def _show_restarts(console: Console, report: JobSetReport) -> None:
    if not counted_by_jobset(report):
        say(console, f"Restarts: containers {report.container_restarts:,}")
        return
    text = f"Restarts: JobSet {report.restarts} ({report.restarts_towards_max} of {report.max_restarts} towards max)"
    if report.current_in_place_attempt is not None:
        previous = "none" if report.previous_in_place_attempt is None else report.previous_in_place_attempt
        text += f"; in-place attempt {report.current_in_place_attempt} (previous {previous})"
    say(console, f"{text}; containers {report.container_restarts:,}")


def _show_operation(console: Console, operation: OperationReport | None) -> None:
    if operation is None:
        return
    turn = f", round {operation.round}" if operation.round > 1 else ""
    what = f"{operation.strategy} by {operation.trigger}{turn}, operation {operation.id} of {operation.owner}"
    if operation.state == "finished":
        came = outcomes(operation.outcomes) if operation.outcomes else ""
        say(console, f"  last restart: {what}: exit {operation.exit_code} at {operation.ended}: {came}")
        if operation.exit_code:
            say(console, f"  it said: {operation.reason}")
        return
    say(console, f"  restart {operation.state}: {what}, since {operation.started}, until {operation.deadline}")
    back = f"{operation.done:,}/{operation.total:,} slots back"
    moving = operation.phase and operation.done < operation.total
    say(console, f"  {back}{', ' + operation.phase if moving else ''}")


def _show_left(console: Console, operation: OperationReport | None) -> None:
    if operation is None:
        return
    for row in operation.replaced[:SHOWN]:
        where = row.node if row.node and row.node != row.previous_node else "not there yet"
        say(console, f"  leaves its node: {row.slot}: {row.previous_node} -> {where}")
    for node in operation.cordoned:
        say(console, f"  cordoned for it: {node} (`kubectl uncordon {node}` when it is fit again)")


def _show_not_ready(console: Console, slots: list[NotReadyReport], *, wide: bool) -> None:
    if not slots:
        return
    console.print()
    if len(slots) > SHOWN_REASONS:
        reasons = Counter(_why(row) for row in slots).most_common()
        named = [f"{number:,} {reason}" for reason, number in reasons[:SHOWN_REASONS]]
        others = sum(number for _, number in reasons[SHOWN_REASONS:])
        say(console, f"Not ready: {', '.join([*named, *([f'{others:,} for other reasons'] if others else [])])}")
    shown = slots if wide else slots[:SHOWN]
    rows(
        console,
        ["NOT READY", "POD", "NODE", "STATE", "FOR", "RESTARTS", "REASON"],
        [
            [
                row.slot,
                row.pod or "-",
                row.node or "-",
                row.state,
                duration(row.age),
                str(row.restarts),
                _reason(row),
            ]
            for row in shown
        ],
        optional=[] if wide else ["POD", "RESTARTS"],
    )
    if len(shown) < len(slots):
        say(console, f"and {len(slots) - len(shown):,} more; -o wide shows all")


def _why(row: NotReadyReport) -> str:
    return f"{row.container}: {row.reason}" if row.container else row.reason or row.state


def _reason(row: NotReadyReport) -> str:
    text = f"{row.container}: {row.reason}" if row.container else row.reason or "-"
    if row.back_off is not None:
        text += f", {duration(row.back_off)} left"
    message = row.message if len(row.message) <= 80 else row.message[:79] + "…"
    return f"{text} ({message})" if message and row.back_off is None else text


def _show_budgets(console: Console, report: JobSetReport, *, wide: bool) -> None:
    if not report.budgets:
        return
    console.print()
    shown = report.budgets if wide else report.budgets[:SHOWN_BUDGETS]
    rows(
        console,
        ["BUDGET", "USED", "HEADROOM", "MEANING"],
        [[b.name, f"{b.used:,}/{b.limit:,}", f"{b.headroom:,}", b.meaning] for b in shown],
        optional=[] if wide else ["MEANING"],
    )
    if len(shown) < len(report.budgets):
        say(console, f"and {len(report.budgets) - len(shown):,} more with as much headroom or more; -o wide shows all")


def _show_advice(console: Console, advice: Advice) -> None:
    console.print()
    text = Text(f"{advice.command} would ", "bold")
    if advice.trigger:
        text.append(f"{doing(advice.strategy, counted(advice.slots, 'slot'))} by ")
        text.append(advice.trigger, "bold cyan")
        text.append(f" ({counted(advice.writes, 'write')}, {_expected(advice)}): {plain(advice.reason)}")
    else:
        text.append(f"be {plain(advice.reason)}")
    say(console, text)
    if advice.follow:
        say(console, f"  {'or carry on what was left unfinished' if advice.trigger else 'follow it'}: {advice.follow}")
    show_findings(console, (finding for finding in advice.findings if finding.id != MEANT))  # a note has said so


def _expected(report: Advice | PlanReport) -> str:
    return expected(report.prediction)


# ---------------------------------------------------------------- plan


def show_findings(console: Console, findings: Iterable[FindingReport], *, verbose: bool = False) -> None:
    """The findings, blockers first, each with what to do."""
    for finding in findings:
        if finding.severity == "note" and finding.id != MEANT and not verbose:
            continue
        line = Text("  ")
        line.append(f"{finding.id} {finding.severity}", COLOURS[finding.severity])
        line.append(f"{' (allowed)' if finding.allowed else ''}: {plain(finding.summary)}")
        if finding.objects and (verbose or len(finding.objects) <= 3):
            line.append(f" [{plain(', '.join(finding.objects[: None if verbose else 3]))}]", "dim")
        say(console, line)
        for todo in finding.todo.splitlines():
            say(console, f"    {todo}")


def show_unfinished(console: Console, plan: PlanReport) -> None:
    """What another client began and did not see to its end, and what this restart makes of it."""
    before = plan.unfinished
    if before is None:
        return
    who = f"operation {before.id} of {before.owner} ({before.strategy} by {before.trigger}, begun {before.started})"
    gone = "its client is gone" if before.state == "lapsed" else "its client left it"
    say(console, f"  unfinished: {who}: {gone}, {before.done:,} of {before.total:,} slots are back")
    if any(finding.id == FINISHES for finding in plan.findings):
        return
    name = reference(plan.workload_kind, plan.workload_group, plan.jobset)
    carry_on = jsr("restart", name, plan.namespace, plan.context, "--resume", before.id)
    say(console, f"    this restart begins anew with every slot in scope; to carry that one on instead: {carry_on}")


def show_plan(console: Console, plan: PlanReport, *, wide: bool = False, actions: bool = True) -> None:
    """What would be done and why, what it costs and what it leaves; with `actions`, what would be sent."""
    head = headed(plan, plan.jobset)
    if plan.refused:
        head.append("refused", "bold red")
    else:
        slots = sum(number for trigger, number in plan.by_trigger.items() if trigger != "left alone")
        head.append(f"{doing(plan.strategy, counted(slots, 'slot'))} by ")
        head.append(plan.trigger, "bold cyan")
        head.append(f", {counted(plan.writes, 'write')}, {_expected(plan)}")
    say(console, head)
    say(console, f"  {plan.reason}")
    if plan.prediction.grounds:
        say(console, f"  predicted from: {'; '.join(plan.prediction.grounds)}")
    show_unfinished(console, plan)
    show_findings(console, plan.findings, verbose=wide)
    if plan.refused:
        return
    counts = ", ".join(f"{number:,} {trigger}" for trigger, number in plan.by_trigger.items())
    say(console, f"  slots:    {counts}")
    say(console, f"  survives: {', '.join(plan.survives)}")
    say(console, f"  lost:     {', '.join(plan.lost)}")
    if plan.predicted_resource_seconds:
        devices = downtime(plan.predicted_pod_seconds, plan.predicted_resource_seconds, plan.predicted_gpu_cost)
        say(console, f"  down:     about {devices}")
    for budget in plan.budgets[:SHOWN_BUDGETS]:
        say(console, f"  spends:   {spent(budget)}")
    if len(plan.budgets) > SHOWN_BUDGETS:
        say(console, f"            and {len(plan.budgets) - SHOWN_BUDGETS:,} more")
    for rung in plan.escalation:
        say(console, f"  may go on: {_rung(rung)}")
    for line in would_capture(plan.capture):
        say(console, line)
    if actions:
        _show_actions(console, plan.actions, wide=wide)
    if wide:
        console.print()
        lines = [[s.slot, s.pod or "-", s.node or "-", s.trigger or "-", s.reason] for s in plan.slots]
        rows(console, ["SLOT", "POD", "NODE", "TRIGGER", "REASON"], lines)
    if plan.server_dry_run:
        say(console, f"  server:   {plan.server_dry_run}")


def _rung(rung: RungReport) -> str:
    """A rung that may follow, and the worst it could cost."""
    what = f"--escalate {rung.rung}, for what does not come back"
    if rung.refused:
        return f"{what}: would be skipped, {rung.refused}"
    spends = list(map(spent, rung.budgets[:SHOWN_BUDGETS]))
    spends += [f"and {len(rung.budgets) - SHOWN_BUDGETS:,} more"] if len(rung.budgets) > SHOWN_BUDGETS else []
    worst = f"spends at most {', '.join(spends)}" if spends else "spends nothing"
    return f"{what}: up to {counted(rung.slots, 'slot')} by {rung.trigger}, {worst}"


def _show_actions(console: Console, actions: list[dict[str, Any]], *, wide: bool) -> None:
    for action in actions if wide else actions[:SHOWN_ACTIONS]:
        payload = json.dumps(action.get("body", action.get("command")), ensure_ascii=False)
        line = f"{action['verb']} {action['path']} {payload}"
        say(console, f"  sends:    {line if wide else clipped(line, 200)}")
    if not wide and len(actions) > SHOWN_ACTIONS:
        say(console, f"            and {len(actions) - SHOWN_ACTIONS:,} more; -o wide or json shows all")


# ---------------------------------------------------------------- result


def show_result(console: Console, result: ResultReport, *, wide: bool = False) -> None:
    """The outcome, and the slots that are worth a line: all if there are few or wide, else those not back."""
    head = headed(result, result.jobset)
    head.append(outcomes(result.outcomes), "green" if result.exit_code == 0 else "red")
    head.append(f" in {duration(result.seconds)} by {result.trigger} ({counted(result.writes, 'write')})")
    if result.prediction and result.prediction.high and not result.rounds:
        head.append(f", predicted {expected(result.prediction)}", "dim")
    head.append(f": {plain(result.reason)}")
    say(console, head)
    for each in result.rounds:
        came = outcomes(each.outcomes)
        how = f"{each.strategy} by {each.trigger}" + (f" (--escalate {each.rung})" if each.rung else "")
        foreseen = f", predicted {expected(each.prediction)}" if each.prediction and each.prediction.high else ""
        say(console, f"  round {each.round}, {how}: {came} in {duration(each.seconds)}{foreseen}: {each.reason}")
    for passed in result.passed:
        say(console, f"  --escalate {passed.rung} was skipped: {passed.reason}")
    for line in was_captured(result.capture):
        say(console, line)
    for node in result.cordoned:
        say(console, f"  {node} was cordoned and stays so; when it is fit again: kubectl uncordon {node}")
    for node in result.tainted:
        remove = f"kubectl taint node {node} {OUT_OF_SERVICE['key']}-"
        say(console, f"  {node} was tainted and stays so; when it is back: {remove}")
    if result.resource_seconds:
        say(console, f"  down: {downtime(result.pod_seconds, result.resource_seconds, result.gpu_cost)}")
    bad = [s for s in result.slots if s.outcome not in ("restarted", "recreated")]
    shown = result.slots if wide or len(result.slots) <= SHOWN else bad[:SHOWN]
    if shown:
        rows(
            console,
            ["SLOT", "OUTCOME", "SECONDS", "POD", "NODE", "REASON"],
            [
                [
                    s.slot,
                    f"{s.outcome} ({s.rung})" if s.rung else s.outcome,
                    "-" if s.seconds is None else f"{s.seconds:.1f}",
                    s.pod or "-",
                    f"{s.previous_node} -> {s.node}" if s.previous_node else s.node or "-",
                    s.reason or "-",
                ]
                for s in shown
            ],
            optional=[] if wide else ["POD"],
        )
    if len(shown) < len(result.slots):
        more, back = max(0, len(bad) - len(shown)), len(result.slots) - len(bad)
        rest = [*([f"{more:,} more"] if more else []), *([f"{back:,} that are back"] if back else [])]
        say(console, f"and {', '.join(rest)}; -o wide shows all")
