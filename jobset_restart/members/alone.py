"""Pods that belong to nothing together: each fills the slot of its own name, and none is waited for in its place.
Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobset_restart.members.members import ANOTHER, Members
from jobset_restart.objects import Event, Pod
from jobset_restart.owners import controller
from jobset_restart.slots import Slot, Unit
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.pods import slot_of


class LonePods(Members):
    def __init__(self, snapshot: Snapshot) -> None:
        self._there = {slot: state.pod for slot, state in snapshot.slots.items() if state.pod}

    def see_child(self, child: Any, *, deleted: bool = False) -> list[Pod]:  # noqa: ARG002
        return []

    def missing(self, children: Iterable[Any]) -> list[Any]:  # noqa: ARG002
        return []

    def see(self, pod: Pod, *, deleted: bool = False) -> Slot | None:  # noqa: ARG002
        return slot_of(pod)

    def listed(self, present: set[str]) -> None:
        """Nothing is kept that could be gone."""

    def lost(self, slot: Slot) -> str:
        """Whoever deleted the Pod, what was to be restarted in place is no more, whether another comes or not."""
        pod = self._there.get(slot)
        owner = controller(pod.metadata) if pod else None
        by = f"its owner {owner.kind} {owner.name} may have made another" if owner else "nothing makes another"
        return f"the Pod is gone: {by}"

    def awaited(self, slot: Slot) -> str:  # noqa: ARG002
        return ANOTHER

    def nothing_to_come(self, slot: Slot) -> str:  # noqa: ARG002
        return ""

    def refused(self, event: Event) -> list[Unit]:  # noqa: ARG002
        return []
