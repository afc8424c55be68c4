"""What is left of a plan while it is carried out: all that is told of it in the end, without the Pods. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from jobset_restart.commands import jsr
from jobset_restart.events import Budget, PlannedSlot
from jobset_restart.plan import Plan, Request, Selection
from jobset_restart.slots import Slot
from jobset_restart.spans import Prediction
from jobset_restart.stages import StageName
from jobset_restart.vocabulary import TriggerName


class OutlinedSlot(Struct, frozen=True, kw_only=True):
    """A slot of the plan. `trigger` is empty where the plan leaves the slot alone, for this `reason`; `expected` tells
    whether a Pod was to run there; `requests` are the extended resources that are idle while the slot is down."""

    slot: Slot
    pod: str
    node: str
    trigger: str
    reason: str
    expected: bool
    requests: dict[str, float] = {}


class Outline(Struct, frozen=True, kw_only=True):
    """`jobset` is the name of the workload, `kind` and `group` say of what kind it is. `actions` is how many actions
    the plan has, `again` selects its slots once more, whatever their Pods are called by then, `carry_on` is the command
    that carries the operation on. `triggers` are those that the workload offers, `seated` the slots of Pods that carry
    no index."""

    operation: str
    jobset: str
    kind: str
    group: str
    namespace: str
    context: str
    strategy: str
    trigger: TriggerName | Literal[""]
    reason: str
    finishes: str
    prediction: Prediction
    actions: int
    budgets: tuple[Budget, ...]
    slots: tuple[OutlinedSlot, ...]
    request: Request
    again: Selection
    carry_on: str
    nodes: tuple[tuple[StageName, str], ...] = ()
    triggers: tuple[TriggerName, ...]
    seated: frozenset[Slot]

    def planned_slots(self) -> list[PlannedSlot]:
        """The slots as events tell of them."""
        return [PlannedSlot(slot=str(s.slot), pod=s.pod, node=s.node, trigger=s.trigger) for s in self.slots]


def outline(plan: Plan) -> Outline:
    """The outline of a plan."""
    seen = plan.snapshot
    asks: dict[str, dict[str, float]] = {}
    """The same for thousands of Pods: kept once."""
    return Outline(
        operation=plan.operation,
        jobset=seen.name,
        kind=seen.workload.kind.kind,
        group=seen.workload.kind.group,
        namespace=seen.namespace,
        context=seen.context,
        strategy=plan.strategy,
        trigger=plan.trigger.name if plan.trigger else "",
        reason=plan.reason,
        finishes=plan.finishes,
        prediction=plan.prediction,
        actions=len(plan.actions),
        budgets=tuple(plan.budgets),
        slots=tuple(
            OutlinedSlot(
                slot=p.state.slot,
                pod=p.pod,
                node=p.node,
                trigger=p.trigger_name,
                reason=p.reason,
                expected=p.state.expected,
                requests=_once(asks, plan.idle(p)),
            )
            for p in plan.slots
        ),
        request=plan.request,
        again=_again(plan),
        carry_on=carry_on_command(plan),
        nodes=plan.written_to,
        triggers=seen.workload.triggers,
        seated=frozenset(p.state.slot for p in plan.slots if seen.workload.seated(p.state)),
    )


def _once(known: dict[str, dict[str, float]], found: dict[str, float]) -> dict[str, float]:
    return known.setdefault(str(found), found)


def _again(plan: Plan) -> Selection:
    """The slots that were selected, by name where they were not all. A plan that carries on has only its own."""
    selected = {state.slot for state in plan.request.selection.of(planned.state for planned in plan.slots)}
    everything = all(state.slot in selected for state in plan.snapshot.slots.values() if state.expected)
    return Selection() if everything else Selection(slots=frozenset(selected))


def escalation(request: Request) -> list[str]:
    """The options that allow what this request may be followed by."""
    if not request.escalate:
        return []
    within = [] if request.step_timeout is None else ["--step-timeout", f"{request.step_timeout:g}s"]
    return ["--escalate", request.escalate, *within]


def carry_on_command(plan: Plan) -> str:
    """The command that carries on the operation. What was allowed, which machines are off and what may
    be written to Nodes has to be said again."""
    said = ["--fallback", "recreate"] if plan.request.fallback else []
    said += escalation(plan.request)
    said += [word for node in plan.request.node_down for word in ("--node-down", node)]
    said += [
        option for option, wanted in (("--cordon", plan.request.cordon), ("--taint", plan.request.taint)) if wanted
    ]
    said += [word for finding in plan.findings if finding.allowed for word in ("--allow", finding.id)]
    seen = plan.snapshot
    return jsr("restart", seen.workload.reference, seen.namespace, seen.context, "--resume", plan.operation, *said)
