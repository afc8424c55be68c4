"""JobSet: ReplicatedJobs of Jobs of Pods (sigs.k8s.io/jobset, api/jobset/v1alpha2). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from jobset_restart.creation import JOB_REFUSED, POD_REFUSED, held_back
from jobset_restart.objects import Job, JobSet, Pod, PodSpec, WorkloadMeta, number
from jobset_restart.order import Step, is_ordered, steps
from jobset_restart.owners import is_child
from jobset_restart.places import at_once
from jobset_restart.pods import condition
from jobset_restart.slots import Slot, Unit
from jobset_restart.suspension import queue_triggers
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.kinds import JOB, JOBSET, JOBSET_NAME, WorkloadKind
from jobset_restart.workloads.of_jobs import filled, refuse_too_many, running
from jobset_restart.workloads.workload import Ending, Filling, Several, Single, Sources, Workload

CONTROLLER = "jobset.sigs.k8s.io/jobset-controller"
IN_PLACE_STRATEGY = "InPlaceRestart"


def is_native(jobset: JobSet | None) -> TypeGuard[JobSet]:
    """Whether the JobSet restarts in place through its own controller (spec.failurePolicy.restartStrategy)."""
    policy = jobset.spec.failure_policy if jobset else None
    return policy is not None and policy.restart_strategy == IN_PLACE_STRATEGY


def unit_of(job: Job) -> Unit:
    """Where a Job of a JobSet stands: its ReplicatedJob and its index there (label jobset.sigs.k8s.io/job-index)."""
    return job.metadata.labels.replicated_job_name, (number(job.metadata.labels.job_index) or 0,)


def sources(namespace: str, name: str) -> Sources:
    """Where the JobSet of this name is read from."""
    selector, pods = f"{JOBSET_NAME}={name}", f"/api/v1/namespaces/{namespace}/pods"
    return Sources(
        itself=Single(JOBSET.collection(namespace), name, JobSet),
        pods=Several(pods, Pod, selector),
        children=(Several(JOB.collection(namespace), Job, selector),),
        child_refused=JOB_REFUSED,
        pod_refused=POD_REFUSED,
    )


@dataclass(frozen=True)
class JobSetWorkload(Workload):
    """A JobSet as it was read."""

    object: JobSet

    @property
    def jobset(self) -> JobSet:
        return self.object

    @property
    def kind(self) -> WorkloadKind:
        return JOBSET

    @property
    def metadata(self) -> WorkloadMeta:
        return self.jobset.metadata

    @property
    def owners(self) -> str:
        return "the JobSet and its Jobs"

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.name)

    def renewed(self, newer: JobSet) -> JobSetWorkload:
        return JobSetWorkload(newer)

    @property
    def suspended(self) -> bool:
        return self.jobset.spec.suspend

    @property
    def managed_by(self) -> str:
        manager = self.jobset.spec.managed_by
        return "" if manager == CONTROLLER else manager

    @property
    def restarting(self) -> bool:
        return condition(self.jobset.status.conditions, "RestartingJobSet") is not None

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("native", "image", "signal", "force", "suspend", "jobs", "pods", *queue_triggers(self.metadata))

    def over(self) -> Ending | None:
        """A JobSet whose condition Completed or Failed is True never runs again (status.terminalState)."""
        for state in ("Failed", "Completed"):
            found = condition(self.jobset.status.conditions, state)
            if found:
                return Ending("Failed" if state == "Failed" else "Completed", found.reason, found.message)
        return None

    def replaced(self, newer: Workload) -> str:
        """A JobSet that its controller restarts makes every Pod anew (status.restarts)."""
        now = newer.jobset.status.restarts if newer.jobset else 0
        if now > self.jobset.status.restarts:
            return f"the JobSet controller restarted it ({now} restarts)"
        return ""

    @property
    def jobs_wanted(self) -> dict[str, int]:
        return {each.name: each.replicas for each in self.jobset.spec.replicated_jobs}

    def owns(self, job: Job) -> bool:
        return is_child(job, self.jobset)

    def unit_of(self, job: Job) -> Unit:
        return unit_of(job)

    def fill(self, children: Sequence[Job], pods: Iterable[Pod]) -> Filling:
        own = [job for job in children if self.owns(job)]
        there = Counter(job.metadata.labels.replicated_job_name for job in own)
        templates = ((each, at_once(each.template.spec)) for each in self.jobset.spec.replicated_jobs)
        missing = sum(max(0, each.replicas - there[each.name]) * pods_of for each, pods_of in templates)
        refuse_too_many(self, missing + running(own))
        return filled(self, children, pods, self._without_job(own))

    def _without_job(self, jobs: Iterable[Job]) -> Iterator[Slot]:
        """The slots of Jobs that are not there: what the template says will fill them."""
        there = {unit_of(job) for job in jobs}
        for each in self.jobset.spec.replicated_jobs:
            for index in range(each.replicas):
                if (each.name, (index,)) not in there:
                    for completion in range(at_once(each.template.spec)):
                        yield Slot(each.name, (index, completion))

    @property
    def groups(self) -> dict[str, PodSpec]:
        return {each.name: each.template.spec.template.spec for each in self.jobset.spec.replicated_jobs}

    @property
    def ordered(self) -> bool:
        return is_ordered(self.jobset)

    def steps(self, slots: Iterable[Slot]) -> list[Step]:
        return steps(self.jobset, slots)

    def held_back(self, group: str) -> str:
        return held_back(self.jobset, group)
