"""`jsr restart`: from options to a plan, a question, an operation and a result."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart import claim
from jobset_restart.cli.accounting import Accounts
from jobset_restart.cli.advancing import stood_at, waited
from jobset_restart.cli.asking import agreed, on_leaving
from jobset_restart.cli.before import Before
from jobset_restart.cli.opening import opened
from jobset_restart.cli.options.restarting import Restarting
from jobset_restart.cli.picturing import check_report_file, report_file
from jobset_restart.cli.showing import (
    give_up,
    print_document,
    show_findings,
    show_plan_result,
    show_question,
    show_result,
    show_summary,
    view_for,
)
from jobset_restart.cli.sinks import Sinks, check_event_file, event_file
from jobset_restart.cli.targets import Target
from jobset_restart.errors import Interrupted, UsageError
from jobset_restart.events import Noticed
from jobset_restart.harmless import plain
from jobset_restart.plan import Plan
from jobset_restart.report import PlanReport, ResultReport
from jobset_restart.report.plan import plan_report
from jobset_restart.restart import (
    Asked,
    Options,
    Tenure,
    planned,
    planned_again,
    refusal,
    rehearse,
)
from jobset_restart.view.text import counted, doing, duration
from jobset_restart.workloads.kinds import POD

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

TICK_SECONDS = 0.2
NOTHING_CHANGED = 3


def restart(target: Target, given: Restarting) -> int:
    """Does what `jsr restart` was asked to do and returns the exit code. Raises the errors of jobset_restart.errors."""
    accounts = Accounts(given.accounting, target, given.where.namespace or "", for_real=given.course.for_real)
    with accounts.kept():
        return _restarted(target, given, accounts)


def _restarted(target: Target, given: Restarting, accounts: Accounts) -> int:
    asked = _asked(target, given)
    options, course = given.limits.options(), given.course
    course.check()
    given.drawn.check(for_real=course.for_real)
    given.progress.check(wait=given.limits.wait)
    if course.for_real and not course.yes and not sys.stdin.isatty():
        raise UsageError(
            "standard input is not a terminal, so nobody can be asked; nothing was changed",
            "add --yes to go ahead without being asked",
        )
    given.where.check()
    before = Before(given.evidence, options)
    if course.for_real:
        check_event_file(course.events, append=course.events_append)
        check_report_file(given.drawn.report)
    try:
        return asyncio.run(_restart(asked, options, given, before, accounts))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted; nothing was changed") from None


def _asked(target: Target, given: Restarting) -> Asked:
    resumed, limits = given.course.resume is not None, given.limits
    given.leaving.check(given.how.node_down, resumed=resumed)
    request = given.how.request(given.selected, given.leaving)
    request = given.pace.asked_in(request, limits.min_ready_seconds, resumes=bool(given.course.resume))
    return Asked(
        kind=target.kind,
        name=target.name,
        namespace=given.where.namespace or "",
        request=given.escalation.allowing(request, wait=limits.wait),
        selector="" if target.kind is POD else given.selected.selector or "",
        resume=given.course.resume or "",
        rehearsal=not given.course.for_real,
        suspects=given.suspected.read(resumed=resumed),
        suspects_age=given.suspected.seconds(),
    )


async def _restart(asked: Asked, options: Options, given: Restarting, before: Before, accounts: Accounts) -> int:
    course, telling = given.course, given.telling
    this = asyncio.current_task()
    assert this is not None
    on_leaving(this.cancel)
    async with await opened(given.where) as cluster:
        asked = structs.replace(asked, namespace=asked.namespace or cluster.namespace)
        accounts.namespace = asked.namespace
        plan = await planned(cluster, asked)
        _say_if_too_long(plan, options)
        if not course.for_real:
            return await _dry_run(cluster, plan, options, given, before, accounts)
        report = accounts.price(plan_report(plan))
        if plan.refused:
            accounts.refused(report)
            print_document(report, telling.output)
            show_findings(report, telling)
            raise refusal(plan)
        if course.yes:
            show_findings(report, telling)
        else:
            show_question(report, telling)
            if not await agreed(_question(report)):
                print_document(report, telling.output)
                print("nothing was changed", file=sys.stderr)
                accounts.failed(NOTHING_CHANGED, "declined; nothing was changed")
                return NOTHING_CHANGED
            plan = await planned_again(cluster, asked, plan)
        plan = await before.the_kill(cluster, asked, plan, shown=not course.yes)
        step = await stood_at(cluster, plan.snapshot, given.progress)
        carrying_out = _carry_out(plan, cluster, options, given, before, accounts)
        del plan, report  # thousands of Pods and actions, which nobody asks for any more
        result = await carrying_out
        result.capture = before.report
        if step is not None and not result.exit_code:
            left = options.timeout - result.seconds
            result = await waited(cluster, asked, result, step, given.progress.pattern(), left)
    return show_result(accounts.finished(result), telling)


async def _carry_out(
    plan: Plan, cluster: Cluster, options: Options, given: Restarting, before: Before, accounts: Accounts
) -> ResultReport:
    log = event_file(given.course.events, append=given.course.events_append)
    picture = report_file(given.drawn.report)
    with log as events, picture as report, view_for() as view:
        sinks = Sinks(view, (events, report), cluster.now, give_up=lambda: give_up(view))
        accounts.progress = sinks.progress
        for event in before.events:
            sinks(event)
        tenure = Tenure(plan, cluster, sinks, options)
        del plan
        running = asyncio.ensure_future(tenure.run())

        def interrupt() -> None:
            if tenure.interrupted:
                running.cancel()
            else:
                sinks(Noticed(time=cluster.now(), message="stopping in good order; once more to leave at once"))
                tenure.interrupt()

        on_leaving(interrupt)
        ticking = asyncio.ensure_future(_tick(sinks, cluster.now))
        try:
            result = await running
        except asyncio.CancelledError:
            raise Interrupted(*_left_at_once(tenure)) from None
        finally:
            ticking.cancel()
    show_summary(sinks.progress)
    if tenure.fault is not None and given.telling.verbose:
        traceback.print_exception(tenure.fault.cause)
    return result


def _left_at_once(tenure: Tenure) -> tuple[str, str]:
    operation = tenure.round.outline.operation
    left = f"left at once; operation {operation} may be only partly sent, and what was suspended not yet resumed"
    return left, f"carry on with `{tenure.carry_on}` when its claim has lapsed"


async def _tick(sinks: Sinks, now: Callable[[], float]) -> None:
    while True:
        sinks.tick(now())
        await asyncio.sleep(TICK_SECONDS)


async def _dry_run(
    cluster: Cluster, plan: Plan, options: Options, given: Restarting, before: Before, accounts: Accounts
) -> int:
    now = cluster.now()
    plan = claim.as_sent(plan, claim.opened(plan, options.owner, now, now + options.timeout))
    report = accounts.price(plan_report(plan))
    report.capture = before.planned(plan)
    refused: list[str] = []
    if given.course.dry_run == "server" and not plan.refused:
        refused = await rehearse(cluster, plan)
        report.server_dry_run = "; ".join(refused) or "the API server would accept every write"
    print_document(report, given.telling.output) or show_plan_result(report, given.telling)
    return NOTHING_CHANGED if plan.refused or refused else 0


def _say_if_too_long(plan: Plan, options: Options) -> None:
    """A restart of many windows may take longer than it is given."""
    least = plan.prediction.low
    if not plan.refused and least > options.timeout:
        given = f"--timeout gives it {duration(options.timeout)}"
        print(f"warning: it should take {duration(least)} at least, and {given}", file=sys.stderr)


def _question(report: PlanReport) -> str:
    """It names the cluster: whoever has many is asked at the last moment."""
    context = f" (context {report.context})" if report.context else ""
    slots = sum(bool(slot.trigger) for slot in report.slots)
    what = f"{counted(slots, 'slot')} of {report.workload_kind} {report.namespace}/{report.jobset}{context}"
    return f"{doing(report.strategy, plain(what))} by {report.trigger}: go ahead? [y/N] "
