"""Pods that are chosen by their labels, and what stands above them, as the API would send them."""

from __future__ import annotations

from typing import Any

import msgspec

from jobset_restart.case import Evidence
from jobset_restart.objects import Pod
from jobset_restart.pod_owners import Above, Found, Owner, above
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.pods import Lease, lease_name, sources, workload
from tests import build

LABELS = "app=mixed"


def owner(kind: str, name: str, api_version: str = "apps/v1") -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": f"{kind}-{name}", "controller": True}


def pod(name: str, *owners: dict[str, Any], **fields: Any) -> Pod:
    return build.pod(0, name=name, owners=list(owners), **fields)


def mixed() -> list[Pod]:
    """Two Pods of a ReplicaSet, one of a Job, and one of nobody."""
    return [
        pod("web-x", owner("ReplicaSet", "web")),
        pod("web-y", owner("ReplicaSet", "web")),
        pod("etl-0", owner("Job", "etl", "batch/v1")),
        pod("alone"),
    ]


def lease(operation: str = "", **meta: Any) -> Lease:
    """The Lease of a claim, there already."""
    annotations = {"jobset-restart.io/selector": LABELS} | (
        {"jobset-restart.io/operation": operation} if operation else {}
    )
    raw = {"metadata": {"name": lease_name(LABELS), "namespace": "ns", "uid": "l", "annotations": annotations, **meta}}
    return msgspec.convert(raw, Lease)


def snapshot(pods: list[Pod] | None = None, of: Lease | None = None) -> Snapshot:
    found = of or sources("ns", LABELS).itself.otherwise
    return take(workload(found), (), mixed() if pods is None else pods, {"node-0": build.node()}, build.NOW)


def read(kind: str, name: str, *owners: dict[str, Any], answers: str = "", **spec: Any) -> dict[str, Found]:
    """An owner as it was read, by its UID."""
    raw = {"metadata": {"name": name, "uid": f"{kind}-{name}", "ownerReferences": list(owners)}, "spec": spec}
    return {f"{kind}-{name}": Found(object=msgspec.convert(raw, Owner), answers=answers)}


def evidence(pods: list[Pod], owners: dict[str, Found] | None = None, held: str = "") -> Evidence:
    """What is known of the owners: `held` names one that is claimed."""
    found: list[Above] = above(
        pods, owners or {}, lambda meta: "is being restarted by somebody" if meta.name == held else ""
    )
    return Evidence(above=found)
