"""One operation from its claim to its record. It holds the workload and watches it, and has one plan after another
carried out there, each in a round of its own. Everything is decided elsewhere; here it meets the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from jobset_restart import claim
from jobset_restart.errors import JsrError, NotFound, OwnFault, told
from jobset_restart.events import Claimed, Detached, Emit, Event, Noticed, Phase, Retried
from jobset_restart.findings import Finding
from jobset_restart.machines import Machines
from jobset_restart.plan import Plan, Request
from jobset_restart.report import ResultReport
from jobset_restart.restart import announcement, result
from jobset_restart.restart.announcing import Announcer
from jobset_restart.restart.down import cost_of_downtime
from jobset_restart.restart.escalate import Passed, Standing, next_request, passed, why
from jobset_restart.restart.hold import Hold
from jobset_restart.restart.planning import planned_next
from jobset_restart.restart.result import Came
from jobset_restart.restart.round import Ground, Round
from jobset_restart.restart.suspending import BACK, Suspension
from jobset_restart.restart.watching import Watching
from jobset_restart.suspension import setter
from jobset_restart.verdict import Verdict
from jobset_restart.vocabulary import Rung
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

PARTING_SECONDS = 10.0


class Options(Struct, frozen=True, kw_only=True):
    """How to carry a plan out. `timeout` and `min_ready_seconds` are seconds, None: as long as the plan says; `owner`
    names the person and machine. The time-out is that of all rounds together."""

    owner: str
    timeout: float
    min_ready_seconds: float | None = None
    wait: bool = True
    concurrency: int | None = None


class Tenure:
    """Carries out a plan, and those that may follow it. `run` drives it to its end; `interrupt` makes it leave early
    and in good order. `round` is the one that runs, or ran last. `fault` is a fault of this program that ended it, if
    one did."""

    def __init__(self, plan: Plan, cluster: Cluster, emit: Emit, options: Options) -> None:
        self.cluster, self.emit, self.options = cluster, emit, options
        self.began = cluster.now()
        self.deadline = self.began + options.timeout
        self._changed = asyncio.Event()
        record = claim.opened(plan, options.owner, self.began, self.deadline)
        self.hold = Hold(cluster, plan.snapshot.workload, record, self._lost, self._contradicted)
        self.suspension = Suspension(cluster, self.hold, self.deadline)
        self._found_suspended = claim.found_suspended(plan)
        self._ground = Ground(
            cluster=cluster,
            suspension=self.suspension,
            machines=Machines(),
            emit=self._emit,
            changed=self._changed,
            deadline=self.deadline,
            min_ready_seconds=options.min_ready_seconds,
            concurrency=options.concurrency,
        )
        self.round = Round(plan, self._ground, record.round, self.began)
        self.watching = Watching(cluster, plan.snapshot, self.round.tracker, self._see, self.round.tell, self._changed)
        self._announcer = Announcer(cluster)
        self._before = result.turns_recorded(record, plan.snapshot)
        self._over: list[Came] = []
        """What came of the rounds before."""
        self._passed: list[Passed] = []
        """The rungs that were allowed and not taken."""
        self._tried: Rung | Literal[""] = ""
        self._last = not plan.request.escalate
        """Whether no round can follow upon the one that runs, so that slots are waited for as long as there is hope."""
        self.interrupted = False
        self.fault: OwnFault | None = None

    @property
    def writes(self) -> int:
        """How many writes were accepted, those of the claim and the record apart."""
        before = sum(came.writes for came in self._over)
        return before + self.round.answers.writes + self.suspension.writes

    @property
    def carry_on(self) -> str:
        """The command that carries the operation on."""
        return self.round.outline.carry_on

    def interrupt(self) -> None:
        """Trigger nothing more, leave the workload so that it goes on by itself, and return from `run` with 130."""
        self.interrupted = True
        self._leave()

    def _leave(self) -> None:
        self.round.stop()
        self._changed.set()

    async def run(self) -> ResultReport:
        """Claims the workload, sends the actions, and watches until every slot is back.

        Raises Superseded when another client holds it, and what the transport raises before the claim is
        taken. After that, whatever happens, faults of this program included, is told by the result's exit code and
        reason, and it is not left suspended.
        """
        self.cluster.on_retry = self._retried
        self._emit(self.round.planned())
        took_over = await self.hold.take(self.deadline)
        self.suspension.found(self._found_suspended)
        error: JsrError | None = None
        try:
            error = await self._carry_out(took_over)
        except Exception as raised:  # a fault of ours must not cost the person more than this operation
            error = told(raised)
        await self._never_leave_suspended()
        return await self._finish(error)

    async def _carry_out(self, took_over: str) -> JsrError | None:
        """Has one round after the other carried out. Returns what the last died of, None where it did not."""
        operation, owner = self.round.outline.operation, self.options.owner
        self._emit(Claimed(time=self.cluster.now(), operation=operation, owner=owner, took_over=took_over))
        self._announcer.tell(announcement.began(self.hold.workload, self.round.outline, owner, self.cluster.now()))
        if self.hold.unusual:
            self._notice(self.hold.unusual)
        async with self.watching.during(self.hold.workload, self.hold.keep_alive()) as tasks:
            watchers = list(tasks)
            error = await self._play(tasks, watchers)
            try:
                while True:
                    if await self._another(error, watchers):
                        error = await self._play(tasks, watchers)
                        continue
                    if error is not None or self._ends:
                        break
                    last = self._last
                    await self._until(self._round_is_over, watchers)
                    if last and (self.round.left() or next_request(self._standing()) is None):
                        break
            except Exception as raised:
                error = told(raised)
        return error or _fault_of(tasks)

    async def _play(self, tasks: list[asyncio.Task[None]], watchers: list[asyncio.Task[None]]) -> JsrError | None:
        """Carries out the round. Returns what it died of, None where it did not."""
        driver = self.watching.task(self.round.drive())
        tasks.append(driver)
        error: JsrError | None = None
        try:
            await self._until(self._round_is_over, [driver, *watchers])
        except Exception as raised:
            error = told(raised)
        self._leave()
        await self._end(driver)
        return error

    def _round_is_over(self) -> bool:
        waited = not self.options.wait or self.round.over(self.cluster.now(), last=self._last)
        return self.round.sent_all and waited

    def _contradicted(self, how: str) -> None:
        """Somebody else set spec.suspend while this operation relied on it."""
        who, tracker = setter(self.hold.workload.metadata), self.round.tracker
        if how == "suspended":
            self._lost(f"the {self._kind} was suspended by {who}, which deletes its Pods")
        elif not tracker.resumed_by:
            self.suspension.was_resumed(who)
            tracker.resumed(who, self.cluster.now())
            self._notice(f"the {self._kind} was resumed by {who} before all its Pods had ended")
            self._changed.set()

    def _lost(self, reason: str) -> None:
        tracker = self.round.tracker
        tracker.verdict = tracker.verdict or Verdict("superseded", reason)
        self._leave()

    # ------------------------------------------------------------ the next round

    async def _another(self, error: JsrError | None, watchers: list[asyncio.Task[None]]) -> bool:
        """Begins the next round, if there is to be one after this, which may have died of an error. Raises what the
        record could not be written for."""
        if self._ends or (error is not None and error is not self.round.answers.refused):
            return False
        while not self._ends:
            standing = self._standing()
            request = next_request(standing)
            below = passed(standing, request)
            for each in below:
                self._pass(each)
            if request is None:
                break
            if below and not self._round_is_over():
                return False
            came = self._came(error)
            self._notice(f"{came.reason}; {why(request)}")
            with self.watching.keeping():
                plan = await self._look(request, watchers)
                if plan is not None and not plan.refused and plan.scope and not self._ends:
                    await self._begin(plan, came)
                    return True
            if plan is None or not request.rung:
                break
            self._pass(Passed(rung=request.rung, reason=plan.reason.removeprefix("refused: ")))
            if not self._round_is_over():
                return False
        self._last = True
        return False

    def _pass(self, each: Passed) -> None:
        """A rung is not taken, which is said."""
        self._passed.append(each)
        self._tried = each.rung
        if each.rung == "force":
            self.round.stuck.forget_deaf()
        self._notice(f"--escalate {each.rung} is skipped: {each.reason}")

    def _standing(self) -> Standing:
        """What came out of all rounds so far, for the choice of the next."""
        standing = self.round.standing(result.turns_left(self._before, [*self._over, self._came(None)]))
        return structs.replace(standing, tried=self._tried)

    async def _look(self, request: Request, watchers: list[asyncio.Task[None]]) -> Plan | None:
        """The plan for the request from a fresh look. None where there is nothing to be planned, which is said."""
        left = [track.slot for track in self.round.left()] if request.rung else []
        looking = self.watching.task(planned_next(self.cluster, self.hold.workload, request, self.hold.record, left))
        try:
            await self._until(looking.done, watchers)
            if not looking.done():
                return None
            plan = looking.result()
        except JsrError as failed:
            self._see(None) if isinstance(failed, NotFound) else None
            self._notice(f"the look failed: {failed.message}")
            return None
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if plan is None:
            self._notice("every slot has come back meanwhile")
            return None
        self._see(plan.snapshot.workload)
        for finding in () if plan.refused and request.rung else plan.findings:
            if finding.severity != "note":
                self._notice(_sentence(finding))
        return plan

    async def _begin(self, plan: Plan, came: Came) -> None:
        """Writes the record of the next round, and begins it."""
        now = self.cluster.now()
        begun = Round(plan, self._ground, came.number + 1, now, self.round.tracker)
        waiting = begun.tracker.slots.keys() - {planned.state.slot for planned in plan.scope}
        fields = claim.next_round(self.hold.record, plan, result.past_round(came, now), now, waiting)
        fields |= result.turns_to_record(result.turns_left(self._before, [*self._over, came]), begun.tracker.slots)
        await self.hold.change(self.deadline, **fields)
        self._over.append(came)
        self.round, self._tried = begun, ""
        if self._ends:
            self.round.stop()
        self._emit(self.round.follows(came.reason))
        self._announcer.tell(
            announcement.escalated(self.hold.workload, self.round.outline, self.round.number, came.reason, now)
        )
        self.watching.follow(self.round.tracker, plan.snapshot)

    def _came(self, error: JsrError | None) -> Came:
        """What came of the round, as of now."""
        current = self.round
        stuck = {track.slot: current.stuck.slots.get(track.slot, "") for track in current.left()}
        code, reason = result.exit_code(
            current.tracker,
            current.outline.carry_on,
            earlier=result.left_over(self._over, current.outline, current.tracker.slots),
            stuck=stuck,
            interrupted=self.interrupted,
            timed_out=self._late,
            waited=self.options.wait,
            error=error,
            suspended=self.suspension.on,
        )
        return result.came(
            current.outline,
            current.number,
            current.tracker,
            code,
            reason,
            began=current.began,
            seconds=self.cluster.now() - current.began,
            writes=current.answers.writes,
            nodes=current.answers.nodes,
            stuck=stuck,
            canary_failed=current.canary_failed,
        )

    # ------------------------------------------------------------ wait

    @property
    def _kind(self) -> str:
        return self.hold.workload.kind.kind

    def _see(self, workload: Workload | None) -> None:
        self.round.tell(self.round.tracker.observe_workload(workload, self.cluster.now()))
        if workload is not None:
            self.hold.see(workload)

    async def _until(self, done: Callable[[], bool], tasks: list[asyncio.Task[None]]) -> None:
        """Returns when it is done, or there is no point in it any more; raises what a task died of."""
        while not self._ends:
            for task in tasks:
                if task.done() and (died := task.exception()):
                    raise died
            if done():
                return
            self._changed.clear()
            await self._changed.wait()

    async def _end(self, driver: asyncio.Task[None]) -> None:
        """Lets what is in flight complete for a moment, so that it is known what was sent."""
        if not driver.done():
            await asyncio.wait({driver}, timeout=PARTING_SECONDS)
            driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)

    @property
    def _ends(self) -> bool:
        """Whether the operation has to end, however far it is."""
        return self.interrupted or self.round.tracker.verdict is not None or self._late

    @property
    def _late(self) -> bool:
        return self.cluster.now() >= self.deadline

    # ------------------------------------------------------------ the end

    async def _never_leave_suspended(self) -> None:
        """Whatever ended the run: what this operation suspended is resumed before it leaves."""
        resumed = not self.hold.workload.suspended and not self.suspension.evicts
        gone = self.round.tracker.verdict is not None and resumed
        if not self.suspension.on or self.hold.lost or gone:
            return
        self._emit(Phase(time=self.cluster.now(), phase="resuming", reason="before leaving"))
        await self.suspension.end(self._notice)

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
        self._emit(result.finished(report, self.cluster.now()))
        return report

    def _report(self, error: JsrError | None) -> tuple[ResultReport, bool]:
        """What came out, and whether slots are left under way that can be carried on with."""
        tracker = self.round.tracker
        self.fault = error if isinstance(error, OwnFault) else None
        nothing_follows = next_request(self._standing()) is None
        if self.fault and tracker.done and self.round.sent_all and nothing_follows and not self.suspension.on:
            self._notice(f"{self.fault.message}; {self.fault.hint}")  # it came too late to matter
            error = None
        came = self._came(error)
        rounds = [*self._over, came]
        now = self.cluster.now()
        report = result.result_report(
            rounds,
            self.hold.record.rounds,
            seconds=now - self.began,
            writes=self.writes,
            passed=self._passed,
            cost=cost_of_downtime(rounds, now),
        )
        return report, result.leaves(tracker, came.code)

    def _bare_report(self, error: JsrError) -> ResultReport:
        """What can be said without the tracker."""
        self.fault = error if isinstance(error, OwnFault) else None
        seconds = self.cluster.now() - self.began
        return result.bare_report(self.round.outline, error, seconds=seconds, writes=self.writes)

    async def _leave_record(self, report: ResultReport, leaves: bool) -> None:
        if self.hold.lost:
            return self._announcer.give_up()
        now = self.cluster.now()
        cost = self.hold.record.cost.and_then(result.cost(report))
        fields: dict[str, Any] = {"state": "detached", "reason": report.reason, "cost": cost}
        if not self.suspension.on:
            fields["phase"] = BACK.get(self.hold.record.phase, self.hold.record.phase)
        if not leaves and not self.suspension.on:
            fields |= {"state": "finished", "phase": "", "ended": claim.timestamp(now)}
            fields |= {"exit_code": report.exit_code, "outcomes": report.outcomes}
        try:
            await self.hold.change(now + PARTING_SECONDS, **fields)
        except NotFound:
            return self._announcer.give_up()
        except Exception as failed:
            self._notice(f"the record of the operation could not be completed: {told(failed).message}")
            return self._announcer.give_up()
        self._announcer.tell(announcement.ended(self.hold.workload, report, now))
        if failure := await self._announcer.settle():
            self._notice(f"Events that tell of the operation could not be written: {failure.message}")
        return None

    def _detached(self) -> Detached:
        left = sum(track.sent_at is None for track in self.round.tracker.slots.values())
        return Detached(
            time=self.cluster.now(),
            operation=self.round.outline.operation,
            not_triggered=left,
            follow=self.carry_on,
        )

    def _retried(self, request: str, reason: str, delay: float) -> None:
        self._emit(Retried(time=self.cluster.now(), request=request, reason=reason, delay=delay))

    def _notice(self, message: str) -> None:
        self._emit(Noticed(time=self.cluster.now(), message=message))

    def _emit(self, event: Event) -> None:
        self.emit(event)


def _sentence(finding: Finding) -> str:
    let = ", let through by --allow" if finding.allowed else ""
    return f"{finding.severity}: {finding.id} {finding.summary}{let}"


def _fault_of(tasks: Iterable[asyncio.Task[None]]) -> OwnFault | None:
    """The fault of this program that one of these tasks ended with, if any; their foreseen errors were told."""
    ended = (task.exception() for task in tasks if task.done() and not task.cancelled())
    faults = (told(raised) for raised in ended if isinstance(raised, Exception))
    return next((fault for fault in faults if isinstance(fault, OwnFault)), None)
