"""Who belongs to whom: by controller references and UIDs, never by labels, which anybody who may create a Pod writes.

The controllers themselves go by these references (client-go, metav1.GetControllerOf; JobSet, getChildJobs). Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from jobset_restart.objects import Job, JobSet, ObjectMeta, OwnerReference, Pod


def controller(meta: ObjectMeta) -> OwnerReference | None:
    """The one owner that manages the object: its reference with `controller: true`."""
    return next((owner for owner in meta.owner_references if owner.controller), None)


def job_uid(pod: Pod) -> str:
    """The UID of the Job that manages the Pod, "" where no Job does."""
    owner = controller(pod.metadata)
    return owner.uid if owner and owner.kind == "Job" and owner.api_version == "batch/v1" else ""


def manages(meta: ObjectMeta, kind: str, group: str, uid: str) -> bool:
    """Whether the object is managed by this very one, of this kind and group: another of its name has another UID."""
    owner = controller(meta)
    return owner is not None and (owner.kind, group_of(owner), owner.uid) == (kind, group, uid)


def group_of(owner: OwnerReference) -> str:
    """The API group of the owner, "" for the core group: its version may be another one than we read."""
    return owner.api_version.rpartition("/")[0]


def is_child(job: Job, jobset: JobSet) -> bool:
    """Whether this very JobSet manages the Job."""
    return manages(job.metadata, "JobSet", "jobset.x-k8s.io", jobset.metadata.uid)


def by_job(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """The Pods by the UID of the Job that manages them, "" for those that no Job manages."""
    found: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        found[job_uid(pod)].append(pod)
    return found
