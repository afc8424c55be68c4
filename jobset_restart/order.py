"""In which order the slots of a workload start: in steps; for a JobSet, as its controller does it. Pure.

The JobSet controller keeps the order of its ReplicatedJobs only when it creates or resumes Jobs (JobSet,
reconcileReplicatedJobs and resumeJobsIfNecessary); what restarts containers in place has to keep it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from jobset_restart.objects import JobSet
from jobset_restart.slots import Slot


class Step(Struct, frozen=True):
    """Slots that start together, once those of the steps before are Ready. `names` says which: groups, or the roles of
    Pods in one. `complete` names the groups before that have to be complete (dependsOn with status Complete)."""

    names: tuple[str, ...]
    slots: tuple[Slot, ...]
    complete: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " and ".join(self.names)


def in_roles(slots: Iterable[Slot], role: Callable[[Slot], tuple[int, str]]) -> list[Step]:
    """The slots in the order of their roles: for each slot the number of its step, and what its role is called."""
    found: dict[int, tuple[dict[str, None], list[Slot]]] = {}
    for slot in slots:
        number, name = role(slot)
        names, mine = found.setdefault(number, ({}, []))
        names[name] = None
        mine.append(slot)
    return [Step(tuple(names), tuple(mine)) for _, (names, mine) in sorted(found.items())]


def is_ordered(jobset: JobSet) -> bool:
    """Whether the JobSet asks for an order: startupPolicy InOrder, or any dependsOn."""
    return _in_order(jobset) or any(r.depends_on for r in jobset.spec.replicated_jobs)


def steps(jobset: JobSet, chosen: Iterable[Slot]) -> list[Step]:
    """The chosen slots in steps, by their ReplicatedJobs in the JobSet's own order.

    With startupPolicy InOrder each is a step of its own. With dependsOn a step is as deep as its longest chain of
    dependencies, so that two that depend on the same one go together; an entry counts only for a ReplicatedJob listed
    before, as the API demands. Without either there is one step.
    """
    depth: dict[str, int] = {}
    complete: dict[str, tuple[str, ...]] = {}
    for position, replicated_job in enumerate(jobset.spec.replicated_jobs):
        before = [each for each in replicated_job.depends_on if each.name in depth]
        complete[replicated_job.name] = tuple(each.name for each in before if each.status == "Complete")
        depth[replicated_job.name] = (
            position if _in_order(jobset) else max((depth[each.name] + 1 for each in before), default=0)
        )
    wanted: dict[str, list[Slot]] = {}
    for slot in chosen:
        wanted.setdefault(slot.group, []).append(slot)
    found: dict[int, list[str]] = {}
    for name in (*depth, *sorted(wanted.keys() - depth.keys())):
        if name in wanted:
            found.setdefault(depth.get(name, 0), []).append(name)
    return [
        Step(
            tuple(names),
            tuple(slot for name in names for slot in wanted[name]),
            tuple(dict.fromkeys(c for name in names for c in complete.get(name, ()))),
        )
        for _, names in sorted(found.items())
    ]


def _in_order(jobset: JobSet) -> bool:
    policy = jobset.spec.startup_policy
    return policy is not None and policy.startup_policy_order == "InOrder"
