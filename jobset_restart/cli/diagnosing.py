"""`jsr diagnose`: which Pod holds the others up."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from jobset_restart.cli.asking import on_leaving
from jobset_restart.cli.opening import opened
from jobset_restart.cli.options import Looks, Where
from jobset_restart.cli.showing import print_document, stdout_console
from jobset_restart.commands import jsr
from jobset_restart.diagnose.judge import Diagnosis
from jobset_restart.diagnose.observation import clocks
from jobset_restart.errors import DeadlineExceeded, Interrupted, JsrError
from jobset_restart.plan import Request, Selection, make
from jobset_restart.report.diagnosis import DiagnosisReport, diagnosis_report
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot

if TYPE_CHECKING:
    from jobset_restart.cli.targets import Target
    from jobset_restart.cluster import Cluster
    from jobset_restart.gathering import Gathering, Options

INTERRUPTED = 130
TOO_LATE = 124
REDRAW_SECONDS = 0.2
NODE_SIGNALS = frozenset({"DX401", "DX402", "DX405"})
"""Those that speak of the machine: then the Pod is better off elsewhere."""


def diagnose(target: Target, looks: Looks, where: Where, form: str) -> int:
    """Looks at the workload and prints what was found; returns 0 where it is healthy, 7 where it stands still and there
    are suspects, 8 where there are none. Raises the errors of jobset_restart.errors."""
    within = looks.seconds()
    options = looks.options()
    where.check()
    try:
        return asyncio.run(_diagnose(target, options, where, within, form))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted before anything was seen") from None


async def _diagnose(target: Target, options: Options, where: Where, within: float, form: str) -> int:
    from jobset_restart.cluster.resolve import resolve

    loop = asyncio.get_running_loop()
    began = loop.time()
    this = asyncio.current_task()
    assert this is not None
    on_leaving(this.cancel)
    async with await opened(where) as cluster:
        namespace = where.namespace or cluster.namespace
        try:
            async with asyncio.timeout(within):
                snapshot = await resolve(cluster, namespace, target.name, target.kind, consistent=False)
        except TimeoutError:
            raise DeadlineExceeded(f"{target.name} could not be read within {within:g} s") from None
        gathering = _gathering(cluster, snapshot, options)
        with progress_line() as show:
            gathering.tell = show
            cut_short = await _until_decided(gathering, within - (loop.time() - began), f"--timeout {within:g}s passed")
        report = report_of(gathering, snapshot, cluster.now(), loop.time() - began, cut_short)
    _show(report, form)
    return report.exit_code


def _gathering(cluster: Cluster, snapshot: Snapshot, options: Options) -> Gathering:
    from jobset_restart.gathering import Gathering

    found = Gathering(cluster, snapshot, options)
    if not any(not seen.state for seen in found.pods):
        raise JsrError(
            f"{snapshot.name} has no running containers to look at; nothing was done",
            f"`{jsr('status', snapshot.workload.reference, snapshot.namespace, snapshot.context)}` says why",
        )
    return found


async def _until_decided(gathering: Gathering, within: float, too_late: str) -> str:
    """Looks, at most so many seconds, and returns what cut it short: `too_late` where that was the time."""
    task = asyncio.ensure_future(gathering.run())
    told = asyncio.Event()
    on_leaving(told.set)
    leaving = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait({task, leaving}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)
    if ended:
        task.result()
        return ""
    return "interrupted" if told.is_set() else too_late


def report_of(gathering: Gathering, snapshot: Snapshot, now: float, seconds: float, cut_short: str) -> DiagnosisReport:
    """The document of what was gathered in so many seconds, cut short by this. `now` is the API server's time."""
    found = gathering.judged()
    suspects = {suspect.slot: suspect for suspect in found.suspects}
    report = diagnosis_report(
        found,
        gathering.observation,
        name=snapshot.name,
        namespace=snapshot.namespace,
        context=snapshot.context,
        now=now,
        seconds=seconds,
        clocks=clocks(gathering.observation),
        commands=lambda slot: commands(snapshot, found, slot) if slot in suspects else [],
        cut_short=cut_short,
    )
    kind = snapshot.workload.kind
    report.workload_kind, report.workload_group = kind.kind, kind.group
    report.uid = snapshot.workload.metadata.uid
    return finished(report, cut_short, decided=gathering.decided, wait=found.progress.wait)


def finished(report: DiagnosisReport, cut_short: str, *, decided: bool, wait: float = 0.0) -> DiagnosisReport:
    """The report with its exit code, where the look may have been cut short: before it was decided whether the workload
    advances there is no verdict. `wait` is how many seconds more would have told."""
    if cut_short and not decided:
        report.verdict, report.reason = "Incomplete", "not enough was seen to tell whether it stands still"
        if wait and report.silent_seconds is not None:
            old = f"the newest line is {report.silent_seconds:.0f} s old"
            report.reason += f": {old}, which may be usual; look again in {wait:.0f} s"
        report.suspects, report.suspected = [], 0
    if cut_short == "interrupted":
        report.exit_code = INTERRUPTED
    elif cut_short and not report.suspects:
        report.exit_code = TOO_LATE
    return report


def commands(snapshot: Snapshot, found: Diagnosis, slot: Slot) -> list[str]:
    """What acts on a suspect and the plan would not refuse now: its containers restarted where it is, or a Pod on
    another machine where the machine is suspected, with the others restarted in place; the likelier first."""
    state = snapshot.slots.get(slot)
    suspect = next((each for each in found.suspects if each.slot == slot), None)
    if state is None or state.pod is None or suspect is None:
        return []
    pod, node = state.pod.metadata.name, state.node_name
    in_place = Request(strategy="in-place", selection=Selection(pods=frozenset({pod})))
    elsewhere = Request(strategy="recreate", selection=Selection(nodes=(node,)))
    down = Request(strategy="recreate", node_down=(node,))
    ids = {reason.id for reason in suspect.reasons}
    ways: list[tuple[Request, tuple[str, ...]]] = [
        (in_place, ("--in-place", "--pod", pod)),
        (elsewhere, ("--recreate", "--node", node)),
    ]
    if "DX401" in ids:
        ways = [(down, ("--recreate", "--node-down", node))]
    elif ids & NODE_SIGNALS or any(each.key == "node" for each in found.common):
        leaving = Request(strategy="in-place", replace_nodes=(node,), cordon=True)
        ways = [(leaving, ("--in-place", "--replace-node", node, "--cordon")), *reversed(ways)]
    whole: list[tuple[Request, tuple[str, ...]]] = [(Request(), ()), (Request(strategy="recreate"), ("--recreate",))]
    allowed = [words for request, words in ways if _allowed(snapshot, request)]
    allowed = allowed or [words for request, words in whole if _allowed(snapshot, request)][:1]
    return [
        jsr("restart", snapshot.workload.reference, snapshot.namespace, snapshot.context, *words) for words in allowed
    ]


def _allowed(snapshot: Snapshot, request: Request) -> bool:
    try:
        return not make(snapshot, request, "not-started", draft=True).refused
    except JsrError:
        return False


def _show(report: DiagnosisReport, form: str) -> None:
    if print_document(report, form):
        return
    from jobset_restart.view.diagnosis import show_diagnosis

    show_diagnosis(stdout_console(), report, wide=form == "wide")


class _Line:
    """What is being looked at, in one line of stderr that is drawn anew."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._said = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._drawn < REDRAW_SECONDS and done not in (0, total):
            return
        self._drawn = loop.time()
        self._said = f"{what} {done:,}/{total:,}" if total else f"{what} ..."
        print(f"\r\x1b[2K{self._said}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._said:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _silent(what: str, done: int, total: int) -> None:
    pass


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """Live progress on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield _silent
        return
    line = _Line()
    try:
        yield line
    finally:
        line.clear()
