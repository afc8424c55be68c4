"""Carry on an operation that another client began: what is done, what is under way, what was never sent. Pure.

What was triggered is read from the cluster alone: from the mark on each Pod (image), the attempts (native), or what is
younger than the operation (signal, suspend, jobs, pods).
"""

from __future__ import annotations

from msgspec import structs

from jobset_restart.claim import Record
from jobset_restart.findings import Case, Evidence
from jobset_restart.objects import ContainerStatus, Pod, seconds
from jobset_restart.plan import Plan, SlotPlan, Stage, case_for, predicted, predicted_most, stages
from jobset_restart.snapshot import Identity, SlotState, Snapshot, attempt, statuses
from jobset_restart.triggers import IN_PLACE, TRIGGERS, Trigger, mark_of, next_attempt
from jobset_restart.writes import Action, Write


def carry_on(snapshot: Snapshot, record: Record, evidence: Evidence | None = None) -> Plan:
    """The plan that does what the recorded operation has not done yet, under the same id.

    Raises ValueError where the record names no trigger of this version, or slots that cannot be read.
    """
    trigger = next((t for t in TRIGGERS if t == record.trigger), None)
    if trigger is None:
        raise ValueError(f"operation {record.id} names the unknown trigger {record.trigger!r}")
    case = _case(snapshot, record, trigger, evidence or Evidence())
    slots = [_slot(case, state, record) for state in case.scope]
    slots += [_slot(case, state, record, lost=True) for state in case.lost]
    rest = structs.replace(
        case,
        scope=[s.state for s in slots if not s.sent and not s.lost],
        lost=[_as_it_was(s) for s in slots if s.lost],
    )
    unprobed = trigger == "signal" and rest.scope != [] and rest.evidence.probes is None
    return Plan(
        operation=record.id,
        snapshot=snapshot,
        request=record.request,
        strategy=record.strategy,
        trigger=trigger,
        reason=f"carries on operation {record.id} of {record.owner}",
        slots=slots,
        stages=[] if unprobed else _stages(rest, record, slots),
        findings=[],
        needs_probes=unprobed,
        predicted=predicted(rest),
        predicted_most=predicted_most(rest),
        attempt=record.attempt or next_attempt(snapshot.jobset),
    )


def _case(snapshot: Snapshot, record: Record, trigger: Trigger, evidence: Evidence) -> Case:
    """The slots of the operation. Its record names them: what was selected by Pod or node may have moved since."""
    case = case_for(snapshot, record.request, trigger, evidence)
    try:
        parts = record.parts()
    except ValueError:
        raise ValueError(f"the record of operation {record.id} names slots that cannot be read") from None
    if parts is None:
        return case
    states, (scope, lost) = [*case.scope, *case.lost], parts
    return structs.replace(
        case,
        scope=[state for state in states if state.slot in scope],
        lost=[state for state in states if state.slot in lost],
    )


def _as_it_was(slot: SlotPlan) -> SlotState:
    """The slot without the Pods that are new already."""
    state = slot.state
    old = [pod for pod in (state.pod, *state.leftovers) if pod is not None and pod.metadata.uid not in slot.new]
    return structs.replace(state, pod=old[0] if old else None, leftovers=old[1:])


def _slot(case: Case, state: SlotState, record: Record, *, lost: bool = False) -> SlotPlan:
    pods = [pod for pod in (state.pod, *state.leftovers) if pod is not None]
    since = seconds(record.started)
    if case.trigger == "native":
        since = int(since)  # startedAt is in whole seconds; nothing but the operation restarts a Pod this soon
    young = frozenset(p.metadata.uid for p in pods if seconds(p.metadata.creation_timestamp) >= int(since))
    in_place = case.trigger in IN_PLACE and not lost
    going = case.trigger == "suspend" and any(pod.metadata.deletion_timestamp for pod in pods)
    sent = _sent(case, state, record) if in_place else bool(young) or going or not pods
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


def _sent(case: Case, state: SlotState, record: Record) -> bool:
    if state.pod is None:
        return True
    if case.trigger == "image":
        return mark_of(state.pod)[0] == record.id
    if case.trigger == "native":
        wanted = record.attempt or 0
        outdated = case.snapshot.jobset.status.previous_in_place_restart_attempt
        begun = outdated is not None and outdated >= wanted - 1
        return begun or any((attempt(pod) or 0) >= wanted for pod in case.snapshot.pods())
    return all(_started(state.pod, name) >= seconds(record.started) for name in _names(case, state.pod))


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
        for stage in wanted:
            stage.actions = [a for a in stage.actions if not _gone(rest.snapshot, a, seconds(record.started))]
    return [stage for stage in wanted if stage.actions]


def _gone(snapshot: Snapshot, action: Action, since: float) -> bool:
    """Whether what the action deletes is being deleted already, or is younger than the operation."""
    if not isinstance(action, Write):
        return False
    everything = [job.metadata for job in snapshot.jobs] + [pod.metadata for pod in snapshot.pods()]
    meta = next((m for m in everything if m.uid == action.uid), None)
    return meta is None or bool(meta.deletion_timestamp) or seconds(meta.creation_timestamp) >= int(since)
