"""Every workload of a namespace, a line each: those at the top, whose owner is not shown itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from jobset_restart.errors import Forbidden, JsrError, NotFound
from jobset_restart.objects import Job, ObjectMeta, Pod
from jobset_restart.owners import controller
from jobset_restart.report import JobSetReport, JobSetReportList
from jobset_restart.report.jobset import line_report, refine, unreadable
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.kinds import JOB, JOBSET_NAME, POD, WORKLOAD_KINDS, WorkloadKind
from jobset_restart.workloads.registry import READERS, Reader
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster
    from jobset_restart.cluster.discovery import Served
    from jobset_restart.cluster.lists import Unreadable

MOST_NAMES = 50
"""More than so many JobSets are not named in a selector: it is part of the URL."""
MOST_LOOKS = 100
"""So many workloads are looked at one by one, where one request does not do for many; of more the line says less."""
LOOKS_AT_ONCE = 8
WRONG = (ValueError, OverflowError, JsrError)
"""What a time or a number that is none, or out of all bounds, raises."""


class Row(Struct):
    """A workload and its line."""

    reader: Reader
    found: Any
    workload: Workload
    jobs: list[Job]
    report: JobSetReport

    @property
    def told(self) -> bool:
        """Whether the line says all there is to say without its Pods."""
        return self.workload.made_of_jobs and self.report.state != "NotReady"


class Found(Struct):
    """What there is of the kinds, by resource: the objects, and those that cannot be read. `jobs` are all Jobs that may
    belong to some of them; `hidden` the kinds that may not be listed, `missing` those that are not served."""

    objects: dict[str, list[Any]] = {}
    bad: dict[str, list[Unreadable]] = {}
    jobs: list[Job] = []
    bad_jobs: list[Unreadable] = []
    hidden: list[WorkloadKind] = []
    missing: list[WorkloadKind] = []


class Overview:
    """The workloads of a namespace, or of all (None): of one kind, or of every kind that is known and served. What the
    server serves is asked once."""

    def __init__(self, cluster: Cluster, namespace: str | None, only: WorkloadKind | None = None) -> None:
        self._cluster, self._namespace, self._only = cluster, namespace, only
        self._served: Served | None = None

    async def kinds(self) -> list[WorkloadKind]:
        """The kinds to ask for."""
        from jobset_restart.cluster.discovery import served

        if self._only is not None:
            return [self._only]
        if self._served is None:
            self._served = await served(self._cluster)
        return [kind for kind in WORKLOAD_KINDS if kind.resource in READERS and self._served.has(kind)]

    async def look(self) -> JobSetReportList:
        """A line for each workload. Pods are read only of those that are not all Ready, or whose own status does not
        tell; what cannot be read has a line that says so.

        Raises NotFound where the API that was asked for is missing, or JobSet's where there is nothing else; Forbidden
        where nothing may be listed; and what the transport raises."""
        from jobset_restart.cluster.discovery import served
        from jobset_restart.cluster.missing import not_installed

        found = await _found(self._cluster, self._namespace, await self.kinds())
        if found.missing and (self._only or not any((*found.objects.values(), *found.bad.values()))):
            raise not_installed(self._cluster, found.missing[0], self._served or await served(self._cluster))
        rows, lines = await _rows(self._cluster, found, self._only)
        now = self._cluster.now()
        notes = [_not_shown(found.hidden)] if found.hidden else []
        notes += await _look_at_pods(self._cluster, self._namespace, [row for row in rows if not row.told], now)
        lines += [row.report for row in rows]
        lines.sort(key=lambda line: (line.namespace, line.name, line.workload_kind))
        context, namespace = self._cluster.context, self._namespace or ""
        return JobSetReportList(context=context, namespace=namespace, items=lines, notes=notes)


def _not_shown(kinds: Sequence[WorkloadKind]) -> str:
    return f"not shown, for want of permission to list them: {', '.join(kind.resource for kind in kinds)}"


# ---------------------------------------------------------------- lists


async def _found(cluster: Cluster, namespace: str | None, kinds: Sequence[WorkloadKind]) -> Found:
    """Everything there is of these kinds, and the Jobs of JobSets. Raises what the transport raises."""
    from jobset_restart.cluster.lists import each_readable

    wanted = [(kind, READERS[kind.resource].type, "") for kind in kinds]
    if JOB not in kinds and any(kind.label == JOBSET_NAME for kind in kinds):
        wanted.append((JOB, Job, JOBSET_NAME))
    answers = await asyncio.gather(
        *(each_readable(cluster, kind.collection(namespace), type_, labels) for kind, type_, labels in wanted),
        return_exceptions=True,
    )
    found = Found()
    refused: Forbidden | None = None
    for (kind, _, _), answer in zip(wanted, answers, strict=True):
        if isinstance(answer, NotFound):
            found.missing.append(kind)
        elif isinstance(answer, Forbidden) and kind in kinds:
            found.hidden.append(kind)
            refused = refused or answer
        elif isinstance(answer, BaseException):
            if found.missing and kind not in kinds:  # Jobs of what is not there
                continue
            raise answer
        else:
            if kind in kinds:
                found.objects[kind.resource], found.bad[kind.resource] = answer
            if kind is JOB:
                found.jobs, found.bad_jobs = answer
    if refused is not None and not found.objects:
        raise refused
    return found


def _at_the_top(found: Found, only: WorkloadKind | None) -> list[tuple[Reader, Any]]:
    """What is shown: what no other workload that is shown manages; and no Job that a workload runs its Pods by."""
    uids = {each.metadata.uid for objects in found.objects.values() for each in objects} if only is None else set()
    shown = []
    for resource, objects in found.objects.items():
        for each in objects:
            owner = controller(each.metadata)
            inner = resource == JOB.resource and owner is not None and _is_workload(owner.kind, owner.api_version)
            if not inner and (owner is None or owner.uid not in uids):
                shown.append((READERS[resource], each))
    return shown


def _is_workload(kind: str, api_version: str) -> bool:
    group = api_version.rpartition("/")[0]
    return any((each.kind, each.group) == (kind, group) for each in WORKLOAD_KINDS)


# ---------------------------------------------------------------- lines


async def _rows(cluster: Cluster, found: Found, only: WorkloadKind | None) -> tuple[list[Row], list[JobSetReport]]:
    """The workloads with their lines, and the lines of those that cannot be read."""
    now = cluster.now()
    by_owner: dict[str, list[Job]] = defaultdict(list)
    for job in found.jobs:
        owner = controller(job.metadata)
        by_owner[owner.uid if owner else ""].append(job)
    spoilt = {(job.namespace, job.jobset): f"Job {job.name}: {job.error}" for job in found.bad_jobs if job.jobset}
    shown = _at_the_top(found, only)
    parts = await _parts(cluster, found, shown)
    rows, lines = [], []
    for reader, each in shown:
        meta: ObjectMeta = each.metadata
        try:
            for part in parts[meta.uid]:
                if isinstance(part, JsrError):
                    raise part
            workload = reader.workload(each, parts[meta.uid])
            owned = [workload.metadata.uid, *([workload.jobset.metadata.uid] if workload.jobset else [])]
            jobs = [job for uid in dict.fromkeys(owned) for job in by_owner[uid]]
            if workload.jobset and (error := spoilt.get((meta.namespace, workload.jobset.metadata.name))):
                raise ValueError(error)
            report = line_report(workload, [each, *jobs] if isinstance(each, Job) else jobs, now)
            rows.append(Row(reader, each, workload, jobs, report))
        except WRONG as error:
            lines.append(unreadable(meta.name, meta.namespace, str(error), reader.kind))
    for resource, bad in found.bad.items():
        kind = READERS[resource].kind
        others = (each for each in bad if not (kind is JOB and each.jobset))
        lines += [unreadable(each.name or "-", each.namespace or "-", each.error, kind) for each in others]
    return rows, lines


async def _parts(cluster: Cluster, found: Found, shown: Sequence[tuple[Reader, Any]]) -> dict[str, list[Any]]:
    """The parts of each workload, by its UID, as its reader wants them: from what was listed, else asked for. None is
    what is not there; what may not be read is the error that says so."""
    listed = {
        READERS[resource].kind.path(each.metadata.namespace, each.metadata.name): each
        for resource, objects in found.objects.items()
        for each in objects
    }
    parts: dict[str, list[Any]] = {}
    for reader, each in shown:
        sources = reader.sources(each.metadata.namespace, each.metadata.name, each)
        wanted = sources.parts if sources else ()
        parts[each.metadata.uid] = [listed.get(s.path) or await _part(cluster, s.path, s.type) for s in wanted]
    return parts


# ---------------------------------------------------------------- Pods


async def _look_at_pods(cluster: Cluster, namespace: str | None, rows: Sequence[Row], now: float) -> list[str]:
    """Tells the states that only Pods can tell. Returns what could not be told, in words."""
    from jobset_restart.cluster.resolve import with_refusals

    together = [row for row in rows if row.reader.kind.label == JOBSET_NAME and row.workload.made_of_jobs]
    alone = [row for row in rows if row not in together]
    few = alone[:MOST_LOOKS]
    looks = asyncio.Semaphore(LOOKS_AT_ONCE)
    pods, each = await asyncio.gather(
        _pods_of_jobsets(cluster, namespace, together),
        asyncio.gather(*(_one_by_one(cluster, row, now, looks) for row in few)),
    )
    snapshots = [(row, snapshot) for row, snapshot in zip(few, each, strict=True) if snapshot is not None]
    for row in together:
        of_it = pods.get((row.workload.namespace, row.workload.name))
        if of_it is not None:
            with contextlib.suppress(*WRONG):
                snapshots.append((row, take(row.workload, row.jobs, of_it, None, now)))
    known = await with_refusals(cluster, namespace, [snapshot for _, snapshot in snapshots])
    for (row, _), snapshot in zip(snapshots, known, strict=True):
        with contextlib.suppress(*WRONG):
            refine(row.report, snapshot)
    left = len(alone) - len(few)
    return [f"{left:,} more were not looked at: `jsr status KIND/NAME` looks at one"] if left else []


async def _pods_of_jobsets(
    cluster: Cluster, namespace: str | None, rows: Sequence[Row]
) -> dict[tuple[str, str], list[Pod]]:
    """The Pods by namespace and name of their JobSet: of all these in one request. Those are left out of which a Pod
    cannot be read; so are all where Pods may not be read."""
    from jobset_restart.cluster.lists import each_readable

    if not rows:
        return {}
    names = sorted({row.workload.name for row in rows})
    selector = f"{JOBSET_NAME} in ({','.join(names)})" if len(names) <= MOST_NAMES else JOBSET_NAME
    try:
        pods, bad = await each_readable(cluster, POD.collection(namespace), Pod, label_selector=selector)
    except Forbidden:
        return {}
    found: dict[tuple[str, str], list[Pod]] = {(row.workload.namespace, row.workload.name): [] for row in rows}
    for pod in pods:
        found.get((pod.metadata.namespace, pod.metadata.labels.jobset_name), []).append(pod)
    for each in bad:
        found.pop((each.namespace, each.jobset), None)
    return found


async def _one_by_one(cluster: Cluster, row: Row, now: float, looks: asyncio.Semaphore) -> Snapshot | None:
    """The workload with its Pods, None where they may not be read or make no sense."""
    from jobset_restart.cluster.resolve import read

    sources = row.workload.sources
    async with looks:
        try:
            workload, children, pods = await read(cluster, row.reader, sources, row.found, consistent=False)
            return take(workload, [child for listing in children for child in listing.items], pods.items, None, now)
        except (Forbidden, NotFound, *WRONG):
            return None


async def _part(cluster: Cluster, path: str, kind: type[Any]) -> Any:
    try:
        return await cluster.get(path, kind)
    except NotFound:
        return None
    except Forbidden as error:
        return error
