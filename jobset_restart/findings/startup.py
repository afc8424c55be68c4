"""JSR506: the order in which a workload starts its Pods."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.triggers.steps import in_steps


@finding(
    "JSR506",
    "note",
    "the workload starts in an order",
    source="spec.startupPolicy InOrder, spec.replicatedJobs[].dependsOn; JobSet, reconcileReplicatedJobs; "
    "LeaderWorkerSet, spec.startupPolicy LeaderReady; KubeRay, DefaultWorkerPodTemplate",
    todo="nothing; the restart keeps the order",
    concerns=lambda trigger: trigger.order != "controller",
)
def startup_order(case: Case) -> Occurrence | None:
    """The JobSet controller keeps startupPolicy InOrder and dependsOn only when it creates Jobs or resumes them. It is
    the same with startupPolicy LeaderReady of a LeaderWorkerSet. In a RayCluster workers wait for their head only when
    their Pods start.

    suspend leaves the order to the controller. image, signal, jobs and pods restart one step after the other, each when
    the one before is Ready again (or complete, where dependsOn says Complete); if one does not come back, the later
    ones are not touched. Until its turn a Pod runs on against what was restarted before it.

    native restarts all Pods at once and lifts the barrier for all of them together, as the JobSet itself does after
    every failure. A Pod that needs another one at its start has to wait for it, or its failure starts the next round
    and counts towards maxRestarts."""
    if not case.snapshot.workload.ordered:
        return None
    wanted = in_steps(case)
    if len(wanted) < 2:
        return None
    told, target = ", then ".join(map(str, wanted)), [case.snapshot.workload.title]
    if case.trigger.order == "at once":
        todo = "use --via image, which keeps the order; or make sure that each program waits for what it needs"
        return Occurrence(
            target, f"{case.trigger} starts all at once what starts as {told}", todo=todo, severity="warning"
        )
    return Occurrence(target, f"one after the other, each when the one before is Ready: {told}")
