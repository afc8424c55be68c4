"""A plan as a report: what a dry run shows and what stands above the question whether to go on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from jobset_restart.commands import jsr
from jobset_restart.findings import Finding
from jobset_restart.ladder import outlook
from jobset_restart.plan import Plan
from jobset_restart.report import Advice, FindingReport, OperationReport, PlanReport, RungReport, SlotPlanReport
from jobset_restart.report.operation import operation_of, unfinished
from jobset_restart.spans import rounded
from jobset_restart.triggers.pods import PODS
from jobset_restart.writes import Action, Exec


def plan_report(plan: Plan) -> PlanReport:
    """Everything about the plan; `actions` as they would be sent, preconditions included."""
    before = operation_of(plan.snapshot)
    return PlanReport(
        jobset=plan.snapshot.name,
        workload_kind=plan.snapshot.workload.kind.kind,
        workload_group=plan.snapshot.workload.kind.group,
        namespace=plan.snapshot.namespace,
        context=plan.snapshot.context,
        strategy=plan.strategy,
        trigger=plan.trigger_name,
        reason=plan.reason,
        refused=plan.refused,
        predicted=round(plan.prediction.likely, 1),
        predicted_most=round(plan.prediction.high, 1),
        prediction=rounded(plan.prediction),
        predicted_pod_seconds=round(_each_down(plan) * len(plan.scope), 1),
        predicted_resource_seconds=_resources_down(plan),
        writes=len(plan.actions),
        by_trigger=dict(Counter(slot.trigger_name or "left alone" for slot in plan.slots)),
        slots=[
            SlotPlanReport(
                slot=str(slot.state.slot),
                trigger=slot.trigger_name,
                reason=slot.reason,
                pod=slot.pod,
                node=slot.node,
            )
            for slot in plan.slots
        ],
        findings=finding_reports(plan.findings),
        budgets=plan.budgets,
        escalation=[
            RungReport(rung=o.rung, trigger=o.trigger, slots=o.slots, budgets=list(o.budgets), refused=o.refused)
            for o in outlook(plan)
        ],
        survives=list(plan.trigger.kept(plan.snapshot.workload.owners)) if plan.trigger else [],
        lost=_lost(plan),
        actions=[described(action) for action in plan.actions],
        unfinished=before if before and unfinished(before) and before.id != plan.operation else None,
    )


def _each_down(plan: Plan) -> float:
    """For how many seconds one slot should be down: of what is restarted in waves each for its own."""
    return plan.prediction.likely / max(1, plan.waves)


def _resources_down(plan: Plan) -> dict[str, float]:
    total: Counter[str] = Counter()
    for slot in plan.scope:
        for name, number in plan.idle(slot).items():
            total[name] += number  # type: ignore[assignment]  # a sum of floats
    return {name: round(number * _each_down(plan), 1) for name, number in sorted(total.items())}


def _lost(plan: Plan) -> list[str]:
    """What the trigger loses, and what is lost where a Pod leaves its node beside that."""
    lost = list(plan.trigger.lost) if plan.trigger else []
    if any(slot.leaves for slot in plan.slots):
        lost += [f"of the Pods that leave their node: {each}" for each in PODS.lost]
    return lost


def finding_reports(findings: Iterable[Finding]) -> list[FindingReport]:
    return [
        FindingReport(
            id=f.id,
            severity=f.severity,
            summary=f.summary,
            objects=f.objects,
            todo=f.todo,
            source=f.source,
            allowed=f.allowed,
        )
        for f in findings
    ]


def described(action: Action) -> dict[str, Any]:
    """The action as a document: verb, path and body, or the command."""
    if isinstance(action, Exec):
        return {
            "verb": "exec",
            "path": action.path,
            "container": action.container,
            "command": list(action.command),
            "slot": action.slot,
        }
    row: dict[str, Any] = {"verb": action.verb, "path": action.path, "slot": action.slot, "body": action.sent_body()}
    if action.verb == "patch":
        row["contentType"] = action.content_type
    return row


def advice(plan: Plan, operation: OperationReport | None = None) -> Advice:
    """What `jsr restart` would do, for `jsr status`: it would be refused as long as a client holds the workload."""
    name, namespace = plan.snapshot.workload.reference, plan.snapshot.namespace
    context = plan.snapshot.context
    command = jsr("restart", name, namespace, context)
    if operation is not None and operation.state == "running":
        return Advice(
            strategy="",
            trigger="",
            reason=f"refused: {operation.owner} is restarting it, operation {operation.id}",
            command=command,
            follow=jsr("status", name, namespace, context, "--watch"),
        )
    return Advice(
        strategy=plan.strategy,
        trigger=plan.trigger_name,
        reason=plan.reason,
        command=command,
        slots=len(plan.scope),
        writes=plan.writes,
        predicted=round(plan.prediction.likely, 1),
        predicted_most=round(plan.prediction.high, 1),
        prediction=rounded(plan.prediction),
        findings=finding_reports(plan.findings),
        follow=f"{command} --resume {operation.id}" if operation and unfinished(operation) else "",
    )
