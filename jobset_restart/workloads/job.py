"""Job: Pods run by one Job that nothing stands above (batch/v1). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobset_restart.creation import POD_REFUSED
from jobset_restart.objects import ClaimedJob, Job, LabelSelector, Pod, PodSpec, WorkloadMeta
from jobset_restart.places import finished_with, indexed
from jobset_restart.slots import Unit
from jobset_restart.suspension import queue_triggers
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.kinds import JOB, WorkloadKind
from jobset_restart.workloads.of_jobs import filled, refuse_too_many, running
from jobset_restart.workloads.workload import Ending, Filling, Several, Single, Sources, Workload

CONTROLLER = "kubernetes.io/job-controller"

_ENDINGS = {"Failed": "Failed", "Complete": "Completed", "FailureTarget": "Failed", "SuccessCriteriaMet": "Completed"}
"""The conditions after which a Job makes no Pod any more. FailureTarget and SuccessCriteriaMet come first, Failed and
Complete when its last Pod has ended: with a Pod on a dead machine, never (Job API, JobConditionType; KEP-3998)."""


def sources(found: ClaimedJob) -> Sources:
    """Where the Job is read from: its Pods by its own selector, as the Job controller finds them."""
    meta, selector = found.metadata, found.spec.selector or LabelSelector({JOB.label: found.metadata.name})
    return Sources(
        itself=Single(JOB.collection(meta.namespace), meta.name, ClaimedJob),
        pods=Several(f"/api/v1/namespaces/{meta.namespace}/pods", Pod, selector.text()),
        pod_refused=POD_REFUSED,
    )


@dataclass(frozen=True)
class JobWorkload(Workload):
    """A Job as it was read. Its slots are NAME/INDEX: the completion index, or a seat where the Job is NonIndexed."""

    object: ClaimedJob

    @property
    def job(self) -> Job:
        return self.object

    @property
    def kind(self) -> WorkloadKind:
        return JOB

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def sources(self) -> Sources:
        return sources(self.object)

    def renewed(self, newer: ClaimedJob) -> JobWorkload:
        return JobWorkload(newer)

    @property
    def suspended(self) -> bool:
        return self.object.spec.suspend

    @property
    def managed_by(self) -> str:
        manager = self.object.spec.managed_by
        return "" if manager == CONTROLLER else manager

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("image", "signal", "force", "suspend", "pods", *queue_triggers(self.metadata))

    def over(self) -> Ending | None:
        for kind, state in _ENDINGS.items():
            found = finished_with(self.object, kind)
            if found:
                return Ending("Failed" if state == "Failed" else "Completed", found.reason, found.message)
        return None

    def owns(self, job: Job) -> bool:
        return job.metadata.uid == self.metadata.uid

    def unit_of(self, job: Job) -> Unit:  # noqa: ARG002
        return self.name, ()

    def has_index(self, index: int) -> bool:
        completions = self.object.spec.completions or 0
        return indexed(self.object) and index < completions

    def fill(self, children: Sequence[Any], pods: Iterable[Pod]) -> Filling:  # noqa: ARG002
        refuse_too_many(self, running([self.object]))
        return filled(self, [self.object], pods, ())

    @property
    def groups(self) -> dict[str, PodSpec]:
        return {self.name: self.object.spec.template.spec}
