"""LeaderWorkerSets, their StatefulSets and Pods as the API would send them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.objects import Pod
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.leaderworkerset import LeaderWorkerSet, LeaderWorkerSetWorkload, StatefulSet
from tests import build

NAME = "leaderworkerset.sigs.k8s.io/name"


def lws(replicas: int = 2, size: int = 3, policy: str = "None", partition: int = 0) -> LeaderWorkerSet:
    template = {"size": size, "restartPolicy": policy, "workerTemplate": {"spec": {"containers": [build.container()]}}}
    raw = {
        "metadata": {"name": "serving", "namespace": "ns", "uid": "lws-uid"},
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": template,
            "rolloutStrategy": {"rollingUpdateConfiguration": {"partition": partition}},
        },
    }
    return msgspec.convert(raw, LeaderWorkerSet)


def owned(kind: str, uid: str, name: str = "x") -> list[dict[str, Any]]:
    return [{"apiVersion": "any", "kind": kind, "name": name, "uid": uid, "controller": True}]


def stateful_set(name: str, owner: str, uid: str) -> StatefulSet:
    raw = {"metadata": {"name": name, "uid": f"set-{name}", "ownerReferences": owned(owner, uid)}}
    return msgspec.convert(raw, StatefulSet)


def pod(group: int, worker: int, *, stateful_set: str = "", **fields: Any) -> Pod:
    """The leader of the group (worker 0), or one of its workers."""
    name = f"serving-{group}" if worker == 0 else f"serving-{group}-{worker}"
    owner = stateful_set or ("serving" if worker == 0 else f"serving-{group}")
    found = build.pod(worker, name=name, uid=f"uid-{name}", owners=owned("StatefulSet", f"set-{owner}"), **fields)
    labels = structs.replace(found.metadata.labels, group_index=str(group), worker_index=str(worker))
    return structs.replace(found, metadata=structs.replace(found.metadata, labels=labels))


def sets(replicas: int = 2) -> list[StatefulSet]:
    leaders = stateful_set("serving", "LeaderWorkerSet", "lws-uid")
    workers = [stateful_set(f"serving-{group}", "Pod", f"uid-serving-{group}") for group in range(replicas)]
    return [leaders, *workers]


def snapshot(of: LeaderWorkerSet | None = None, pods: list[Pod] | None = None) -> Snapshot:
    of = of or lws()
    size, replicas = of.spec.leader_worker_template.size, of.spec.replicas
    if pods is None:
        pods = [pod(group, worker) for group in range(replicas) for worker in range(size)]
    return take(LeaderWorkerSetWorkload(of), sets(max(replicas, 2)), pods, {"node-0": build.node()}, build.NOW)
