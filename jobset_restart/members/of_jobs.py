"""The members of a workload whose Pods are run by Jobs, and what these Jobs still want. Pure.

A Pod is the workload's when its controller is a Job whose controller is this very workload. A Job made during the
restart may be seen later than its Pods: these are held until it is known whose it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from jobset_restart.creation import reason
from jobset_restart.members.members import ANOTHER, Members
from jobset_restart.objects import Event, Job, Pod
from jobset_restart.owners import job_uid
from jobset_restart.places import (
    Seats,
    active,
    completed_indexes,
    ended,
    failed_indexes,
    finished_with,
    index_of,
    indexed,
    wanted,
)
from jobset_restart.slots import Indexes, Slot, Unit
from jobset_restart.snapshot import Snapshot
from jobset_restart.suspension import queue


class JobMembers(Members):
    def __init__(self, snapshot: Snapshot) -> None:
        self.workload = snapshot.workload
        self._jobs: dict[str, Job] = {}
        self._complete: dict[str, Indexes] = {}
        self._lost: dict[str, Indexes] = {}
        self._at: dict[Unit, str] = {}
        self._seats: dict[Unit, Seats] = defaultdict(Seats)
        self._active: dict[str, set[str]] = defaultdict(set)
        self._held: dict[str, dict[str, Pod]] = defaultdict(dict)
        self._said: dict[Unit, object] = {}
        self._failed: dict[Unit, float] = {}
        """When the Job there was first seen to have failed."""
        self._refusals: dict[str, str] = {}
        for job in snapshot.jobs:
            self.see_child(job)
        for state in snapshot.slots.values():
            unit, seat = state.slot.unit, state.slot.indexes[-1]
            for pod in filter(None, (state.pod, *state.leftovers)):
                owner = self._jobs.get(job_uid(pod))
                if owner is not None and not indexed(owner) and not ended(pod):
                    self._seats[unit].sit(pod.metadata.uid, seat)
                self.see(pod)

    # ------------------------------------------------------------ Jobs

    def see_child(self, child: Job, *, deleted: bool = False) -> list[Pod]:
        job, uid = child, child.metadata.uid
        if not self.workload.owns(job):
            self._held.pop(uid, None)
            return []
        unit = self.workload.unit_of(job)
        self._jobs[uid] = job
        self._complete[uid], self._lost[uid] = completed_indexes(job), failed_indexes(job)
        if not deleted:
            self._at[unit] = uid
        elif self._at.get(unit) == uid:
            del self._at[unit]
        return list(self._held.pop(uid, {}).values())

    def missing(self, children: Iterable[Job]) -> list[Job]:
        present = {job.metadata.uid for job in children}
        return [self._jobs[uid] for uid in self._at.values() if uid not in present]

    def job_at(self, unit: Unit) -> Job | None:
        uid = self._at.get(unit)
        return self._jobs[uid] if uid else None

    # ------------------------------------------------------------ Pods

    def see(self, pod: Pod, *, deleted: bool = False) -> Slot | None:
        uid, owner = pod.metadata.uid, job_uid(pod)
        job = self._jobs.get(owner)
        if job is None:
            self._hold(pod, owner, deleted)
            return None
        counts = active(pod) and not deleted
        (self._active[owner].add if counts else self._active[owner].discard)(uid)
        unit = self.workload.unit_of(job)
        index = index_of(pod) if indexed(job) else self._seat(self._seats[unit], pod, deleted)
        return None if index is None else Slot(unit[0], (*unit[1], index))

    def _hold(self, pod: Pod, owner: str, deleted: bool) -> None:
        if deleted:
            self._held[owner].pop(pod.metadata.uid, None)
        elif owner:
            self._held[owner][pod.metadata.uid] = pod

    def _seat(self, seats: Seats, pod: Pod, deleted: bool) -> int:
        uid = pod.metadata.uid
        seat = seats.sit(uid)
        if deleted:
            seats.forget(uid)
        elif not active(pod):
            seats.leave(uid)
        return seat

    def listed(self, present: set[str]) -> None:
        for running in self._active.values():
            running.intersection_update(present)
        for seats in self._seats.values():
            seats.keep(present)
        for held in self._held.values():
            for uid in held.keys() - present:
                del held[uid]

    # ------------------------------------------------------------ what is still to come

    def has_all(self, unit: Unit) -> bool:
        job = self.job_at(unit)
        if job is None or job.metadata.deletion_timestamp or job.spec.suspend or finished_with(job, "Failed"):
            return False
        uid = job.metadata.uid
        succeeded = len(self._complete[uid]) if indexed(job) else job.status.succeeded
        running = len(self._active[uid])
        return running >= wanted(job, succeeded, running)

    def completed(self, slot: Slot) -> bool:
        job = self.job_at(slot.unit)
        if job is None:
            return False
        if finished_with(job, "Complete"):
            return True
        return indexed(job) and slot.indexes[-1] in self._complete[job.metadata.uid]

    def nothing_to_come(self, slot: Slot) -> str:
        unit = slot.unit
        job = self.job_at(unit)
        if job is None or not self.has_all(unit):
            return ""
        if indexed(job) and slot.indexes[-1] >= (job.spec.completions or 0):
            return f"Job {job.metadata.name} was scaled down"
        return f"Job {job.metadata.name} has all the Pods it wants without it"

    def refused(self, event: Event) -> list[Unit]:
        uid, why = event.involved_object.uid, f"{event.reason}: {reason(event)}"
        units = [unit for unit, job in self._at.items() if job == uid]
        if uid == self.workload.parent_uid or units:
            self._refusals[uid] = why
        return units

    @property
    def successor(self) -> str:
        return "its Job makes another after its back-off"

    def awaited(self, slot: Slot) -> str:
        unit = slot.unit
        job = self.job_at(unit)
        if job is None:
            return self.refusal(slot) or self.workload.held_back(slot.group) or "waiting for its Job"
        if job.spec.suspend:
            queued = queue(self.workload.metadata)
            waits = f"its Job is suspended: waiting in Kueue's queue {queued}" if queued else "its Job is suspended"
            return self.workload.held_back(slot.group) or waits
        return self.refusal(slot) or ANOTHER

    def refusal(self, slot: Slot) -> str:
        job = self.job_at(slot.unit)
        return self._refusals.get(job.metadata.uid if job else self.workload.parent_uid, "")

    def lost(self, slot: Slot) -> str:
        job = self.job_at(slot.unit)
        if job is None or not indexed(job) or slot.indexes[-1] not in self._lost[job.metadata.uid]:
            return ""
        return f"index {slot.indexes[-1]} of Job {job.metadata.name} failed for good (backoffLimitPerIndex)"

    def unit_of(self, child: Job) -> Unit:
        return self.workload.unit_of(child)

    def news(self, unit: Unit, now: float) -> bool:
        job = self.job_at(unit)
        if job is None:
            return False
        if self.failure(unit):
            self._failed.setdefault(unit, now)
        else:
            self._failed.pop(unit, None)
        spec, status = job.spec, job.status
        said = (
            (job.metadata.uid, spec.parallelism, spec.completions, spec.suspend),
            (status.succeeded, status.completed_indexes, status.failed_indexes, len(status.conditions)),
        )
        before, self._said[unit] = self._said.get(unit), said
        return said != before

    def failed_since(self, time: float) -> list[Unit]:
        return [unit for unit, since in self._failed.items() if since <= time]

    def failure(self, unit: Unit) -> str:
        job = self.job_at(unit)
        failed = finished_with(job, "Failed")
        return f"Job {job.metadata.name} failed: {failed.reason}" if job and failed else ""
