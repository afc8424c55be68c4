"""Look at workloads: at one, at one or all for as long as somebody watches, or until one is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.commands import jsr
from jobset_restart.errors import DeadlineExceeded, Forbidden, JobSetOver, JsrError, NotFound, Superseded
from jobset_restart.gathering import silence
from jobset_restart.objects import Named
from jobset_restart.overview import Overview
from jobset_restart.plan import Request, make
from jobset_restart.report import JobSetReport, Report
from jobset_restart.report.jobset import jobset_report
from jobset_restart.spans import Measured
from jobset_restart.workloads.kinds import JOBSET, WorkloadKind, reference
from jobset_restart.workloads.registry import READERS
from jobset_restart.workloads.workload import Sources

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

LOOK_SECONDS = 1.0


async def one(
    cluster: Cluster, namespace: str, name: str, kind: WorkloadKind = JOBSET, *, logs: bool = False
) -> JobSetReport:
    """The status of one workload, what a restart would do included; with `logs`, whether these are old, by a sample.
    Raises NotFound and what the transport raises."""
    from jobset_restart.cluster.resolve import resolve

    snapshot = await resolve(cluster, namespace, name, kind, consistent=False)
    dead = claim.left_suspended(snapshot.workload, snapshot.time)
    sampled = asyncio.ensure_future(silence(cluster, snapshot)) if logs else None
    await asyncio.sleep(0)  # the logs are on their way while the plan is made
    seen = Evidence(measured=Measured(last=claim.last_time(snapshot.workload)))
    plan = make(snapshot, Request(), "not-started", seen, finishes=dead.id if dead else "", draft=True)
    report = jobset_report(snapshot, plan)
    if sampled and report.state == "Running":
        report.notes += await sampled
    elif sampled:
        sampled.cancel()
    return report


async def each_change(
    cluster: Cluster, namespace: str | None, name: str | None = None, kind: WorkloadKind | None = None
) -> AsyncGenerator[Report, None]:
    """The status now and after each change, at most once a second: of the workload `name`, its Pods included, else of
    every workload of the namespace, or of all namespaces (None); of one `kind`, where that is given. Raises what `one`
    and Overview.look raise."""
    changed = asyncio.Event()
    changed.set()
    overview = Overview(cluster, namespace, kind)
    if name and namespace:
        followed = await _followed(cluster, namespace, name, kind or JOBSET)
    else:
        followed = [(each.collection(namespace), "", "") for each in await overview.kinds()]
    watches = [asyncio.ensure_future(_follow(cluster, *each, changed)) for each in followed]
    for watch in watches:
        watch.add_done_callback(lambda _: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            for watch in watches:
                if watch.done():
                    watch.result()
            if name and namespace:
                yield await one(cluster, namespace, name, kind or JOBSET)
            else:
                yield await overview.look()
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def _followed(cluster: Cluster, namespace: str, name: str, kind: WorkloadKind) -> list[tuple[str, str, str]]:
    """What to watch for the status of this workload, as collection, label selector and field selector: that of the
    topmost one that it is a part of, too, for the claim and the conditions are there."""
    from jobset_restart.cluster.above import topmost

    every = [await _sources(cluster, namespace, name, kind)]
    with contextlib.suppress(NotFound):  # what looks at it tells
        meta = (await cluster.get(every[0].itself.path, Named)).metadata
        above = await topmost(cluster, namespace, kind, meta)
        every += [await _sources(cluster, namespace, above.name, above.kind)] if above.kind else []
    singles = ((s.collection, "", f"metadata.name={s.name}") for each in every for s in (each.itself, *each.parts))
    pods = ((each.pods.collection, each.pods.labels, "") for each in every)
    return list(dict.fromkeys((*singles, *pods)))


async def _sources(cluster: Cluster, namespace: str, name: str, kind: WorkloadKind) -> Sources:
    """Where the workload is read from. Raises NotFound."""
    from jobset_restart.cluster.missing import explained

    reader = READERS[kind.resource]
    sources = reader.sources(namespace, name, None)
    if sources is None:
        try:
            sources = reader.sources(namespace, name, await cluster.get(kind.path(namespace, name), reader.type))
        except NotFound as error:
            raise await explained(cluster, namespace, name, kind, error) from None
    assert sources is not None
    return sources


async def _follow(cluster: Cluster, path: str, labels: str, fields: str, changed: asyncio.Event) -> None:
    """Sets `changed` with every change there. A kind that is not served, or may not be listed, is passed over: what
    looks at it tells."""
    try:
        listing = await cluster.list(path, Named, label_selector=labels, field_selector=fields, consistent=False)
    except NotFound:
        return
    except Forbidden:
        if labels or fields:
            raise
        return
    async for batch in cluster.watch(
        path, Named, resource_version=listing.resource_version, label_selector=labels, field_selector=fields
    ):
        if batch.changes or batch.relisted is not None:
            changed.set()


async def until_well(
    cluster: Cluster,
    namespace: str,
    name: str,
    within: float,
    tell: Callable[[JobSetReport], None],
    kind: WorkloadKind = JOBSET,
) -> JobSetReport:
    """The status once every Pod is Ready and no restart is under way; `tell` hears of each look before.

    Raises JobSetOver when the workload has failed or completed, Superseded when it is deleted or replaced meanwhile,
    DeadlineExceeded after `within` seconds, NotFound when it was not there to begin with.
    """
    title = f"{kind.kind} {name}"
    first: JobSetReport | None = None
    seen: JobSetReport | None = None
    try:
        async with asyncio.timeout(within), contextlib.aclosing(each_change(cluster, namespace, name, kind)) as reports:
            async for report in reports:
                assert isinstance(report, JobSetReport)
                seen, first = report, first or report
                if report.uid != first.uid or report.state == "Deleting":
                    raise Superseded(f"{title} is being deleted or was replaced by another", "look again")
                if report.state in ("Completed", "Failed"):
                    raise JobSetOver(f"{title} has {report.state.lower()}: {'; '.join(report.notes)}")
                if report.state == "Running" and report.ready >= report.expected:
                    return report
                tell(report)
    except TimeoutError:
        look = jsr("status", reference(kind.kind, kind.group, name), namespace, cluster.context)
        raise _not_in_time(look, title, within, seen) from None
    except NotFound as error:
        if first is None:
            raise
        raise Superseded(f"{title} was deleted", error.hint) from None
    raise JsrError(f"the watch of {title} ended")


def _not_in_time(look: str, title: str, within: float, seen: JobSetReport | None) -> DeadlineExceeded:
    if seen is None:
        return DeadlineExceeded(f"{title} could not be read within {within:g} s")
    counts = f"{seen.state}, {seen.ready:,}/{seen.expected:,} Pods ready"
    return DeadlineExceeded(f"{title} is not ready after {within:g} s: {counts}", f"`{look}` says why")
