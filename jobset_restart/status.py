"""Look at JobSets: one, or all of a namespace, once, for as long as somebody watches, or until one is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from jobset_restart import claim
from jobset_restart.commands import jsr
from jobset_restart.errors import DeadlineExceeded, Forbidden, JobSetOver, JsrError, NotFound, Superseded
from jobset_restart.objects import Job, JobSet, Pod
from jobset_restart.plan import Request, make
from jobset_restart.report import JobSetReport, JobSetReportList, Report
from jobset_restart.report.jobset import jobset_report, line_report, refine, unreadable
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.workloads.kinds import JOBSET, JOBSET_NAME, WorkloadKind
from jobset_restart.writes import BATCH, CORE, JOBSETS

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

LOOK_SECONDS = 1.0
MOST_NAMES = 50
"""More than so many JobSets are not named in a selector: it is part of the URL."""

Key = tuple[str, str]
"""Namespace and name."""


async def one(cluster: Cluster, namespace: str, name: str, kind: WorkloadKind = JOBSET) -> JobSetReport:
    """The status of one workload, what a restart would do included. Raises NotFound and what the transport raises."""
    from jobset_restart.cluster.resolve import resolve

    snapshot = await resolve(cluster, namespace, name, kind, consistent=False)
    dead = claim.left_suspended(snapshot.workload, snapshot.time)
    plan = make(snapshot, Request(), "not-started", finishes=dead.id if dead else "", draft=True)
    return jobset_report(snapshot, plan)


async def every(cluster: Cluster, namespace: str | None) -> JobSetReportList:
    """A line for each JobSet of the namespace, or of all namespaces (None). Pods are read only of those that are not
    all Ready; a JobSet that cannot be read has a line that says so."""
    from jobset_restart.cluster.lists import each_readable
    from jobset_restart.cluster.resolve import readable_jobsets

    where = f"/namespaces/{namespace}" if namespace else ""
    found, jobs = await asyncio.gather(
        readable_jobsets(cluster, namespace),
        each_readable(cluster, f"{BATCH}{where}/jobs", Job, label_selector=JOBSET_NAME),
        return_exceptions=True,
    )
    if isinstance(found, BaseException):  # that there is no JobSet API says more than what became of the Jobs
        raise found
    if isinstance(jobs, BaseException):
        raise jobs
    jobsets, bad = found
    spoilt = {(job.namespace, job.jobset): f"Job {job.name}: {job.error}" for job in jobs[1]}
    by_name: dict[Key, list[Job]] = {}
    for job in jobs[0]:
        by_name.setdefault((job.metadata.namespace, job.metadata.labels.jobset_name), []).append(job)
    now = cluster.now()
    lines = {_key(js): _line(js, by_name.get(_key(js), []), now, spoilt.get(_key(js), "")) for js in jobsets}
    await _refine(cluster, namespace, {_key(js): js for js in jobsets}, by_name, lines)
    rows = [*lines.values(), *(unreadable(each.name or "-", each.namespace or "-", each.error) for each in bad)]
    rows.sort(key=lambda line: (line.namespace, line.name))
    return JobSetReportList(context=cluster.context, namespace=namespace or "", items=rows)


def _key(jobset: JobSet) -> Key:
    return jobset.metadata.namespace, jobset.metadata.name


def _line(jobset: JobSet, jobs: list[Job], now: float, spoilt: str) -> JobSetReport:
    try:
        if spoilt:
            raise ValueError(spoilt)
        return line_report(JobSetWorkload(jobset), jobs, now)
    except (ValueError, OverflowError, JsrError) as error:  # a time or a number that is none, or out of all bounds
        return unreadable(jobset.metadata.name, jobset.metadata.namespace, str(error))


async def _refine(
    cluster: Cluster,
    namespace: str | None,
    jobsets: dict[Key, JobSet],
    jobs: dict[Key, list[Job]],
    lines: dict[Key, JobSetReport],
) -> None:
    """Tells the states that only Pods can tell."""
    asked = [key for key, line in lines.items() if line.state == "NotReady"]
    if not asked:
        return
    from jobset_restart.cluster.lists import each_readable
    from jobset_restart.cluster.resolve import with_refusals

    where = f"/namespaces/{namespace}" if namespace else ""
    names = sorted({name for _, name in asked})
    selector = f"{JOBSET_NAME} in ({','.join(names)})" if len(names) <= MOST_NAMES else JOBSET_NAME
    try:
        pods, bad = await each_readable(cluster, f"{CORE}{where}/pods", Pod, label_selector=selector)
    except Forbidden:
        return
    by_name: dict[Key, list[Pod]] = {key: [] for key in asked}
    for pod in pods:
        by_name.get((pod.metadata.namespace, pod.metadata.labels.jobset_name), []).append(pod)
    spoilt = {(pod.namespace, pod.jobset) for pod in bad}
    snapshots: dict[Key, Snapshot] = {}
    for key in asked:
        if key not in spoilt:
            with contextlib.suppress(ValueError, OverflowError, JsrError):
                snapshots[key] = take(
                    JobSetWorkload(jobsets[key]), jobs.get(key, []), by_name[key], None, cluster.now()
                )
    known = await with_refusals(cluster, namespace, list(snapshots.values()))
    for key, snapshot in zip(snapshots, known, strict=True):
        with contextlib.suppress(ValueError, OverflowError, JsrError):
            refine(lines[key], snapshot)


async def each_change(cluster: Cluster, namespace: str | None, name: str | None) -> AsyncGenerator[Report, None]:
    """The status now and after each change, at most once a second: of the JobSet `name`, its Pods included, else of
    every JobSet of the namespace, or of all namespaces (None). Raises what `one` and `every` raise."""
    changed = asyncio.Event()
    changed.set()
    where = f"/namespaces/{namespace}" if namespace else ""
    only = f"metadata.name={name}" if name else ""
    follow = [_follow(cluster, f"{JOBSETS}{where}/jobsets", JobSet, "", only, changed)]
    if name:
        follow.append(_follow(cluster, f"{CORE}{where}/pods", Pod, f"{JOBSET_NAME}={name}", "", changed))
    watches = [asyncio.ensure_future(each) for each in follow]
    for watch in watches:
        watch.add_done_callback(lambda _: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            for watch in watches:
                if watch.done():
                    watch.result()
            yield await one(cluster, namespace, name) if name and namespace else await every(cluster, namespace)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def _follow(
    cluster: Cluster, path: str, kind: type[JobSet] | type[Pod], labels: str, fields: str, changed: asyncio.Event
) -> None:
    listing = await cluster.list(path, kind, label_selector=labels, field_selector=fields, consistent=False)
    async for batch in cluster.watch(
        path, kind, resource_version=listing.resource_version, label_selector=labels, field_selector=fields
    ):
        if batch.changes or batch.relisted is not None:
            changed.set()


async def until_well(
    cluster: Cluster, namespace: str, name: str, within: float, tell: Callable[[JobSetReport], None]
) -> JobSetReport:
    """The status once every Pod is Ready and no restart is under way; `tell` hears of each look before.

    Raises JobSetOver when the JobSet has failed or completed, Superseded when it is deleted or replaced meanwhile,
    DeadlineExceeded after `within` seconds, NotFound when it was not there to begin with.
    """
    first: JobSetReport | None = None
    seen: JobSetReport | None = None
    try:
        async with asyncio.timeout(within), contextlib.aclosing(each_change(cluster, namespace, name)) as reports:
            async for report in reports:
                assert isinstance(report, JobSetReport)
                seen, first = report, first or report
                if report.uid != first.uid or report.state == "Deleting":
                    raise Superseded(f"JobSet {name} is being deleted or was replaced by another", "look again")
                if report.state in ("Completed", "Failed"):
                    raise JobSetOver(f"JobSet {name} has {report.state.lower()}: {'; '.join(report.notes)}")
                if report.state == "Running" and report.ready >= report.expected:
                    return report
                tell(report)
    except TimeoutError:
        raise _not_in_time(jsr("status", name, namespace, cluster.context), name, within, seen) from None
    except NotFound as error:
        if first is None:
            raise
        raise Superseded(f"JobSet {name} was deleted", error.hint) from None
    raise JsrError(f"the watch of JobSet {name} ended")


def _not_in_time(look: str, name: str, within: float, seen: JobSetReport | None) -> DeadlineExceeded:
    if seen is None:
        return DeadlineExceeded(f"JobSet {name} could not be read within {within:g} s")
    counts = f"{seen.state}, {seen.ready:,}/{seen.expected:,} Pods ready"
    return DeadlineExceeded(f"JobSet {name} is not ready after {within:g} s: {counts}", f"`{look}` says why")
