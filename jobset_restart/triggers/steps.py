"""In which order slots are restarted by what touches each by itself. Pure.

Such a trigger can keep the order in which the JobSet starts its ReplicatedJobs, and send one slot ahead where it is
not sure that it would come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil

from msgspec import Struct, structs

from jobset_restart.case import Case
from jobset_restart.order import Step
from jobset_restart.pods import node_ready
from jobset_restart.slots import Slot, Unit, key_text
from jobset_restart.stages import Joined, Stage, StageName, filled
from jobset_restart.triggers.deletion import pods
from jobset_restart.triggers.nodes import freeing
from jobset_restart.triggers.pacing import counted, goes, in_order, places, together
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Action

Make = Callable[[Sequence[SlotState]], Sequence[Action]]


class Part(Struct, frozen=True):
    """Slots that may go at once as far as startup order and canaries are concerned. `canary`: they go ahead of others;
    `step` is the step they belong to, `number` which one that is."""

    step: Step
    number: int
    states: Sequence[SlotState]
    canary: bool


def in_steps(case: Case) -> list[Step]:
    """The slots of the case in the order in which the workload starts them. Where units are restarted, the order within
    one is its controller's, and a unit goes with its first slot."""
    slots = [state.slot for state in together(case)]
    if case.trigger.reach != "unit":
        return case.snapshot.workload.steps(slots)
    units: dict[Unit, list[Slot]] = {}
    for slot in sorted(slots):
        units.setdefault(slot.unit, []).append(slot)
    whole = case.snapshot.workload.steps(first for first, *_ in units.values())
    return [structs.replace(s, slots=tuple(slot for first in s.slots for slot in units[first.unit])) for s in whole]


def parts(case: Case) -> list[Part]:
    """The slots of the case step by step, and of each step those that go ahead."""
    first, found = {state.slot for state in canaries(case)}, []
    states = in_order(case, together(case))
    wanted = in_steps(case)
    of = {slot: number for number, step in enumerate(wanted) for slot in step.slots}
    by_step: list[list[SlotState]] = [[] for _ in wanted]
    for state in states:
        by_step[of[state.slot]].append(state)
    for number, (step, mine) in enumerate(zip(wanted, by_step, strict=True), 1):
        ahead = [s for s in mine if s.slot in first]
        rest = [s for s in mine if s.slot not in first]
        alone = [ahead] if case.canary else [[state] for state in ahead]
        found += [Part(step, number, part, canary=True) for part in alone if part]
        found += [Part(step, number, rest, canary=False)] if rest else []
    return found


def step_by_step(
    case: Case, name: StageName, make: Make, otherwise: Make = lambda _: (), *, careful: bool = False
) -> list[Stage]:
    """One stage for each step, and before it one for each of its canaries. Where there is an order or a canary, or
    where to be `careful`, each waits for all that was triggered before it, by another client as well. Where the restart
    is paced, each has so many places.

    Slots on machines declared down are freed at the end; at the beginning where there is an order, for the later steps
    may need what runs there. Those that leave their node go with the others of their step."""
    make, otherwise = _beside(case, make), _beside(case, otherwise)
    found = parts(case)
    steps = len(in_steps(case))
    waits = careful or case.snapshot.workload.ordered or any(part.canary for part in found)
    stages = [
        Stage(
            name=name,
            actions=make(part.states),
            slots=slots_of(part.states),
            after="ready" if waits else "",
            complete=part.step.complete,
            why=_told(case, part, steps),
            canary=part.canary,
            otherwise=otherwise(part.states),
            places=places(case),
            keep_going=case.keep_going,
        )
        for part in found
    ]
    return filled([freed(case), *stages] if steps > 1 else [*stages, freed(case)])


def _told(case: Case, part: Part, steps: int) -> str:
    """Which part of the restart this is, in words."""
    of = goes(case)
    names = list(dict.fromkeys(of(state.slot) for state in part.states))[:3] if part.canary else []
    told = ", ".join(map(key_text, names))
    return ", ".join(
        filter(
            None,
            (
                f"step {part.number} of {steps}: {part.step}" if steps > 1 else "",
                f"{told} first" if told else "",
                f"at most {places(case):,} at once" if places(case) and not part.canary else "",
            ),
        )
    )


def freed(case: Case) -> Stage:
    """The slots on machines declared down."""
    return freeing(case, case.lost)


def replacing(case: Case) -> Stage:
    """The Pods that leave their node, deleted by themselves."""
    return Stage(name="delete", actions=pods(case.replaced), slots=slots_of(case.replaced))


def _beside(case: Case, make: Make) -> Make:
    """What `make` makes, and a deletion for each slot whose Pod leaves its node. They come first, for they take
    longest. Where nothing is made of the others, nothing is of these."""
    leaving = {state.slot for state in case.replaced}
    if not leaving:
        return make

    def both(states: Sequence[SlotState]) -> Sequence[Action]:
        stay = [state for state in states if state.slot not in leaving]
        actions = make(stay)
        if stay and not actions:
            return ()
        return Joined(pods(state for state in states if state.slot in leaving), actions)

    return both


def slots_of(states: Iterable[SlotState]) -> tuple[Slot, ...]:
    return tuple(state.slot for state in states)


# ---------------------------------------------------------------- who goes first


def canaries(case: Case) -> list[SlotState]:
    """The slots to restart first, the healthy ones of the first step before others.

    With --canary N so many, or so many units where units are restarted; without it one for each of the trigger's
    `unproven` means that another one does not prove along.
    """
    if case.trigger.reach == "workload" or case.canary == 0:
        return []
    means = case.trigger.unproven(case)
    if not means and not case.canary:
        return []
    place = {slot: number for number, step in enumerate(in_steps(case)) for slot in step.slots}
    candidates = [state for state in in_order(case, together(case)) if state.pod is not None]
    if case.canary is not None:
        return _first(case, candidates, place, case.canary)
    ranked = sorted(candidates, key=lambda state: (place[state.slot], not _healthy(state)))
    chosen: list[SlotState] = []
    for states in means.values():
        slots = {state.slot for state in states}
        if not any(state.slot in slots for state in chosen):
            chosen.append(next(state for state in ranked if state.slot in slots))
    return chosen


def _first(case: Case, candidates: list[SlotState], place: dict[Slot, int], number: int) -> list[SlotState]:
    """So many slots or units of the first step with whatever belongs to them, the healthy ones before others."""
    of, lowest = goes(case), min((place[state.slot] for state in candidates), default=0)
    found: dict[Slot | Unit, list[SlotState]] = {}
    for state in candidates:
        if place[state.slot] == lowest:
            found.setdefault(of(state.slot), []).append(state)
    ranked = sorted(found, key=lambda each: not all(map(_healthy, found[each])))
    chosen = set(ranked[:number])
    return [state for state in together(case) if of(state.slot) in chosen]


def _healthy(state: SlotState) -> bool:
    return state.ready and (state.node is None or node_ready(state.node))


# ---------------------------------------------------------------- how often it waits


def waves(case: Case) -> int:
    """How many times the restart waits for slots to be back, the last time included: for each step and each canary, and
    where it is paced for each time that all places were taken anew, as if all slots took the same time."""
    if case.trigger.order != "steps":
        return 1
    most = places(case)
    return max(1, sum(ceil(counted(case, part.states) / most) if most else 1 for part in parts(case)))
