"""The slots of a workload whose Pods are run by Jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobset_restart.errors import TooLarge
from jobset_restart.objects import Job, Pod
from jobset_restart.owners import by_job
from jobset_restart.places import Place, at_once, ended, places
from jobset_restart.slots import Slot
from jobset_restart.workloads.workload import MOST_SLOTS, Filling, SlotState, Workload


def filled(workload: Workload, jobs: Sequence[Job], pods: Iterable[Pod], missing: Iterable[Slot]) -> Filling:
    """The slots of the workload. `missing` are those whose Jobs are not there. A Job is the workload's, and a Pod a
    Job's, only by its controller reference: what merely carries their labels is named as a stranger and left out."""
    own = [job for job in jobs if workload.owns(job)]
    pods_of = by_job(pods)
    slots: dict[Slot, SlotState] = {}
    over: dict[str, list[Pod]] = {}
    for job in own:
        mine = pods_of.pop(job.metadata.uid, [])
        states = [_state(workload, job, place) for place in places(job, mine)]
        slots |= {state.slot: state for state in states}
        over[job.metadata.uid] = [pod for pod in mine if ended(pod)]
    slots |= {slot: SlotState(slot) for slot in missing}
    position = {group: number for number, group in enumerate(workload.groups)}
    in_order = sorted(slots, key=lambda slot: (position.get(slot.group, len(position)), slot.indexes))
    return Filling(
        slots={slot: slots[slot] for slot in in_order},
        jobs=own,
        ended=over,
        strangers=[
            *(f"Job {job.metadata.name}" for job in jobs if not workload.owns(job)),
            *(f"Pod {pod.metadata.name}" for others in pods_of.values() for pod in others),
        ],
    )


def _state(workload: Workload, job: Job, place: Place) -> SlotState:
    group, indexes = workload.unit_of(job)
    first = place.pods[0] if place.pods else None
    leftovers = [pod for pod in place.pods[1:] if not ended(pod)]
    slot = Slot(group, (*indexes, place.index))
    return SlotState(slot, job, first, leftovers=leftovers, completed=place.completed, surplus=place.surplus)


def refuse_too_many(workload: Workload, asked: int) -> None:
    """Raises TooLarge where `asked` Pods at once are more than there can be."""
    if asked > MOST_SLOTS:
        raise TooLarge(
            f"{workload.title} asks for {asked:,} Pods at once, more than jsr handles ({MOST_SLOTS:,})",
            f"check replicas and parallelism of the {workload.kind.kind} and of its Jobs",
        )


def running(jobs: Iterable[Job]) -> int:
    """How many Pods these Jobs run at once."""
    return sum(at_once(job.spec) for job in jobs)
