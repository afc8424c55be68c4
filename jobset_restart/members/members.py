"""What is asked of the members of a workload while a restart runs. Pure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol

from jobset_restart.objects import Event, Job, Pod
from jobset_restart.slots import Slot, Unit
from jobset_restart.workloads.workload import Workload

ANOTHER = "waiting for a new Pod"


class Members(Protocol):
    """The children of one workload and its Pods, from a snapshot on. Where no Job runs the Pods, whatever concerns Jobs
    never applies."""

    @abstractmethod
    def see_child(self, child: Any, *, deleted: bool = False) -> list[Pod]:
        """A child was added or changed, or is gone. Returns the Pods that were held until it was known."""

    @abstractmethod
    def missing(self, children: Iterable[Any]) -> list[Any]:
        """The children that are known and not among these, which are all there are."""

    @abstractmethod
    def see(self, pod: Pod, *, deleted: bool = False) -> Slot | None:
        """A Pod was added or changed, or is gone. Returns its slot; None where it is not the workload's, has no place,
        or is held until what manages it is known."""

    @abstractmethod
    def listed(self, present: set[str]) -> None:
        """The UIDs of all Pods there are: what is not among them is gone."""

    @abstractmethod
    def awaited(self, slot: Slot) -> str:
        """What the slot, which has no Pod, waits for: in the words of who could not create it, if it was tried."""

    @abstractmethod
    def nothing_to_come(self, slot: Slot) -> str:
        """Why no Pod is to come in this slot, which has none now; "" where one is."""

    @abstractmethod
    def refused(self, event: Event) -> list[Unit]:
        """A controller could not create a Pod, or a child. Returns where that is, nothing where it is not of this
        workload."""

    def refusal(self, slot: Slot) -> str:  # noqa: ARG002
        """Why what the slot waits for could not be created when it was tried last, "" where nothing tells."""
        return ""

    def see_workload(self, workload: Workload) -> list[Unit]:  # noqa: ARG002
        """The workload changed. Returns where it wants another number of Pods than before, as far as no child tells."""
        return []

    @property
    def successor(self) -> str:
        """What follows upon a Pod that failed, in words."""
        return "another is made in its place"

    def unit_of(self, child: Any) -> Unit | None:  # noqa: ARG002
        """Where the Job stands, None for what is no Job."""
        return None

    def job_at(self, unit: Unit) -> Job | None:  # noqa: ARG002
        return None

    def has_all(self, unit: Unit) -> bool:  # noqa: ARG002
        """Whether the Job there has as many active Pods as it wants."""
        return False

    def completed(self, slot: Slot) -> bool:  # noqa: ARG002
        """Whether the slot's index, or its whole Job, is complete."""
        return False

    def lost(self, slot: Slot) -> str:  # noqa: ARG002
        """Why the slot's index has failed for good, "" where it has not."""
        return ""

    def news(self, unit: Unit, now: float) -> bool:  # noqa: ARG002
        """Whether the Job there says something about its slots that it did not say when last asked; counts of active
        and Ready Pods, which change with every Pod, are none."""
        return False

    def failed_since(self, time: float) -> list[Unit]:  # noqa: ARG002
        """Where Jobs failed at this time, in seconds since the epoch, or before, and are still there."""
        return []

    def failure(self, unit: Unit) -> str:  # noqa: ARG002
        """Why the whole Job there has failed, "" where it has not, or its Pods are still being taken away
        (FailureTarget)."""
        return ""
