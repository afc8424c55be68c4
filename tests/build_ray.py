"""RayClusters, RayJobs and their Pods as the API would send them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.objects import Pod
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.ray import RayCluster, RayClusterWorkload, RayJob, RayJobWorkload
from tests import build


def cluster(replicas: int | None = 2, *, metadata: dict[str, Any] | None = None, **fields: Any) -> RayCluster:
    template = {"spec": {"containers": [build.container()]}}
    workers = {"groupName": "workers", "replicas": replicas, "minReplicas": 0, "maxReplicas": 9, "template": template}
    raw = {
        "metadata": {"name": "ray", "namespace": "ns", "uid": "ray-uid", **(metadata or {})},
        "spec": {"headGroupSpec": {"template": template}, "workerGroupSpecs": [workers], **fields},
    }
    return msgspec.convert(raw, RayCluster)


def job(status: str = "Running", cluster: str = "ray") -> RayJob:
    raw = {
        "metadata": {"name": "train", "namespace": "ns", "uid": "rayjob-uid"},
        "status": {"rayClusterName": cluster, "jobDeploymentStatus": status, "jobStatus": "RUNNING"},
    }
    return msgspec.convert(raw, RayJob)


def pod(name: str, group: str = "workers", owner: str = "ray-uid", **fields: Any) -> Pod:
    owners = [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "ray", "uid": owner, "controller": True}]
    found = build.pod(0, name=name, uid=f"uid-{name}", owners=owners, **fields)
    kind = "head" if group == "headgroup" else "worker"
    labels = structs.replace(found.metadata.labels, ray_node_type=kind, ray_group=group)
    return structs.replace(found, metadata=structs.replace(found.metadata, labels=labels))


HEAD, FIRST, SECOND = pod("head-a", "headgroup"), pod("worker-a"), pod("worker-b")


def snapshot(of: RayCluster | None = None, pods: list[Pod] | None = None, job: RayJob | None = None) -> Snapshot:
    of = of or cluster()
    workload = RayJobWorkload(job, of) if job else RayClusterWorkload(of)
    found = [HEAD, FIRST, SECOND] if pods is None else pods
    return take(workload, [], found, {"node-0": build.node()}, build.NOW)
