"""The last restarts of a workload, as `jsr history` shows them. Pure."""

from __future__ import annotations

from msgspec import field

from jobset_restart import claim, history
from jobset_restart.cost import money
from jobset_restart.events import APIVERSION, Budget
from jobset_restart.history import Entry
from jobset_restart.objects import seconds
from jobset_restart.report import AboutWorkload, Report, RoundReport
from jobset_restart.workloads.workload import Workload


class PastRestartReport(Report, kw_only=True):
    """One operation. `asked` is what was asked for, as options. `state` is running, lapsed (its client was heard of no
    more), detached (its client left it running) or finished. `seconds` is how long it took, or until its client was
    last heard of. `scope` names the slots it was for, the first few, empty where it was for all. `pod_seconds`,
    `resource_seconds`, `gpu_cost` and `budgets` are what it cost, as far as a client was there to tell."""

    operation: str
    owner: str = ""
    asked: str = ""
    strategy: str = ""
    trigger: str = ""
    state: str = ""
    started: str = ""
    ended: str = ""
    seconds: float | None = None
    slots: int = 0
    scope: list[str] = field(default_factory=list)
    exit_code: int | None = None
    reason: str = ""
    outcomes: dict[str, int] = field(default_factory=dict)
    pod_seconds: float = 0.0
    resource_seconds: dict[str, float] = field(default_factory=dict)
    gpu_cost: float | None = None
    budgets: list[Budget] = field(default_factory=list)
    rounds: list[RoundReport] = field(default_factory=list)


class HistoryReport(AboutWorkload, kw_only=True):
    """The last restarts of a workload, the newest first. `notes` say what cannot be shown."""

    api_version: str = APIVERSION
    kind: str = "RestartHistory"
    name: str
    namespace: str
    context: str = ""
    items: list[PastRestartReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def history_report(
    workload: Workload, now: float, context: str = "", gpu_hour_price: float | None = None
) -> HistoryReport:
    """What the workload says of its restarts. `now` is seconds since the epoch, by the server's clock."""
    past = history.read(workload.metadata)
    found = claim.lock(workload)
    newest = history.last(found, now) if found is not None else None
    entries = [each for each in past.entries if newest is None or each.id != newest.id]
    notes = []
    if found is not None and newest is None:
        notes.append(f"the record of the last restart cannot be read: {found.flaw}")
    if past.unreadable:
        some = "entry cannot be read" if past.unreadable == 1 else "entries cannot be read"
        notes.append(f"{past.unreadable:,} {some}: another version, or somebody else, wrote it")
    return HistoryReport(
        name=workload.name,
        workload_kind=workload.kind.kind,
        workload_group=workload.kind.group,
        namespace=workload.namespace,
        context=context,
        items=[_told(each, now, gpu_hour_price) for each in (*([newest] if newest else []), *reversed(entries))],
        notes=notes,
    )


def _told(entry: Entry, now: float, price: float | None) -> PastRestartReport:
    took = entry.took
    if entry.state == "running" and entry.started:
        took = round(max(0.0, now - seconds(entry.started)), 3)
    return PastRestartReport(
        operation=entry.id,
        owner=entry.owner,
        asked=entry.asked,
        strategy=entry.strategy,
        trigger=entry.trigger,
        state=entry.state,
        started=entry.started,
        ended=entry.ended,
        seconds=took,
        slots=entry.slots,
        scope=list(entry.scope),
        exit_code=entry.exit_code,
        reason=entry.reason,
        outcomes=entry.outcomes,
        pod_seconds=entry.cost.pod_seconds,
        resource_seconds=entry.cost.resource_seconds,
        gpu_cost=None if price is None else money(entry.cost.resource_seconds, price),
        budgets=list(entry.cost.budgets),
        rounds=[_round(number, each) for number, each in enumerate(entry.rounds, 1)],
    )


def _round(number: int, past: claim.PastRound) -> RoundReport:
    return RoundReport(
        round=number,
        strategy=past.strategy,
        trigger=past.trigger,
        started=past.started,
        seconds=round(max(0.0, seconds(past.ended) - seconds(past.started)), 3),
        slots=past.slots,
        outcomes=past.outcomes,
        reason=past.reason,
    )
