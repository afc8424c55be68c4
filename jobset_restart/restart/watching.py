"""What the cluster says while an operation runs, and the beat of time, brought to those who judge it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from jobset_restart.events import Disconnected, Event, Reconnected
from jobset_restart.objects import Job, JobSet, Pod
from jobset_restart.snapshot import JOBSET_NAME, Snapshot
from jobset_restart.track import Tracker
from jobset_restart.writes import BATCH, CORE, JOBSETS

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

TICK_SECONDS = 0.2


class Watching:
    """Tells `tracker` of every change to the Pods and Jobs of the snapshot's JobSet and of the time, `see` of every
    change to the JobSet itself from the resourceVersion `jobset_from` on (None: it is gone), and `tell` of what
    follows. `changed` is set whenever there was anything."""

    def __init__(
        self,
        cluster: Cluster,
        snapshot: Snapshot,
        jobset_from: str,
        tracker: Tracker,
        see: Callable[[JobSet | None], None],
        tell: Callable[[Iterable[Event]], None],
        changed: asyncio.Event,
    ) -> None:
        self.cluster, self.tracker, self._see, self._tell, self._changed = cluster, tracker, see, tell, changed
        self._namespace, self._name = snapshot.namespace, snapshot.name
        self._pods_from, self._jobs_from = snapshot.resource_version, snapshot.jobs_version
        self._jobset_from = jobset_from

    @contextlib.asynccontextmanager
    async def during(self, *others: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Watches, and does the `others`, for as long as the context lasts. The tasks end with what they died of."""
        tasks = [self.task(each) for each in (self._pods(), self._jobs(), self._jobset(), self._time(), *others)]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The work as a task whose end is a change too."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._changed.set())
        return task

    async def _pods(self) -> None:
        async for batch in self.cluster.watch(
            f"{CORE}/namespaces/{self._namespace}/pods",
            Pod,
            resource_version=self._pods_from,
            label_selector=f"{JOBSET_NAME}={self._name}",
        ):
            now = self.cluster.now()
            if batch.disconnected:
                self._tell([Disconnected(time=now, reason=batch.disconnected)])
            if batch.reconnected_after is not None:
                self._tell([Reconnected(time=now, seconds=batch.reconnected_after)])
            if batch.relisted is not None:
                self._tell(self.tracker.relist(batch.relisted, now))
            for kind, pod in batch.changes:
                self._tell(self.tracker.observe(pod, now, deleted=kind == "DELETED"))
            self._changed.set()

    async def _jobs(self) -> None:
        async for batch in self.cluster.watch(
            f"{BATCH}/namespaces/{self._namespace}/jobs",
            Job,
            resource_version=self._jobs_from,
            label_selector=f"{JOBSET_NAME}={self._name}",
        ):
            now = self.cluster.now()
            if batch.relisted is not None:
                self._tell(self.tracker.relist_jobs(batch.relisted, now))
            for kind, job in batch.changes:
                self._tell(self.tracker.observe_job(job, now, deleted=kind == "DELETED"))
            self._changed.set()

    async def _jobset(self) -> None:
        async for batch in self.cluster.watch(
            f"{JOBSETS}/namespaces/{self._namespace}/jobsets",
            JobSet,
            resource_version=self._jobset_from,
            field_selector=f"metadata.name={self._name}",
        ):
            for kind, jobset in batch.changes:
                self._see(None if kind == "DELETED" else jobset)
            if batch.relisted is not None:
                self._see(batch.relisted[0] if batch.relisted else None)
            self._changed.set()

    async def _time(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tell(self.tracker.tick(self.cluster.now()))
            self._changed.set()
