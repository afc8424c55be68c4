"""What came out: the exit code and the document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from jobset_restart import claim
from jobset_restart.cost import Cost
from jobset_restart.errors import JsrError, OwnFault
from jobset_restart.events import Budget, Finished
from jobset_restart.findings.words import some
from jobset_restart.objects import seconds
from jobset_restart.report import PassedReport, ResultReport, RoundReport, SlotResultReport
from jobset_restart.restart.escalate import Passed, TurnsLeft
from jobset_restart.restart.outline import Outline, OutlinedSlot
from jobset_restart.seen import SlotTrack
from jobset_restart.slots import Folded, Slot, folded
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Prediction, one_after_another, rounded
from jobset_restart.stages import StageName
from jobset_restart.track import KEPT, Tracker
from jobset_restart.triggers.registry import BY_NAME

INTERRUPTED = 130
DEADLINE = 124
SETTLED = ("restarted", "recreated", "unchanged")
NONE: Mapping[Slot, str] = {}


class Came(Struct, frozen=True, kw_only=True):
    """What came of one round: exit code and reason as if it were the only one, in `seconds` with `writes`. `tracks` are
    its slots without their Pods, `slots` all that its plan knew, `untouched` those whose turn never came, because
    others did not come back; `canary_failed`: those others were canaries."""

    outline: Outline
    number: int
    began: float
    seconds: float
    writes: int
    code: int
    reason: str
    tracks: dict[Slot, SlotTrack]
    slots: dict[Slot, SlotResultReport]
    untouched: tuple[Slot, ...] = ()
    nodes: tuple[tuple[StageName, str], ...] = ()
    canary_failed: bool = False

    @property
    def outcomes(self) -> dict[str, int]:
        """How many of the slots it was for came to what."""
        return dict(Counter(self.slots[slot].outcome for slot in self.tracks if slot in self.slots))


def exit_code(
    tracker: Tracker,
    carry_on: str,
    *,
    interrupted: bool,
    timed_out: bool,
    waited: bool,
    error: JsrError | None,
    suspended: bool,
    earlier: Sequence[SlotTrack] = (),
    stuck: Mapping[Slot, str] = NONE,
) -> tuple[int, str]:
    """The exit code of an operation and the reason in words. `carry_on` is the command that carries it on, `error` what
    it died of, `suspended` whether the workload had to be left suspended; `earlier` are slots that rounds before this
    one left behind, `stuck` those that are not waited for any longer, with the reason."""
    way_out = tracker.machines.way_out(carry_on) if not tracker.done else ""
    mine = (t for t in tracker.slots.values() if t.state == "failed" or t.slot in stuck)
    failed = [*(structs.replace(t, reason=stuck.get(t.slot) or t.reason) for t in mine), *earlier]
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
        return 4, f"{_not_back(tracker, failed)}{way_out}"
    if not waited and not tracker.done:
        return 0, "triggered, not waited for"
    return 0, _all_back(tracker)


def _all_back(tracker: Tracker) -> str:
    """That every slot is back, but for those in which no Pod is wanted any more."""
    unwanted = Counter((t.over, t.reason) for t in tracker.slots.values() if t.state == "ready" and t.over)
    if not unwanted:
        return "every slot is back"
    told = [
        f"{number:,} completed" if over == "completed" else f"{number:,} gone ({reason})"
        for (over, reason), number in unwanted.most_common()
    ]
    others = f"; {len(told) - 3:,} more reasons" if len(told) > 3 else ""
    return f"every slot that is still wanted is back: {', '.join(told[:3])}{others}"


def _not_back(tracker: Tracker, failed: list[SlotTrack]) -> str:
    """Which slots did not come back, which never left because their write was refused, and which were left alone for
    that reason."""
    waited = [track for track in failed if track.sent_at is None and track.state == "waiting"]
    failed = [track for track in failed if track.sent_at is not None or track.state != "waiting"]
    untouched = [track for track in failed if track.sent_at is None and track.refusal]
    gone = [track for track in failed if not (track.sent_at is None and track.refusal)]
    told = [
        f"{len(some_of):,} slots {what}: " + ", ".join(f"{r} ({n:,})" for r, n in _reasons(some_of))
        for some_of, what in ((gone, "did not come back"), (untouched, "never left, what was sent was refused"))
        if some_of
    ]
    if tracker.halted:
        told.append(f"{tracker.left_alone:,} others were {tracker.halted}")
    elif waited:
        told.append(f"{len(waited):,} others were not touched, for some before them did not come back")
    return "; ".join(told)


def _reasons(failed: list[SlotTrack]) -> list[tuple[str, int]]:
    return Counter(track.reason for track in failed).most_common(2)


def _interfered(tracker: Tracker, failed: list[SlotTrack]) -> tuple[int, str]:
    """The workload was resumed by somebody else while it was being suspended: never the clean restart it would be."""
    kind = tracker.kind
    by = f"the {kind} was resumed by {tracker.resumed_by} before all its Pods had ended"
    kept = [str(track.slot) for track in failed if track.reason == KEPT]
    if kept:
        others = len(tracker.slots) - len(failed)
        return 4, f"{by}: only {others:,} of {len(tracker.slots):,} slots got a new Pod; kept: {some(kept, 8)}"
    if failed:
        return 4, f"{by}, and {len(failed):,} slots did not come back: {some([str(t.slot) for t in failed], 8)}"
    return 6, f"{by}: {_all_back(tracker)}, but old and new Pods of a slot may have run side by side"


def _left(tracker: Tracker, suspended: bool) -> str:
    """What was and was not changed, for somebody who has to go on from here."""
    total, sent = len(tracker.slots), sum(t.sent_at is not None for t in tracker.slots.values())
    went = f"{sent:,} of {total:,} slots were triggered and run on" if sent else "no slot was triggered"
    kind = tracker.kind
    return f"{went}; the {kind} {'may still be suspended' if suspended else 'is not left suspended'}"


def leaves(tracker: Tracker, code: int) -> bool:
    """Whether slots are left under way, so that the operation can be carried on with."""
    if code == 1 and all(t.sent_at is None for t in tracker.slots.values()):
        return False
    return code in (0, 1, 4, INTERRUPTED, DEADLINE) and not tracker.done


# ---------------------------------------------------------------- one round after another


def came(
    of: Outline,
    number: int,
    tracker: Tracker,
    code: int,
    reason: str,
    *,
    began: float,
    seconds: float,
    writes: int,
    nodes: Iterable[tuple[StageName, str]] = (),
    stuck: Mapping[Slot, str] = NONE,
    canary_failed: bool = False,
) -> Came:
    """What came of a round, as of now. Nothing of it changes any more, and no Pod is kept."""
    late = code == DEADLINE
    tracks = {slot: structs.replace(track, pods={}, old=set()) for slot, track in tracker.slots.items()}
    return Came(
        outline=of,
        number=number,
        began=began,
        seconds=seconds,
        writes=writes,
        code=code,
        reason=reason,
        tracks=tracks,
        slots={e.slot: _slot(e, tracker, number, timed_out=late or e.slot in stuck) for e in of.slots},
        untouched=tuple(sorted(tracker.untouched)),
        canary_failed=canary_failed,
        nodes=(*of.nodes, *nodes),
    )


def _slot(planned: OutlinedSlot, tracker: Tracker, number: int, *, timed_out: bool) -> SlotResultReport:
    track = tracker.slots.get(planned.slot)
    before = planned.pod
    return SlotResultReport(
        slot=str(planned.slot),
        outcome=tracker.outcome(planned.slot, timed_out=timed_out),
        pod=track.pod if track else before,
        node=track.node if track else planned.node,
        previous_pod=before if track and track.pod != before else "",
        previous_node=track.node_before if track and track.moved else "",
        reason=_reason(tracker, track, planned),
        seconds=round(track.seconds, 3) if track and track.seconds is not None else None,
        round=(track.round if track else 0) or number,
        rung=track.rung if track else "",
    )


def _reason(tracker: Tracker, track: SlotTrack | None, planned: OutlinedSlot) -> str:
    if track is None:
        return planned.reason
    return track.reason or (tracker.halted if track.sent_at is None else "")


def turns_recorded(record: claim.Record, snapshot: Snapshot) -> TurnsLeft:
    """The slots whose turn had not come when another client left, or died, as the record of the operation tells."""
    trigger, recorded = BY_NAME.get(record.untouched_by), Folded(record.untouched)
    slots = tuple(slot for slot, state in snapshot.slots.items() if state.expected and slot in recorded)
    return TurnsLeft(slots=slots, by=trigger.name if trigger else "", as_canaries=record.as_canaries)


def turns_to_record(left: TurnsLeft, taken: Collection[Slot]) -> dict[str, Any]:
    """The fields of the record that tell of them, while these slots are `taken` up."""
    slots = [slot for slot in left.slots if slot not in taken]
    return {"untouched": folded(slots), "untouched_by": left.by if slots else "", "as_canaries": left.as_canaries}


def turns_left(before: TurnsLeft, rounds: Sequence[Came]) -> TurnsLeft:
    """The slots whose turn never came `before`, nor in any of these rounds. Where canaries did not come back, the
    others follow only if nothing more was needed than to force these to end: a new Pod proves nothing for them."""
    left = before
    for each in rounds:
        left = structs.replace(left, slots=tuple(slot for slot in left.slots if slot not in each.tracks))
        if left.as_canaries and each.outline.request.rung not in ("", "force"):
            left = TurnsLeft()
        if each.untouched:
            left = TurnsLeft(slots=each.untouched, by=each.outline.trigger, as_canaries=each.canary_failed)
    return left


def _untold(of: Outline) -> set[Slot]:
    """The slots that this round leaves alone though a Pod is to run there: of them rounds before say the last word."""
    return {each.slot for each in of.slots if each.expected and not each.trigger}


def left_over(rounds: Sequence[Came], current: Outline, tracked: Collection[Slot] = ()) -> list[SlotTrack]:
    """The slots that did not come back in these rounds, and that no later round takes up; `tracked` are those that the
    current one still waits for."""
    left: dict[Slot, SlotTrack] = {}
    for each in rounds:
        untold = _untold(each.outline)
        left = {slot: track for slot, track in left.items() if slot in untold and slot not in each.tracks}
        left |= {slot: track for slot, track in each.tracks.items() if track.state != "ready"}
    untold = _untold(current)
    return [track for slot, track in left.items() if slot in untold and slot not in tracked]


def _merged(rounds: Sequence[Came]) -> list[SlotResultReport]:
    """Every slot as the last round that it was in says, with the Pod that the first found. What only a later round
    knows is told where that restarts it; what was not back and is not known any more is gone."""
    slots = dict(rounds[0].slots)
    for each in rounds[1:]:
        untold = _untold(each.outline)
        for slot, before in slots.items():
            if slot in each.tracks or (slot not in untold and before.outcome not in SETTLED):
                slots[slot] = _renewed(before, each.slots.get(slot), each.number)
        slots |= {slot: row for slot, row in each.slots.items() if slot in each.tracks and slot not in slots}
    return list(slots.values())


def _renewed(before: SlotResultReport, row: SlotResultReport | None, number: int) -> SlotResultReport:
    if row is None:
        return structs.replace(before, outcome="gone", reason="there is no such slot any more", round=number)
    first = before.previous_pod or before.pod
    was = before.previous_node or before.node
    moved = was if row.outcome == "recreated" and was != row.node else ""
    return structs.replace(row, previous_pod=first if first != row.pod else "", previous_node=moved)


def _budgets(rounds: Iterable[Came]) -> list[Budget]:
    """What all rounds together spend: from what the first found to what the last leaves."""
    found: dict[str, Budget] = {}
    for each in rounds:
        for budget in each.outline.budgets:
            first = found.get(budget.name, budget)
            found[budget.name] = structs.replace(budget, before=first.before)
    return list(found.values())


def past_round(over: Came, now: float) -> claim.PastRound:
    """The round as the record tells of it. `now` is when it ended, in seconds since the epoch."""
    return claim.PastRound(
        strategy=over.outline.strategy,
        trigger=over.outline.trigger,
        rung=over.outline.request.rung,
        started=claim.timestamp(over.began),
        ended=claim.timestamp(now),
        slots=len(over.tracks),
        outcomes=over.outcomes,
        reason=over.reason[:1024],
    )


def result_report(
    rounds: Sequence[Came],
    recorded: Sequence[claim.PastRound] = (),
    *,
    seconds: float,
    writes: int,
    passed: Iterable[Passed] = (),
    cost: Cost = Cost(),  # noqa: B008 - it is frozen
) -> ResultReport:
    """The document of `jsr restart -o json`. `recorded` are all rounds that the record has as over, those of another
    client included; `passed` are the rungs that were not taken; `cost` is that of slots that were down."""
    last, slots = rounds[-1], _merged(rounds)
    of, reason = last.outline, last.reason
    if finishes := rounds[0].outline.finishes:
        reason = f"finished operation {finishes}, which died between suspend and resume: {reason}"
    made = {each.number: each.outline.prediction for each in rounds}
    told = [_recorded(n, each, made.get(n)) for n, each in enumerate(recorded, 1) if n < last.number]
    return ResultReport(
        jobset=of.jobset,
        workload_kind=of.kind,
        workload_group=of.group,
        namespace=of.namespace,
        context=of.context,
        operation=of.operation,
        strategy=of.strategy,
        trigger=of.trigger,
        exit_code=last.code,
        reason=reason,
        seconds=round(seconds, 3),
        prediction=foreseen(rounds),
        writes=writes,
        outcomes=dict(Counter(row.outcome for row in slots)),
        budgets=_budgets(rounds),
        pod_seconds=cost.pod_seconds,
        resource_seconds=cost.resource_seconds,
        rounds=[*told, _told(last)] if told else [],
        passed=[PassedReport(rung=each.rung, reason=each.reason) for each in passed],
        cordoned=_written_to(rounds, "cordon"),
        tainted=_written_to(rounds, "taint"),
        slots=slots,
    )


def cost(report: ResultReport) -> Cost:
    """What the operation cost, for the record."""
    spent = tuple(each for each in report.budgets if each.before != each.after)
    return Cost(pod_seconds=report.pod_seconds, resource_seconds=report.resource_seconds, budgets=spent)


def _written_to(rounds: Iterable[Came], how: StageName) -> list[str]:
    """The nodes that were cordoned, or tainted, by these rounds or before them."""
    return sorted({node for each in rounds for name, node in each.nodes if name == how})


def bare_report(of: Outline, error: JsrError, *, seconds: float, writes: int) -> ResultReport:
    """The document of an operation of whose slots nothing can be said, because of this error."""
    return ResultReport(
        jobset=of.jobset,
        workload_kind=of.kind,
        workload_group=of.group,
        namespace=of.namespace,
        context=of.context,
        operation=of.operation,
        strategy=of.strategy,
        trigger=of.trigger,
        exit_code=error.exit_code,
        reason=f"{error.message}; what became of the slots is not known, see `jsr status`",
        seconds=round(seconds, 3),
        writes=writes,
        budgets=list(of.budgets),
    )


def finished(report: ResultReport, now: float) -> Finished:
    """The event that ends an operation with this result. `now` is seconds since the epoch."""
    return Finished(
        time=now,
        operation=report.operation,
        exit_code=report.exit_code,
        outcomes=report.outcomes,
        reason=report.reason,
        seconds=report.seconds,
        writes=report.writes,
        budgets=report.budgets,
    )


def foreseen(rounds: Sequence[Came]) -> Prediction:
    """What the rounds were expected to take together."""
    return rounded(one_after_another([each.outline.prediction for each in rounds]))


def _recorded(number: int, past: claim.PastRound, prediction: Prediction | None) -> RoundReport:
    return RoundReport(
        round=number,
        strategy=past.strategy,
        trigger=past.trigger,
        rung=past.rung,
        started=past.started,
        seconds=round(seconds(past.ended) - seconds(past.started), 3),
        prediction=rounded(prediction) if prediction else None,
        slots=past.slots,
        outcomes=past.outcomes,
        reason=past.reason,
    )


def _told(last: Came) -> RoundReport:
    return RoundReport(
        round=last.number,
        strategy=last.outline.strategy,
        trigger=last.outline.trigger,
        rung=last.outline.request.rung,
        started=claim.timestamp(last.began),
        seconds=round(last.seconds, 3),
        prediction=rounded(last.outline.prediction),
        slots=len(last.tracks),
        outcomes=last.outcomes,
        reason=last.reason,
    )
