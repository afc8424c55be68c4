"""In which order the ReplicatedJobs of a JobSet start, as its controller does it. Pure.

The controller keeps that order only when it creates or resumes Jobs (JobSet, reconcileReplicatedJobs and
resumeJobsIfNecessary); what restarts containers in place has to keep it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jobset_restart.objects import JobSet


class Step(Struct, frozen=True):
    """ReplicatedJobs that start together, once those of the steps before are Ready. `complete` names those before
    that have to be complete (dependsOn with status Complete)."""

    replicated_jobs: tuple[str, ...]
    complete: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " and ".join(self.replicated_jobs)


def is_ordered(jobset: JobSet) -> bool:
    """Whether the JobSet asks for an order: startupPolicy InOrder, or any dependsOn."""
    return _in_order(jobset) or any(r.depends_on for r in jobset.spec.replicated_jobs)


def steps(jobset: JobSet, chosen: Iterable[str]) -> list[Step]:
    """The chosen ReplicatedJobs in steps, in the JobSet's own order.

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
    wanted = set(chosen)
    found: dict[int, list[str]] = {}
    for name in (*depth, *sorted(wanted - depth.keys())):
        if name in wanted:
            found.setdefault(depth.get(name, 0), []).append(name)
    return [
        Step(tuple(names), tuple(dict.fromkeys(c for name in names for c in complete.get(name, ()))))
        for _, names in sorted(found.items())
    ]


def _in_order(jobset: JobSet) -> bool:
    policy = jobset.spec.startup_policy
    return policy is not None and policy.startup_policy_order == "InOrder"
