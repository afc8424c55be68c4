"""TrainJob: a training that Kubeflow's Trainer runs as a JobSet of the same name (trainer.kubeflow.org/v1alpha1). Pure.

What runs is the JobSet's. The TrainJob carries the claim, because annotations of its JobSet are lost when that is made
anew, and it is what is suspended: Trainer writes its own spec.suspend to the JobSet (Trainer v2, runtime framework,
JobSet plugin).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobset_restart.creation import JOB_REFUSED, TRAINER_REFUSED
from jobset_restart.objects import Job, JobSet, Pod, PodSpec, TrainJob, WorkloadMeta
from jobset_restart.order import Step
from jobset_restart.owners import manages
from jobset_restart.pods import condition
from jobset_restart.slots import Slot, Unit
from jobset_restart.suspension import queue_triggers
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads import jobset as jobsets
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.workloads.kinds import TRAIN_JOB, WorkloadKind
from jobset_restart.workloads.of_jobs import filled
from jobset_restart.workloads.workload import Ending, Filling, Single, Sources, Workload

CONTROLLER = "trainer.kubeflow.org/trainjob-controller"


def sources(namespace: str, name: str) -> Sources:
    """Where the TrainJob of this name is read from: beside itself from all that its JobSet is."""
    below = jobsets.sources(namespace, name)
    return Sources(
        itself=Single(TRAIN_JOB.collection(namespace), name, TrainJob),
        parts=(below.itself,),
        pods=below.pods,
        children=below.children,
        child_refused=JOB_REFUSED,
        pod_refused=below.pod_refused,
        part_refused=TRAINER_REFUSED,
    )


def train_job(found: TrainJob, namesake: JobSet | None) -> TrainJobWorkload:
    """The TrainJob with the JobSet of its name, which is its own only where its controller reference says so."""
    own = namesake is not None and manages(namesake.metadata, TRAIN_JOB.kind, TRAIN_JOB.group, found.metadata.uid)
    return TrainJobWorkload(found, namesake if own else None)


@dataclass(frozen=True)
class TrainJobWorkload(Workload):
    """A TrainJob as it was read. `made_of` is its JobSet, None while it has none: Trainer has not made it yet, or
    cannot, or it was deleted."""

    object: TrainJob
    made_of: JobSet | None

    @property
    def jobset(self) -> JobSet | None:
        return self.made_of

    @property
    def owners(self) -> str:
        return "the TrainJob, its JobSet and its Jobs"

    @property
    def parts(self) -> tuple[JobSetWorkload, ...]:
        return (JobSetWorkload(self.made_of),) if self.made_of else ()

    @property
    def kind(self) -> WorkloadKind:
        return TRAIN_JOB

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.name)

    def renewed(self, newer: TrainJob | JobSet) -> TrainJobWorkload:
        return train_job(self.object, newer) if isinstance(newer, JobSet) else replace(self, object=newer)

    def without(self, part: Single) -> TrainJobWorkload:  # noqa: ARG002
        return replace(self, made_of=None)

    def version(self, single: Single) -> str:
        if single.type is not JobSet:
            return self.metadata.resource_version
        return self.made_of.metadata.resource_version if self.made_of else ""

    @property
    def lacking(self) -> str:
        return "" if self.made_of else f"JobSet {self.name}"

    @property
    def unheeding(self) -> str:
        waits = self.suspended and self.made_of is not None and not self.made_of.spec.suspend
        return f"JobSet {self.name}" if waits else ""

    @property
    def parent_uid(self) -> str:
        return self.made_of.metadata.uid if self.made_of else self.metadata.uid

    # ------------------------------------------------------------ what it does

    @property
    def suspended(self) -> bool:
        return bool(self.object.spec.suspend)

    @property
    def managed_by(self) -> str:
        manager = self.object.spec.managed_by or ""
        return next(filter(None, ("" if manager == CONTROLLER else manager, *(p.managed_by for p in self.parts))), "")

    @property
    def restarting(self) -> bool:
        return any(part.restarting for part in self.parts)

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("native", "image", "signal", "force", "suspend", "jobs", "pods", *queue_triggers(self.metadata))

    def over(self) -> Ending | None:
        """Condition Complete or Failed of the TrainJob; or of its JobSet, from which Trainer takes them a moment later
        (Trainer v2, JobSet plugin, Status). One that is Failed is reconciled all the same, unless its deadline has
        passed, so it runs again when its JobSet is gone (trainjob_controller.go, removeFailedCondition)."""
        found = condition(self.object.status.conditions, "Failed")
        if found:
            again = self.made_of is not None and found.reason != "DeadlineExceeded"
            delete = f"`kubectl delete jobset {self.name} -n {self.namespace}`"
            how = (
                f"delete its JobSet with {delete}: Trainer makes it anew, and the TrainJob runs again" if again else ""
            )
            return Ending("Failed", found.reason, found.message, how)
        found = condition(self.object.status.conditions, "Complete")
        if found:
            return Ending("Completed", found.reason, found.message)
        return next(filter(None, (part.over() for part in self.parts)), None)

    def replaced(self, newer: Workload) -> str:
        """All Pods are made anew with the JobSet, and whenever the JobSet controller restarts it."""
        if self.made_of is None:
            return ""
        now = newer.jobset
        if now is None:
            return "its JobSet was deleted"
        if now.metadata.uid != self.made_of.metadata.uid:
            return "its JobSet was made anew"
        if now.metadata.deletion_timestamp and not self.made_of.metadata.deletion_timestamp:
            return "its JobSet is being deleted"
        return JobSetWorkload(self.made_of).replaced(JobSetWorkload(now))

    # ------------------------------------------------------------ its Pods

    @property
    def jobs_wanted(self) -> dict[str, int]:
        return {name: number for part in self.parts for name, number in part.jobs_wanted.items()}

    def owns(self, job: Job) -> bool:
        return any(part.owns(job) for part in self.parts)

    def unit_of(self, job: Job) -> Unit:
        return jobsets.unit_of(job)

    def fill(self, children: Sequence[Any], pods: Iterable[Pod]) -> Filling:
        for part in self.parts:
            return part.fill(children, pods)
        return filled(self, children, pods, ())

    @property
    def groups(self) -> dict[str, PodSpec]:
        return {name: spec for part in self.parts for name, spec in part.groups.items()}

    # ------------------------------------------------------------ its order

    @property
    def ordered(self) -> bool:
        return any(part.ordered for part in self.parts)

    def steps(self, slots: Iterable[Slot]) -> list[Step]:
        return self.parts[0].steps(slots) if self.parts else super().steps(slots)

    def held_back(self, group: str) -> str:
        return next((part.held_back(group) for part in self.parts), "")
