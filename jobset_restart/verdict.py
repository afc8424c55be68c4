"""Why an operation ends before its slots do: its JobSet is over, or no longer the one it was claimed as. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from jobset_restart.objects import JobSet
from jobset_restart.snapshot import condition


class Verdict(Struct, frozen=True):
    """Why an operation ended before its slots did: the JobSet is over ("over", exit 5) or no longer ours
    ("superseded", exit 6)."""

    kind: Literal["over", "superseded"]
    reason: str


def verdict_of(jobset: JobSet | None, before: JobSet, *, restarts_expected: bool) -> Verdict | None:
    """What the JobSet as it is now, None where it is gone, means for an operation that began with `before`; None where
    it can go on.

    A JobSet that its controller restarts makes every Pod anew, so what we began is over. It is `restarts_expected`
    where Pods on lost machines are failed on purpose: the JobSet's failure policy may answer that (JobSet,
    failure_policy.go).
    """
    if jobset is None:
        return Verdict("superseded", "the JobSet was deleted")
    if jobset.metadata.uid != before.metadata.uid:
        return Verdict("superseded", "the JobSet was replaced by another")
    if jobset.metadata.deletion_timestamp:
        return Verdict("superseded", "the JobSet is being deleted")
    if failed := condition(jobset.status.conditions, "Failed"):
        return Verdict("over", f"the JobSet failed: {failed.reason}: {failed.message}")
    if condition(jobset.status.conditions, "Completed"):
        return Verdict("over", "the JobSet completed")
    if jobset.status.restarts > before.status.restarts and not restarts_expected:
        return Verdict("superseded", f"the JobSet controller restarted it ({jobset.status.restarts} restarts)")
    return None
