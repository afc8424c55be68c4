"""`jsr restart --capture`: the evidence, before anything is changed.

It is taken after the plan was agreed on and before the claim: it only reads, so it needs no lock, and until it is over
nothing was changed, whatever happens. Then the workload is planned for again, for the cluster has gone on meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from jobset_restart.cli.asking import on_leaving
from jobset_restart.cli.options import CaptureBefore
from jobset_restart.errors import Interrupted, JsrError, UsageError, told
from jobset_restart.events import Captured, Capturing, Event
from jobset_restart.harmless import plain
from jobset_restart.plan import Plan
from jobset_restart.report import EvidencePlanReport, EvidenceReport
from jobset_restart.restart import Asked, Options, planned, planned_again, refusal
from jobset_restart.view.text import counted

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster


class Before:
    """What --capture asked for. `report` is what was captured, None where nothing was; `events` tell of it."""

    def __init__(self, evidence: CaptureBefore, options: Options) -> None:
        """Raises UsageError where it cannot be written, as far as that can be seen."""
        self._into, self._bounds = evidence.into(), evidence.bounds(options.concurrency)
        self.report: EvidenceReport | None = None
        self.events: list[Event] = []

    def planned(self, plan: Plan) -> EvidencePlanReport | None:
        """What would be captured."""
        from jobset_restart.capture.sample import choose

        if self._into is None or plan.refused:
            return None
        states = list(plan.snapshot.slots.values())
        chosen = choose(states, self._bounds.slots, {}, {each.state.slot for each in plan.scope})
        return EvidencePlanReport(
            path=self._into.path,
            slots=len(chosen),
            expected=sum(state.expected for state in states),
            seconds=self._bounds.seconds,
            odd={str(each.state.slot): list(each.odd) for each in chosen if each.odd},
        )

    async def the_kill(self, cluster: Cluster, asked: Asked, plan: Plan, *, shown: bool) -> Plan:
        """Captures what the plan is about, and returns the plan as of then; the same where nothing is captured.

        Raises Interrupted, UsageError where it cannot be written, Refused where another plan was `shown` to somebody or
        this one refuses now, and what the transport raises. In each case nothing was changed."""
        if self._into is None:
            return plan
        await self._capture(cluster, plan)
        try:
            if shown:
                return await planned_again(cluster, asked, plan)
            again = await planned(cluster, asked)
            if again.refused:
                raise refusal(again)
        except JsrError:
            print(f"the evidence is in {plain(self._into.path)}", file=sys.stderr)
            raise
        return again

    async def _capture(self, cluster: Cluster, plan: Plan) -> None:
        from jobset_restart.capture.taking import take
        from jobset_restart.cli.capturing import diagnosed
        from jobset_restart.cli.diagnosing import progress_line

        assert self._into is not None
        snapshot, path = plan.snapshot, self._into.path
        expected = sum(state.expected for state in snapshot.slots.values())
        most = min(self._bounds.slots, len(snapshot.slots))
        self._tell(Capturing(time=cluster.now(), path=path, slots=most, total=expected, within=self._bounds.seconds))
        what = f"{most:,} of {counted(expected, 'slot')} in {plain(path)}"
        print(f"capturing the evidence of {what}, {self._bounds.seconds:g} s at most", file=sys.stderr, flush=True)
        stop = asyncio.Event()
        on_leaving(stop.set)
        try:
            with progress_line() as show:
                scope = {each.state.slot for each in plan.scope}
                of = diagnosed(cluster, snapshot)
                found = await take(cluster, snapshot, self._into, self._bounds, of, stop=stop, tell=show, scope=scope)
            self.report = EvidenceReport(
                path=path,
                captured=found.captured,
                expected=found.expected,
                missing=found.missing_count,
                complete=found.complete,
                reason=found.cut_short,
                seconds=found.seconds,
            )
        except UsageError:
            raise
        except Exception as raised:  # whatever goes wrong with the evidence must not stop a restart
            self.report = EvidenceReport(path=path, expected=expected, reason=told(raised).message)
        if stop.is_set():
            raise Interrupted(
                "interrupted while the evidence was captured; nothing was changed",
                f"what was captured by then is in {path}",
            )
        this = asyncio.current_task()
        assert this is not None
        on_leaving(this.cancel)
        had = self.report
        self._tell(
            Captured(
                time=cluster.now(),
                path=path,
                slots=had.captured,
                missing=had.missing,
                seconds=had.seconds,
                reason=had.reason,
            )
        )

    def _tell(self, event: Event) -> None:
        self.events.append(event)
