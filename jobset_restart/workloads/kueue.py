"""What Kueue knows of a workload in one of its queues: its own Workload object (kueue.x-k8s.io). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jobset_restart.objects import KueueWorkload, seconds
from jobset_restart.owners import controller
from jobset_restart.pods import condition
from jobset_restart.workloads.workload import Workload

GROUP = "kueue.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
"""Newest first: v1beta2 is served since Kueue 0.15, v1beta1 before, with the same fields as far as they are used."""
JOB_UID = "kueue.x-k8s.io/job-uid"
"""The label of a Workload that holds the UID of what it is for (Kueue, constants.JobUIDLabel)."""


class Admission(Struct, frozen=True):
    """Kueue's Workload of the one that is restarted, and its API path."""

    path: str
    object: KueueWorkload

    @property
    def title(self) -> str:
        """ "Workload jobset-train-969ee": how sentences speak of it."""
        return f"Workload {self.object.metadata.name}"

    @property
    def uid(self) -> str:
        return self.object.metadata.uid

    @property
    def active(self) -> bool:
        """Whether it may be admitted (spec.active)."""
        return self.object.spec.active

    @property
    def watches_pods(self) -> bool:
        """Whether Kueue watches if all Pods are Ready (waitForPodsReady): only then the condition is written."""
        return any(each.type == "PodsReady" for each in self.object.status.conditions)


def collection(version: str, namespace: str) -> str:
    """The API path of the Workloads of a namespace."""
    return f"/apis/{GROUP}/{version}/namespaces/{namespace}/workloads"


def admission_of(workload: Workload, found: Iterable[KueueWorkload], path: str) -> Admission | None:
    """The one of these Workloads that stands for the workload: by its controller reference and UID. Of several, which
    a workload that was scaled may have for a while, the newest that is not finished. `path` is their collection's."""
    mine = [each for each in found if (owner := controller(each.metadata)) and owner.uid == workload.metadata.uid]
    mine.sort(
        key=lambda each: (not condition(each.status.conditions, "Finished"), seconds(each.metadata.creation_timestamp))
    )
    return Admission(f"{path}/{mine[-1].metadata.name}", mine[-1]) if mine else None
