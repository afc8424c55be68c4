"""Workloads of the kinds that the embedded cluster does not play, as an API server would answer for them. Nothing ever
happens to them: they are looked at, and restarts of them are rehearsed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from jobset_restart.objects import ClaimedJob, KueueWorkload
from jobset_restart.simulator.store import Obj
from jobset_restart.workloads import kinds
from jobset_restart.workloads.kueue import VERSIONS, collection
from jobset_restart.workloads.pods import lease_name
from tests import build, build_lws, build_pods, build_ray, build_trainjob, build_volcano

NAMESPACE = "ns"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
STATEFUL_SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
WORKLOADS = collection(VERSIONS[0], NAMESPACE)
Forge = Callable[[str, Obj, bytes], bytes]
"""Given a resource, an object of it and its JSON, what is answered in its place."""


class Row(Struct, frozen=True):
    """A collection: its API path, the name of the resource (jobset_restart.workloads.kinds: WorkloadKind.resource), and
    its objects."""

    path: str
    resource: str
    objects: tuple[Struct, ...]


class Shelf(Struct, frozen=True):
    """A workload, by what a command line names it by, and everything that is read of it."""

    words: tuple[str, ...]
    rows: tuple[Row, ...]
    vias: tuple[str, ...] = ()

    @property
    def resources(self) -> dict[str, type[Struct]]:
        """The type that objects of each resource are decoded as."""
        return {row.resource: type(row.objects[0]) for row in self.rows}

    def answer(self, path: str, forge: Forge) -> bytes | None:
        """What is answered to a GET of this path; None where nothing of the kind is here."""
        if path == "/apis":
            return json.dumps({"groups": _groups(self.rows)}).encode()
        parent, _, name = path.rpartition("/")
        for row in self.rows:
            if path == row.path:
                items = b",".join(_encoded(row, each, forge) for each in row.objects)
                return b'{"metadata":{"resourceVersion":"7"},"items":[' + items + b"]}"
            if parent == row.path:
                found = (each for each in row.objects if each.metadata.name == name)  # type: ignore[attr-defined]
                return next((_encoded(row, each, forge) for each in found), None)
        return None


def _encoded(row: Row, found: Struct, forge: Forge) -> bytes:
    raw = msgspec.json.encode(found)
    return forge(row.resource, json.loads(raw), raw)


def _groups(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The groups of these collections, as an APIGroupList has them."""
    paths = (row.path.split("/") for row in rows if row.path.startswith("/apis/"))
    return [{"name": each[2], "versions": [{"version": each[3]}]} for each in paths]


def _row(kind: kinds.WorkloadKind, *objects: Struct) -> Row:
    return Row(kind.collection(NAMESPACE), kind.resource, objects)


def _pods(objects: Iterable[Struct]) -> Row:
    return Row(PODS, "pods", tuple(objects))


def _lws(policy: str) -> Shelf:
    pods = [build_lws.pod(group, worker) for group in (0, 1) for worker in (0, 1)]
    sets = Row(STATEFUL_SETS, "statefulsets.apps", tuple(build_lws.sets()))
    found = build_lws.lws(size=2, policy=policy)
    return Shelf(
        ("lws/serving",), (_row(kinds.LEADER_WORKER_SET, found), sets, _pods(pods)), ("image", "group", "rollout")
    )


def _ray() -> tuple[Row, Row]:
    return _row(kinds.RAY_CLUSTER, build_ray.cluster()), _pods([build_ray.HEAD, build_ray.FIRST, build_ray.SECOND])


def _train_job() -> Shelf:
    jobset = build_trainjob.jobset()
    rows = (
        _row(kinds.TRAIN_JOB, build_trainjob.trainjob()),
        _row(kinds.JOBSET, jobset),
        _row(kinds.JOB, build.job(jobset)),
        _pods([build.pod(0), build.pod(1)]),
    )
    return Shelf(("trainjob", "train"), rows, ("image", "suspend", "jobs"))


def _queued(job: ClaimedJob, workload: KueueWorkload) -> Shelf:
    rows = (
        _row(kinds.JOB, job),
        Row(WORKLOADS, "workloads.kueue.x-k8s.io", (workload,)),
        _pods([build.job_pod(0), build.job_pod(1)]),
    )
    return Shelf((f"job/{job.metadata.name}",), rows, ("image", "requeue", "pods"))


SHELVES: dict[str, Shelf] = {
    "lws": _lws("None"),
    "lws-recreates": _lws("RecreateGroupOnPodRestart"),
    "raycluster": Shelf(("raycluster/ray",), _ray(), ("image", "suspend", "pods")),
    "rayjob": Shelf(("rayjob/train",), (_row(kinds.RAY_JOB, build_ray.job()), *_ray()), ("image", "pods")),
    "trainjob": _train_job(),
    "vcjob": Shelf(
        ("vcjob/mpi",),
        (_row(kinds.VOLCANO_JOB, build_volcano.job()), _pods(build_volcano.pods())),
        ("image", "restart", "pods"),
    ),
    "kueue": _queued(build.plain_job(labels={"kueue.x-k8s.io/queue-name": "queue"}), build.kueue_workload("etl-uid")),
    "pods": Shelf(
        ("pods", "-l", build_pods.LABELS),
        (
            Row(kinds.LEASE.collection(NAMESPACE), kinds.LEASE.resource, (build_pods.lease(),)),
            _pods(build_pods.mixed()),
        ),
        ("image",),
    ),
}
assert SHELVES["pods"].rows[0].objects[0].metadata.name == lease_name(build_pods.LABELS)  # type: ignore[attr-defined]
