"""What really happened, from the store itself: every container that ever ran, every word on suspend, every failure."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from jobset_restart.simulator.store import Obj
from tests.simulation.cluster import NAME, VirtualCluster, is_ready

LABEL = "jobset.sigs.k8s.io/"
JOB_NAME = "batch.kubernetes.io/job-name"


class Seen(NamedTuple):
    """A Pod at one moment. `containers` is the containerID by name, of the Pod's main containers."""

    uid: str
    containers: dict[str, str]
    ready: bool


def slot_of(pod: Obj) -> str:
    labels = pod["metadata"]["labels"]
    index = labels.get("batch.kubernetes.io/job-completion-index", pod["metadata"]["name"])
    if LABEL + "replicatedjob-name" not in labels:
        return f"{labels[JOB_NAME]}/{index}"
    return f"{labels[LABEL + 'replicatedjob-name']}/{labels[LABEL + 'job-index']}/{index}"


def seen(pod: Obj) -> Seen:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    containers = {each["name"]: each.get("containerID") or "" for each in statuses}
    return Seen(pod["metadata"]["uid"], containers, is_ready(pod))


class Witness:
    """Watches the store from the moment it is made."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self._cluster = cluster
        self.before = self.now()
        self.workload_uid = self._uid()
        self.counters_before = self.counters()
        self.started: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Containers that came to run since, by Pod UID and name."""
        self.created: dict[str, list[str]] = defaultdict(list)
        """UIDs of the Pods that were created since, by slot."""
        self.failed: list[str] = []
        """Conditions Failed of Jobs and JobSets."""
        self.suspended: list[tuple[float, bool]] = []
        cluster.store.subscribe(self._changed)
        self._old = {container for pod in self.before.values() for container in pod.containers.values()}

    def now(self) -> dict[str, Seen]:
        """Every Pod that is neither over nor on its way out, by slot."""
        pods = sorted(self._cluster.pods(), key=lambda pod: pod["metadata"]["creationTimestamp"])
        return {slot_of(pod): seen(pod) for pod in pods if _counts(pod)}

    def counters(self) -> dict[str, int]:
        """What of the budgets is spent: failed Pods by Job, and the JobSet's restarts."""
        failed = {job["metadata"]["name"]: (job.get("status") or {}).get("failed", 0) for job in self._cluster.jobs()}
        workload = self._cluster.workload()
        return {**failed, "JobSet": ((workload or {}).get("status") or {}).get("restarts", 0)}

    @property
    def is_suspended(self) -> bool:
        workload = self._cluster.workload()
        return bool(workload and workload["spec"].get("suspend"))

    @property
    def same_workload(self) -> bool:
        return self._uid() == self.workload_uid

    def starts(self, uid: str) -> dict[str, int]:
        """How often each container of a Pod was started since."""
        return {name: len(ids) for (pod, name), ids in self.started.items() if pod == uid}

    def _uid(self) -> str:
        workload = self._cluster.workload()
        return str(workload["metadata"]["uid"]) if workload else ""

    def _changed(self, resource: str, change: str, obj: Obj, old: Obj | None) -> None:
        labels = obj["metadata"].get("labels", {})
        if resource == "pods" and NAME in (labels.get(LABEL + "jobset-name"), labels.get(JOB_NAME)):
            if change == "ADDED":
                self.created[slot_of(obj)].append(obj["metadata"]["uid"])
            for each in (obj.get("status") or {}).get("containerStatuses") or ():
                container = each.get("containerID")
                if container and container not in self._old:
                    self.started[obj["metadata"]["uid"], each["name"]].add(container)
        elif resource in ("jobs", "jobsets"):
            self._conditions(obj, old)
            mine = resource == self._cluster.resource and obj["metadata"]["name"] == NAME
            if mine and (old is None or _suspend(obj) != _suspend(old)):
                self.suspended.append((self._cluster.now(), _suspend(obj)))

    def _conditions(self, obj: Obj, old: Obj | None) -> None:
        if _has_failed(obj) and not (old and _has_failed(old)):
            self.failed.append(f"{obj['kind']} {obj['metadata']['name']}: {_has_failed(obj)}")


def _counts(pod: Obj) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") != "Failed"


def _suspend(workload: Obj) -> bool:
    return bool(workload["spec"].get("suspend"))


def _has_failed(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next(
        (each.get("reason", "?") for each in conditions if each["type"] == "Failed" and each["status"] == "True"), ""
    )
