"""Back-off and failure of each index by itself (backoffLimitPerIndex): indexed_job_utils.go of pkg/controller/job.

How often an index failed stands in an annotation of its Pod. So a failed Pod is not counted before its successor is
there, or its index failed for good.
"""

from __future__ import annotations

from jobset_restart.simulator.controllers.job_pods import (
    Backoff,
    failure_rule,
    finished_at,
    index_of,
    is_failed,
    parse_indexes,
    tracked,
)
from jobset_restart.simulator.controllers.job_tracking import Sync
from jobset_restart.simulator.store import Obj

FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def count_failed_indexes(sync: Sync) -> None:
    """``calculateFailedIndexes`` and ``getPodsWithDelayedDeletionPerIndex``; nothing without backoffLimitPerIndex."""
    job = sync.job
    if job["spec"].get("backoffLimitPerIndex") is None:
        return
    failed = [
        pod
        for pod in sync.rest
        if tracked(pod) and is_failed(pod, job) and 0 <= index_of(pod) < job["spec"]["completions"]
    ]
    known = parse_indexes(sync.status.get("failedIndexes") or "")
    sync.failed_indexes = known | {index_of(pod) for pod in failed if _fails_its_index(job, pod)}
    settled = sync.indexes | sync.failed_indexes | {index_of(pod) for pod in sync.active}
    for pod in failed:
        index, uncounted = index_of(pod), sync.status["uncountedTerminatedPods"].get("failed", ())
        if index in settled or pod["metadata"]["uid"] in uncounted:
            continue
        other = sync.delayed.get(index)
        if other is None or (_all(other) <= _all(pod) and finished_at(pod) >= finished_at(other)):
            sync.delayed[index] = pod


def failure_of_indexes(sync: Sync) -> tuple[str, str] | None:
    """Reason and message if the Job has to fail because of its failed indexes."""
    spec, failed = sync.job["spec"], len(sync.failed_indexes or ())
    most = spec.get("maxFailedIndexes")
    if sync.failed_indexes is not None and most is not None and failed > most:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if failed and failed + len(sync.indexes) >= spec["completions"]:
        return "FailedIndexes", "Job has failed indexes"
    return None


def indexes_to_add(sync: Sync, pending: list[int | None], now: float) -> tuple[list[int | None], float]:
    """``getPodCreationInfoForIndependentIndexes``: those whose back-off is over; if there are none, when it is."""
    ends = {index: _until(sync.delayed.get(index)) for index in pending if index is not None}
    ready = [index for index in pending if index is not None and ends[index] <= now]
    return list(ready), 0.0 if ready else min(ends.values(), default=0.0)


def with_failures(sync: Sync, index: int | None, pod: Obj) -> Obj:
    """A new Pod with the failures of its index written down (``addIndexFailureCountAnnotation``)."""
    if sync.failed_indexes is None or index is None:
        return pod
    before = sync.delayed.get(index)
    counts = {FAILURES: 0, IGNORED: 0}
    if before is not None:
        counts = {name: _number(before, name) for name in counts}
        counts[IGNORED if failure_rule(sync.job, before)[0] == "Ignore" else FAILURES] += 1
    written = {name: str(count) for name, count in counts.items() if count or name == FAILURES}
    annotations = {**(pod["metadata"].get("annotations") or {}), **written}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}


def _fails_its_index(job: Obj, pod: Obj) -> bool:
    """``isIndexFailed``."""
    action = failure_rule(job, pod)[0]
    counts = action != "Ignore"
    return action == "FailIndex" or (counts and _number(pod, FAILURES) >= job["spec"]["backoffLimitPerIndex"])


def _until(pod: Obj | None) -> float:
    """When an index may have a Pod again (``getRemainingTimePerIndex``)."""
    return 0.0 if pod is None else Backoff(_all(pod) + 1, finished_at(pod)).until()


def _all(pod: Obj) -> int:
    """``getIndexAbsoluteFailureCount``."""
    return _number(pod, FAILURES) + _number(pod, IGNORED)


def _number(pod: Obj, name: str) -> int:
    text = str((pod["metadata"].get("annotations") or {}).get(name, ""))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
