"""Why an operation ends before its slots do: its workload is over, or no longer the one it was claimed as. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from jobset_restart.workloads.workload import Workload


class Verdict(Struct, frozen=True):
    """Why an operation ended before its slots did: the workload is over ("over", exit 5) or no longer ours
    ("superseded", exit 6)."""

    kind: Literal["over", "superseded"]
    reason: str


def verdict_of(newer: Workload | None, before: Workload, *, restarts_expected: bool) -> Verdict | None:
    """What the workload as it is now, None where it is gone, means for an operation that began with `before`; None
    where it can go on.

    A workload that its controller restarts makes every Pod anew, so what we began is over. It is `restarts_expected`
    where Pods on lost machines are failed on purpose: a JobSet's failure policy may answer that (JobSet,
    failure_policy.go).
    """
    the = f"the {before.kind.kind}"
    if newer is None:
        return Verdict("superseded", f"{the} was deleted")
    if newer.metadata.uid != before.metadata.uid:
        return Verdict("superseded", f"{the} was replaced by another")
    if newer.metadata.deletion_timestamp:
        return Verdict("superseded", f"{the} is being deleted")
    if ended := newer.over():
        why = f"failed: {ended.reason}: {ended.message}" if ended.state == "Failed" else "completed"
        return Verdict("over", f"{the} {why}")
    replaced = "" if restarts_expected else before.replaced(newer)
    return Verdict("superseded", replaced) if replaced else None
