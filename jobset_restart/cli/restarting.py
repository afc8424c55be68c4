"""`jsr restart`: from options to a plan, a question, an operation and a result."""

from __future__ import annotations

import asyncio
import secrets
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart import claim
from jobset_restart.cli.asking import agreed, on_leaving
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
from jobset_restart.cli.wish import Where, Wish, check_names, owner
from jobset_restart.commands import jsr
from jobset_restart.errors import Interrupted, Invalid, Refused, Superseded, UsageError
from jobset_restart.events import Noticed
from jobset_restart.findings import Evidence
from jobset_restart.harmless import plain
from jobset_restart.plan import Plan, Request, make
from jobset_restart.report import PlanReport, ResultReport
from jobset_restart.report.plan import plan_report
from jobset_restart.restart import Operation, Options, carry_on_command, decide, rehearse
from jobset_restart.resume import carry_on
from jobset_restart.snapshot import Snapshot
from jobset_restart.view.text import counted, doing

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster, HttpCluster

TICK_SECONDS = 0.2
DECLINED = 3


def restart(wish: Wish, where: Where) -> int:
    """Does what `jsr restart` was asked to do and returns the exit code. Raises the errors of jobset_restart.errors."""
    request, seconds = wish.request(), wish.seconds()
    if wish.dry_run == "none" and not wish.yes and not sys.stdin.isatty():
        raise UsageError(
            "standard input is not a terminal, so nobody can be asked; nothing was changed",
            "add --yes to go ahead without being asked",
        )
    check_names(wish.name, where)
    if wish.dry_run == "none":
        check_event_file(wish.events, append=wish.events_append)
    try:
        return asyncio.run(_restart(wish, where, request, seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted; nothing was changed") from None


async def _restart(wish: Wish, where: Where, request: Request, seconds: float) -> int:
    this = asyncio.current_task()
    assert this is not None
    on_leaving(this.cancel)
    async with await opened(where) as cluster:
        namespace = where.namespace or cluster.namespace
        plan = await _plan(cluster, namespace, wish, request)
        if wish.dry_run != "none":
            return await _dry_run(cluster, plan, wish, seconds)
        if plan.refused:
            _refuse(plan, wish)
        if not wish.yes:
            report = plan_report(plan)
            show_question(report, wish)
            if not await agreed(_question(report)):
                print_document(report, wish.output)
                print("nothing was changed", file=sys.stderr)
                return DECLINED
            plan = await _plan_again(cluster, namespace, wish, request, plan)
        else:
            show_findings(plan_report(plan), wish)
        options = Options(
            owner=owner(),
            timeout=seconds,
            min_ready_seconds=wish.min_ready_seconds,
            wait=wish.wait,
            concurrency=wish.concurrency,
        )
        operation, result = await _carry_out(plan, cluster, options, wish)
        if request.fallback and not wish.resume and operation.refused_throughout:
            result = await _recreate_instead(result, cluster, namespace, wish, request, options) or result
    return show_result(result, wish)


async def _recreate_instead(
    refused: ResultReport, cluster: Cluster, namespace: str, wish: Wish, request: Request, options: Options
) -> ResultReport | None:
    """The recreate that --fallback allows where everything sent in place was refused, planned from a fresh look. None
    where blockers stand against it, which are shown."""
    print(f"{plain(refused.reason)}; looking again to recreate, as --fallback recreate allows", file=sys.stderr)
    recreate = structs.replace(request, strategy="recreate", via="", signal="", fallback=False)
    plan = await _plan(cluster, namespace, wish, recreate)
    show_findings(plan_report(plan), wish)
    if plan.refused:
        return None
    left = structs.replace(options, timeout=max(1.0, options.timeout - refused.seconds))
    _, result = await _carry_out(plan, cluster, left, structs.replace(wish, events_append=True))
    return result


async def _plan(cluster: Cluster, namespace: str, wish: Wish, request: Request) -> Plan:
    from jobset_restart.cluster.resolve import resolve

    snapshot = await resolve(cluster, namespace, wish.name)
    if wish.resume:
        return await _resumed(cluster, snapshot, wish.resume, request)
    if wish.dry_run == "none":
        _refuse_if_held(snapshot)
    _check_names(snapshot, request)
    if wish.selector:
        request = await _with_selector(cluster, snapshot, request, wish.selector)
    dead = claim.left_suspended(snapshot.jobset, snapshot.time)
    operation = secrets.token_hex(4)
    return await decide(cluster, lambda found: make(snapshot, request, operation, found, dead.id if dead else ""))


async def _with_selector(cluster: Cluster, snapshot: Snapshot, request: Request, selector: str) -> Request:
    """The request for the Pods that carry these labels, by name: the API server knows what a selector means."""
    from jobset_restart.objects import Named
    from jobset_restart.workloads.kinds import JOBSET_NAME
    from jobset_restart.writes import CORE

    path = f"{CORE}/namespaces/{snapshot.namespace}/pods"
    try:
        found = await cluster.list(path, Named, label_selector=f"{JOBSET_NAME}={snapshot.name},{selector}")
    except Invalid as error:
        raise UsageError(f"--selector {selector!r} is not a label selector: {error}", "write a=b,c!=d,e") from None
    known = {state.pod.metadata.name for state in snapshot.slots.values() if state.pod}
    names = known.intersection(item.metadata.name for item in found.items)
    asked = request.selection.pods
    if asked is not None:
        names = (names & asked) | (asked - known)
    return structs.replace(request, selection=structs.replace(request.selection, pods=frozenset(names)))


async def _resumed(cluster: Cluster, snapshot: Snapshot, wanted: str, request: Request) -> Plan:
    found = claim.lock(snapshot.jobset)
    if found is None or found.id != wanted:
        known = f"the last one recorded is {found.id}" if found else "none is recorded"
        look = jsr("status", snapshot.name, snapshot.namespace, snapshot.context)
        raise UsageError(f"JobSet {snapshot.name} has no operation {wanted}: {known}", f"see `{look}`")
    record = found.record
    if record is None:
        raise UsageError(f"the record of operation {wanted} cannot be read: {found.flaw}", "start a new one")
    if record.state == "finished":
        raise UsageError(
            f"operation {wanted} is over (exit code {record.exit_code}: {record.reason})", "start a new one"
        )
    _refuse_if_held(snapshot)

    def again(evidence: Evidence) -> Plan:
        try:
            return carry_on(snapshot, record, evidence, allow=request.allow, node_down=request.node_down)
        except ValueError as error:
            raise UsageError(str(error), "start a new one") from None

    return await decide(cluster, again)


def _refuse_if_held(snapshot: Snapshot) -> None:
    found = claim.lock(snapshot.jobset)
    if found is not None and claim.live(found, snapshot.time):
        raise Superseded(*claim.held(snapshot.jobset, found, snapshot.time, snapshot.context))


def _check_names(snapshot: Snapshot, request: Request) -> None:
    """A mistyped name must not quietly select nothing."""
    spec = snapshot.jobset.spec
    known = {r.name for r in spec.replicated_jobs}
    for name in request.selection.replicated_jobs:
        if name not in known:
            raise UsageError(
                f"JobSet {snapshot.name} has no ReplicatedJob {name!r}", f"it has {', '.join(sorted(known))}"
            )
    templates = [r.template.spec.template.spec for r in spec.replicated_jobs]
    containers = {c.name for t in templates for c in (*t.containers, *t.init_containers)}
    for name in request.containers:
        if name not in containers:
            raise UsageError(
                f"no Pod of JobSet {snapshot.name} has a container {name!r}",
                f"there are {', '.join(sorted(containers))}",
            )


async def _plan_again(cluster: Cluster, namespace: str, wish: Wish, request: Request, shown: Plan) -> Plan:
    """The plan as of now: while the person read, the cluster went on. Raises Refused where it is another one."""
    plan = await _plan(cluster, namespace, wish, request)
    if plan.refused or (plan.trigger, len(plan.scope)) != (shown.trigger, len(shown.scope)):
        raise Refused(
            "the JobSet has changed since the plan was shown; nothing was changed",
            "look at it again, then repeat the command",
        )
    return plan


async def _carry_out(plan: Plan, cluster: Cluster, options: Options, wish: Wish) -> tuple[Operation, ResultReport]:
    with event_file(wish.events, append=wish.events_append) as log, view_for() as view:
        sinks = Sinks(view, log, cluster.now, give_up=lambda: give_up(view))
        operation = Operation(plan, cluster, sinks, options)
        running = asyncio.ensure_future(operation.run())

        def interrupt() -> None:
            if operation.interrupted:
                running.cancel()
            else:
                sinks(Noticed(time=cluster.now(), message="stopping in good order; once more to leave at once"))
                operation.interrupt()

        on_leaving(interrupt)
        ticking = asyncio.ensure_future(_tick(sinks, cluster.now))
        try:
            result = await running
        except asyncio.CancelledError:
            raise Interrupted(*_left_at_once(plan)) from None
        finally:
            ticking.cancel()
    show_summary(sinks.progress)
    if operation.fault is not None and wish.verbose:
        traceback.print_exception(operation.fault.cause)
    return operation, result


def _left_at_once(plan: Plan) -> tuple[str, str]:
    left = f"left at once; operation {plan.operation} may be only partly sent, and a suspended JobSet not yet resumed"
    return left, f"carry on with `{carry_on_command(plan)}` when its claim has lapsed"


async def _tick(sinks: Sinks, now: Callable[[], float]) -> None:
    while True:
        sinks.tick(now())
        await asyncio.sleep(TICK_SECONDS)


async def _dry_run(cluster: Cluster, plan: Plan, wish: Wish, seconds: float) -> int:
    now = cluster.now()
    plan = claim.as_sent(plan, claim.opened(plan, owner(), now, now + seconds))
    report = plan_report(plan)
    refused: list[str] = []
    if wish.dry_run == "server" and not plan.refused:
        refused = await rehearse(cluster, plan)
        report.server_dry_run = "; ".join(refused) or "the API server would accept every write"
    print_document(report, wish.output) or show_plan_result(report, wish)
    return 3 if plan.refused or refused else 0


def _question(report: PlanReport) -> str:
    """It names the cluster: whoever has many is asked at the last moment."""
    context = f" (context {report.context})" if report.context else ""
    slots = sum(bool(slot.trigger) for slot in report.slots)
    what = f"{counted(slots, 'slot')} of JobSet {report.namespace}/{report.jobset}{context}"
    return f"{doing(report.strategy, plain(what))} by {report.trigger}: go ahead? [y/N] "


def _refuse(plan: Plan, wish: Wish) -> None:
    """Raises Refused, after the findings have been shown."""
    report = plan_report(plan)
    print_document(report, wish.output)
    show_findings(report, wish)
    stand = [finding for finding in plan.blockers() if finding.final] or plan.blockers()
    allow = " ".join(f"--allow {finding.id}" for finding in plan.blockers())
    hint = f"`jsr explain {stand[0].id}` says more" + ("" if stand[0].final else f"; {allow} goes ahead all the same")
    names = ", ".join(dict.fromkeys(finding.id for finding in plan.blockers()))
    raise Refused(f"JobSet {plan.snapshot.name} was not restarted, nothing was changed: {names}", hint)


async def opened(where: Where) -> HttpCluster:
    from jobset_restart.cluster import connect

    return await connect(where.kubeconfig, where.context, where.impersonate)
