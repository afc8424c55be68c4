"""The watches of a tenure: one tracker follows another, and is told everything that its look cannot have seen, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from jobset_restart.cluster.watch import Change, WatchBatch
from jobset_restart.objects import Pod
from jobset_restart.plan import Request, make
from jobset_restart.restart.watching import Watching
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from tests import build
from tests.small_cluster import SmallCluster

PODS = 3
Seen = dict[str, str]
"""The resourceVersion of each Pod, by UID."""


class History:
    """What became of the Pods of a Job, one change a version: `at(n)` are those that there were after n of them."""

    def __init__(self, deeds: list[tuple[int, bool]]) -> None:
        self._states = [{str(index): self._pod(index, 0, 0) for index in range(PODS)}]
        self.changes: list[tuple[Change, Pod]] = []
        for version, (index, goes) in enumerate(deeds, 1):
            pods = dict(self._states[-1])
            old = pods.get(str(index))
            if old is None:
                kind, pod = "ADDED", self._pod(index, version, version)
            elif goes:
                kind, pod = "DELETED", self._moved(old, version)
            else:
                kind, pod = "MODIFIED", self._moved(old, version)
            pods[str(index)] = pod
            if kind == "DELETED":
                del pods[str(index)]
            self._states.append(pods)
            self.changes.append((kind, pod))  # type: ignore[arg-type]

    @staticmethod
    def _moved(pod: Pod, version: int) -> Pod:
        return structs.replace(pod, metadata=structs.replace(pod.metadata, resource_version=str(100 + version)))

    def _pod(self, index: int, generation: int, version: int) -> Pod:
        return self._moved(build.pod(index, name=f"train-workers-0-{index}-{generation}"), version)

    def at(self, version: int) -> list[Pod]:
        return list(self._states[version].values())

    def seen(self, version: int) -> Seen:
        return {pod.metadata.uid: pod.metadata.resource_version for pod in self.at(version)}


class Feed(SmallCluster):
    """A cluster whose watch of Pods brings what it is given."""

    def __init__(self, history: History) -> None:
        super().__init__(build.jobset(pods=PODS), [])
        self.batches: asyncio.Queue[WatchBatch[Pod]] = asyncio.Queue()

    async def watch(self, path: str, item: type[Any], **_: Any) -> AsyncIterator[WatchBatch[Any]]:
        while item is Pod:
            yield await self.batches.get()
        await asyncio.Event().wait()
        yield WatchBatch()


class Course(Struct):
    """How far the watch has come when the look begins, what the look sees, how far the watch has come when the next
    tracker follows, and in what pieces, told anew or not, the rest comes."""

    deeds: list[tuple[int, bool]]
    kept_from: int
    looked_at: int
    followed_at: int
    pieces: list[tuple[int, bool]]


@st.composite
def courses(draw: st.DrawFn) -> Course:
    deeds = draw(st.lists(st.tuples(st.integers(0, PODS - 2), st.booleans()), max_size=14))
    kept_from = draw(st.integers(0, len(deeds)))
    looked_at = draw(st.integers(kept_from, len(deeds)))
    followed_at = draw(st.integers(kept_from, len(deeds)))
    pieces = draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=len(deeds), max_size=len(deeds)))
    return Course(deeds, kept_from, looked_at, followed_at, pieces)


def snapshot_of(feed: Feed, history: History, version: int) -> Snapshot:
    found = build.snapshot(feed.jobset, history.at(version), jobs=[build.job(feed.jobset)])
    return structs.replace(found, resource_version=str(100 + version), children_versions=("100",))


def tracker_of(snapshot: Snapshot) -> Tracker:
    plan = make(snapshot, Request(via="suspend"), "op1")
    assert not plan.refused, plan.reason
    return Tracker(plan, build.NOW)


def known(tracker: Tracker) -> Seen:
    return {uid: pod.metadata.resource_version for t in tracker.slots.values() for uid, pod in t.pods.items()}


async def played(course: Course) -> None:
    history = History(course.deeds)
    feed = Feed(history)
    first = snapshot_of(feed, history, 0)
    watching = Watching(feed, first, tracker_of(first), lambda _: None, lambda _: None, asyncio.Event())
    came = 0
    pieces = iter(course.pieces)

    async def deliver(until: int) -> None:
        nonlocal came
        while came < until:
            size, anew = next(pieces)
            upto = min(until, came + size)
            if anew:
                feed.batches.put_nowait(WatchBatch(relisted=history.at(upto), relisted_at=str(100 + upto)))
            else:
                feed.batches.put_nowait(WatchBatch(changes=history.changes[came:upto]))
            came = upto
            for _ in range(5):
                await asyncio.sleep(0)

    async with watching.during(first.workload):
        await asyncio.sleep(0)
        await deliver(course.kept_from)
        assert known(watching.tracker) == history.seen(came)
        with watching.keeping():
            look = snapshot_of(feed, history, course.looked_at)
            await deliver(course.followed_at)
            tracker = tracker_of(look)
            watching.follow(tracker, look)
        assert known(tracker) == history.seen(max(came, course.looked_at))
        while came < len(course.deeds):
            await deliver(min(len(course.deeds), came + 3))
            assert known(tracker) == history.seen(max(came, course.looked_at))


@given(courses())
def test_a_tracker_that_follows_knows_what_its_look_or_the_watch_has_seen_last(course: Course) -> None:
    asyncio.run(played(course))
