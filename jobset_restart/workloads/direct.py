"""Workloads whose Pods no Job runs: what belongs to them, and the slots that fills. Pure."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from jobset_restart.errors import TooLarge
from jobset_restart.objects import Pod
from jobset_restart.places import Seats, active, best_first, ended
from jobset_restart.slots import Slot, Unit
from jobset_restart.workloads.workload import MOST_SLOTS, Filling, SlotState, Workload


class Seat(Struct, frozen=True):
    """Where a Pod belongs: the unit, and its index there; None where Pods carry none and sit where there is room."""

    unit: Unit
    index: int | None = None


class Kinship(Protocol):
    """Which Pods are a workload's, while its children and Pods come and go. By controller references and UIDs alone."""

    def see_child(self, child: Any, *, deleted: bool = False) -> None:
        """An object between the workload and its Pods was added or changed, or is gone."""

    def seat(self, pod: Pod) -> Seat | None:
        """Where the Pod belongs, None where it is not the workload's, or not known to be yet."""


@runtime_checkable
class DirectWorkload(Workload, Protocol):
    """A workload that is not made of Jobs."""

    @property
    def made_of_jobs(self) -> bool:
        return False

    @abstractmethod
    def kinship(self) -> Kinship:
        """A new judge of who belongs to it, which has seen nothing yet."""

    @property
    @abstractmethod
    def wanted(self) -> dict[Unit, int]:
        """How many Pods each unit should have, in the order of the slots: of as many units as there can be Pods."""

    @property
    def asked(self) -> int:
        """How many Pods it should have in all."""
        return sum(max(0, number) for number in self.wanted.values())

    @property
    def keeps_completed(self) -> bool:
        """Whether a Pod that succeeded is done for good, and none is made in its place."""
        return False

    def fill(self, children: Sequence[Any], pods: Iterable[Pod]) -> Filling:
        if self.asked > MOST_SLOTS:
            raise TooLarge(
                f"{self.title} asks for {self.asked:,} Pods at once, more than jsr handles ({MOST_SLOTS:,})",
                f"check the replicas of the {self.kind.kind}",
            )
        wanted = self.wanted
        kinship = self.kinship()
        for child in children:
            kinship.see_child(child)
        filling: dict[Slot, list[Pod]] = {}
        strangers: list[str] = []
        seats: dict[Unit, Seats] = defaultdict(Seats)
        in_order = sorted(pods, key=_running_first)
        for pod in in_order:
            kinship.seat(pod)  # a leader that is going comes last, and only then its workers are known
        for pod in in_order:
            seat = kinship.seat(pod)
            if seat is None:
                strangers.append(f"Pod {pod.metadata.name}")
            elif seat.index is not None or not ended(pod):
                index = seats[seat.unit].sit(pod.metadata.uid) if seat.index is None else seat.index
                filling.setdefault(slot_at(seat.unit, index), []).append(pod)
        empty: dict[Slot, list[Pod]] = {
            slot_at(unit, index): [] for unit, number in wanted.items() for index in range(number)
        }
        slots = empty | filling
        keeps = self.keeps_completed
        states = {slot: _state(slot, mine, wanted, keeps) for slot, mine in slots.items()}
        return Filling(slots=states, strangers=strangers)


def done_for_good(pod: Pod) -> bool:
    """Whether the Pod succeeded by itself: one that is being deleted may exit 0 because it was told to end."""
    return pod.status.phase == "Succeeded" and not pod.metadata.deletion_timestamp


def _state(slot: Slot, pods: list[Pod], wanted: dict[Unit, int], keeps_completed: bool) -> SlotState:
    live = [pod for pod in pods if not ended(pod)]
    in_order = best_first(live or pods)
    surplus = slot.indexes[-1] >= wanted.get(slot.unit, 0)
    first, leftovers = (in_order[0], in_order[1:]) if in_order else (None, [])
    completed = keeps_completed and not live and any(map(done_for_good, pods))
    return SlotState(slot, None, first, leftovers=leftovers, completed=completed, surplus=surplus)


def _running_first(pod: Pod) -> tuple[bool, bool, str]:
    """Those that are running get a seat before those that are going, and a leader before its workers."""
    return ended(pod), not active(pod), pod.metadata.name


def slot_at(unit: Unit, index: int) -> Slot:
    return Slot(unit[0], (*unit[1], index))
