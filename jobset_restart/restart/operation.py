"""Carry out a plan: claim, trigger, watch, record. Everything is decided elsewhere; here it meets the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from jobset_restart import claim
from jobset_restart.commands import jsr
from jobset_restart.errors import Conflict, JsrError, NotFound, OwnFault, told
from jobset_restart.events import (
    Claimed,
    Detached,
    Emit,
    Event,
    Finished,
    Noticed,
    Phase,
    Retried,
)
from jobset_restart.plan import Plan
from jobset_restart.report import ResultReport
from jobset_restart.restart import result
from jobset_restart.restart.answers import Answers
from jobset_restart.restart.hold import Hold
from jobset_restart.restart.watching import Watching
from jobset_restart.stages import Stage
from jobset_restart.suspension import setter
from jobset_restart.track import Tracker
from jobset_restart.triggers.suspend import suspend
from jobset_restart.turns import Turns
from jobset_restart.verdict import Verdict
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

RESUME_SECONDS = 60.0
PARTING_SECONDS = 10.0

PHASES = {
    "trigger": "triggering",
    "delete": "deleting",
    "release": "releasing Pods of lost machines",
    "suspend": "suspending",
    "resume": "resuming",
}


class Options(Struct, frozen=True, kw_only=True):
    """How to carry a plan out. `timeout` and `min_ready_seconds` are seconds, None: as long as the plan says; `owner`
    names the person and machine."""

    owner: str
    timeout: float
    min_ready_seconds: float | None = None
    wait: bool = True
    concurrency: int | None = None


class Operation:
    """One run of a plan. `run` drives it to its end; `interrupt` makes it leave early and in good order. `fault` is a
    fault of this program that ended it, if one did."""

    def __init__(self, plan: Plan, cluster: Cluster, emit: Emit, options: Options) -> None:
        self.plan, self.cluster, self.emit, self.options = plan, cluster, emit, options
        self.began = cluster.now()
        self.deadline = self.began + options.timeout
        asked = options.min_ready_seconds
        self.tracker = Tracker(plan, self.began, plan.min_ready_seconds if asked is None else asked)
        plan.let_go_of_pods()
        self._answers = Answers(plan, self.tracker, cluster.now, self._tell)
        record = claim.opened(plan, options.owner, self.began, self.deadline)
        self.hold = Hold(cluster, plan.snapshot.workload, record, self._lost, self._contradicted)
        self._suspensions = 0
        self.suspended = False
        self.triggered_all = False
        self.interrupted = False
        self.fault: OwnFault | None = None
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def writes(self) -> int:
        """How many writes were accepted, those of the claim and the record apart."""
        return self._answers.writes + self._suspensions

    def interrupt(self) -> None:
        """Trigger nothing more, leave the JobSet so that it goes on by itself, and return from `run` with 130."""
        self.interrupted = True
        self._stop.set()
        self._changed.set()

    @property
    def refused_throughout(self) -> bool:
        """Whether everything that was sent was refused, so that nothing was restarted and nothing is under way."""
        tracks = self.tracker.slots.values()
        refused = self._answers.refused is not None or any(track.refusal or track.refusals for track in tracks)
        untouched = all(track.sent_at is None and track.state in ("waiting", "failed") for track in tracks)
        return refused and untouched and not (self.interrupted or self.tracker.verdict or self._late or self.fault)

    async def run(self) -> ResultReport:
        """Claims the workload, sends the actions, and watches until every slot is back.

        Raises Superseded when another client holds the workload, and what the transport raises before the claim is
        taken. After that, whatever happens, faults of this program included, is told by the result's exit code and
        reason, and it is not left suspended.
        """
        self.cluster.on_retry = self._retried
        self._emit(result.planned(self.plan, self.began, self.deadline))
        took_over = await self.hold.take(self.deadline)
        self.suspended = claim.found_suspended(self.plan)
        error: JsrError | None = None
        try:
            error = await self._carry_out(took_over)
        except Exception as raised:  # a fault of ours must not cost the person more than this operation
            error = told(raised)
        await self._never_leave_suspended()
        return await self._finish(error)

    async def _carry_out(self, took_over: str) -> JsrError | None:
        """Sends and watches until the operation is over. Returns what it died of, None where it did not."""
        now = self.cluster.now()
        self._emit(Claimed(time=now, operation=self.plan.operation, owner=self.options.owner, took_over=took_over))
        if self.hold.unusual:
            self._notice(self.hold.unusual)
        watching = Watching(
            self.cluster, self.plan.snapshot, self.hold.workload, self.tracker, self._see, self._tell, self._changed
        )
        error: JsrError | None = None
        async with watching.during(self.hold.keep_alive()) as watchers:
            driver = watching.task(self._drive())
            try:
                await self._until_over([driver, *watchers])
            except Exception as raised:
                error = told(raised)
            self._stop.set()
            self._changed.set()
            await self._end(driver)
        return error or _fault_of([driver, *watchers])

    def _contradicted(self, how: str) -> None:
        """Somebody else set spec.suspend while this operation relied on it."""
        who, now = setter(self.hold.workload.metadata), self.cluster.now()
        if how == "suspended":
            self._lost(f"the {self._kind} was suspended by {who}, which deletes its Pods")
        elif not self.tracker.resumed_by:
            self.suspended = False
            self.tracker.resumed(who, now)
            self._notice(f"the {self._kind} was resumed by {who} before all its Pods had ended")
            self._changed.set()

    def _lost(self, reason: str) -> None:
        self.tracker.verdict = self.tracker.verdict or Verdict("superseded", reason)
        self._stop.set()
        self._changed.set()

    # ------------------------------------------------------------ trigger

    async def _drive(self) -> None:
        self._tell(self.tracker.begin(self.cluster.now()))
        if self.plan.finishes:
            self._tell(self.tracker.sent_all(self.cluster.now()))
        turns = Turns(self.plan)
        while not self._stop.is_set():
            turn = turns.next(self.tracker, self.cluster.now())
            if turn.kind == "over":
                self._tell(self.tracker.leave(turn.halted, turn.failed, self.cluster.now()))
                self.triggered_all = True
                break
            if turn.stage is None:
                await self._change()
                continue
            stage = turn.stage
            self._emit(Phase(time=self.cluster.now(), phase=PHASES[stage.name], reason=stage.why))
            if stage.name in ("suspend", "resume"):
                await self._suspend(stage.name == "suspend")
            else:
                await self._send(stage)
        self._changed.set()

    async def _send(self, stage: Stage) -> None:
        await self.cluster.send_all(
            stage.actions,
            partial(self._answers.answered, stage),
            concurrency=self.options.concurrency,
            stop=self._stop,
            deadline=self.deadline,
        )
        if self._answers.refused is not None:
            raise self._answers.refused

    async def _suspend(self, wanted: bool) -> None:
        """Sets spec.suspend with the record. While the outcome of the write is open, the JobSet counts as suspended."""
        now = self.cluster.now()
        if self.tracker.resumed_by and not wanted:
            self.suspended = False
            await self.hold.change(now + RESUME_SECONDS, phase="resuming")
            return
        self.suspended = True
        phase, deadline = ("suspending", self.deadline) if wanted else ("resuming", now + RESUME_SECONDS)
        await self.hold.change(deadline, suspend=wanted, phase=phase)
        self.suspended = wanted and not self.tracker.resumed_by
        self._suspensions += 1
        if wanted:
            self._tell(self.tracker.sent_all(self.cluster.now()))

    async def _never_leave_suspended(self) -> None:
        """Whatever ended the run: a JobSet that this operation suspended is resumed before it leaves."""
        gone = self.tracker.verdict is not None and not self.hold.workload.suspended
        if not self.suspended or self.hold.lost or gone:
            return
        self._emit(Phase(time=self.cluster.now(), phase="resuming", reason="before leaving"))
        try:
            await self._suspend(False)
        except NotFound:
            self.suspended = False
        except Exception as raised:
            await self._resume_at_least(told(raised))

    async def _resume_at_least(self, failed: JsrError) -> None:
        """The resume with the record did not go through: the same without it, where that may help, else the word that
        the JobSet is suspended."""
        workload, context = self.plan.snapshot.workload, self.plan.snapshot.context
        try:
            if isinstance(failed, OwnFault | Conflict):
                deadline = self.cluster.now() + RESUME_SECONDS
                await self.cluster.send(suspend(self.plan.snapshot.workload, False), deadline=deadline)
                self.suspended = False
        except Exception as raised:
            failed = told(raised)
        if self.suspended:
            self._notice(
                f"{workload.title} could not be resumed ({failed.message}) and may stay suspended; its record says so, "
                f"and the next `{jsr('restart', workload.reference, workload.namespace, context)}` resumes it"
            )

    async def _end(self, driver: asyncio.Task[None]) -> None:
        """Lets what is in flight complete for a moment, so that it is known what was sent."""
        if not driver.done():
            await asyncio.wait({driver}, timeout=PARTING_SECONDS)
            driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)

    # ------------------------------------------------------------ watch

    @property
    def _kind(self) -> str:
        return self.plan.snapshot.workload.kind.kind

    def _see(self, workload: Workload | None) -> None:
        self._tell(self.tracker.observe_workload(workload, self.cluster.now()))
        if workload is not None:
            self.hold.see(workload)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _until_over(self, tasks: list[asyncio.Task[None]]) -> None:
        """Returns when there is nothing left to do or to wait for; raises what a task died of."""
        while not (self.interrupted or self.tracker.verdict or self._late):
            for task in tasks:
                if task.done() and (died := task.exception()):
                    raise died
            if self.triggered_all and (self.tracker.done or not self.options.wait):
                return
            await self._change()

    @property
    def _late(self) -> bool:
        return self.cluster.now() >= self.deadline

    # ------------------------------------------------------------ the end

    async def _finish(self, error: JsrError | None) -> ResultReport:
        try:
            report, leaves = self._report(error)
        except Exception as raised:  # the tracker may be what is at fault
            report, leaves = self._bare_report(told(raised) if error is None else error), True
        if leaves:
            detached = self._detached()
            report.follow = detached.follow
            self._emit(detached)
        await self._leave_record(report, leaves)
        self._emit(
            Finished(
                time=self.cluster.now(),
                operation=self.plan.operation,
                exit_code=report.exit_code,
                outcomes=report.outcomes,
                reason=report.reason,
                seconds=report.seconds,
                writes=self.writes,
                budgets=self.plan.budgets,
            )
        )
        return report

    def _report(self, error: JsrError | None) -> tuple[ResultReport, bool]:
        """What came out, and whether slots are left under way that can be carried on with."""
        self.fault = error if isinstance(error, OwnFault) else None
        if self.fault and self.tracker.done and self.triggered_all and not self.suspended:
            self._notice(f"{self.fault.message}; {self.fault.hint}")  # it came too late to matter
            error = None
        code, reason = result.exit_code(
            self.tracker,
            interrupted=self.interrupted,
            timed_out=self._late,
            waited=self.options.wait,
            error=error,
            suspended=self.suspended,
        )
        if self.plan.finishes:
            reason = f"finished operation {self.plan.finishes}, which died between suspend and resume: {reason}"
        seconds = self.cluster.now() - self.began
        report = result.result_report(self.plan, self.tracker, code, reason, seconds=seconds, writes=self.writes)
        return report, result.leaves(self.tracker, code)

    def _bare_report(self, error: JsrError) -> ResultReport:
        """What can be said without the tracker."""
        self.fault = error if isinstance(error, OwnFault) else None
        return ResultReport(
            jobset=self.plan.snapshot.name,
            workload_kind=self.plan.snapshot.workload.kind.kind,
            workload_group=self.plan.snapshot.workload.kind.group,
            namespace=self.plan.snapshot.namespace,
            context=self.plan.snapshot.context,
            operation=self.plan.operation,
            strategy=self.plan.strategy,
            trigger=self.plan.trigger_name,
            exit_code=error.exit_code,
            reason=f"{error.message}; what became of the slots is not known, see `jsr status`",
            seconds=round(self.cluster.now() - self.began, 3),
            writes=self.writes,
        )

    async def _leave_record(self, report: ResultReport, leaves: bool) -> None:
        if self.hold.lost:
            return
        now = self.cluster.now()
        fields: dict[str, Any] = {"state": "detached", "reason": report.reason}
        if not self.suspended:
            fields["phase"] = "resuming" if self.hold.record.phase == "suspending" else self.hold.record.phase
        if not leaves and not self.suspended:
            fields |= {"state": "finished", "phase": "", "ended": claim.timestamp(now)}
            fields |= {"exit_code": report.exit_code, "outcomes": report.outcomes}
        try:
            await self.hold.change(now + PARTING_SECONDS, **fields)
            await self.cluster.send(result.event(self.hold.workload, report, now), deadline=now + PARTING_SECONDS)
        except NotFound:
            return
        except Exception as failed:
            self._notice(f"the record of the operation could not be completed: {told(failed).message}")

    def _detached(self) -> Detached:
        left = sum(track.sent_at is None for track in self.tracker.slots.values())
        return Detached(
            time=self.cluster.now(),
            operation=self.plan.operation,
            not_triggered=left,
            follow=result.carry_on_command(self.plan),
        )

    def _retried(self, request: str, reason: str, delay: float) -> None:
        self._emit(Retried(time=self.cluster.now(), request=request, reason=reason, delay=delay))

    def _notice(self, message: str) -> None:
        self._emit(Noticed(time=self.cluster.now(), message=message))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self.emit(event)

    def _emit(self, event: Event) -> None:
        self.emit(event)


def _fault_of(tasks: Iterable[asyncio.Task[None]]) -> OwnFault | None:
    """The fault of this program that one of these tasks ended with, if any; their foreseen errors were told."""
    ended = (task.exception() for task in tasks if task.done() and not task.cancelled())
    faults = (told(raised) for raised in ended if isinstance(raised, Exception))
    return next((fault for fault in faults if isinstance(fault, OwnFault)), None)
