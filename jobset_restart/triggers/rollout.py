"""The `rollout` trigger: a LeaderWorkerSet rolls its groups when the template of its Pods changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import controllers, in_turn, making, stopping
from jobset_restart.earlier import Earlier
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.steps import freed, slots_of
from jobset_restart.workloads.leaderworkerset import LeaderWorkerSetWorkload
from jobset_restart.writes import Write

RESTARTED_BY = "jobset-restart.io/restarted-by"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout(Trigger):
    def offered(self, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Only where it is asked for: it leaves a new revision behind, and takes its time."""
        return False

    def stages(self, case: Case, operation: str) -> list[Stage]:
        workload = case.snapshot.workload
        template = {"metadata": {"annotations": {RESTARTED_BY: operation}}}
        write = Write(
            verb="patch",
            path=workload.path,
            body={"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}},
            uid=workload.metadata.uid,
        )
        return filled([Stage(name="trigger", actions=[write], slots=slots_of((*case.scope, *case.lost))), freed(case)])

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        """The one write leaves all slots to the controller, and its mark tells whether it went out: a slot without a
        Pod tells nothing, for it may have been empty before."""
        workload = case.snapshot.workload
        sent = isinstance(workload, LeaderWorkerSetWorkload) and workload.rolled_out_by == earlier.id
        return [] if sent or not unfinished else super().remaining(case, earlier, unfinished=unfinished)

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        """One group after the other: two groups of three took 11 s (LeaderWorkerSet v0.8)."""
        groups = len({state.slot.unit for state in (*case.scope, *case.lost)})
        return [in_turn(part, groups) for part in (stopping(case), controllers(case), making(case))]


ROLLOUT = Rollout(
    name="rollout",
    strategy="recreate",
    reach="workload",
    why="the controller replaces group after group, within its maxUnavailable",
    survives=("the LeaderWorkerSet", "as many groups at a time as its rolling update keeps", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir", "the revision: a new one is made"),
    order="controller",
    jobs_count=False,
)
