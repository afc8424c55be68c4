"""What the cluster says while an operation runs, and the beat of time, brought to those who judge it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from jobset_restart.errors import JsrError
from jobset_restart.events import Disconnected, Event, Noticed, Reconnected
from jobset_restart.objects import Event as Refusal
from jobset_restart.objects import Node, Pod
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from jobset_restart.workloads.workload import Several, Single, Workload
from jobset_restart.writes import CORE

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster
    from jobset_restart.cluster.watch import WatchBatch

T = TypeVar("T")
TICK_SECONDS = 0.2
LOOK_SECONDS = 2.0
NODES_WATCHED_ONE_BY_ONE = 8
"""Each is a connection of its own; all Nodes of a large cluster are some megabytes a minute."""


async def _until_one_ends(tasks: Collection[asyncio.Task[None]]) -> None:
    """Waits LOOK_SECONDS, or until one of the tasks ends; raises what it died of."""
    if not tasks:
        await asyncio.sleep(LOOK_SECONDS)
        return
    done, _ = await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _number(version: str) -> int:
    return int(version) if version.isdecimal() and version.isascii() else 0


def _later(version: str, known: int) -> bool:
    """Whether what has this resourceVersion is newer than what is known; one that is no number counts as newer."""
    return known == 0 or not _number(version) or _number(version) > known


class Watching:
    """The watches of one tenure. Told are: the `tracker`, of every change to the Pods and children of the workload and
    of the time; `see`, of every change to the workload itself (None: it is gone); `tell`, of what follows. `changed` is
    set whenever there was anything.

    One tracker follows another without a gap: what comes while a look for the next one is taken is kept (`keeping`),
    and of that and of all that comes later the next tracker is told what the look cannot have seen (`follow`).
    resourceVersions can be compared (KEP-5504): a change up to that of the look's list is in the list, even where the
    watch brings it later.
    """

    def __init__(
        self,
        cluster: Cluster,
        snapshot: Snapshot,
        tracker: Tracker,
        see: Callable[[Workload | None], None],
        tell: Callable[[Iterable[Event]], None],
        changed: asyncio.Event,
    ) -> None:
        self.cluster, self.tracker, self._see, self._tell, self._changed = cluster, tracker, see, tell, changed
        self._namespace, self._workload = snapshot.namespace, snapshot.workload
        self._pods_from, self._children_from = snapshot.resource_version, snapshot.children_versions
        self._nodes = snapshot.nodes
        self._missing = asyncio.Event()
        self._pods_known, self._children_known = 0, [0] * len(self._children_from)
        """The resourceVersions up to which the tracker knows all Pods and children, by the look that it began with."""
        self._kept: list[Callable[[], None]] | None = None

    @contextlib.asynccontextmanager
    async def during(
        self, workload: Workload, *others: Coroutine[Any, Any, None]
    ) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Watches, the workload from this version of it on, and does the `others`, for as long as the context lasts.
        The tasks end with what they died of; those that are added to them are ended with them."""
        self._workload, sources = workload, workload.sources
        own = [self._pods(sources.pods), self._machines(), self._refusals(sources.refusals), self._time()]
        own += [self._children(number, each) for number, each in enumerate(sources.children)]
        own += [self._single(each) for each in (sources.itself, *sources.parts)]
        tasks = [self.task(each) for each in (*own, *others)]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ one tracker after another

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """While the context lasts, what comes is kept for a tracker that begins with a look taken in it."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def follow(self, tracker: Tracker, snapshot: Snapshot) -> None:
        """From here on `tracker`, which began with this snapshot, is told what comes; first what came since. The
        snapshot was taken while what came was kept."""
        kept, self._kept = self._kept or [], None
        self.tracker = tracker
        self._pods_known = _number(snapshot.resource_version)
        self._children_known = [_number(version) for version in snapshot.children_versions]
        for again in kept:
            again()

    def _take(self, told: Callable[[], None]) -> None:
        if self._kept is not None:
            self._kept.append(told)
        told()

    def _pods_came(self, batch: WatchBatch[Pod]) -> None:
        now = self.cluster.now()
        if batch.relisted is not None and _later(batch.relisted_at, self._pods_known):
            self._tell(self.tracker.relist(batch.relisted, now))
        for kind, pod in batch.changes:
            if _later(pod.metadata.resource_version, self._pods_known):
                self._tell(self.tracker.observe(pod, now, deleted=kind == "DELETED"))
        if self.tracker.asks_why:
            self._missing.set()

    def _children_came(self, number: int, batch: WatchBatch[Any]) -> None:
        now, known = self.cluster.now(), self._children_known[number]
        if batch.relisted is not None and _later(batch.relisted_at, known):
            self._tell(self.tracker.relist_children(batch.relisted, now))
        for kind, child in batch.changes:
            if _later(child.metadata.resource_version, known):
                self._tell(self.tracker.observe_child(child, now, deleted=kind == "DELETED"))

    # ------------------------------------------------------------ the watches

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The work as a task whose end is a change too."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._changed.set())
        return task

    async def _pods(self, pods: Several) -> None:
        async for batch in self.cluster.watch(
            pods.collection, Pod, resource_version=self._pods_from, label_selector=pods.labels
        ):
            now = self.cluster.now()
            if batch.disconnected:
                self._tell([Disconnected(time=now, reason=batch.disconnected)])
            if batch.reconnected_after is not None:
                self._tell([Reconnected(time=now, seconds=batch.reconnected_after)])
            if batch.changes or batch.relisted is not None:
                self._take(partial(self._pods_came, batch))
            self._changed.set()

    async def _children(self, number: int, children: Several) -> None:
        version = self._children_from[number]
        async for batch in self.cluster.watch(
            children.collection, children.type, resource_version=version, label_selector=children.labels
        ):
            if batch.changes or batch.relisted is not None:
                self._take(partial(self._children_came, number, batch))
            self._changed.set()

    async def _single(self, single: Single) -> None:
        """The object that carries the claim, or a part of the workload."""
        async for batch in self.cluster.watch(
            single.collection,
            single.type,
            resource_version=self._workload.version(single),
            field_selector=f"metadata.name={single.name}",
        ):
            for kind, newer in batch.changes:
                self._renew(single, None if kind == "DELETED" else newer)
            if batch.relisted is not None:
                self._renew(single, batch.relisted[0] if batch.relisted else None)
            self._changed.set()

    def _renew(self, single: Single, newer: Any) -> None:
        workload = self._workload
        if newer is None and single == workload.sources.itself:
            self._see(None)
        else:
            self._workload = workload.without(single) if newer is None else workload.renewed(newer)
            self._see(self._workload)
        if self.tracker.asks_why:
            self._missing.set()

    async def _refusals(self, selectors: Collection[str]) -> None:
        """Why Pods and Jobs cannot be created, or a part not be changed, once that takes a while. It is a help and no
        more."""
        while True:
            await self._missing.wait()
            self._missing.clear()
            await asyncio.sleep(LOOK_SECONDS)
            if self.tracker.asks_why:
                break
        tasks = [asyncio.ensure_future(self._events(selector)) for selector in selectors]
        try:
            await asyncio.gather(*tasks)
        except JsrError as error:
            message = f"Events cannot be watched ({error.message}): why Pods are missing cannot be told"
            self._tell([Noticed(time=self.cluster.now(), message=message)])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _events(self, selector: str) -> None:
        path = f"{CORE}/namespaces/{self._namespace}/events"
        found = await self.cluster.list(path, Refusal, field_selector=selector, consistent=False)
        self._take_refusals(found.items)
        async for batch in self.cluster.watch(
            path, Refusal, resource_version=found.resource_version, field_selector=selector
        ):
            self._take_refusals(
                [*(event for kind, event in batch.changes if kind != "DELETED"), *(batch.relisted or ())]
            )

    def _take_refusals(self, said: Iterable[Refusal]) -> None:
        now = self.cluster.now()
        for event in said:
            self._tell(self.tracker.refused_creation(event, now))
        self._changed.set()

    async def _machines(self) -> None:
        """The Nodes that Pods are on: each by itself while they are few, else all of them in one watch. It is a help
        and no more: where it cannot be had, the operation goes on without."""
        if self._nodes is None:
            self.tracker.machines.unwatched = True
            return
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while len(names := self.tracker.machines.names | tasks.keys()) <= NODES_WATCHED_ONE_BY_ONE:
                for name in names - tasks.keys():
                    tasks[name] = asyncio.ensure_future(self._node(f"metadata.name={name}", self._version(name)))
                await _until_one_ends(tasks.values())
            for task in tasks.values():
                task.cancel()
            await self._node("", min((self._version(name) for name in self._nodes), key=_number, default="0"))
        except JsrError as error:
            self.tracker.machines.unwatched = True
            message = f"Nodes cannot be watched ({error.message}): a machine that dies shows by its Pods alone"
            self._tell([Noticed(time=self.cluster.now(), message=message)])
        finally:
            for task in tasks.values():
                task.cancel()
            ends = await asyncio.gather(*tasks.values(), return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception) and not isinstance(end, JsrError):
                    raise end

    def _version(self, name: str) -> str:
        """The resourceVersion from which a watch of this Node misses nothing; "0": what the API server has."""
        node = (self._nodes or {}).get(name)
        return node.metadata.resource_version or "0" if node else "0"

    async def _node(self, selector: str, version: str) -> None:
        async for batch in self.cluster.watch(f"{CORE}/nodes", Node, resource_version=version, field_selector=selector):
            for node in [*(node for _, node in batch.changes), *(batch.relisted or ())]:
                self.tracker.machines.observe(node)

    async def _time(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tell(self.tracker.tick(self.cluster.now()))
            self._changed.set()
