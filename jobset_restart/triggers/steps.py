"""In which order slots are restarted by what touches each by itself, and how long that should take. Pure.

Such a trigger can keep the order in which the JobSet starts its ReplicatedJobs, and send one slot ahead where it is
not sure that it would come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jobset_restart.case import Case
from jobset_restart.order import Step
from jobset_restart.pods import node_ready
from jobset_restart.slots import Slot
from jobset_restart.stages import Stage, StageName, filled
from jobset_restart.triggers.release import release
from jobset_restart.waits import longest_back_off, min_ready_seconds
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Action

REQUESTS_PER_SECOND = 380.0
"""PATCHes of a real API server (355 to 400)."""
RECREATE_SECONDS_PER_POD = 130.0 / 5000
"""Published by the JobSet prototype: 130 s to recreate, 10 s to restart in place 5,000 nodes."""
NATIVE_SECONDS_PER_POD = 10.0 / 5000

Make = Callable[[list[SlotState]], Sequence[Action]]


def in_steps(case: Case) -> list[Step]:
    """The ReplicatedJobs of the case in the order that the restart keeps."""
    return case.snapshot.workload.steps({s.slot.group for s in _together(case)})


def _together(case: Case) -> list[SlotState]:
    """The slots that are restarted by its actions. With whole Jobs, those on machines declared down are among them."""
    return [*case.scope, *case.lost] if case.trigger.reach == "unit" else case.scope


def step_by_step(
    case: Case, name: StageName, make: Make, otherwise: Make = lambda _: (), *, careful: bool = False
) -> list[Stage]:
    """One stage for each step, and before it one for each of its canaries. Where there is an order or a canary, or
    where to be `careful`, each waits for all that was triggered before it, by another client as well.

    Slots on machines declared down are freed at the end; at the beginning where there is an order, for the later steps
    may need what runs there."""
    wanted, first = in_steps(case), {s.slot for s in canaries(case)}
    order = len(wanted) > 1
    waits = bool(first) or careful or case.snapshot.workload.ordered
    found = []
    for number, step in enumerate(wanted, 1):
        groups = set(step.replicated_jobs)
        mine = [s for s in _together(case) if s.slot.group in groups]
        ahead = [[s for s in mine if s.slot in first]] if case.canary else [[s] for s in mine if s.slot in first]
        rest = [s for s in mine if s.slot not in first]
        told = f"step {number} of {len(wanted)}: {step}" if order else ""
        for part, canary in (*((part, True) for part in ahead if part), (rest, False)):
            why = f"{', '.join(str(s.slot) for s in part[:3])} first" if canary else told
            found.append(
                Stage(
                    name=name,
                    actions=make(part),
                    slots=slots_of(part),
                    after="ready" if waits else "",
                    complete=step.complete,
                    why=", ".join(filter(None, (told, why))) if canary else why,
                    canary=canary,
                    otherwise=otherwise(part),
                )
            )
    return filled([freed(case), *found] if order else [*found, freed(case)])


def freed(case: Case) -> Stage:
    """The slots on machines declared down."""
    return Stage(name="release", actions=release(case.lost), slots=slots_of(case.lost))


def slots_of(states: Iterable[SlotState]) -> tuple[Slot, ...]:
    return tuple(state.slot for state in states)


# ---------------------------------------------------------------- who goes first


def canaries(case: Case) -> list[SlotState]:
    """The slots to restart first, the healthy ones of the first step before others.

    With --canary N so many; without it one for each of the trigger's `unproven` means that another one does not prove
    along.
    """
    if case.trigger.reach != "pod" or case.canary == 0:
        return []
    means = case.trigger.unproven(case)
    if not means and not case.canary:
        return []
    names = {state.slot.group for state in case.scope}
    place = {name: n for n, s in enumerate(case.snapshot.workload.steps(names)) for name in s.replicated_jobs}
    ranked = sorted((state for state, _ in case.pods()), key=lambda s: (place[s.slot.group], not _healthy(s)))
    if case.canary is not None:
        first = [state for state in ranked if state.slot.group in _first(ranked, place)]
        return first[: case.canary]
    chosen: list[SlotState] = []
    for states in means.values():
        slots = {state.slot for state in states}
        if not any(state.slot in slots for state in chosen):
            chosen.append(next(state for state in ranked if state.slot in slots))
    return chosen


def _first(ranked: list[SlotState], place: dict[str, int]) -> set[str]:
    lowest = min((place[s.slot.group] for s in ranked), default=0)
    return {name for name, at in place.items() if at == lowest}


def _healthy(state: SlotState) -> bool:
    return state.ready and (state.node is None or node_ready(state.node))


# ---------------------------------------------------------------- how long it takes


def turns(case: Case) -> int:
    """How many times the restart waits for slots to be back, the last time included."""
    return len(in_steps(case)) + len(canaries(case)) if case.trigger.order == "steps" else 1


def predicted(case: Case) -> float:
    """Seconds the restart should take when containers stop as soon as they are told to. Steps and canaries take that
    each, and so does the time for which a slot has to stay Ready. Where Pods are deleted, their Jobs' back-off is
    waited for."""
    times = turns(case)
    return case.trigger.until_ready(case, times, longest_back_off(case)) + times * min_ready_seconds(case)


def predicted_most(case: Case) -> float:
    """Seconds it takes where a container does not end on TERM: its whole grace period is waited for, preStop included
    (kubelet, killContainer)."""
    if not case.trigger.gives_grace:
        return predicted(case)
    longest = max((pod.spec.termination_grace_period_seconds for _, pod in case.pods()), default=0)
    return predicted(case) + longest * turns(case)
