"""What becomes of a JobSet with a failed Job: ``executeFailurePolicy`` of pkg/controllers/failure_policy.go.

The gate RestartJob is off, as it is by default: the webhook refuses RestartJob and RestartJobAndIgnoreMaxRestarts.
"""

from __future__ import annotations

import re

from jobset_restart.simulator.controllers.in_place import REACHED
from jobset_restart.simulator.controllers.jobset_children import REPLICATED_JOB
from jobset_restart.simulator.controllers.jobset_sync import Sync
from jobset_restart.simulator.store import Obj, Objs


def execute_failure_policy(sync: Sync, failed: Objs) -> None:
    """Apply the first rule that matches one of the ``failed`` Jobs, or RestartJobSet."""
    policy = sync.spec.get("failurePolicy")
    if policy is None:
        message = "jobset failed due to one or more job failures"
        sync.fail("FailedJobs", _with_job(message, _first(failed)))
        return
    rule, job = _matching(policy.get("rules") or [], failed)
    action = rule["action"] if rule else "RestartJobSet"
    if action == "FailJobSet":
        sync.fail("FailJobSetFailurePolicyAction", _with_job("applying FailJobSet failure policy action", job))
        return
    counts = action == "RestartJobSet"
    counted = sync.status.get("restartsCountTowardsMax", 0)
    if counts and counted >= policy.get("maxRestarts", 0):
        reason, message = REACHED
        sync.fail(reason, _with_job(message, job))
        return
    sync.set(restarts=sync.restarts + 1)
    if counts:
        sync.set(restartsCountTowardsMax=counted + 1)
    message = _with_job(f"applying {action} failure policy action", job)
    reason = f"FailurePolicy_{rule['name']}" if rule else "DefaultFailurePolicy"
    sync.set_condition("RestartingJobSet", "True", reason, message, "Warning")
    sync.event("Warning", f"{action}FailurePolicyAction", message)


def _matching(rules: Objs, failed: Objs) -> tuple[Obj | None, Obj]:
    """``findFirstFailedPolicyRuleAndJob``; without a rule, the Job that failed first."""
    for rule in rules:
        matched = [job for job in failed if _applies(rule, job)]
        if matched:
            return rule, _first(matched)
    return None, _first(failed)


def _applies(rule: Obj, job: Obj) -> bool:
    """``ruleIsApplicable``."""
    failure = _failure(job)
    reasons = rule.get("onJobFailureReasons")
    patterns = rule.get("onJobFailureMessagePatterns")
    targets = rule.get("targetReplicatedJobs")
    parent = (job["metadata"].get("labels") or {}).get(REPLICATED_JOB)
    return bool(
        parent
        and (not reasons or failure["reason"] in reasons)
        and (not patterns or any(_found(pattern, failure["message"]) for pattern in patterns))
        and (not targets or parent in targets)
    )


def _found(pattern: str, message: str) -> bool:
    """``anyMatchFound``: a pattern that does not compile matches nothing."""
    try:
        return re.search(pattern, message) is not None
    except re.error:
        return False


def _first(failed: Objs) -> Obj:
    """``findFirstFailedJob``."""
    return min(failed, key=lambda job: str(_failure(job)["lastTransitionTime"]))


def _failure(job: Obj) -> Obj:
    conditions = job["status"]["conditions"]
    return next(dict(each) for each in conditions if each["type"] == "Failed" and each["status"] == "True")


def _with_job(message: str, job: Obj) -> str:
    return f"{message} (first failed job: {job['metadata']['name']})"
