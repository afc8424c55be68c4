"""`jsr capture`: evidence of a workload as it stands, in a folder or an archive."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart.cli.asking import on_leaving
from jobset_restart.cli.diagnosing import progress_line, report_of
from jobset_restart.cli.groups import fill
from jobset_restart.cli.opening import opened
from jobset_restart.cli.options import CaptureBounds, CaptureInto, Parallel, Selected, Where
from jobset_restart.cli.showing import print_document, stdout_console
from jobset_restart.errors import Interrupted, UsageError
from jobset_restart.plan import Selection
from jobset_restart.workloads.kinds import POD

if TYPE_CHECKING:
    from jobset_restart.capture.taking import Bounds, Diagnosed, Into
    from jobset_restart.cli.targets import Target
    from jobset_restart.cluster import Cluster
    from jobset_restart.gathering import Gathering
    from jobset_restart.report.capture import CaptureReport
    from jobset_restart.report.diagnosis import DiagnosisReport
    from jobset_restart.snapshot import Snapshot
    from jobset_restart.workloads.workload import SlotState

INTERRUPTED = 130
INCOMPLETE = 9
COLUMNS = 200


def capture(
    target: Target,
    selected: Selected,
    into: CaptureInto,
    bounds: CaptureBounds,
    parallel: Parallel,
    where: Where,
    form: str,
) -> int:
    """Captures what is selected of the workload and prints the index; returns 0 where everything was had, 9 where
    something is missing, 130 where it was interrupted. Raises the errors of jobset_restart.errors."""
    within = bounds.bounds(parallel.concurrency)
    where.check()
    place = into.into(target.name)
    try:
        return asyncio.run(_capture(target, selected, place, within, where, form))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted before anything was captured") from None


async def _capture(target: Target, selected: Selected, into: Into, bounds: Bounds, where: Where, form: str) -> int:
    from jobset_restart.capture.taking import take
    from jobset_restart.cluster.resolve import resolve

    this = asyncio.current_task()
    assert this is not None
    on_leaving(this.cancel)
    async with await opened(where) as cluster:
        namespace = where.namespace or cluster.namespace
        snapshot = await resolve(cluster, namespace, target.name, target.kind)
        states = await _meant(cluster, snapshot, target, selected)
        stop = asyncio.Event()
        on_leaving(stop.set)
        with progress_line() as show:
            report = await take(
                cluster, snapshot, into, bounds, diagnosed(cluster, snapshot), stop=stop, tell=show, states=states
            )
    _show(report, form)
    if report.complete:
        return 0
    return INTERRUPTED if stop.is_set() else INCOMPLETE


async def _meant(cluster: Cluster, snapshot: Snapshot, target: Target, selected: Selected) -> list[SlotState]:
    """The slots that are selected. Raises UsageError where nothing is."""
    from jobset_restart.restart.planning import selected_pods

    selection = fill(Selection, selected, pods=frozenset(selected.pods) or None)
    if selected.selector and target.kind is not POD:
        selection = selection.only(snapshot, await selected_pods(cluster, snapshot, selected.selector))
    absent = selection.absent(snapshot)
    if absent:
        first = absent[0]
        raise UsageError(f"{snapshot.workload.title} has no {first}; nothing was captured", first.suggestion)
    if snapshot.part is not None and not (selected.replicated_jobs or selected.job_indexes):
        group, indexes = snapshot.part
        selection = structs.replace(selection, replicated_jobs=(group,), job_indexes=indexes[:1])
    return selection.of(snapshot.slots.values())


def diagnosed(cluster: Cluster, snapshot: Snapshot) -> Diagnosed:
    """Makes the document and the text of a diagnosis of this workload."""

    def made(gathering: Gathering, seconds: float, cut_short: str) -> tuple[DiagnosisReport, str]:
        from rich.console import Console

        from jobset_restart.view.diagnosis import show_diagnosis

        report = report_of(gathering, snapshot, cluster.now(), seconds, cut_short)
        text = io.StringIO()
        show_diagnosis(Console(file=text, width=COLUMNS, markup=False, highlight=False, emoji=False), report, wide=True)
        return report, text.getvalue()

    return made


def _show(report: CaptureReport, form: str) -> None:
    if print_document(report, form):
        return
    from jobset_restart.view.capture import show_capture

    show_capture(stdout_console(), report, wide=form == "wide")
