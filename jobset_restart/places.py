"""Which places a Job's Pods fill, and which it still wants filled: from the Job as it is, not from its template. Pure.

An Indexed Job runs at most `parallelism` Pods at once, at the lowest indexes that are pending; of `completions` indexes
some are complete, some failed for good, some have their turn later (KEP-2214, KEP-3850). The places of a NonIndexed
Job are seats that Pods take in the order they come. A Pod that ended fills no place, however long the Job keeps it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from jobset_restart.objects import Condition, Job, JobSpec, Pod, number, seconds
from jobset_restart.slots import Indexes


class Place(Struct):
    """One place of a Job. `pods`: those that fill it, the one that counts first; where none does, what is left of the
    last. `surplus`: it is filled still, but once its Pods are gone nothing comes here now."""

    index: int
    pods: list[Pod]
    completed: bool = False
    surplus: bool = False


def ended(pod: Pod) -> bool:
    """Whether the Pod is over: none of its containers runs or will run again (Pod lifecycle, phases)."""
    return pod.status.phase in ("Failed", "Succeeded")


def active(pod: Pod) -> bool:
    """Whether the Job counts the Pod as active: neither over nor being deleted (controller.FilterActivePods)."""
    return not ended(pod) and not pod.metadata.deletion_timestamp


def finished_with(job: Job | None, kind: str) -> Condition | None:
    """The Job's condition of this type (Complete, Failed ...), where it is True."""
    return next((c for c in job.status.conditions if c.type == kind and c.status == "True"), None) if job else None


def indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def index_of(pod: Pod) -> int | None:
    """The completion index of an Indexed Job's Pod (annotation, or label since Kubernetes 1.28), None for none."""
    meta = pod.metadata
    return number(meta.annotations.completion_index or meta.labels.completion_index)


def at_once(spec: JobSpec) -> int:
    """How many Pods a Job runs at once when none has completed (Job API: parallelism defaults to 1)."""
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    return parallelism if spec.completions is None else min(parallelism, spec.completions)


def wanted(job: Job, succeeded: int, running: int) -> int:
    """How many active Pods the Job wants (job controller, manageJob: wantActive). `succeeded` counts its completions,
    `running` its active Pods."""
    spec = job.spec
    if finished_with(job, "Complete"):
        return 0
    if spec.completions is None:
        return running if succeeded else at_once(spec)
    return max(0, min(at_once(spec), spec.completions - succeeded))


def completed_indexes(job: Job) -> Indexes:
    return Indexes.of_status(job.status.completed_indexes, job.spec.completions or 0)


def indexes_over(job: Job, pods: Iterable[Pod]) -> int:
    """How many Pods of the Job have completed for good, whether they are still there or not. `pods` are those that are
    over: the Job controller counts one that succeeded a moment later."""
    if finished_with(job, "Complete"):
        return job.spec.completions or job.status.succeeded or 1
    succeeded = [pod for pod in pods if _succeeded([pod])]
    if not indexed(job):
        return max(job.status.succeeded, len(succeeded))
    complete, completions = completed_indexes(job), job.spec.completions or 0
    indexes = {index for pod in succeeded if (index := index_of(pod)) is not None}
    return len(complete) + sum(index < completions and index not in complete for index in indexes)


def failed_indexes(job: Job) -> Indexes:
    """The indexes that failed for good (backoffLimitPerIndex)."""
    return Indexes.of_status(job.status.failed_indexes, job.spec.completions or 0)


def places(job: Job, pods: list[Pod]) -> list[Place]:
    """The places of the Job, in order."""
    return _indexed(job, pods) if indexed(job) else _seated(job, pods)


def _indexed(job: Job, pods: list[Pod]) -> list[Place]:
    completions = job.spec.completions or 0
    by_index: dict[int, list[Pod]] = defaultdict(list)
    for pod in pods:
        index = index_of(pod)
        if index is not None:
            by_index[index].append(pod)
    running = {i for i, mine in by_index.items() if i < completions and any(map(active, mine))}
    complete, lost = completed_indexes(job), failed_indexes(job)
    just_done = {i for i, mine in by_index.items() if i < completions and i not in complete and _succeeded(mine)}
    just_done -= running
    want = wanted(job, len(complete) + len(just_done), len(running)) - len(running)
    over = Indexes([*complete.ranges, *lost.ranges])
    missing = set(over.without(most=max(0, want), below=completions, taken=running | just_done))
    found = []
    for index in sorted({*by_index, *missing}):
        mine = by_index.get(index, [])
        live = [pod for pod in mine if not ended(pod)]
        done = not live and (index in complete or index in just_done or finished_with(job, "Complete") is not None)
        if live or done or index in missing:
            surplus = not done and index not in running and index not in missing
            found.append(Place(index, best_first(live or mine), completed=done, surplus=surplus))
    return found


def _succeeded(pods: list[Pod]) -> bool:
    return any(pod.status.phase == "Succeeded" for pod in pods)


def _seated(job: Job, pods: list[Pod]) -> list[Place]:
    in_order = sorted(pods, key=lambda pod: (seconds(pod.metadata.creation_timestamp), pod.metadata.name))
    if finished_with(job, "Complete"):
        return [Place(n, [pod], completed=ended(pod), surplus=not ended(pod)) for n, pod in enumerate(in_order)]
    seats = Seats()
    running = [pod for pod in in_order if active(pod)]
    going = [pod for pod in in_order if not ended(pod) and not active(pod)]
    found: dict[int, Place] = {}
    for pod in (*running, *going):
        seat = seats.sit(pod.metadata.uid)
        found[seat] = Place(seat, [pod])
    want = wanted(job, job.status.succeeded, len(running))
    failed = [pod for pod in in_order if pod.status.phase == "Failed"]
    for seat in range(want):
        if seat not in found:
            found[seat] = Place(seat, [failed.pop()] if failed else [])
    for seat, place in found.items():
        place.surplus = seat >= max(want, len(running))
    return [place for _, place in sorted(found.items())]


def best_first(pods: list[Pod]) -> list[Pod]:
    """The Pod that counts first: one that is not being deleted, then the younger; told apart by UID."""

    def rank(pod: Pod) -> tuple[bool, float, str]:
        meta = pod.metadata
        return not meta.deletion_timestamp, seconds(meta.creation_timestamp), meta.uid

    return sorted(pods, key=rank, reverse=True)


class Seats:
    """The places of a NonIndexed Job, which its Pods carry no index for: a Pod takes the lowest that is free, and keeps
    it. `leave` frees the seat for a successor as soon as the Pod is on its way out."""

    def __init__(self) -> None:
        self._seat: dict[str, int] = {}
        self._holding: set[str] = set()
        self._free: list[int] = []
        self._next = 0

    def sit(self, uid: str, seat: int | None = None) -> int:
        """The Pod's seat; a new one takes the lowest free seat, or the one given."""
        if uid not in self._seat:
            if seat is None:
                seat = heapq.heappop(self._free) if self._free else self._next
            for skipped in range(self._next, seat):
                heapq.heappush(self._free, skipped)
            self._next = max(self._next, seat + 1)
            self._seat[uid] = seat
            self._holding.add(uid)
        return self._seat[uid]

    def leave(self, uid: str) -> None:
        """The Pod is on its way out: a successor may sit here."""
        if uid in self._holding:
            self._holding.discard(uid)
            heapq.heappush(self._free, self._seat[uid])

    def forget(self, uid: str) -> None:
        """The Pod is gone."""
        self.leave(uid)
        self._seat.pop(uid, None)

    def keep(self, present: set[str]) -> None:
        """The UIDs of all Pods there are: the seats of all others are free. Which seat each of those had is known until
        it is forgotten."""
        for uid in self._seat.keys() - present:
            self.leave(uid)
