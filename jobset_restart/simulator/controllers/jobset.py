"""The JobSet controller: ``reconcile`` of sigs.k8s.io/jobset v0.12, pkg/controllers/jobset_controller.go.

Feature gates as on a cluster with restart in place: InPlaceRestart on; RestartJob and ElasticJobSet off, their default.
Not modelled, and refused by validation: volumeClaimPolicies, and exclusive placement but by node selector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from jobset_restart.simulator.controllers.failure_policy import execute_failure_policy
from jobset_restart.simulator.controllers.in_place import in_place, reconcile_in_place
from jobset_restart.simulator.controllers.jobset_children import INVALID, JOBSET_NAME, RESTARTS, Children, JobFacts
from jobset_restart.simulator.controllers.jobset_jobs import (
    construct_jobs,
    headless_service,
    hostnames_enabled,
    job_name,
    resumed,
    subdomain_of,
)
from jobset_restart.simulator.controllers.jobset_sync import Sync
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Key, Obj, Objs, Store, StoreError, controller_of, seconds

CONTROLLER = "jobset.sigs.k8s.io/jobset-controller"
RETRY, MAX_RETRY = 0.005, 1000.0
"""controller-runtime's rate limiter after errors: the first delay, doubled each time up to the last; seconds."""

Wakes = Iterable[tuple[Key, float]]
Statuses = dict[str, Obj]
"""ReplicatedJobStatus by name."""


class JobSetController:
    """Keeps a JobSet's Jobs, Service and status. ``resumed`` says of which JobSets somebody else takes a suspension
    back while their Jobs are suspended (``owners``)."""

    def __init__(self, profile: Profile, resumed: Callable[[Obj], bool] = lambda _jobset: False) -> None:
        self._delay = profile.jobset_sync
        self._resumed = resumed
        self._children: dict[Key, Children] = {}
        self._errors: dict[Key, int] = {}

    def wakes(self, _store: Store, resource: str, change: str, obj: Obj, old: Obj | None) -> Wakes:
        """JobSets; the Jobs and Services they own; Pods by label. Jobs and Pods only where a fact changed."""
        meta = obj["metadata"]
        if resource == "jobsets":
            return (((meta["namespace"], meta["name"]), self._delay),)
        gone = change == "DELETED"
        if resource == "pods":
            name = _jobset_name(obj)
            if old is not None and _jobset_name(old) != name:
                return self._relabelled(meta["namespace"], name, _jobset_name(old))
            children = self._children.get((meta["namespace"], name))
            if children and children.see_pod(None if gone else obj, old):
                return (((meta["namespace"], name), self._delay),)
        elif resource in ("jobs", "services"):
            owner = controller_of(obj)
            if owner and owner["kind"] == "JobSet":
                key = (meta["namespace"], owner["name"])
                children = self._children.get(key) if resource == "jobs" else None
                if children is None or (children.uid == owner["uid"] and children.see_job(obj, gone)):
                    return ((key, self._delay),)
        return ()

    def _relabelled(self, namespace: str, *names: str) -> Wakes:
        """A Pod went over to another JobSet: both count anew."""
        for name in names:
            self._children.pop((namespace, name), None)
        return [((namespace, name), self._delay) for name in names if name]

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """``Reconcile``: after an error nothing of the status is written, and it tries again later and later."""
        jobset = store.find("jobsets", *key)
        if jobset is None:
            self._children.pop(key, None)
            self._errors.pop(key, None)
            return None
        managed_by = (jobset.get("spec") or {}).get("managedBy") or CONTROLLER
        if "deletionTimestamp" in jobset["metadata"] or managed_by != CONTROLLER:
            return None
        children = self._children.get(key)
        if children is None or children.uid != jobset["metadata"]["uid"]:
            children = self._children[key] = Children(store, jobset)
        sync = Sync(store, jobset, children, now)
        try:
            due = _reconcile(sync)
            if sync.suspended and self._resumed(jobset):
                return None  # its status is refused (409): when it looks again, spec.suspend is false
            sync.write()
        except StoreError:
            errors = self._errors.get(key, 0)
            self._errors[key] = errors + 1
            return now + min(RETRY * 2.0 ** min(errors, 30), MAX_RETRY)
        self._errors.pop(key, None)
        if due is not None and due <= now:
            _expire(sync)
            return None
        return due


def _jobset_name(pod: Obj) -> str:
    return str((pod["metadata"].get("labels") or {}).get(JOBSET_NAME, ""))


def _reconcile(sync: Sync) -> float | None:
    """``reconcile``; returns when the JobSet's time to live ends."""
    if sync.children.count(lambda job: job.attempt == INVALID):
        raise StoreError(500, "InternalError", f"invalid value for label {RESTARTS}, must be integer")
    statuses = _statuses(sync)
    if statuses:
        sync.set(replicatedJobsStatus=sorted(statuses.values(), key=lambda each: str(each["name"]), reverse=True))
    finished = _finished(sync.status)
    if finished:
        sync.delete_jobs(sync.children.names(lambda job: _current(sync, job, "") and not job.deleting))
        ttl = sync.spec.get("ttlSecondsAfterFinished")
        return None if ttl is None else seconds(finished["lastTransitionTime"]) + ttl
    sync.delete_jobs(sync.children.names(lambda job: job.attempt < sync.restarts and not job.deleting))
    if not sync.suspended and _all_ready(sync, statuses):
        sync.not_restarting("JobsReady", "all jobs are ready")
    failed = sync.children.names(lambda job: _current(sync, job, "Failed"))
    if failed:
        namespace = sync.jobset["metadata"]["namespace"]
        execute_failure_policy(sync, [sync.store.get("jobs", namespace, name) for name in failed])
        return None
    if _succeeded(sync):
        return None
    _ensure_service(sync)
    _create_jobs(sync, statuses)
    if sync.suspended:
        _suspend(sync)
    else:
        _resume(sync, statuses)
    if in_place(sync.jobset):
        reconcile_in_place(sync)
    return None


def _current(sync: Sync, job: JobFacts, finished: str) -> bool:
    """Whether a Job belongs to the current run and finished like that ("": has not)."""
    return job.attempt >= sync.restarts and job.finished == finished


def _statuses(sync: Sync) -> Statuses:
    """``calculateReplicatedJobStatuses``."""
    zero = dict.fromkeys(("ready", "succeeded", "failed", "active", "suspended"), 0)
    statuses: Statuses = {each["name"]: {"name": each["name"]} | zero for each in sync.replicated_jobs}
    for job, number in sync.children.groups().items():
        status = statuses.get(job.replicated_job)
        if status is None or job.attempt < sync.restarts:
            continue
        if job.finished:
            status["failed" if job.finished == "Failed" else "succeeded"] += number
        else:
            status["ready"] += number * job.ready
            status["active"] += number * job.active
            status["suspended"] += number * job.suspended
    return statuses


def _all_ready(sync: Sync, statuses: Statuses) -> bool:
    """``allJobsReady``."""
    ready = sum(each["ready"] + each["succeeded"] for each in statuses.values())
    return bool(ready == sum(each["replicas"] for each in sync.replicated_jobs))


def _succeeded(sync: Sync) -> bool:
    """``executeSuccessPolicy``; whether the JobSet is completed."""
    complete = [(job, many) for job, many in sync.children.groups().items() if _current(sync, job, "Complete")]
    policy = sync.spec.get("successPolicy") or {}
    targets = policy.get("targetReplicatedJobs") or [each["name"] for each in sync.replicated_jobs]
    wanted = sum(each["replicas"] for each in sync.replicated_jobs if each["name"] in targets)
    if policy.get("operator") == "Any":
        wanted = 1
    if not complete or sum(many for job, many in complete if job.replicated_job in targets) < wanted:
        return False
    message = "jobset completed successfully"
    sync.set_condition("Completed", "True", "AllJobsCompleted", message)
    sync.not_restarting("JobSetCompleted", message)
    sync.set(terminalState="Completed")
    return True


def _ensure_service(sync: Sync) -> None:
    """``createHeadlessSvcIfNecessary``: a Service of that name will do, whosever it is."""
    namespace = sync.jobset["metadata"]["namespace"]
    if not hostnames_enabled(sync.jobset) or sync.store.find("services", namespace, subdomain_of(sync.jobset)):
        return
    try:
        sync.store.create("services", headless_service(sync.jobset), sync.now)
    except StoreError as error:
        sync.event_now("Warning", "HeadlessServiceCreationFailed", error.message)
        raise


def _in_order(sync: Sync) -> bool:
    policy = sync.spec.get("startupPolicy") or {}
    return bool(policy.get("startupPolicyOrder") == "InOrder")


def _started(status: Obj, replicas: int) -> bool:
    """``allReplicasStarted``."""
    return bool(status["failed"] + status["ready"] + status["succeeded"] == replicas)


def _waits(sync: Sync, replicated_job: Obj, statuses: Statuses) -> bool:
    """Whether a ReplicatedJob depends on one that is not there yet (``dependencyReachedStatus``)."""
    replicas = {each["name"]: each["replicas"] for each in sync.replicated_jobs}
    for each in replicated_job.get("dependsOn") or ():
        status, wanted = statuses.get(each["name"]), replicas.get(each["name"])
        if status is None or wanted is None:
            return True
        if not (status["succeeded"] == wanted if each["status"] == "Complete" else _started(status, wanted)):
            return True
    return False


def _in_progress(sync: Sync) -> None:
    message = "in order startup policy is in progress"
    sync.set_condition("StartupPolicyInProgress", "True", "InOrderStartupPolicyInProgress", message)


def _create_jobs(sync: Sync, statuses: Statuses) -> None:
    """``reconcileReplicatedJobs``: the Jobs that are missing, as far as order and dependencies allow."""
    in_order = _in_order(sync) and not sync.suspended
    for replicated_job in sync.replicated_jobs:
        if _waits(sync, replicated_job, statuses):
            continue
        if in_order and _started(statuses[replicated_job["name"]], replicated_job["replicas"]):
            continue
        _create_missing(sync, replicated_job)
        if in_order:
            _in_progress(sync)
            return
    if in_order:
        message = "in order startup policy has completed"
        sync.set_condition("StartupPolicyCompleted", "True", "InOrderStartupPolicyCompleted", message)


def _create_missing(sync: Sync, replicated_job: Obj) -> None:
    """``constructJobsFromTemplate`` and ``createJobs``. Raises StoreError once all have been tried."""
    children, name, replicas = sync.children, replicated_job["name"], replicated_job["replicas"]
    strategy = (sync.spec.get("failurePolicy") or {}).get("restartStrategy")
    if strategy == "BlockingRecreate" and children.count(lambda job: job.attempt < sync.restarts):
        return
    if children.count(lambda job: job.replicated_job == name) >= replicas:
        return
    missing = [at for at in range(replicas) if job_name(sync.jobset, replicated_job, at) not in children]
    refused: list[str] = []
    for job in construct_jobs(sync.jobset, replicated_job, missing, sync.restarts):
        try:
            sync.store.create("jobs", job, sync.now)
        except StoreError as error:
            refused.append(f'job "{job["metadata"]["name"]}" creation failed with error: {error.message}')
    if refused:
        message = "\n".join(refused)
        sync.event_now("Warning", "JobCreationFailed", message)
        raise StoreError(500, "InternalError", message)


def _jobs(sync: Sync, names: Iterable[str]) -> Objs:
    namespace = sync.jobset["metadata"]["namespace"]
    return [sync.store.get("jobs", namespace, name) for name in names]


def _suspend(sync: Sync) -> None:
    """``suspendJobs``."""
    running = sync.children.names(lambda job: _current(sync, job, "") and not job.suspended)
    for job in _jobs(sync, running):
        sync.store.update("jobs", {**job, "spec": {**job["spec"], "suspend": True}}, sync.now)
    message = "jobset is suspended"
    sync.set_condition("Suspended", "True", "SuspendedJobs", message)
    sync.not_restarting("JobSetSuspended", message)


def _resume(sync: Sync, statuses: Statuses) -> None:
    """``resumeJobsIfNecessary``: in order, one ReplicatedJob after the other."""
    in_order = _in_order(sync)
    for replicated_job in sync.replicated_jobs:
        name = replicated_job["name"]
        if _waits(sync, replicated_job, statuses):
            continue
        if in_order and _started(statuses[name], replicated_job["replicas"]):
            continue
        match = partial(_held_back, sync, name)
        for job in _jobs(sync, sync.children.names(match)):
            _resume_job(sync, job, replicated_job["template"]["spec"]["template"])
        if in_order:
            _in_progress(sync)
            return
    sync.set_condition("Suspended", "False", "ResumeJobs", "jobset is resumed")


def _held_back(sync: Sync, replicated_job: str, job: JobFacts) -> bool:
    return job.suspended and job.replicated_job == replicated_job and _current(sync, job, "")


def _resume_job(sync: Sync, job: Obj, pod_template: Obj) -> None:
    """``resumeJob``: a Job's Pod template may change only while it has no startTime."""
    status = job.get("status") or {}
    if "startTime" in status:
        status = {name: value for name, value in status.items() if name != "startTime"}
        job = sync.store.update("jobs", {**job, "status": status}, sync.now, subresource="status")
    sync.store.update("jobs", resumed(job, pod_template), sync.now)


def _finished(status: Obj) -> Obj | None:
    """The condition that ended the JobSet (``jobSetFinished``)."""
    for each in status.get("conditions") or ():
        if each["type"] in ("Completed", "Failed") and each["status"] == "True":
            return dict(each)
    return None


def _expire(sync: Sync) -> None:
    """``executeTTLAfterFinishedPolicy``."""
    meta = sync.jobset["metadata"]
    sync.store.delete("jobsets", meta["namespace"], meta["name"], sync.now, propagation="Foreground")
