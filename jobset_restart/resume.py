"""Carry on an operation that another client began: what is done, what is under way, what was never sent. Pure.

What was triggered is read from the cluster alone: from the mark on each Pod (image), the attempts (native), or what is
younger than the operation (signal, suspend, jobs, pods).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from jobset_restart.claim import Record, lock, unusable
from jobset_restart.commands import jsr
from jobset_restart.errors import UsageError
from jobset_restart.findings import Case, Evidence, Finding, look
from jobset_restart.findings.crashing import min_ready_seconds
from jobset_restart.findings.nodes import dead
from jobset_restart.objects import ContainerStatus, Pod, seconds
from jobset_restart.places import ended
from jobset_restart.plan import Plan, Request, Selection, SlotPlan, case_for, left_alone
from jobset_restart.snapshot import Identity, SlotState, Snapshot, attempt, statuses
from jobset_restart.stages import Stage, predicted, predicted_most, stages
from jobset_restart.triggers import IN_PLACE, TRIGGERS, Trigger, mark_of, next_attempt
from jobset_restart.writes import Write


def unfinished(snapshot: Snapshot, wanted: str) -> Record:
    """The record of the operation `wanted`, to carry it on. Raises UsageError where the JobSet has none, or it is over
    or cannot be read."""
    found = lock(snapshot.jobset)
    if found is None or found.id != wanted:
        known = f"the last one recorded is {found.id}" if found else "none is recorded"
        look = jsr("status", snapshot.name, snapshot.namespace, snapshot.context)
        raise UsageError(f"JobSet {snapshot.name} has no operation {wanted}: {known}", f"see `{look}`")
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
) -> Plan:
    """The plan that does what the recorded operation has not done yet, under the same id.

    Every finding is looked at again. What was allowed and which machines are off is taken from the person who carries
    on (`allow`, `node_down`), never from the record: whoever may patch the JobSet may have written that.

    Raises ValueError where the record does not fit the JobSet, or names no trigger of this version.
    """
    trigger = next((t for t in TRIGGERS if t == record.trigger), None)
    if trigger is None:
        raise ValueError(f"operation {record.id} names the unknown trigger {record.trigger!r}")
    if why := unusable(snapshot.jobset, record, snapshot.time):
        raise ValueError(f"the record of operation {record.id} cannot be carried on with: {why}")
    used = {pod.spec.node_name for pod in snapshot.pods()}
    down = (node for node in node_down if node in used or node not in record.request.node_down)
    request = structs.replace(record.request, allow=tuple(allow), node_down=tuple(down), selection=Selection())
    case = _case(snapshot, record, request, trigger, evidence or Evidence())
    slots = [_slot(case, state, record) for state in case.scope]
    slots += [_slot(case, state, record, lost=True) for state in case.lost]
    rest = structs.replace(
        case,
        scope=[s.state for s in slots if not s.sent and not s.lost],
        lost=[_as_it_was(s) for s in slots if s.lost],
    )
    found = _findings(rest, record, slots, frozenset(allow))
    refused = any(f.severity == "blocker" and not f.allowed for f in found)
    slots = _left_alone(rest, slots)
    rest = structs.replace(rest, scope=[s.state for s in slots if s.trigger and not s.sent and not s.lost])
    unprobed = trigger == "signal" and rest.scope != [] and rest.evidence.probes is None
    return Plan(
        operation=record.id,
        snapshot=snapshot,
        request=request,
        strategy="in-place" if trigger in IN_PLACE else "recreate",
        trigger=trigger,
        reason=f"carries on operation {record.id} of {record.owner}",
        slots=slots,
        stages=[] if unprobed or refused else _stages(rest, record, slots),
        findings=found,
        refused=refused,
        needs_probes=unprobed and not refused,
        predicted=predicted(rest),
        predicted_most=predicted_most(rest),
        min_ready_seconds=min_ready_seconds(case),
        attempt=record.attempt or next_attempt(snapshot.jobset),
    )


def _case(snapshot: Snapshot, record: Record, request: Request, trigger: Trigger, evidence: Evidence) -> Case:
    """The slots of the operation. Its record names them: what was selected by Pod or node may have moved since. Given
    up are those whose old Pod is on a machine that is declared down now, and those that were given up and are free."""
    case = case_for(snapshot, request, trigger, evidence)
    parts = record.parts()
    states = [*case.scope, *case.lost]
    ours = states if parts is None else [s for s in states if any(s.slot in part for part in parts)]
    since, down = int(seconds(record.started)), set(request.node_down)

    def given_up(state: SlotState) -> bool:
        old = _old_pods(state, since)
        was = parts is not None and state.slot in parts[1]
        return any(pod.spec.node_name in down for pod in old) or (was and not old)

    lost = [state for state in ours if given_up(state)]
    slots = {state.slot for state in lost}
    return structs.replace(case, scope=[state for state in ours if state.slot not in slots], lost=lost, absent=[])


def _old_pods(state: SlotState, since: float) -> list[Pod]:
    pods = (pod for pod in (state.pod, *state.leftovers) if pod is not None and not ended(pod))
    return [pod for pod in pods if seconds(pod.metadata.creation_timestamp) < since]


DONE_WITH = frozenset({"JSR104", "JSR106", "JSR505"})
"""What was to be restarted, and how far the trigger may reach, was decided when the operation began."""
ALWAYS = ("JSR101", "JSR103", "JSR105", "JSR4", "JSR601")
"""What concerns an operation that has nothing left to send, too."""
WAITED_FOR = ("JSR309", "JSR4")
"""What keeps a slot from coming back after its trigger, too: agents that restart nobody else, and dead machines."""


def _findings(rest: Case, record: Record, slots: list[SlotPlan], allow: frozenset[str]) -> list[Finding]:
    """The findings for what is still to be sent; and, of what makes a wait hopeless, for every slot that is waited
    for."""
    snapshot = rest.snapshot
    suspended = rest.trigger == "suspend" and record.phase == "suspending" and snapshot.jobset.spec.suspend
    if suspended:
        # To leave it suspended would be worse than anything that speaks against a suspend.
        rest = structs.replace(rest, finishes=record.id)
    found = [f for f in look(rest, allow) if f.id not in DONE_WITH and not f.id.startswith(WAITED_FOR)]
    lost = [state for state in rest.lost if state.pod]
    to_send = rest.scope or lost if rest.trigger in IN_PLACE else _stages(rest, record, slots)
    if suspended or not to_send:
        found = [f for f in found if f.id.startswith(ALWAYS) or f.id == "JSR108"]
    since = int(seconds(record.started))
    waited_for = [_where_it_was(snapshot, s.state, since) for s in slots if not s.lost]
    hanging = look(structs.replace(rest, scope=waited_for, lost=lost), allow)
    found += [_for_resume(f, waited_for, record) for f in hanging if f.id.startswith(WAITED_FOR)]
    order = {"blocker": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda f: (order[f.severity], f.id))


def _where_it_was(snapshot: Snapshot, state: SlotState, since: float) -> SlotState:
    """The slot by its oldest Pod: the one that has to end, where a new one is there already."""
    old = _old_pods(state, since)
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
    for slot in slots:
        reason = "" if slot.sent or slot.lost else left_alone(rest.trigger, slot.state)
        if reason:
            slot.trigger, slot.reason = "", reason
    return slots


def _as_it_was(slot: SlotPlan) -> SlotState:
    """The slot without the Pods that are new already."""
    state = slot.state
    old = [pod for pod in (state.pod, *state.leftovers) if pod is not None and pod.metadata.uid not in slot.new]
    return structs.replace(state, pod=old[0] if old else None, leftovers=old[1:])


def _slot(case: Case, state: SlotState, record: Record, *, lost: bool = False) -> SlotPlan:
    pods = [pod for pod in (state.pod, *state.leftovers) if pod is not None and not ended(pod)]
    since = seconds(record.started)
    if case.trigger in ("native", "signal"):
        since = int(since)  # startedAt is in whole seconds; nothing but the operation restarts a container this soon
    young = frozenset(p.metadata.uid for p in pods if seconds(p.metadata.creation_timestamp) >= int(since))
    in_place = case.trigger in IN_PLACE and not lost
    going = case.trigger == "suspend" and any(pod.metadata.deletion_timestamp for pod in pods)
    sent = _sent(case, state, record, since) if in_place else bool(young) or going or not pods
    return SlotPlan(
        state=state,
        trigger=case.trigger,
        reason=f"carries on operation {record.id}",
        lost=lost,
        pod=state.pod.metadata.name if state.pod else "",
        node=state.node_name,
        before=_before(state.pod, record, since) if state.pod and not young else None,
        sent=sent,
        new=young,
    )


def _sent(case: Case, state: SlotState, record: Record, since: float) -> bool:
    if state.pod is None:
        return True
    if case.trigger == "image":
        # A Pod that came since, for a slot whose turn it was or in place of one that failed, runs anew already.
        return mark_of(state.pod)[0] == record.id or _came_since(state.pod, record)
    if case.trigger == "native":
        wanted = record.attempt or 0
        outdated = case.snapshot.jobset.status.previous_in_place_restart_attempt
        begun = outdated is not None and outdated >= wanted - 1
        return begun or any((attempt(pod) or 0) >= wanted for pod in case.snapshot.pods())
    return all(_started(state.pod, name) >= since for name in _names(case, state.pod))


def _came_since(pod: Pod, record: Record) -> bool:
    return seconds(pod.metadata.creation_timestamp) >= int(seconds(record.started))


def _names(case: Case, pod: Pod) -> list[str]:
    return list(case.containers) or [c.name for c in pod.spec.containers]


def _started(pod: Pod, container: str) -> float:
    status = next((s for s in statuses(pod) if s.name == container), None)
    return seconds(status.state.running.started_at) if status and status.state.running else 0.0


def _before(pod: Pod, record: Record, since: float) -> Identity:
    """The identity before the operation: the restartCounts of the mark, else what does not run since before it."""
    operation, counts = mark_of(pod)
    if operation == record.id and record.trigger == "image":
        return Identity(pod.metadata.uid, {name: ("", count) for name, count in counts.items()})
    return Identity(pod.metadata.uid, {s.name: _container_before(s, since) for s in statuses(pod) if s.container_id})


def _container_before(status: ContainerStatus, since: float) -> tuple[str, int]:
    """The container that has to go: this one, unless it began since the operation did."""
    began = status.state.running or status.state.terminated
    if began is not None and seconds(began.started_at) >= since:
        return "", status.restart_count - 1
    return status.container_id, status.restart_count


def _stages(rest: Case, record: Record, slots: list[SlotPlan]) -> list[Stage]:
    """Of the actions of the whole operation, those that were not carried out."""
    wanted = stages(rest, record.id)
    if rest.trigger == "suspend":
        # A client that suspends and resumes in one breath may be too quick for the controllers to see the suspend.
        unfinished = rest.snapshot.jobset.spec.suspend or any(not s.sent for s in slots)
        skipped = {"suspend"} if rest.snapshot.jobset.spec.suspend else set()
        return [stage for stage in wanted if unfinished and stage.name not in skipped]
    if rest.trigger == "native" and not rest.scope:
        wanted = [stage for stage in wanted if stage.name != "trigger"]
    if rest.trigger in ("jobs", "pods"):
        there = _there(rest.snapshot, seconds(record.started))
        for stage in wanted:
            stage.actions = [a for a in stage.actions if not isinstance(a, Write) or a.uid in there]
    return [stage for stage in wanted if stage.actions]


def _there(snapshot: Snapshot, since: float) -> set[str]:
    """The UIDs of the Jobs and Pods that were there before the operation and are not being deleted."""
    everything = (*(job.metadata for job in snapshot.jobs), *(pod.metadata for pod in snapshot.pods()))
    began = int(since)
    return {m.uid for m in everything if not m.deletion_timestamp and seconds(m.creation_timestamp) < began}
