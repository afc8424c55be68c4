"""The `requeue` trigger: Kueue evicts a workload and admits it again, and all its Pods are made anew. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import all_anew
from jobset_restart.earlier import Earlier
from jobset_restart.rules import replaces_only_failed
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.nodes import freeing
from jobset_restart.writes import Write


def activate(path: str, uid: str, active: bool) -> Write:
    """Sets spec.active of Kueue's Workload: without it Kueue evicts the workload, suspends it and gives its quota
    free; with it the workload is queued again (Kueue, workload_controller.go)."""
    return Write(verb="patch", path=path, body={"spec": {"active": active}}, uid=uid)


@dataclass(frozen=True, kw_only=True, eq=False)
class Requeue(Trigger):
    def offered(self, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Only where it is asked for: others may take the quota in between."""
        return False

    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        admission = case.snapshot.admission
        if admission is None:
            return []
        stuck = [s for s in case.lost if case.taint or (s.job and replaces_only_failed(s.job))]
        evict, readmit = (activate(admission.path, admission.uid, active) for active in (False, True))
        return filled(
            [
                Stage(name="evict", actions=[evict]),
                freeing(case, stuck),
                Stage(name="readmit", actions=[readmit], after="stopped"),
            ]
        )

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        """Kueue's Workload tells how far it came: inactive, it has to be admitted again; active, with no Pod left from
        before, it waits for its quota or is back."""
        admission = case.snapshot.admission
        if admission is None or (admission.active and not unfinished):
            return []
        return [s for s in self.stages(case, earlier.id) if admission.active or s.name != "evict"]

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        return all_anew(case)


REQUEUE = Requeue(
    name="requeue",
    strategy="recreate",
    reach="workload",
    why="Kueue evicts the workload and admits it again, which is its own way to make every Pod anew",
    survives=("{owners}", "Kueue's Workload", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir", "the quota, until Kueue admits it again"),
    order="controller",
    suspends=True,
    jobs_count=False,
)
