"""What is sent in which order, and how long that should take. Pure.

Image, signal, jobs and pods touch each slot by itself, so they can keep the order in which the JobSet starts its
ReplicatedJobs, and send one slot ahead where it is not sure that it would come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct

from jobset_restart.findings import Case
from jobset_restart.findings.budgets import longest_back_off
from jobset_restart.findings.canary import canaries
from jobset_restart.findings.crashing import min_ready_seconds
from jobset_restart.order import Step, is_ordered, steps
from jobset_restart.rules import replaces_only_failed
from jobset_restart.slots import Slot
from jobset_restart.snapshot import SlotState, job_complete
from jobset_restart.triggers import jobs, native, pods, release, suspend
from jobset_restart.triggers.image import Form, Forms, image
from jobset_restart.triggers.signal import Means, signal
from jobset_restart.writes import Action

PATCHES_PER_SECOND = 380.0
RECREATE_SECONDS_PER_POD = 130.0 / 5000
NATIVE_SECONDS_PER_POD = 10.0 / 5000


class Stage(Struct, kw_only=True):
    """Actions that may be sent at once, and the slots they are for.

    `after` is what must have happened before: nothing, every Pod in scope has stopped, or every slot that was
    triggered is back; then the ReplicatedJobs named in `complete` have to be complete as well. `why` tells in words
    which part of the restart this is. `canary` marks slots that go ahead of others. `otherwise` are the actions to
    take instead where a container runtime turns out to refuse a tag beside a digest.
    """

    name: str
    actions: list[Action]
    slots: tuple[Slot, ...] = ()
    after: Literal["", "stopped", "ready"] = ""
    complete: tuple[str, ...] = ()
    why: str = ""
    canary: bool = False
    otherwise: list[Action] = []


Make = Callable[[list[SlotState]], list[Action]]


def stages(case: Case, operation: str) -> list[Stage]:
    """The actions of the case, in the order they have to be sent."""
    jobset = case.snapshot.jobset
    freed = Stage(name="release", actions=[*release(case.lost)], slots=_slots(case.lost))
    match case.trigger:
        case "native":
            trigger: list[Action] = [native(jobset)] if case.scope else []
            return _filled([Stage(name="trigger", actions=trigger, slots=_slots(case.scope)), freed])
        case "image":
            return _released(case, _by_image(case, operation), freed)
        case "signal":
            return _released(case, _in_steps(case, "trigger", lambda some: _signals(case, some)), freed)
        case "suspend":
            stuck = [s for s in case.lost if s.job and replaces_only_failed(s.job)]
            return _filled(
                [
                    Stage(name="suspend", actions=[suspend(jobset, True)]),
                    Stage(name="release", actions=[*release(stuck)]),
                    Stage(name="resume", actions=[suspend(jobset, False)], after="stopped"),
                ]
            )
        case "jobs":
            return _released(case, _in_steps(case, "delete", lambda some: _deleted_jobs(case, some)), freed)
        case "pods":
            return _released(case, _in_steps(case, "delete", lambda some: [*pods(some)]), freed)


def _released(case: Case, wanted: list[Stage], freed: Stage) -> list[Stage]:
    """With the slots on machines declared down freed at the end; at the beginning where there is an order, for the
    later steps may need what runs there."""
    return _filled([freed, *wanted] if len(in_steps(case)) > 1 else [*wanted, freed])


def _by_image(case: Case, operation: str) -> list[Stage]:
    forms = Forms(case.snapshot.slots.values())

    def bare(state: SlotState) -> Form:
        return "tagged" if forms.known(state) else "plain"

    def otherwise(some: list[SlotState]) -> list[Action]:
        unsure = any(forms.known(state) is None for state in some)
        return [*image(some, case.containers, operation, bare)] if unsure else []

    def patches(some: list[SlotState]) -> list[Action]:
        return [*image(some, case.containers, operation, forms.of)]

    return _in_steps(case, "trigger", patches, otherwise, careful=forms.refused)


def _deleted_jobs(case: Case, some: list[SlotState]) -> list[Action]:
    meant = {state.slot for state in some}
    touched = (job for job, states in case.touched_jobs() if any(s.slot in meant for s in states))
    return [*jobs(job for job in touched if not job_complete(job))]


def _signals(case: Case, some: list[SlotState]) -> list[Action]:
    chosen: dict[tuple[str, str], Means] = {}
    for state, _, container in case.targets():
        by = case.means_for(state, container)
        if by is not None:
            chosen[state.slot.group, container.name] = by
    return [*signal(some, case.containers, chosen)]


def in_steps(case: Case) -> list[Step]:
    """The ReplicatedJobs of the case in the order that the restart keeps."""
    return steps(case.snapshot.jobset, {s.slot.group for s in (*case.scope, *_also(case))})


def _also(case: Case) -> list[SlotState]:
    return case.lost if case.trigger == "jobs" else []


def _in_steps(
    case: Case, name: str, make: Make, otherwise: Make = lambda _: [], *, careful: bool = False
) -> list[Stage]:
    """One stage for each step, and before it one for each of its canaries. Where there is an order or a canary, or
    where to be `careful`, each waits for all that was triggered before it, by another client as well."""
    wanted, first = in_steps(case), {s.slot for s in canaries(case)}
    order = len(wanted) > 1
    waits = bool(first) or careful or is_ordered(case.snapshot.jobset)
    found = []
    for number, step in enumerate(wanted, 1):
        mine = [s for s in (*case.scope, *_also(case)) if s.slot.group in step.replicated_jobs]
        ahead = [[s for s in mine if s.slot in first]] if case.canary else [[s] for s in mine if s.slot in first]
        rest = [s for s in mine if s.slot not in first]
        told = f"step {number} of {len(wanted)}: {step}" if order else ""
        for part, canary in (*((part, True) for part in ahead if part), (rest, False)):
            why = f"{', '.join(str(s.slot) for s in part[:3])} first" if canary else told
            found.append(
                Stage(
                    name=name,
                    actions=make(part),
                    slots=_slots(part),
                    after="ready" if waits else "",
                    complete=step.complete,
                    why=", ".join(filter(None, (told, why))) if canary else why,
                    canary=canary,
                    otherwise=otherwise(part),
                )
            )
    return found


def _slots(states: Iterable[SlotState]) -> tuple[Slot, ...]:
    return tuple(state.slot for state in states)


def _filled(wanted: list[Stage]) -> list[Stage]:
    return [stage for stage in wanted if stage.actions]


def number_of_actions(case: Case, operation: str) -> int:
    """How many actions `stages` makes. Of a signal there will be one for each container, once it is known which."""
    unprobed = case.trigger == "signal" and case.evidence.probes is None
    found = sum(len(stage.actions) for stage in stages(case, operation))
    return found + (sum(1 for _ in case.targets()) if unprobed else 0)


# ---------------------------------------------------------------- how long it takes


def turns(case: Case) -> int:
    """How many times the restart waits for slots to be back, the last time included."""
    return len(in_steps(case)) + len(canaries(case)) if case.trigger not in ("native", "suspend") else 1


def predicted(case: Case) -> float:
    """Seconds the restart should take when containers stop as soon as they are told to.

    Rates: PATCHes per second of a real API server (355-400/s); the JobSet prototype's published 130 s to recreate and
    10 s to restart in place 5,000 nodes; 2.8 s (native), 0.5 s (image) and 5.4 s (suspend) for four Pods. Steps and
    canaries take that each, and so does the time for which a slot has to stay Ready. Where Pods are deleted, their
    Jobs' back-off is waited for.
    """
    return _until_ready(case) + turns(case) * min_ready_seconds(case)


def _until_ready(case: Case) -> float:
    number = len(case.scope) + len(case.lost)
    waits = longest_back_off(case)
    match case.trigger:
        case "native":
            return 2.8 + number * NATIVE_SECONDS_PER_POD + waits
        case "image":
            return 0.5 * turns(case) + number / PATCHES_PER_SECOND + waits
        case "signal":
            return 1.0 * turns(case) + number / PATCHES_PER_SECOND + waits
        case "suspend" | "jobs":
            return 5.4 * turns(case) + number * RECREATE_SECONDS_PER_POD
        case "pods":
            return (waits + 1.5) * turns(case) + number * RECREATE_SECONDS_PER_POD


def predicted_most(case: Case) -> float:
    """Seconds it takes where a container does not end on TERM: its whole grace period is waited for, preStop included
    (kubelet, killContainer). native and signal give none: RestartAllContainers kills at once (KEP-5532), and who
    handles a signal has no deadline."""
    if case.trigger in ("native", "signal"):
        return predicted(case)
    longest = max((pod.spec.termination_grace_period_seconds for _, pod in case.pods()), default=0)
    return predicted(case) + longest * turns(case)
