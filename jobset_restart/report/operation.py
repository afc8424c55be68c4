"""The operation on a workload, running or over, and how many of its slots are back. Pure."""

from __future__ import annotations

from jobset_restart import claim
from jobset_restart.containers import ready_as_far_as_it_can_be
from jobset_restart.earlier import came_since
from jobset_restart.report import LeftNodeReport, OperationReport
from jobset_restart.snapshot import Snapshot
from jobset_restart.triggers.registry import BY_NAME
from jobset_restart.workloads.workload import SlotState


def unfinished(report: OperationReport | None) -> bool:
    """Whether its client left it, or died, before it was over."""
    return report is not None and report.state in ("lapsed", "detached")


def as_recorded(found: claim.Lock, now: float) -> OperationReport:
    """What the annotation tells of an operation; little where another version wrote it."""
    state, record = claim.state_of(found, now), found.record
    if record is None:
        return OperationReport(
            id=found.id,
            owner=found.owner,
            strategy="",
            trigger=found.trigger,
            state=state,
            started="",
            reason=f"its record cannot be read: {found.flaw}",
            phase=found.phase,
        )
    return OperationReport(
        id=record.id,
        owner=record.owner,
        strategy=record.strategy,
        trigger=record.trigger,
        state=state,
        started=record.began,
        deadline=record.deadline,
        heartbeat=record.heartbeat,
        ended=record.ended,
        exit_code=record.exit_code,
        reason=record.reason,
        outcomes=record.outcomes,
        done=sum(record.outcomes.get(outcome, 0) for outcome in claim.CAME_BACK),
        total=record.slots,
        phase=record.phase,
        round=record.round,
        rung=record.request.rung,
    )


def operation_of(snapshot: Snapshot) -> OperationReport | None:
    """The operation with how many of its slots are back: while it goes on, by the Pods; of one that is over, by its
    record, for what became of the Pods since then is another matter."""
    found = claim.lock(snapshot.workload)
    if found is None:
        return None
    report, record = as_recorded(found, snapshot.time), found.record
    if record is not None:
        report.replaced = _left(snapshot, record)
        report.cordoned = list(record.request.replace_nodes) if record.request.cordon else []
    if record is not None and report.state != "finished":
        report.done = sum(been_through(state, record) for state in _meant(snapshot, record))
    return report


def _left(snapshot: Snapshot, record: claim.Record) -> list[LeftNodeReport]:
    """The slots whose Pods leave a node, and where their Pods are now."""
    if not record.replaced:
        return []
    node_of = record.leaving()
    states = ((state, node_of(state.slot)) for state in snapshot.slots.values())
    return [
        LeftNodeReport(slot=str(state.slot), previous_node=before, node=state.node_name)
        for state, before in states
        if before
    ]


def _meant(snapshot: Snapshot, record: claim.Record) -> list[SlotState]:
    try:
        parts = record.parts()
    except ValueError:
        parts = None
    states = [state for state in snapshot.slots.values() if state.expected]
    return [s for s in states if any(s.slot in part for part in parts)] if parts else states


def been_through(state: SlotState, record: claim.Record) -> bool:
    """Whether the slot has been through the operation and is Ready, as far as the cluster alone tells."""
    pod, trigger = state.pod, BY_NAME.get(record.trigger)
    if pod is None or not (state.ready or ready_as_far_as_it_can_be(pod, record.request.containers)):
        return False
    earlier = record.earlier()
    return trigger.through(pod, earlier) if trigger else came_since(pod, earlier)
