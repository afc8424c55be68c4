"""The kinds of workload that can be restarted: where each is read from and what is made of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from jobset_restart.objects import ClaimedJob, JobSet, TrainJob
from jobset_restart.workloads import job, jobset, leaderworkerset, pods, ray, trainjob, volcano
from jobset_restart.workloads.kinds import (
    JOB,
    JOBSET,
    LEADER_WORKER_SET,
    POD,
    RAY_CLUSTER,
    RAY_JOB,
    TRAIN_JOB,
    VOLCANO_JOB,
    WorkloadKind,
)
from jobset_restart.workloads.workload import Sources, Workload


class Reader(Struct, frozen=True):
    """How a kind is read. `type` is the Struct of the object that carries the claim. `sources` takes namespace, name
    and that object, or None before it was read, and answers None where it has to be read first. `workload` makes the
    workload of that object and its parts, in the order of the sources, each None where it is not there. `answers` takes
    the object and tells why its controller answers a restarted container by making Pods anew, "" where it does not
    (Workload.answers_restarts); None for a kind that never does."""

    kind: WorkloadKind
    type: type[Any]
    sources: Callable[[str, str, Any], Sources | None]
    workload: Callable[[Any, Sequence[Any]], Workload]
    answers: Callable[[Any], str] | None = None


READERS: dict[str, Reader] = {
    reader.kind.resource: reader
    for reader in (
        Reader(
            JOBSET,
            JobSet,
            lambda namespace, name, _: jobset.sources(namespace, name),
            lambda found, _: jobset.JobSetWorkload(found),
        ),
        Reader(
            JOB,
            ClaimedJob,
            lambda namespace, name, found: job.sources(found) if found else None,  # noqa: ARG005
            lambda found, _: job.JobWorkload(found),
        ),
        Reader(
            LEADER_WORKER_SET,
            leaderworkerset.LeaderWorkerSet,
            lambda namespace, name, _: leaderworkerset.sources(namespace, name),
            lambda found, _: leaderworkerset.LeaderWorkerSetWorkload(found),
            lambda found: leaderworkerset.LeaderWorkerSetWorkload(found).answers_restarts,
        ),
        Reader(
            POD,
            pods.Lease,
            lambda namespace, labels, _: pods.sources(namespace, labels),
            lambda found, _: pods.workload(found),
        ),
        Reader(
            RAY_CLUSTER,
            ray.RayCluster,
            lambda namespace, name, _: ray.sources(namespace, name),
            lambda found, _: ray.RayClusterWorkload(found),
        ),
        Reader(
            RAY_JOB,
            ray.RayJob,
            ray.sources_of_job,
            lambda found, parts: ray.RayJobWorkload(found, parts[0] if parts else None),
        ),
        Reader(
            TRAIN_JOB,
            TrainJob,
            lambda namespace, name, _: trainjob.sources(namespace, name),
            lambda found, parts: trainjob.train_job(found, *parts),
        ),
        Reader(
            VOLCANO_JOB,
            volcano.VolcanoJob,
            lambda namespace, name, _: volcano.sources(namespace, name),
            lambda found, _: volcano.VolcanoJobWorkload(found),
        ),
    )
}
"""By resource: "jobsets.jobset.x-k8s.io"."""


def reader_of(kind: str, group: str) -> Reader | None:
    """How objects of this kind and group are read, None where they are not. A Pod is no workload by its name."""
    named = (each for each in READERS.values() if each.kind is not POD)
    return next((each for each in named if (each.kind.kind, each.kind.group) == (kind, group)), None)
