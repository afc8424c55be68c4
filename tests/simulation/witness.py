"""What really happened, from the store itself: every container that ever ran, every word on suspend, every failure."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from jobset_restart.simulator.store import Obj
from tests.simulation.cluster import NAME, VirtualCluster, is_ready

LABEL = "jobset.sigs.k8s.io/"
MARK = "jobset-restart.io/operation"
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
        self.counters_before = self.counters()
        self.started: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Containers that came to run since, by Pod UID and name."""
        self.created: dict[str, list[str]] = defaultdict(list)
        """UIDs of the Pods that were created since, by slot."""
        self.failed: list[str] = []
        """Conditions Failed of Jobs and JobSets."""
        self.suspended: list[tuple[float, bool]] = []
        self.most_down: dict[str, int] = {}
        """How many that were Ready before were down at one moment: "slots", and "units" (Jobs) with such a slot. A Pod
        whose image was changed is down from then on, though it shows as Ready until its container has ended."""
        self._up = {slot: {pod.uid} if pod.ready else set[str]() for slot, pod in self.before.items()}
        self._watched = {slot for slot, pod in self.before.items() if pod.ready}
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

    def starts(self, uid: str) -> dict[str, int]:
        """How often each container of a Pod was started since."""
        return {name: len(ids) for (pod, name), ids in self.started.items() if pod == uid}

    def _changed(self, resource: str, change: str, obj: Obj, old: Obj | None) -> None:
        labels = obj["metadata"].get("labels", {})
        if resource == "pods" and NAME in (labels.get(LABEL + "jobset-name"), labels.get(JOB_NAME)):
            self._count_down(change, obj)
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

    def _count_down(self, change: str, pod: Obj) -> None:
        """Counts what is not Ready now and was before."""
        slot, uid = slot_of(pod), pod["metadata"]["uid"]
        up = self._up.setdefault(slot, set())
        runs = change != "DELETED" and _counts(pod) and is_ready(pod) and not self._ends(pod)
        (up.add if runs else up.discard)(uid)
        down = {each for each in self._watched if not self._up[each]}
        numbers = {"slots": len(down), "units": len({each.rpartition("/")[0] for each in down})}
        self.most_down = {what: max(n, self.most_down.get(what, 0)) for what, n in numbers.items()}

    def _ends(self, pod: Obj) -> bool:
        """Whether a container from before is to make room for one with another image."""
        marked = MARK in (pod["metadata"].get("annotations") or {})
        return marked and any(container in self._old for container in seen(pod).containers.values())

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
