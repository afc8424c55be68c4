"""Carry out a plan: claim, trigger, watch, record. Everything is decided elsewhere; here it meets the cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from jobset_restart import claim
from jobset_restart.errors import Conflict, ExecFailed, JsrError, NotFound, Unreachable
from jobset_restart.events import (
    Claimed,
    Detached,
    Disconnected,
    Emit,
    Event,
    Finished,
    Noticed,
    Phase,
    Planned,
    PlannedSlot,
    Reconnected,
    Retried,
)
from jobset_restart.objects import JobSet, Pod
from jobset_restart.plan import Plan, Stage
from jobset_restart.report import ResultReport
from jobset_restart.restart import result
from jobset_restart.restart.hold import Hold
from jobset_restart.snapshot import JOBSET_NAME
from jobset_restart.track import Tracker, Verdict
from jobset_restart.writes import CORE, JOBSETS, Action, Exec, Write

if TYPE_CHECKING:
    from jobset_restart.cluster import ActionResult, Cluster

TICK_SECONDS = 0.2
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
    """How to carry a plan out. `timeout` and `min_ready_seconds` are seconds; `owner` names the person and machine."""

    owner: str
    timeout: float
    min_ready_seconds: float = 0.0
    wait: bool = True
    concurrency: int | None = None


class Operation:
    """One run of a plan. `run` drives it to its end; `interrupt` makes it leave early and in good order."""

    def __init__(self, plan: Plan, cluster: Cluster, emit: Emit, options: Options) -> None:
        self.plan, self.cluster, self.emit, self.options = plan, cluster, emit, options
        self.began = cluster.now()
        self.deadline = self.began + options.timeout
        self.tracker = Tracker(plan, self.began, options.min_ready_seconds)
        plan.let_go_of_pods()
        self.slots = {str(p.state.slot): p.state.slot for p in plan.slots}
        self.hold = Hold(cluster, plan.snapshot.jobset, self._record(), self._lost)
        self.writes = 0
        self.suspended = False
        self.triggered_all = False
        self.interrupted = False
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()

    def interrupt(self) -> None:
        """Trigger nothing more, leave the JobSet so that it goes on by itself, and return from `run` with 130."""
        self.interrupted = True
        self._stop.set()
        self._changed.set()

    async def run(self) -> ResultReport:
        """Claims the JobSet, sends the actions, and watches until every slot is back.

        Raises Superseded when another client holds the JobSet, and what the transport raises before the claim is
        taken. After that, whatever happens is told by the result's exit code and reason.
        """
        self.cluster.on_retry = self._retried
        self._emit(self._planned())
        took_over = await self.hold.take(self.deadline)
        self.suspended = self.hold.jobset.spec.suspend
        now = self.cluster.now()
        self._emit(Claimed(time=now, operation=self.plan.operation, owner=self.options.owner, took_over=took_over))
        error: JsrError | None = None
        async with self._background() as watchers:
            driver = self._task(self._drive())
            try:
                await self._until_over([driver, *watchers])
            except JsrError as stopped:
                error = stopped
            self._stop.set()
            self._changed.set()
            await self._end(driver)
            await self._never_leave_suspended()
        return await self._finish(error)

    def _record(self) -> claim.Record:
        now = claim.timestamp(self.began)
        record = claim.Record(
            id=self.plan.operation,
            owner=self.options.owner,
            strategy=self.plan.strategy,
            trigger=self.plan.trigger,
            phase="suspending" if self.plan.snapshot.jobset.spec.suspend else "triggering",
            started=now,
            heartbeat=now,
            deadline=claim.timestamp(self.deadline),
            attempt=self.tracker.target_attempt if self.plan.trigger == "native" else None,
            **claim.what_is_restarted(self.plan),
        )
        before = claim.read(self.plan.snapshot.jobset)
        return claim.carried_on(record, before) if before and before.id == record.id else record

    def _lost(self, reason: str) -> None:
        self.tracker.verdict = self.tracker.verdict or Verdict("superseded", reason)
        self._stop.set()
        self._changed.set()

    # ------------------------------------------------------------ trigger

    async def _drive(self) -> None:
        self._tell(self.tracker.begin(self.cluster.now()))
        if self.plan.finishes:
            self._tell(self.tracker.sent_all(self.cluster.now()))
        for stage in self.plan.stages:
            if stage.after == "stopped":
                await self._until(lambda: self.tracker.stopped)
            if self._stop.is_set():
                return
            self._emit(Phase(time=self.cluster.now(), phase=PHASES[stage.name]))
            if stage.name in ("suspend", "resume"):
                await self._suspend(stage.name == "suspend")
            else:
                await self._send(stage)
        self.triggered_all = not self._stop.is_set()
        self._changed.set()

    async def _send(self, stage: Stage) -> None:
        whole = stage.name != "release" and self.plan.trigger in ("native", "jobs")
        failures: list[JsrError] = []

        def on_done(action: Action, done: ActionResult) -> None:
            slot = self.slots.get(action.slot)
            if done.error is None:
                self.writes += isinstance(action, Write)
                if slot is not None:
                    self._tell(self.tracker.sent(slot, self.cluster.now()))
                return
            if isinstance(done.error, NotFound) and isinstance(action, Write) and stage.name in ("release", "delete"):
                return
            if isinstance(action, Exec) and isinstance(done.error, Unreachable) and slot is not None:
                # The container may have taken the connection down with it: what the watch sees decides.
                self._tell(self.tracker.sent(slot, self.cluster.now()))
                return
            if isinstance(action, Exec) and isinstance(done.error, ExecFailed) and slot is not None:
                message = done.error.message
                self._tell(self.tracker.exec_refused(slot, action.container, message, self.cluster.now()))
                return
            failures.append(done.error)
            if slot is not None:
                self._tell(self.tracker.refused(slot, done.error.message, self.cluster.now()))

        await self.cluster.send_all(
            stage.actions, on_done, concurrency=self.options.concurrency, stop=self._stop, deadline=self.deadline
        )
        if whole:
            if failures:
                raise failures[0]
            self._tell(self.tracker.sent_all(self.cluster.now()))

    async def _suspend(self, suspend: bool) -> None:
        """Sets spec.suspend with the record. While the outcome of the write is open, the JobSet counts as suspended."""
        now = self.cluster.now()
        self.suspended = True
        phase, deadline = ("suspending", self.deadline) if suspend else ("resuming", now + RESUME_SECONDS)
        await self.hold.change(deadline, suspend=suspend, phase=phase)
        self.suspended = suspend
        self.writes += 1
        if suspend:
            self._tell(self.tracker.sent_all(self.cluster.now()))

    async def _never_leave_suspended(self) -> None:
        """Whatever ended the run: a JobSet that this operation suspended is resumed before it leaves."""
        gone = self.tracker.verdict is not None and not self.hold.jobset.spec.suspend
        if not self.suspended or self.hold.lost or gone:
            return
        self._emit(Phase(time=self.cluster.now(), phase="resuming", reason="before leaving"))
        try:
            await self._suspend(False)
        except NotFound:
            return
        except JsrError as error:
            name = self.plan.snapshot.name
            self._notice(
                f"JobSet {name} could not be resumed ({error.message}) and may stay suspended; its record says so, and "
                f"the next `jsr restart {name}` resumes it"
            )

    async def _end(self, driver: asyncio.Task[None]) -> None:
        """Lets what is in flight complete for a moment, so that it is known what was sent."""
        if not driver.done():
            await asyncio.wait({driver}, timeout=PARTING_SECONDS)
            driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)

    # ------------------------------------------------------------ watch

    @contextlib.asynccontextmanager
    async def _background(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        work = (self._watch_pods(), self._watch_jobset(), self.hold.keep_alive(), self._tick())
        tasks = [self._task(each) for each in work]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._changed.set())
        return task

    async def _watch_pods(self) -> None:
        snapshot = self.plan.snapshot
        async for batch in self.cluster.watch(
            f"{CORE}/namespaces/{snapshot.namespace}/pods",
            Pod,
            resource_version=snapshot.resource_version,
            label_selector=f"{JOBSET_NAME}={snapshot.name}",
        ):
            now = self.cluster.now()
            if batch.disconnected:
                self._emit(Disconnected(time=now, reason=batch.disconnected))
            if batch.reconnected_after is not None:
                self._emit(Reconnected(time=now, seconds=batch.reconnected_after))
            if batch.relisted is not None:
                self._tell(self.tracker.relist(batch.relisted, now))
            for kind, pod in batch.changes:
                self._tell(self.tracker.observe(pod, now, deleted=kind == "DELETED"))
            self._changed.set()

    async def _watch_jobset(self) -> None:
        snapshot = self.plan.snapshot
        async for batch in self.cluster.watch(
            f"{JOBSETS}/namespaces/{snapshot.namespace}/jobsets",
            JobSet,
            resource_version=self.hold.jobset.metadata.resource_version,
            field_selector=f"metadata.name={snapshot.name}",
        ):
            for kind, jobset in batch.changes:
                self._see(None if kind == "DELETED" else jobset)
            if batch.relisted is not None:
                self._see(batch.relisted[0] if batch.relisted else None)

    def _see(self, jobset: JobSet | None) -> None:
        self._tell(self.tracker.observe_jobset(jobset, self.cluster.now()))
        if jobset is not None:
            self.hold.see(jobset)
        self._changed.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tell(self.tracker.tick(self.cluster.now()))
            self._changed.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and not self._stop.is_set():
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
            self._changed.clear()
            await self._changed.wait()

    @property
    def _late(self) -> bool:
        return self.cluster.now() >= self.deadline

    # ------------------------------------------------------------ the end

    async def _finish(self, error: JsrError | None) -> ResultReport:
        now = self.cluster.now()
        code, reason = result.exit_code(
            self.tracker, interrupted=self.interrupted, timed_out=self._late, waited=self.options.wait
        )
        if error is not None and self.tracker.verdict is None:
            code, reason = error.exit_code, error.message
        if self.plan.finishes:
            reason = f"finished operation {self.plan.finishes}, which died between suspend and resume: {reason}"
        leaves = code in (0, result.INTERRUPTED, result.DEADLINE) and not self.tracker.done
        report = result.result_report(
            self.plan, self.tracker, code, reason, seconds=now - self.began, writes=self.writes
        )
        if leaves:
            detached = self._detached(now)
            report.follow = detached.follow
            self._emit(detached)
        await self._leave_record(report, leaves)
        self._emit(
            Finished(
                time=self.cluster.now(),
                operation=self.plan.operation,
                exit_code=code,
                outcomes=report.outcomes,
                reason=reason,
                seconds=report.seconds,
                writes=self.writes,
                budgets=self.plan.budgets,
            )
        )
        return report

    async def _leave_record(self, report: ResultReport, leaves: bool) -> None:
        if self.hold.lost:
            return
        now = self.cluster.now()
        fields: dict[str, Any] = {"state": "detached", "reason": report.reason, "phase": self.hold.record.phase}
        if not leaves:
            fields |= {"state": "finished", "phase": "", "ended": claim.timestamp(now)}
            fields |= {"exit_code": report.exit_code, "outcomes": report.outcomes}
        try:
            await self.hold.change(now + PARTING_SECONDS, **fields)
            await self.cluster.send(result.event(self.hold.jobset, report, now), deadline=now + PARTING_SECONDS)
        except NotFound:
            return
        except (JsrError, Conflict) as failed:
            self._notice(f"the record of the operation could not be completed: {failed.message}")

    def _detached(self, now: float) -> Detached:
        left = sum(track.sent_at is None for track in self.tracker.slots.values())
        name, namespace = self.plan.snapshot.name, self.plan.snapshot.namespace
        follow = f"jsr restart {name} -n {namespace} --resume {self.plan.operation}"
        return Detached(time=now, operation=self.plan.operation, not_triggered=left, follow=follow)

    def _planned(self) -> Planned:
        plan = self.plan
        return Planned(
            time=self.began,
            operation=plan.operation,
            jobset=plan.snapshot.name,
            namespace=plan.snapshot.namespace,
            context=plan.snapshot.context,
            strategy=plan.strategy,
            trigger=plan.trigger,
            reason=plan.reason,
            deadline=self.deadline,
            predicted=plan.predicted,
            writes=len(plan.actions),
            slots=[
                PlannedSlot(
                    slot=str(p.state.slot),
                    pod=p.pod,
                    node=p.node,
                    trigger=p.trigger,
                )
                for p in plan.slots
            ],
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
