"""What the Job controller writes down: counts, finalizers taken off what is counted, and the Job's end."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobset_restart.simulator.controllers.job_pods import (
    Backoff,
    failure_rule,
    index_of,
    is_failed,
    is_indexed,
    phase,
    render_indexes,
    tracked,
    untracked,
)
from jobset_restart.simulator.controllers.job_status import ensure_condition, make_condition, settled
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import Key, Obj, Objs, Store, timestamp

MAX_UNCOUNTED = 500
"""MaxUncountedPods."""


@dataclass
class Sync:
    """What one look at a Job works on (``syncJobCtx``)."""

    job: Obj
    pods: Objs
    status: Obj
    active: Objs
    rest: Objs
    """Pods that have ended or are being deleted: all that there is to count."""
    ready: int
    terminating: int
    backoff: Backoff
    succeeded: int = 0
    failed: int = 0
    indexes: set[int] = field(default_factory=set)
    failed_indexes: set[int] | None = None
    """None without backoffLimitPerIndex."""
    delayed: dict[int, Obj] = field(default_factory=dict)
    """By index, the failed Pod that stays until its successor is there (``podsWithDelayedDeletionPerIndex``)."""
    finished: Obj | None = None
    due: float | None = None

    @property
    def suspended(self) -> bool:
        return bool(self.job["spec"].get("suspend"))

    def look_again(self, due: float) -> None:
        self.due = due if self.due is None else min(self.due, due)


def track(store: Store, key: Key, sync: Sync, active: int, now: float) -> None:
    """Count finished Pods and let them go (``trackJobStatusAndRemoveFinalizers``): status, finalizers, status."""
    status, job = sync.status, sync.job
    if status["uncountedTerminatedPods"]:
        status = settled(status, {pod["metadata"]["uid"] for pod in sync.pods if tracked(pod)})
    status.update(active=active, ready=sync.ready, terminating=sync.terminating)
    if not active:
        status.pop("active")
    uncounted = {name: list(uids) for name, uids in status["uncountedTerminatedPods"].items()}
    released, full = _releasable(sync, uncounted)
    if full:
        sync.look_again(now)
    status["uncountedTerminatedPods"] = uncounted
    if is_indexed(job):
        status["succeeded"] = len(sync.indexes)
        status["completedIndexes"] = render_indexes(sync.indexes)
        for name in ("succeeded", "completedIndexes"):
            if not status[name]:
                del status[name]
    if sync.failed_indexes is not None:
        status["failedIndexes"] = render_indexes(sync.failed_indexes)
    if sync.finished:
        ensure_condition(status, sync.finished)
    job = store.update("jobs", {**job, "status": status}, now, subresource="status")
    for pod in released:
        fresh = store.find("pods", key[0], pod["metadata"]["name"])
        if fresh and fresh["metadata"]["uid"] == pod["metadata"]["uid"] and tracked(fresh):
            store.update("pods", untracked(fresh), now)
    status = settled(status, set())
    if sync.finished and not sync.terminating and not full:
        _finish(store, sync, status, now)
    store.update("jobs", {**job, "status": status}, now, subresource="status")


def _releasable(sync: Sync, uncounted: dict[str, list[str]]) -> tuple[Objs, bool]:
    """Pods to let go of (``canRemoveFinalizer``), their UIDs added to ``uncounted``; whether there are too many."""
    job, released = sync.job, list[Obj]()
    over = "deletionTimestamp" in job["metadata"] or sync.finished is not None
    failing = sync.finished is not None and sync.finished["type"] == "FailureTarget"
    pods = sync.pods if over else sync.rest
    for pod in sorted(pods, key=index_of) if is_indexed(job) else pods:
        gone, uid = is_failed(pod, job), pod["metadata"]["uid"]
        if not tracked(pod) or not (over or gone or phase(pod) == "Succeeded"):
            continue
        if not over and gone and sync.delayed.get(index_of(pod), {}) is pod:
            continue
        released.append(pod)
        if phase(pod) == "Succeeded":
            if not is_indexed(job):
                uncounted.setdefault("succeeded", []).append(uid)
        elif (gone or failing) and uid not in uncounted.get("failed", ()) and failure_rule(job, pod)[0] != "Ignore":
            uncounted.setdefault("failed", []).append(uid)
        if sum(map(len, uncounted.values())) >= MAX_UNCOUNTED:
            return released, True
    return released, False


def _finish(store: Store, sync: Sync, status: Obj, now: float) -> None:
    """The final condition, once no Pod is left terminating (``enactJobFinished``)."""
    assert sync.finished is not None
    kind = {"FailureTarget": "Failed", "SuccessCriteriaMet": "Complete"}[sync.finished["type"]]
    ensure_condition(status, make_condition(kind, sync.finished["reason"], sync.finished["message"], now))
    if kind == "Complete":
        status["completionTime"] = timestamp(now)
        record(store, sync.job, "Normal", "Completed", "Job completed", "job-controller", now)
    else:
        reason, message = sync.finished["reason"], sync.finished["message"]
        record(store, sync.job, "Warning", reason, message, "job-controller", now)
