"""What stands above Pods that were chosen by their labels: who owns them, and what is known of how that reacts when a
container is restarted in place. Pure; the owners come in as they were read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from jobset_restart.objects import ApiStruct, Int32, OwnerReference, Pod, WorkloadMeta
from jobset_restart.owners import controller
from jobset_restart.workloads.kinds import (
    JOB,
    JOBSET,
    LEADER_WORKER_SET,
    RAY_CLUSTER,
    RAY_JOB,
    TRAIN_JOB,
    WORKLOAD_KINDS,
    reference,
)

MOST_LEVELS = 6
"""A worker Pod, its StatefulSet, its leader, the leader's StatefulSet, the LeaderWorkerSet, and one more."""
CORE_OWNERS = {
    ("ReplicaSet", "apps"): "replicasets",
    ("StatefulSet", "apps"): "statefulsets",
    ("Deployment", "apps"): "deployments",
    ("DaemonSet", "apps"): "daemonsets",
    ("CronJob", "batch"): "cronjobs",
    ("Pod", ""): "pods",
}
"""Owners that are no workloads of ours, by kind and group, with their plural: none of their controllers looks at
restarted containers (Kubernetes: replica_set.go, stateful_set_control.go, daemon_controller.go)."""
IDLE = {
    *CORE_OWNERS,
    *((kind.kind, kind.group) for kind in (JOB, JOBSET, LEADER_WORKER_SET, RAY_CLUSTER, RAY_JOB, TRAIN_JOB)),
}
"""Owners that leave alone what restarts in place, unless they say otherwise (Workload.answers_restarts)."""


class OwnerSpec(ApiStruct):
    backoff_limit: Int32 | None = None


class Owner(ApiStruct):
    """Any object, by what is asked of an owner."""

    metadata: WorkloadMeta
    spec: OwnerSpec | None = None


class Above(Struct, frozen=True, kw_only=True):
    """What owns some Pods, the nearest first. `titles` are the owners ("Job etl"), `top` is how a command line names
    the topmost one that jsr knows, "" where it knows none. `unknown` names an owner of which it is not known how it
    reacts, and why; `recreates` tells of one that answers a restarted container by making Pods anew; `held` of one that
    is being restarted by itself. `job` and `backoff_limit` are those of the Job next above them, if that is one."""

    pods: tuple[Pod, ...]
    titles: tuple[str, ...] = ()
    top: str = ""
    unknown: str = ""
    recreates: str = ""
    held: str = ""
    job: str = ""
    backoff_limit: int | None = None


class Found(Struct, frozen=True, kw_only=True):
    """An owner as it was read: None where it could not be, for the reason `why`. `answers` is why its controller would
    make Pods anew, "" where it would not."""

    object: Any = None
    why: str = ""
    answers: str = ""


def group_of(owner: OwnerReference) -> str:
    return owner.api_version.rpartition("/")[0]


def collection_of(kind: str, group: str, namespace: str) -> str:
    """The API path of the objects of this kind in the namespace, "" where the kind is not known."""
    workload = next((each for each in WORKLOAD_KINDS if (each.kind, each.group) == (kind, group)), None)
    if workload is not None:
        return workload.collection(namespace)
    plural = CORE_OWNERS.get((kind, group))
    return f"{f'/apis/{group}/v1' if group else '/api/v1'}/namespaces/{namespace}/{plural}" if plural else ""


Held = Callable[[WorkloadMeta], str]
"""What to say of an object that carries the claim of a living client, "" for one that does not."""


def above(pods: Iterable[Pod], owners: Mapping[str, Found], held: Held) -> list[Above]:
    """What stands above these Pods, one for each of their direct owners. `owners` are all that were read, by the UID by
    which they are referred to."""
    by_owner: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        owner = controller(pod.metadata)
        by_owner[owner.uid if owner else ""].append(pod)
    return [_above(mine, owners, held) for mine in by_owner.values()]


def _above(pods: list[Pod], owners: Mapping[str, Found], held: Held) -> Above:
    told: dict[str, Any] = {}
    titles: list[str] = []
    owner = controller(pods[0].metadata)
    while owner is not None and len(titles) < MOST_LEVELS:
        title, known = f"{owner.kind} {owner.name}", (owner.kind, group_of(owner))
        titles.append(title)
        found = owners.get(owner.uid, Found())
        if any((kind.kind, kind.group) == known for kind in WORKLOAD_KINDS):
            told["top"] = reference(*known, owner.name)
        if known not in IDLE or found.object is None:
            told["unknown"] = f"{title} ({found.why or 'how that reacts is not known'})"
        if found.object is None:
            break
        if found.answers:
            told["recreates"] = f"{title}: {found.answers}"
        if said := held(found.object.metadata):
            told["held"] = f"{title} {said}"
        if len(titles) == 1 and known == (JOB.kind, JOB.group):
            told["job"] = owner.name
            told["backoff_limit"] = found.object.spec.backoff_limit if found.object.spec else None
        owner = controller(found.object.metadata)
    return Above(pods=tuple(pods), titles=tuple(titles), **told)
