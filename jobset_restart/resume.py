"""Carry on an operation that another client began: what is done, what is under way, what was never sent. Pure.

What was triggered is read from the cluster alone, each trigger in its own way (`Trigger.begun`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import structs

from jobset_restart.case import Case, Evidence, Trigger
from jobset_restart.claim import OUT, Record, lock, unusable
from jobset_restart.commands import jsr
from jobset_restart.earlier import Earlier, came_since, identity_before, living, replaced
from jobset_restart.errors import UsageError
from jobset_restart.findings import Finding, by_severity, look
from jobset_restart.health import dead
from jobset_restart.objects import Pod, seconds
from jobset_restart.places import active
from jobset_restart.plan import Plan, Request, Selection, SlotPlan, case_for, looks_for_deaf, may_force, patience_of
from jobset_restart.prediction import predicted
from jobset_restart.scheduling import Surroundings
from jobset_restart.slots import Folded, Slot, Unit, unit_text
from jobset_restart.snapshot import Snapshot
from jobset_restart.stages import Stage, StageName, made
from jobset_restart.triggers import pacing
from jobset_restart.triggers.nodes import cordoned_first, out_of_service
from jobset_restart.triggers.pods import PODS
from jobset_restart.triggers.registry import BY_NAME
from jobset_restart.vocabulary import Rung
from jobset_restart.waits import min_ready_seconds
from jobset_restart.workloads.workload import SlotState


def unfinished(snapshot: Snapshot, wanted: str) -> Record:
    """The record of the operation `wanted`, to carry it on. Raises UsageError where there is none, or it is over
    or cannot be read."""
    found = lock(snapshot.workload)
    if found is None or found.id != wanted:
        known = f"the last one recorded is {found.id}" if found else "none is recorded"
        look = jsr("status", snapshot.workload.reference, snapshot.namespace, snapshot.context)
        raise UsageError(f"{snapshot.workload.title} has no operation {wanted}: {known}", f"see `{look}`")
    record = found.record
    if record is None:
        raise UsageError(f"the record of operation {wanted} cannot be read: {found.flaw}", "start a new one")
    if record.state == "finished":
        raise UsageError(
            f"operation {wanted} is over (exit code {record.exit_code}: {record.reason})", "start a new one"
        )
    return record


def carry_on(
    snapshot: Snapshot,
    record: Record,
    evidence: Evidence | None = None,
    *,
    allow: Iterable[str] = (),
    node_down: Iterable[str] = (),
    fallback: bool = False,
    escalate: Rung | Literal[""] = "",
    step_timeout: float | None = None,
    cordon: bool = False,
    taint: bool = False,
) -> Plan:
    """The plan that does what the recorded operation has not done yet, under the same id.

    Every finding is looked at again. What was allowed and which machines are off is taken from the person who carries
    on (`allow`, `node_down`, `fallback`, `escalate`), and so is whether Nodes are written to (`cordon`, `taint`), never
    from the record: whoever may patch it may have written that.

    Raises ValueError where the record does not fit the workload, or not its Pods any more, or names no trigger of this
    version.
    """
    trigger = BY_NAME.get(record.trigger)
    if trigger is None:
        raise ValueError(f"operation {record.id} names the unknown trigger {record.trigger!r}")
    if why := unusable(snapshot.workload, record, snapshot.time):
        raise ValueError(f"the record of operation {record.id} cannot be carried on with: {why}")
    asked: dict[str, Any] = {"allow": tuple(allow), "fallback": fallback and trigger.in_place, "selection": Selection()}
    asked |= {"escalate": escalate, "step_timeout": step_timeout}
    asked |= {"cordon": cordon, "taint": taint}
    request = structs.replace(record.request, node_down=_down(snapshot, record, node_down), **asked)
    if moved := _sit_elsewhere(snapshot, record):
        raise ValueError(f"operation {record.id} cannot be carried on with: {moved}")
    case, earlier = _case(snapshot, record, request, trigger, evidence or Evidence()), record.earlier()
    slots = [_slot(case, state, earlier) for state in case.scope]
    slots += [_slot(case, state, earlier, lost=True) for state in case.lost]
    node_of = record.leaving()
    slots += [_leaving(state, earlier, node_of(state.slot)) for state in case.replaced]
    slots += _awaited(snapshot, record, trigger, {slot.state.slot for slot in slots})
    rest = structs.replace(
        case,
        scope=[s.state for s in slots if not (s.sent or s.lost or s.leaves)],
        lost=[_as_it_was(s) for s in slots if s.lost],
        total=pacing.total(case),
        replaced=[s.state for s in slots if s.leaves and not s.sent],
    )
    found = _findings(rest, record, slots, frozenset(allow))
    refused = any(f.severity == "blocker" and not f.allowed for f in found)
    slots = _left_alone(rest, slots)
    rest = structs.replace(rest, scope=[s.state for s in slots if s.trigger and not (s.sent or s.lost or s.leaves)])
    unprobed = rest.unprobed and rest.scope != []
    return Plan(
        operation=record.id,
        snapshot=snapshot,
        request=request,
        strategy=trigger.strategy,
        trigger=trigger,
        reason=f"carries on operation {record.id} of {record.owner}",
        slots=slots,
        stages=[] if unprobed or refused else made(_stages(rest, earlier, slots)),
        findings=found,
        refused=refused,
        needs_probes=(unprobed or looks_for_deaf(case, request)) and not refused,
        prediction=predicted(rest),
        min_ready_seconds=min_ready_seconds(case),
        patience=patience_of(case, request),
        deaf=case.deaf() if may_force(case, request) else frozenset(),
        written_to=_written_to(record, case.evidence.surroundings),
        attempt=record.attempt or snapshot.workload.attempt + 1,
    )


def _awaited(snapshot: Snapshot, record: Record, trigger: Trigger, others: set[Slot]) -> list[SlotPlan]:
    """The slots that rounds before this one restarted in place, and that are only waited for."""
    waiting, began = record.awaited(), int(seconds(record.began))
    return [
        SlotPlan(
            state=state,
            trigger=trigger,
            reason=f"operation {record.id} restarted it in an earlier round",
            pod=state.pod.metadata.name if state.pod else "",
            node=state.node_name,
            before=identity_before(state.pod, began) if state.pod else None,
            sent=True,
            awaited=True,
        )
        for state in snapshot.slots.values()
        if state.expected and state.slot in waiting and state.slot not in others
    ]


def _sit_elsewhere(snapshot: Snapshot, record: Record) -> str:
    """Why it cannot be told any more which Pods the operation means, "" where it can. Where Pods carry no index, a seat
    is only a number among those that are there: when one goes or comes, the same number may be another Pod's."""
    parts = record.parts()
    if parts is None:
        return ""
    earlier, workload, at_first = record.earlier(), snapshot.workload, Folded(record.seats)
    units: dict[Unit, list[SlotState]] = defaultdict(list)
    for state in snapshot.slots.values():
        if workload.seated(state):
            units[state.slot.unit].append(state)
    for unit, seats in units.items():
        meant = sum(any(state.slot in part for part in parts) for state in seats)
        moved = 0 < meant < len(seats) and not all(_sits_as_before(state, earlier) for state in seats)
        if moved or at_first.size(unit) not in (0, len(seats)):
            return (
                f"Pods of {unit_text(unit)} have gone or come since, and carry no index by which those it means could "
                "be told from the others"
            )
    return ""


def _sits_as_before(state: SlotState, earlier: Earlier) -> bool:
    pod = state.pod
    return pod is not None and active(pod) and not state.leftovers and not came_since(pod, earlier)


def _down(snapshot: Snapshot, record: Record, declared: Iterable[str]) -> tuple[str, ...]:
    """The machines declared down, without those that the operation has freed of Pods already."""
    used = {pod.spec.node_name for pod in snapshot.pods()}
    return tuple(node for node in declared if node in used or node not in record.request.node_down)


def _case(snapshot: Snapshot, record: Record, request: Request, trigger: Trigger, evidence: Evidence) -> Case:
    """The slots of the operation. Its record names them: what was selected by Pod or node may have moved since. Given
    up are those whose old Pod is on a machine that is declared down now, and those that were given up and are free.
    Which Pods leave their Node was decided when the operation began."""
    case = case_for(snapshot, request, trigger, evidence)
    parts = record.parts()
    states = case.meant
    ours = states if parts is None else [s for s in states if any(s.slot in part for part in parts)]
    earlier, down = record.earlier(), set(request.node_down)

    def given_up(state: SlotState) -> bool:
        old = _old_pods(state, earlier)
        was = parts is not None and state.slot in parts[1]
        return any(pod.spec.node_name in down for pod in old) or (was and not old)

    lost = [state for state in ours if given_up(state)]
    gone, node_of = {state.slot for state in lost}, record.leaving()
    rest = [state for state in ours if state.slot not in gone]
    replaced = [state for state in rest if node_of(state.slot)]
    apart = {state.slot for state in replaced}
    scope = [state for state in rest if state.slot not in apart]
    return structs.replace(case, scope=scope, lost=lost, replaced=replaced, absent=[])


def _old_pods(state: SlotState, earlier: Earlier) -> list[Pod]:
    return [pod for pod in living(state) if not came_since(pod, earlier)]


DONE_WITH = frozenset({"JSR104", "JSR106", "JSR411", "JSR505"})
"""What was to be restarted, and how far the trigger may reach, was decided when the operation began."""
ALWAYS = ("JSR101", "JSR103", "JSR105", "JSR4", "JSR601")
"""What concerns an operation that has nothing left to send, too."""
WAITED_FOR = ("JSR309", "JSR4")
"""What keeps a slot from coming back after its trigger, too: agents that restart nobody else, and dead machines."""


def _findings(rest: Case, record: Record, slots: list[SlotPlan], allow: frozenset[str]) -> list[Finding]:
    """The findings for what is still to be sent; and, of what makes a wait hopeless, for every slot that is waited
    for."""
    snapshot, earlier = rest.snapshot, record.earlier()
    suspended = rest.trigger.suspends and record.phase in OUT and snapshot.workload.suspended
    if suspended:
        # To leave it suspended would be worse than anything that speaks against a suspend.
        rest = structs.replace(rest, finishes=record.id)
    found = [f for f in look(rest, allow) if f.id not in DONE_WITH and not f.id.startswith(WAITED_FOR)]
    lost = [state for state in rest.lost if state.pod]
    to_send = rest.scope or lost or rest.replaced if rest.trigger.in_place else _stages(rest, earlier, slots)
    if suspended or not to_send:
        found = [f for f in found if f.id.startswith(ALWAYS) or f.id == "JSR108"]
    waited_for, leaving = (
        [_where_it_was(snapshot, s.state, earlier) for s in slots if not s.lost and bool(s.leaves) == apart]
        for apart in (False, True)
    )
    hanging = look(structs.replace(rest, scope=waited_for, lost=lost, replaced=leaving), allow)
    told = (f for f in hanging if f.id.startswith(WAITED_FOR) and f.id not in DONE_WITH)
    found += [_for_resume(f, [*waited_for, *leaving], record) for f in told]
    return sorted(found, key=by_severity)


def _where_it_was(snapshot: Snapshot, state: SlotState, earlier: Earlier) -> SlotState:
    """The slot by its oldest Pod: the one that has to end, where a new one is there already."""
    old = _old_pods(state, earlier)
    if not old or old[0] is state.pod:
        return state
    nodes = snapshot.nodes or {}
    return structs.replace(state, pod=old[0], node=nodes.get(old[0].spec.node_name), leftovers=[])


def _for_resume(finding: Finding, waited_for: list[SlotState], record: Record) -> Finding:
    """A dead machine, with the way out of an operation that is under way."""
    if finding.id != "JSR401":
        return finding
    names = sorted({state.node_name for state in waited_for if dead(state)})
    options = " ".join(f"--node-down {name}" for name in names)
    todo = f"if the machine is really off: --resume {record.id} {options}; if it is only cut off, repair it first"
    return structs.replace(finding, todo=todo)


def _left_alone(rest: Case, slots: list[SlotPlan]) -> list[SlotPlan]:
    """The slots, those marked that --allow let through and the trigger leaves alone."""
    reasons = ("" if slot.sent or slot.lost or slot.leaves else rest.trigger.leaves_alone(slot.state) for slot in slots)
    return [
        structs.replace(slot, trigger=None, reason=reason) if reason else slot
        for slot, reason in zip(slots, reasons, strict=True)
    ]


def _as_it_was(slot: SlotPlan) -> SlotState:
    """The slot without the Pods that are new already."""
    state = slot.state
    old = [pod for pod in (state.pod, *state.leftovers) if pod is not None and pod.metadata.uid not in slot.new]
    return structs.replace(state, pod=old[0] if old else None, leftovers=old[1:])


def _slot(case: Case, state: SlotState, earlier: Earlier, *, lost: bool = False) -> SlotPlan:
    trigger, young = case.trigger, frozenset(p.metadata.uid for p in living(state) if came_since(p, earlier))
    by_new_pods = lost and trigger.in_place
    return SlotPlan(
        state=state,
        trigger=trigger,
        reason=f"carries on operation {earlier.id}",
        lost=lost,
        pod=state.pod.metadata.name if state.pod else "",
        node=state.node_name,
        before=trigger.before(state.pod, earlier) if state.pod and not young else None,
        sent=replaced(state, earlier) if by_new_pods else trigger.begun(state, earlier, case.snapshot),
        new=young,
    )


def _leaving(state: SlotState, earlier: Earlier, node: str) -> SlotPlan:
    """A slot whose Pod leaves its Node. It was sent where the Pod is gone, or going."""
    young = frozenset(p.metadata.uid for p in living(state) if came_since(p, earlier))
    staying = [pod for pod in _old_pods(state, earlier) if not pod.metadata.deletion_timestamp]
    return SlotPlan(
        state=state,
        trigger=PODS,
        reason=f"carries on operation {earlier.id}",
        leaves=node,
        pod=state.pod.metadata.name if state.pod else "",
        node=state.node_name,
        sent=not staying,
        new=young,
    )


def _written_to(record: Record, seen: Surroundings | None) -> tuple[tuple[StageName, str], ...]:
    """The Nodes that the operation meant to cordon or to taint and that are so now."""
    places, asked = (seen.places if seen else None) or {}, record.request
    cordoned = (n for n in asked.replace_nodes if asked.cordon and n in places and places[n].spec.unschedulable)
    tainted = (n for n in asked.node_down if asked.taint and n in places and out_of_service(places[n]))
    return (*(("cordon", name) for name in cordoned), *(("taint", name) for name in tainted))


def _stages(rest: Case, earlier: Earlier, slots: list[SlotPlan]) -> list[Stage]:
    """Of the actions of the whole operation, those that were not carried out."""
    remaining = rest.trigger.remaining(rest, earlier, unfinished=any(not slot.sent for slot in slots))
    return cordoned_first(rest, remaining)
