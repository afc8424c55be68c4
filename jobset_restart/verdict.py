"""Why an operation ends before its slots do: its workload is over, or no longer the one it was claimed as. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from jobset_restart.containers import mark_of
from jobset_restart.objects import Pod
from jobset_restart.plan import Plan
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
    failure_policy.go); and where the controller was asked to.
    """
    the, carrier = f"the {before.kind.kind}", f"the {before.carrier.kind}"
    if newer is None:
        return Verdict("superseded", f"{carrier} was deleted")
    if before.metadata.uid and newer.metadata.uid != before.metadata.uid:
        return Verdict("superseded", f"{carrier} was replaced by another")
    if newer.metadata.deletion_timestamp:
        return Verdict("superseded", f"{carrier} is being deleted")
    if ended := newer.over():
        why = f"failed: {ended.reason}: {ended.message}" if ended.state == "Failed" else "completed"
        return Verdict("over", f"{the} {why}")
    replaced = "" if restarts_expected else before.replaced(newer)
    return Verdict("superseded", replaced) if replaced else None


class Neighbours:
    """Other operations at the same Pods, where the claim on the workload does not keep them away: each leaves its mark
    on a Pod that it restarts by `image`. `known` are the operations that may have left one already."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    @classmethod
    def of(cls, plan: Plan) -> Neighbours | None:
        if not plan.snapshot.workload.shares_its_pods:
            return None
        return cls(frozenset((plan.operation, *(mark_of(pod)[0] for pod in plan.snapshot.pods()))))

    def verdict(self, pod: Pod) -> Verdict | None:
        """That another operation has begun to restart this Pod, None where none has."""
        other = mark_of(pod)[0]
        if not other or other in self._known:
            return None
        return Verdict("superseded", f"Pod {pod.metadata.name} is being restarted by another operation ({other})")
