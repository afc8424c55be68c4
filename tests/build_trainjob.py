"""TrainJobs as the API would send them: of the JobSets of `tests.build`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.objects import JobSet, TrainJob
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.trainjob import TrainJobWorkload, train_job
from tests import build

API = "trainer.kubeflow.org/v1alpha1"
OWNER = {"apiVersion": API, "kind": "TrainJob", "name": "train", "uid": "trainjob-uid", "controller": True}


def trainjob(*, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> TrainJob:
    raw = {
        "metadata": {
            "name": "train",
            "namespace": "ns",
            "uid": "trainjob-uid",
            "resourceVersion": "11",
            "generation": 1,
            "creationTimestamp": build.TIME,
            **metadata,
        },
        "spec": {
            "runtimeRef": {"name": "plain"},
            "managedBy": "trainer.kubeflow.org/trainjob-controller",
            **(spec or {}),
        },
        "status": status or {},
    }
    return msgspec.convert(raw, TrainJob)


def over(kind: str, reason: str = "Because", message: str = "") -> dict[str, Any]:
    """A status with this condition."""
    return {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": message}]}


def jobset(**fields: Any) -> JobSet:
    """Its JobSet."""
    return build.jobset(**{**fields, "metadata": {"ownerReferences": [OWNER], **fields.get("metadata", {})}})


def workload(of: TrainJob | None = None, made_of: JobSet | None = None) -> TrainJobWorkload:
    return train_job(of or trainjob(), made_of or jobset())


def of_jobset(below: Snapshot, of: TrainJob | None = None) -> Snapshot:
    """The TrainJob whose JobSet is the one of this snapshot, with all that is in it."""
    own = build.jobset_of(below)
    owners = jobset().metadata.owner_references
    own = structs.replace(own, metadata=structs.replace(own.metadata, owner_references=owners))
    pods = [pod for state in below.slots.values() for pod in (state.pod, *state.leftovers) if pod]
    return take(workload(of, own), below.jobs, pods, below.nodes, build.NOW, resource_version="7", context="test")


def snapshot(of: TrainJob | None = None, made_of: JobSet | None = None, **parts: Any) -> Snapshot:
    """A TrainJob with all Pods of its JobSet running, unless something else is given."""
    return of_jobset(build.snapshot(made_of or jobset(), **parts), of)
