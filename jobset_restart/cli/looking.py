"""`jsr status`, `jsr wait` and `jsr explain`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable

from jobset_restart.cli.opening import opened
from jobset_restart.cli.options import Where
from jobset_restart.cli.showing import stdout_console
from jobset_restart.cli.targets import Target
from jobset_restart.errors import UsageError
from jobset_restart.harmless import plain
from jobset_restart.report import JobSetReport, JobSetReportList, Report


def status(target: Target | None, where: Where, *, all_namespaces: bool, watch: bool, form: str) -> int:
    """Prints the status of one workload, of all of a kind, or of all (None) on stdout. Raises the errors of
    jobset_restart.errors."""
    if target and target.name and all_namespaces:
        raise UsageError("-A and NAME contradict each other: a name means the workload of one namespace")
    if where.namespace and all_namespaces:
        raise UsageError(f"-A and -n {where.namespace} contradict each other")
    where.check()
    return asyncio.run(_status(target, where, all_namespaces, watch, form))


async def _status(target: Target | None, where: Where, all_namespaces: bool, watch: bool, form: str) -> int:
    from jobset_restart import status as looking
    from jobset_restart.overview import Overview

    async with await opened(where) as cluster:
        namespace = None if all_namespaces else where.namespace or cluster.namespace
        name, kind = (target.name, target.kind) if target else ("", None)
        if watch:
            async with contextlib.aclosing(looking.each_change(cluster, namespace, name, kind)) as reports:
                await _keep_showing(reports, form, all_namespaces)
        elif name and kind:
            assert namespace is not None
            loading = asyncio.to_thread(_shower, form)  # while the answer is awaited, the imports take no time
            report, show = await asyncio.gather(looking.one(cluster, namespace, name, kind, logs=True), loading)
            show(report)
        else:
            _shower(form, all_namespaces)(await Overview(cluster, namespace, kind).look())
    return 0


def _shower(form: str, all_namespaces: bool = False) -> Callable[[Report], None]:
    """What prints reports in this form, everything it needs imported."""
    if form in ("json", "yaml", "name"):
        from jobset_restart.view.document import render

        def show_document(report: Report) -> None:
            text = render(report, form)
            if text:
                print(text, flush=True)
            if form == "name" and isinstance(report, JobSetReportList):
                for note in report.notes:
                    print(plain(note), file=sys.stderr)

        return show_document
    from jobset_restart.view import table

    wide, console = form == "wide", stdout_console()
    return lambda report: table.show_status(console, report, wide=wide, namespaces=all_namespaces)


async def _keep_showing(reports: AsyncIterator[Report], form: str, all_namespaces: bool) -> None:
    """Shows each report that differs from the last, on a terminal in its place."""
    from jobset_restart.view.document import render

    show = _shower(form, all_namespaces)
    shown = ""
    async for report in reports:
        text = render(report, "json")
        if text == shown:
            continue
        if shown and form in ("table", "wide") and sys.stdout.isatty():
            print("\x1b[H\x1b[2J\x1b[3J", end="")
        show(report)
        shown = text


def wait(target: Target, where: Where, *, timeout: float, form: str) -> int:
    """Waits until the workload is well, says on stderr how far it is, and prints its status on stdout. Raises the
    errors of jobset_restart.errors."""
    where.check()
    return asyncio.run(_wait(target, where, timeout, form))


async def _wait(target: Target, where: Where, within: float, form: str) -> int:
    from jobset_restart import status as looking

    said = ""

    def tell(report: JobSetReport) -> None:
        nonlocal said
        line = f"{report.state}, {report.ready:,}/{report.expected:,} Pods ready"
        if line != said:
            print(f"{target.kind.kind} {target.name}: {line}", file=sys.stderr, flush=True)
        said = line

    async with await opened(where) as cluster:
        namespace = where.namespace or cluster.namespace
        report = await looking.until_well(cluster, namespace, target.name, within, tell, target.kind)
        _shower(form)(report)
    return 0


def explain(finding: str | None) -> int:
    """Prints the text of a finding or a signal, or the list of all. Raises UsageError for an id that does not exist."""
    from jobset_restart.diagnose.signals import SIGNALS
    from jobset_restart.findings import checks
    from jobset_restart.triggers.registry import TRIGGERS

    known = {check.id: check for check in checks()}
    if finding is None:
        for each in known.values():
            print(f"{each.id}  {each.severity:<8} {each.title}")
        for signal in SIGNALS.values():
            print(f"{signal.id:<6}  {'signal':<8} {signal.title}")
        return 0
    if finding.upper() in SIGNALS:
        signal = SIGNALS[finding.upper()]
        alone = "makes a suspect by itself" if signal.enough else "supports other signals"
        print(f"{signal.id}: {signal.title} (weight {signal.weight:g}, {alone})\n\n{signal.text}")
        return 0
    check = known.get(finding.upper())
    if check is None:
        raise UsageError(f"no finding and no signal has the id {finding!r}", "`jsr explain` lists all")
    print(f"{check.id}: {check.title} ({check.severity})\n\n{check.text}\n")
    if check.final:
        print("It cannot be let through with --allow.\n")
    concerned = ", ".join(trigger.name for trigger in TRIGGERS if check.concerns(trigger))
    print(f"What to do: {check.todo}\nConcerns:   {concerned}\nSource:     {check.source}")
    return 0
