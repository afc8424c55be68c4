"""What came out: the exit code, the document, and the Event that `kubectl describe` shows. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jobset_restart import claim
from jobset_restart.commands import jsr
from jobset_restart.errors import JsrError, OwnFault
from jobset_restart.events import Planned, PlannedSlot
from jobset_restart.findings.words import some
from jobset_restart.plan import Plan, SlotPlan
from jobset_restart.report import ResultReport, SlotResultReport
from jobset_restart.seen import SlotTrack
from jobset_restart.track import KEPT, Tracker
from jobset_restart.workloads.workload import Workload
from jobset_restart.writes import CORE, Write

INTERRUPTED = 130
DEADLINE = 124


def exit_code(
    tracker: Tracker, *, interrupted: bool, timed_out: bool, waited: bool, error: JsrError | None, suspended: bool
) -> tuple[int, str]:
    """The exit code of an operation and the reason in words. `error` is what it died of, `suspended` whether the
    workload had to be left suspended."""
    way_out = tracker.machines.way_out(carry_on_command(tracker.plan)) if not tracker.done else ""
    failed = [t for t in tracker.slots.values() if t.state == "failed"]
    open_slots = [t for t in tracker.slots.values() if t.state not in ("ready", "failed")]
    if isinstance(error, OwnFault):
        return error.exit_code, f"{error.message}; {_left(tracker, suspended)}. {error.hint[0].upper()}{error.hint[1:]}"
    if tracker.verdict:
        return {"over": 5, "superseded": 6}[tracker.verdict.kind], tracker.verdict.reason
    if error is not None:
        return error.exit_code, error.message
    if interrupted:
        sent = any(t.sent_at is not None for t in tracker.slots.values())
        return INTERRUPTED, f"interrupted; {'what was triggered runs on' if sent else 'nothing was triggered'}{way_out}"
    if timed_out and not tracker.done:
        slowest = ", ".join(f"{t.slot} ({t.reason or t.state})" for t in open_slots[:3])
        more = f" and {len(open_slots) - 3:,} more" if len(open_slots) > 3 else ""
        return DEADLINE, f"the deadline passed with {len(open_slots):,} slots not back: {slowest}{more}{way_out}"
    if tracker.resumed_by and (failed or tracker.done):
        return _interfered(tracker, failed)
    if failed or tracker.halted:
        return 4, _not_back(tracker, failed)
    if not waited and not tracker.done:
        return 0, "triggered, not waited for"
    return 0, "every slot is back"


def _not_back(tracker: Tracker, failed: list[SlotTrack]) -> str:
    """Which slots did not come back, which never left because their write was refused, and which were left alone for
    that reason."""
    untouched = [track for track in failed if track.sent_at is None and track.refusal]
    gone = [track for track in failed if not (track.sent_at is None and track.refusal)]
    told = [
        f"{len(some_of):,} slots {what}: " + ", ".join(f"{r} ({n:,})" for r, n in _reasons(some_of))
        for some_of, what in ((gone, "did not come back"), (untouched, "never left, what was sent was refused"))
        if some_of
    ]
    if tracker.halted:
        told.append(f"{tracker.left_alone:,} others were {tracker.halted}")
    return "; ".join(told)


def _reasons(failed: list[SlotTrack]) -> list[tuple[str, int]]:
    return Counter(track.reason for track in failed).most_common(2)


def _interfered(tracker: Tracker, failed: list[SlotTrack]) -> tuple[int, str]:
    """The workload was resumed by somebody else while it was being suspended: never the clean restart it would be."""
    kind = tracker.plan.snapshot.workload.kind.kind
    by = f"the {kind} was resumed by {tracker.resumed_by} before all its Pods had ended"
    kept = [str(track.slot) for track in failed if track.reason == KEPT]
    if kept:
        others = len(tracker.slots) - len(failed)
        return 4, f"{by}: only {others:,} of {len(tracker.slots):,} slots got a new Pod; kept: {some(kept, 8)}"
    if failed:
        return 4, f"{by}, and {len(failed):,} slots did not come back: {some([str(t.slot) for t in failed], 8)}"
    return 6, f"{by}: every slot is back, but old and new Pods of a slot may have run side by side"


def _left(tracker: Tracker, suspended: bool) -> str:
    """What was and was not changed, for somebody who has to go on from here."""
    total, sent = len(tracker.slots), sum(t.sent_at is not None for t in tracker.slots.values())
    went = f"{sent:,} of {total:,} slots were triggered and run on" if sent else "no slot was triggered"
    kind = tracker.plan.snapshot.workload.kind.kind
    return f"{went}; the {kind} {'may still be suspended' if suspended else 'is not left suspended'}"


def leaves(tracker: Tracker, code: int) -> bool:
    """Whether slots are left under way, so that the operation can be carried on with."""
    if code == 1 and all(t.sent_at is None for t in tracker.slots.values()):
        return False
    return code in (0, 1, INTERRUPTED, DEADLINE) and not tracker.done


def carry_on_command(plan: Plan) -> str:
    """The command that carries on the operation. What was allowed and which machines are off has to be said again."""
    said = [word for node in plan.request.node_down for word in ("--node-down", node)]
    said += [word for finding in plan.findings if finding.allowed for word in ("--allow", finding.id)]
    seen = plan.snapshot
    return jsr("restart", seen.workload.reference, seen.namespace, seen.context, "--resume", plan.operation, *said)


def planned(plan: Plan, began: float, deadline: float) -> Planned:
    """The event that opens an operation. Times in seconds since the epoch."""
    return Planned(
        time=began,
        operation=plan.operation,
        jobset=plan.snapshot.name,
        kind=plan.snapshot.workload.kind.kind,
        group=plan.snapshot.workload.kind.group,
        namespace=plan.snapshot.namespace,
        context=plan.snapshot.context,
        strategy=plan.strategy,
        trigger=plan.trigger_name,
        reason=plan.reason,
        deadline=deadline,
        predicted=plan.predicted,
        writes=len(plan.actions),
        slots=[PlannedSlot(slot=str(p.state.slot), pod=p.pod, node=p.node, trigger=p.trigger_name) for p in plan.slots],
    )


def result_report(plan: Plan, tracker: Tracker, code: int, reason: str, *, seconds: float, writes: int) -> ResultReport:
    """The document of `jsr restart -o json`."""
    slots = []
    for planned in plan.slots:
        track = tracker.slots.get(planned.state.slot)
        before = planned.pod
        slots.append(
            SlotResultReport(
                slot=str(planned.state.slot),
                outcome=tracker.outcome(planned.state.slot, timed_out=code == DEADLINE),
                pod=track.pod if track else before,
                node=track.node if track else planned.node,
                previous_pod=before if track and track.pod != before else "",
                reason=_reason(tracker, track, planned),
                seconds=round(track.seconds, 3) if track and track.seconds is not None else None,
            )
        )
    return ResultReport(
        jobset=plan.snapshot.name,
        workload_kind=plan.snapshot.workload.kind.kind,
        workload_group=plan.snapshot.workload.kind.group,
        namespace=plan.snapshot.namespace,
        context=plan.snapshot.context,
        operation=plan.operation,
        strategy=plan.strategy,
        trigger=plan.trigger_name,
        exit_code=code,
        reason=reason,
        seconds=round(seconds, 3),
        writes=writes,
        outcomes=dict(Counter(s.outcome for s in slots)),
        budgets=plan.budgets,
        slots=slots,
    )


def _reason(tracker: Tracker, track: SlotTrack | None, planned: SlotPlan) -> str:
    if track is None:
        return planned.reason
    return track.reason or (tracker.halted if track.sent_at is None else "")


def event(workload: Workload, result: ResultReport, now: float) -> Write:
    """The core/v1 Event on the workload that tells of the operation."""
    meta = workload.metadata
    counts = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(result.outcomes.items()))
    time = claim.timestamp(now)[:19] + "Z"
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name}.{result.operation}.{int(now * 1000):x}", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": workload.kind.api_version,
            "kind": workload.kind.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
        "type": "Normal" if result.exit_code == 0 else "Warning",
        "reason": "Restarted" if result.exit_code == 0 else "RestartIncomplete",
        "message": f"{result.strategy} by {result.trigger}, operation {result.operation}: {counts}; {result.reason}"[
            :1024
        ],
        "source": {"component": "jsr"},
        "reportingComponent": "jobset-restart.io/jsr",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    return Write(verb="create", path=f"{CORE}/namespaces/{meta.namespace}/events", body=body)
