"""The restart strategy InPlaceRestart (KEP-467): ``reconcileInPlaceRestart`` of pkg/controllers/in_place_restart.go.

The agents do the restarting: one whose Pod's attempt is at most ``previousInPlaceRestartAttempt`` exits, one whose
attempt is ``currentInPlaceRestartAttempt`` lifts its barrier.
"""

from __future__ import annotations

from jobset_restart.simulator.controllers.jobset_children import IN_PLACE_ATTEMPT, INVALID
from jobset_restart.simulator.controllers.jobset_sync import Sync
from jobset_restart.simulator.store import Obj, StoreError

REACHED = ("ReachedMaxRestarts", "jobset failed due to reaching max number of restarts")


def in_place(jobset: Obj) -> bool:
    """``isInPlaceRestartStrategy``."""
    policy = (jobset.get("spec") or {}).get("failurePolicy") or {}
    return bool(policy.get("restartStrategy") == "InPlaceRestart")


def reconcile_in_place(sync: Sync) -> None:
    """Bring previous and current attempt up to date, or fail the JobSet. Raises StoreError on a broken annotation."""
    attempts, restarts = sync.children.attempts, sync.children.restarts
    limit = sync.spec["failurePolicy"].get("maxRestarts", 0)
    if max(restarts, default=0) > limit:
        sync.fail(*REACHED)
        return
    if INVALID in attempts:
        why = f"invalid value for annotation {IN_PLACE_ATTEMPT}, must be non-negative integer"
        raise StoreError(500, "InternalError", why)
    highest = max(attempts, default=0)
    if highest - (sync.restarts - sync.status.get("restartsCountTowardsMax", 0)) > limit:
        sync.fail(*REACHED)
        return
    if len(attempts) == 1 and attempts[highest] == _total_pods(sync):
        sync.set(currentInPlaceRestartAttempt=highest)
    elif highest and highest - 1 >= sync.status.get("previousInPlaceRestartAttempt", 0):
        # Never back: the Pod with the highest attempt may be between two lives.
        sync.set(previousInPlaceRestartAttempt=highest - 1)


def _total_pods(sync: Sync) -> int:
    """``getTotalNumberOfPods``; the webhook has seen to it that parallelism is set."""
    return sum(each["replicas"] * each["template"]["spec"]["parallelism"] for each in sync.replicated_jobs)
