"""The Job controller: ``syncJob`` and ``trackJobStatusAndRemoveFinalizers`` of pkg/controller/job.

Not modelled, and refused by validation: successPolicy, managedBy.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from jobset_restart.simulator.controllers.job_indexes import (
    count_failed_indexes,
    failure_of_indexes,
    indexes_to_add,
    with_failures,
)
from jobset_restart.simulator.controllers.job_pods import (
    Backoff,
    failure_rule,
    index_of,
    is_active,
    is_failed,
    is_indexed,
    is_ready,
    is_terminating,
    only_replace_failed,
    parse_indexes,
    past_backoff_limit_on_failure,
    phase,
    pod_from_template,
    tracked,
    untracked,
)
from jobset_restart.simulator.controllers.job_status import (
    condition,
    ensure_condition,
    make_condition,
)
from jobset_restart.simulator.controllers.job_tracking import Sync, track
from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import (
    NAMESPACE_TERMINATING,
    Key,
    Obj,
    Objs,
    Store,
    StoreError,
    controller_of,
    seconds,
    timestamp,
)

JOB_NAME = "batch.kubernetes.io/job-name"
MAX_PODS_PER_SYNC = 500
"""MaxPodCreateDeletePerSync."""
BURST = 20
"""Pods created at once, at least, where a rate has to be kept."""
RETRY, MAX_RETRY = 1.0, 60.0
"""Until it tries again when a Pod could not be created: doubled each time (DefaultJobApiBackOff, MaxJobApiBackOff)."""


class JobController:
    """Keeps a Job's Pods and its status; creates Pods no faster than the profile's rate."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._backoff: dict[Key, Backoff] = {}
        self._free = 0.0
        self._turns: dict[Key, float] = {}
        self._refused: dict[Key, int] = {}
        """Syncs in a row that could not create a Pod."""

    def wakes(
        self, _store: Store, resource: str, _change: str, obj: Obj, old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        """Its own Jobs soon when the spec changed, their Pods in batches (``enqueueSyncJobBatched``)."""
        if resource == "jobs":
            meta = obj["metadata"]
            same = old is not None and meta["generation"] == old["metadata"]["generation"]
            yield (meta["namespace"], meta["name"]), self._profile.job_sync if same else self._profile.job_start
        elif resource == "pods":
            owner = controller_of(obj)
            if owner and owner["kind"] == "Job":
                yield (obj["metadata"]["namespace"], owner["name"]), self._profile.job_sync

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """``syncJob``."""
        turn = self._turns.get(key)
        if turn is not None and now < turn:
            return turn  # the client's rate limit blocks the worker, and with it everything else about this Job
        job = store.find("jobs", *key)
        if job is None:
            self._forget(key)
            _release_orphans(store, key, "", now)
            return None
        pods = _own(store, job, now)
        if len(store.by_label("pods", JOB_NAME, key[1])) > len(pods):
            _release_orphans(store, key, job["metadata"]["uid"], now)
        if condition(job["status"], "Complete", "Failed"):
            self._forget(key)
            return _expire(store, job, now)
        sync = _begin(job, pods, self._backoff.get(key, Backoff()), now)
        _decide(sync, now)
        if sync.finished:
            for pod in sync.active:
                _delete(store, sync, pod, now)
            count = 0
        else:
            going = "deletionTimestamp" in job["metadata"]
            managed = len(sync.active) if going else self._manage(store, key, sync, now)
            if managed is None or sync.ready > managed:
                # While it backs off, upstream reports no active Pods. With others Ready the API refuses that status
                # (validateJobStatus: "cannot set more ready pods than active"), and nothing is counted or let go.
                return sync.due
            count = managed
            _complete_or_suspend(store, sync, count, now)
        track(store, key, sync, count, now)
        self._backoff[key] = sync.backoff
        return sync.due

    def _forget(self, key: Key) -> None:
        self._backoff.pop(key, None)
        self._turns.pop(key, None)
        self._refused.pop(key, None)

    def _manage(self, store: Store, key: Key, sync: Sync, now: float) -> int | None:
        """Create or delete Pods; returns how many are active then (``manageJob``), None while it waits for its turn."""
        active = len(sync.active)
        want = 0 if sync.suspended else _wanted(sync)
        surplus = active - want
        if surplus > 0 or sync.suspended:
            for pod in sorted(sync.active, key=_removal_rank)[:surplus]:
                # deleteJobPods takes the finalizer off first: these Pods are not counted as failures.
                if tracked(pod):
                    pod = store.update("pods", untracked(pod), now)  # noqa: PLW2901
                _delete(store, sync, pod, now)
            return active - surplus
        missing = want - active - (sync.terminating if only_replace_failed(sync.job) else 0)
        return active if missing <= 0 else self._add(store, key, sync, missing, now)

    def _add(self, store: Store, key: Key, sync: Sync, missing: int, now: float) -> int | None:
        """The part of ``manageJob`` that creates Pods."""
        active, missing = len(sync.active), min(missing, MAX_PODS_PER_SYNC)
        until, pending = sync.backoff.until(), list[int | None]([None] * missing)
        if is_indexed(sync.job):
            pending = _first_pending(sync, missing)
            if sync.failed_indexes is not None:
                pending, until = indexes_to_add(sync, pending, now)
        if until > now:
            sync.look_again(max(until, now + self._profile.job_sync))
            return 0
        if not pending:
            return active
        missing = len(pending)
        allowed = self._allowance(key, missing, now)
        if allowed < missing:
            sync.look_again(self._turns[key])
        if not allowed:
            return None
        created, refused = _create(store, sync, pending[:allowed], now)
        if refused:
            self._refused[key] = self._refused.get(key, 0) + 1
            sync.look_again(now + min(RETRY * 2.0 ** min(self._refused[key] - 1, 30), MAX_RETRY))
        else:
            self._refused.pop(key, None)
        return active + created

    def _allowance(self, key: Key, missing: int, now: float) -> int:
        """How many Pods may be created now; 0 means at ``self._turns[key]``. One client, one rate, for all Jobs."""
        rate = self._profile.pod_creates_rate
        if rate == inf:
            return missing
        batch = max(BURST, int(rate * self._profile.job_sync))
        granted = min(missing, batch) if self._turns.pop(key, None) is not None else 0
        if granted < missing:
            self._free = max(self._free, now) + min(missing - granted, batch) / rate
            self._turns[key] = self._free
        return granted


def _wanted(sync: Sync) -> int:
    """How many active Pods a Job that is not suspended should have."""
    spec, completions = sync.job["spec"], sync.job["spec"].get("completions")
    if completions is None:
        return len(sync.active) if sync.succeeded else int(spec["parallelism"])
    return int(max(0, min(completions - sync.succeeded, spec["parallelism"])))


def _create(store: Store, sync: Sync, indexes: list[int | None], now: float) -> tuple[int, bool]:
    """Create Pods, and say so (``RealPodControl.createPods``); returns how many, and whether some were refused.

    They are created in batches of 1, 2, 4 ...; after one with a refusal in it the rest is left ("slow start")."""
    created, refused, batch, rest = 0, False, 1, list(indexes)
    while rest and not refused:
        for index in rest[:batch]:
            try:
                pod = store.create("pods", with_failures(sync, index, pod_from_template(sync.job, index)), now)
            except StoreError as error:
                if any(each.get("reason") == NAMESPACE_TERMINATING for each in error.details.get("causes") or ()):
                    return created, False  # the Job goes with its namespace
                refused = True
                message = f"Error creating: {error.message}"
                record(store, sync.job, "Warning", "FailedCreate", message, "job-controller", now)
            else:
                created += 1
                message = f"Created pod: {pod['metadata']['name']}"
                record(store, sync.job, "Normal", "SuccessfulCreate", message, "job-controller", now)
        rest, batch = rest[batch:], batch * 2
    return created, refused


def _delete(store: Store, sync: Sync, pod: Obj, now: float) -> None:
    """Delete one Pod of the Job, with the Pod's own grace period (``RealPodControl.DeletePod``)."""
    meta = pod["metadata"]
    sync.ready -= is_ready(pod)
    sync.terminating += 1
    store.delete("pods", meta["namespace"], meta["name"], now, uid=meta["uid"])
    record(store, sync.job, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}", "job-controller", now)


def _begin(job: Obj, pods: Objs, backoff: Backoff, now: float) -> Sync:
    """Count Pods, old and new (the first half of ``syncJob``)."""
    status = dict(job["status"])
    uncounted = status.setdefault("uncountedTerminatedPods", {})
    active, rest = list[Obj](), list[Obj]()
    for pod in pods:
        (active if is_active(pod) else rest).append(pod)
    sync = Sync(
        job=job,
        pods=pods,
        status=status,
        active=active,
        rest=rest,
        ready=sum(map(is_ready, active)),
        terminating=sum(map(is_terminating, rest)),
        backoff=backoff,
    )
    valid = [pod for pod in rest if tracked(pod) and (not is_indexed(job) or _valid_index(job, pod))]
    succeeded = [pod for pod in valid if phase(pod) == "Succeeded"]
    failed = [pod for pod in valid if is_failed(pod, job) and pod["metadata"]["uid"] not in uncounted.get("failed", ())]
    sync.backoff = backoff.after(succeeded, failed)
    counted = [pod for pod in failed if failure_rule(job, pod)[0] != "Ignore"]
    sync.failed = status.get("failed", 0) + len(counted) + len(uncounted.get("failed", ()))
    sync.succeeded = status.get("succeeded", 0) + len(succeeded)
    if is_indexed(job):
        within = {
            each for each in parse_indexes(status.get("completedIndexes", "")) if each < job["spec"]["completions"]
        }
        sync.indexes = within | {index_of(pod) for pod in succeeded}
        sync.succeeded = len(sync.indexes)
    count_failed_indexes(sync)
    if "startTime" not in status and not sync.suspended:
        status["startTime"] = timestamp(now)
    return sync


def _decide(sync: Sync, now: float) -> None:
    """Whether the Job has to end: a condition to set, in the order ``syncJob`` asks."""
    spec, status = sync.job["spec"], sync.status
    before = condition(status, "SuccessCriteriaMet") or condition(status, "FailureTarget")
    if before:
        sync.finished = before
        return
    for pod in sync.rest:
        if "podFailurePolicy" in spec and is_failed(pod, sync.job):
            action, message = failure_rule(sync.job, pod)
            if action == "FailJob":
                sync.finished = make_condition("FailureTarget", "PodFailurePolicy", message, now)
                return
    if sync.failed > spec["backoffLimit"] or past_backoff_limit_on_failure(sync.job, sync.pods):
        message = "Job has reached the specified backoff limit"
        sync.finished = make_condition("FailureTarget", "BackoffLimitExceeded", message, now)
        return
    _check_deadline(sync, now)
    if not sync.finished:
        failed = failure_of_indexes(sync)
        sync.finished = failed and make_condition("FailureTarget", *failed, now)


def _check_deadline(sync: Sync, now: float) -> None:
    """``pastActiveDeadline``."""
    deadline, status = sync.job["spec"].get("activeDeadlineSeconds"), sync.status
    if deadline is not None and not sync.suspended:
        end = seconds(status["startTime"]) + deadline
        if now >= end:
            message = "Job was active longer than specified deadline"
            sync.finished = make_condition("FailureTarget", "DeadlineExceeded", message, now)
        else:
            sync.look_again(end)


def _complete_or_suspend(store: Store, sync: Sync, active: int, now: float) -> None:
    """The second half of ``syncJob``: completions reached, or the Suspended condition kept up."""
    completions = sync.job["spec"].get("completions")
    enough = sync.succeeded > 0 if completions is None else sync.succeeded >= completions
    if enough and active == 0:
        message = "Reached expected number of succeeded pods"
        sync.finished = make_condition("SuccessCriteriaMet", "CompletionsReached", message, now)
        return
    if "deletionTimestamp" in sync.job["metadata"]:
        return
    verb = "Suspended" if sync.suspended else "Resumed"
    wanted = make_condition(
        "Suspended", f"Job{verb}", f"Job {verb.lower()}", now, "True" if sync.suspended else "False"
    )
    if not ensure_condition(sync.status, wanted):
        return
    record(store, sync.job, "Normal", verb, wanted["message"], "job-controller", now)
    if sync.suspended:
        sync.status.pop("startTime", None)  # MutableSchedulingDirectivesForSuspendedJobs
    else:
        sync.status["startTime"] = timestamp(now)


def _first_pending(sync: Sync, count: int) -> list[int | None]:
    """The lowest indexes without a Pod (``firstPendingIndexes``)."""
    taken = sync.indexes | {index_of(pod) for pod in sync.active}
    taken |= sync.failed_indexes or set()
    if only_replace_failed(sync.job):
        taken |= {index_of(pod) for pod in sync.rest if is_terminating(pod)}
    found: list[int | None] = []
    for index in range(sync.job["spec"]["completions"]):
        if len(found) == count:
            break
        if index not in taken:
            found.append(index)
    return found


def _valid_index(job: Obj, pod: Obj) -> bool:
    return 0 <= index_of(pod) < int(job["spec"].get("completions") or 0)


def _removal_rank(pod: Obj) -> tuple[bool, bool, bool, int]:
    """``ActivePods``: unassigned first, then pending, then not ready, then the newest: the highest index."""
    return bool(pod["spec"].get("nodeName")), phase(pod) == "Running", is_ready(pod), -index_of(pod)


def _own(store: Store, job: Obj, now: float) -> list[Obj]:
    """The Pods whose controller the Job is. One that its selector does not match loses its owner, whoever wrote that
    (``PodControllerRefManager.ClaimPods``)."""
    uid, wanted = job["metadata"]["uid"], ((job["spec"].get("selector") or {}).get("matchLabels") or {}).items()
    own = []
    for pod in store.by_owner(uid):
        meta, owner = pod["metadata"], controller_of(pod)
        if owner is None or owner["uid"] != uid:
            continue
        if wanted <= (meta.get("labels") or {}).items():
            own.append(pod)
        else:
            owners = [each for each in meta["ownerReferences"] if each["uid"] != uid]
            store.update("pods", {**pod, "metadata": {**meta, "ownerReferences": owners}}, now)
    return own


def _release_orphans(store: Store, key: Key, uid: str, now: float) -> None:
    """Pods whose Job is gone lose the finalizer (``syncOrphanPod``), also where another one, ``uid``, has its name."""
    for pod in store.by_label("pods", JOB_NAME, key[1]):
        owner = controller_of(pod)
        if pod["metadata"]["namespace"] == key[0] and tracked(pod) and (owner is None or owner["uid"] != uid):
            store.update("pods", untracked(pod), now)


def _expire(store: Store, job: Obj, now: float) -> float | None:
    """The TTL-after-finished controller."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or "deletionTimestamp" in job["metadata"]:
        return None
    end = condition(job["status"], "Complete", "Failed")
    due = seconds(end["lastTransitionTime"]) + ttl if end else now
    if now < due:
        return float(due)
    meta = job["metadata"]
    store.delete("jobs", meta["namespace"], meta["name"], now, propagation="Foreground")
    return None
