"""Volcano Jobs and their Pods as the API would send them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.objects import Pod
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.volcano import VolcanoJob, VolcanoJobWorkload
from tests import build

TEMPLATE = {"spec": {"containers": [build.container()]}}


def policy(action: str, *events: str) -> dict[str, Any]:
    return {"action": action, "events": list(events)} if len(events) > 1 else {"action": action, "event": events[0]}


def job(*, task: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **fields: Any) -> VolcanoJob:
    """A master and three workers; `task` are fields of the workers."""
    raw = {
        "metadata": {"name": "mpi", "namespace": "ns", "uid": "vc-uid"},
        "spec": {
            "tasks": [
                {"name": "master", "replicas": 1, "template": TEMPLATE},
                {"name": "worker", "replicas": 3, "template": TEMPLATE, **(task or {})},
            ],
            **fields,
        },
        "status": status or {"state": {"phase": "Running"}},
    }
    return msgspec.convert(raw, VolcanoJob)


def pod(task: str, index: int, *, owner: str = "vc-uid", restarts: int = 0, **fields: Any) -> Pod:
    name = f"mpi-{task}-{index}"
    owners = [
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "name": "mpi", "uid": owner, "controller": True}
    ]
    fields.setdefault("statuses", [build.status(restarts=restarts)])
    found = build.pod(0, name=name, owners=owners, **fields)
    labels = structs.replace(found.metadata.labels, task_spec=task, task_index=str(index))
    return structs.replace(found, metadata=structs.replace(found.metadata, labels=labels))


def pods(restarts: int = 0) -> list[Pod]:
    return [pod("master", 0), *(pod("worker", index, restarts=restarts) for index in range(3))]


def snapshot(of: VolcanoJob | None = None, found: list[Pod] | None = None) -> Snapshot:
    pods_ = pods() if found is None else found
    return take(VolcanoJobWorkload(of or job()), (), pods_, {"node-0": build.node()}, build.NOW)
