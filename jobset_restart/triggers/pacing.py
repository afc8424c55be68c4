"""How many slots a restart takes down at once, and in which order they go. Pure.

A restart that touches slots or units one by one can be paced: at most so many are under way at the same time, and the
next goes when one is back. The count is of what one write restarts: slots, or units where the trigger restarts whole
units, as the maxUnavailable of a LeaderWorkerSet counts groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jobset_restart.case import Case
from jobset_restart.slots import Slot, Unit
from jobset_restart.vocabulary import OrderName
from jobset_restart.workloads.jobset import is_native
from jobset_restart.workloads.workload import SlotState

_MOST = re.compile(r"(?P<number>[0-9]{1,9})(?P<percent>%?)")
_DIGITS = re.compile(r"([0-9]+)")


def check(most: str) -> None:
    """Raises ValueError, in words, for what says no number of slots that may be down at once: "N" or "P%"."""
    found = _MOST.fullmatch(most)
    if found is None:
        raise ValueError(f"{most!r} is neither a number nor a percentage")
    number, percent = int(found["number"]), found["percent"]
    if number == 0:
        raise ValueError(f"{most} lets nothing be restarted")
    if percent and number > 100:
        raise ValueError(f"{most} is more than all there are")


def places(case: Case) -> int:
    """How many slots or units may be under way at once, 0 where that is not limited.

    A percentage is of all that the operation restarts, rounded down, at least 1 (Deployment, ResolveFenceposts)."""
    found = _MOST.fullmatch(case.max_unavailable)
    if found is None:
        return 0
    number = int(found["number"])
    return max(1, total(case) * number // 100 if found["percent"] else number)


def at_once(case: Case) -> str:
    """Why the restart reaches all slots at once, in words; "" where they can go one by one. New Pods of a JobSet with
    restartStrategy InPlaceRestart come with another attempt, by which its controller restarts all others (JobSet,
    in_place_restart.go)."""
    if not case.trigger.paced:
        return f"{case.trigger} restarts everything with one write"
    if not case.trigger.in_place and is_native(case.snapshot.jobset):
        return "new Pods of a JobSet with restartStrategy InPlaceRestart have all others restarted"
    return ""


def together(case: Case) -> list[SlotState]:
    """The slots that are restarted by its actions. With whole units, those on machines declared down are among them;
    so are those that leave their node, in their place."""
    if case.trigger.reach == "unit":
        return [*case.scope, *case.lost]
    if not case.replaced:
        return case.scope
    place = {slot: number for number, slot in enumerate(case.snapshot.slots)}
    return sorted([*case.scope, *case.replaced], key=lambda state: place[state.slot])


def goes(case: Case) -> Callable[[Slot], Slot | Unit]:
    """What of a slot goes at once: the slot, or its unit."""
    return (lambda slot: slot.unit) if case.trigger.reach == "unit" else (lambda slot: slot)


def counted(case: Case, states: Iterable[SlotState]) -> int:
    """How many slots or units these are."""
    of = goes(case)
    return len({of(state.slot) for state in states})


def total(case: Case) -> int:
    """How many slots or units the operation restarts in all."""
    return counted(case, together(case)) if case.total is None else case.total


def in_order(case: Case, states: Sequence[SlotState]) -> Sequence[SlotState]:
    """The slots in the order in which they go; where none was asked for, as they stand in the workload. A unit goes
    with the first of its slots."""
    if not case.order:
        return states
    groups = {group: number for number, group in enumerate(case.snapshot.workload.groups)}
    rank = _ranking(case.order, groups)
    if case.trigger.reach != "unit":
        return sorted(states, key=rank)
    first: dict[Unit, Any] = {}
    for state in states:
        key = rank(state)
        first[state.slot.unit] = min(first.get(state.slot.unit, key), key)
    return sorted(states, key=lambda state: (first[state.slot.unit], state.slot))


def _ranking(order: OrderName, groups: dict[str, int]) -> Callable[[SlotState], Any]:
    def group(slot: Slot) -> tuple[int, str]:
        return groups.get(slot.group, len(groups)), slot.group

    def rank(state: SlotState) -> Any:
        slot = state.slot
        match order:
            case "replicated-job":
                return group(slot), slot.indexes
            case "job":
                return slot.indexes[:-1], group(slot), slot.indexes[-1:]
            case "index":
                return slot.indexes[-1:], group(slot), slot.indexes[:-1]
            case "node":
                return _natural(state.node_name), group(slot), slot.indexes

    return rank


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key by which node-2 comes before node-10."""
    parts = _DIGITS.split(name)
    return tuple(zip(parts[::2], [*map(int, parts[1::2]), -1], strict=True))


def words(case: Case, windows: int) -> str:
    """How it is paced, in words; "" where it is not. `windows` is how often all places are taken anew, at least."""
    most = places(case)
    if not most:
        return ""
    what = "units" if case.trigger.reach == "unit" else "slots"
    rounded = f" ({case.max_unavailable}, rounded down)" if case.max_unavailable.endswith("%") else ""
    told = (
        f"at most {min(most, total(case)):,} of {total(case):,} {what} at once{rounded}, in {windows:,} windows or more"
    )
    if case.order:
        told += f", by {case.order}"
    return f"{told}; {'goes on past those that fail' if case.keep_going else 'stops at the first that fails'}"
