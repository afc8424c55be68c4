"""The members of a workload whose Pods no Job runs. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from jobset_restart.creation import reason
from jobset_restart.members.members import ANOTHER, Members
from jobset_restart.objects import Event, Pod
from jobset_restart.owners import controller
from jobset_restart.places import Seats, active
from jobset_restart.slots import Slot, Unit
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.direct import DirectWorkload, done_for_good, slot_at
from jobset_restart.workloads.workload import Workload


class DirectMembers(Members):
    def __init__(self, snapshot: Snapshot, workload: DirectWorkload) -> None:
        self._uid, self._wanted = workload.metadata.uid, workload.wanted
        self._kinship = workload.kinship()
        self._child_kinds = {several.type.__name__ for several in workload.sources.children}
        self._children: dict[str, Any] = {}
        self._seats: dict[Unit, Seats] = defaultdict(Seats)
        self._active: dict[Unit, set[str]] = defaultdict(set)
        """The UIDs of active Pods where these have seats."""
        self._keeps_completed = workload.keeps_completed
        self._completed: dict[Slot, str] = {}
        """Slots of which a Pod is done for good, with its UID."""
        self._held: dict[str, Pod] = {}
        """Pods whose owner is not known yet, by UID."""
        self._refusal = ""
        for child in snapshot.children:
            self.see_child(child)
        for state in snapshot.slots.values():
            for pod in filter(None, (state.pod, *state.leftovers)):
                seat = self._kinship.seat(pod)
                if seat is not None and seat.index is None:
                    self._seats[seat.unit].sit(pod.metadata.uid, state.slot.indexes[-1])
                self.see(pod)

    def see_child(self, child: Any, *, deleted: bool = False) -> list[Pod]:
        uid = child.metadata.uid
        if deleted:
            self._children.pop(uid, None)
        else:
            self._children[uid] = child
        self._kinship.see_child(child, deleted=deleted)
        known = [uid for uid, pod in self._held.items() if self._kinship.seat(pod) is not None]
        return [self._held.pop(uid) for uid in known]

    def missing(self, children: Iterable[Any]) -> list[Any]:
        present = {child.metadata.uid for child in children}
        return [child for uid, child in self._children.items() if uid not in present]

    def see(self, pod: Pod, *, deleted: bool = False) -> Slot | None:
        seat = self._kinship.seat(pod)
        if seat is None:
            self._hold(pod, deleted)
            return None
        if seat.index is not None:
            slot = slot_at(seat.unit, seat.index)
            if self._keeps_completed:
                self._see_completed(slot, pod, deleted)
            return slot
        seats, uid = self._seats[seat.unit], pod.metadata.uid
        index = seats.sit(uid)
        counts = active(pod) and not deleted
        (self._active[seat.unit].add if counts else self._active[seat.unit].discard)(uid)
        if deleted:
            seats.forget(uid)
        elif not active(pod):
            seats.leave(uid)
        return slot_at(seat.unit, index)

    def _see_completed(self, slot: Slot, pod: Pod, deleted: bool) -> None:
        if done_for_good(pod) and not deleted:
            self._completed[slot] = pod.metadata.uid
        elif self._completed.get(slot) == pod.metadata.uid:
            del self._completed[slot]

    def completed(self, slot: Slot) -> bool:
        return slot in self._completed

    def _hold(self, pod: Pod, deleted: bool) -> None:
        owner = controller(pod.metadata)
        if deleted:
            self._held.pop(pod.metadata.uid, None)
        elif owner is not None and owner.kind in self._child_kinds and owner.uid not in self._children:
            self._held[pod.metadata.uid] = pod

    def listed(self, present: set[str]) -> None:
        for seats in self._seats.values():
            seats.keep(present)
        for running in self._active.values():
            running.intersection_update(present)
        for uid in self._held.keys() - present:
            del self._held[uid]

    def awaited(self, slot: Slot) -> str:
        return self.refusal(slot) or ANOTHER

    def refusal(self, slot: Slot) -> str:  # noqa: ARG002
        return self._refusal

    def see_workload(self, workload: Workload) -> list[Unit]:
        """What is not there now, as the RayCluster of a RayJob, was not scaled down."""
        if not isinstance(workload, DirectWorkload) or not workload.groups:
            return []
        before, self._wanted = self._wanted, workload.wanted
        return [unit for unit in before.keys() | self._wanted.keys() if before.get(unit) != self._wanted.get(unit)]

    def has_all(self, unit: Unit) -> bool:
        return unit in self._seats and len(self._active[unit]) >= self._wanted.get(unit, 0)

    def nothing_to_come(self, slot: Slot) -> str:
        if slot.indexes[-1] >= self._wanted.get(slot.unit, 0):
            return f"{slot.group} was scaled down"
        return f"{slot.group} has all the Pods it wants without it" if self.has_all(slot.unit) else ""

    def refused(self, event: Event) -> list[Unit]:
        if event.involved_object.uid != self._uid and event.involved_object.uid not in self._children:
            return []
        self._refusal = f"{event.reason}: {reason(event)}"
        return list(self._wanted)
