"""JSR7xx: what a Ray cluster makes of a restart."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import count, named
from jobset_restart.triggers.pods import PODS
from jobset_restart.workloads.ray import HEAD, RayJobWorkload, RayWorkload
from jobset_restart.workloads.workload import SlotState


def _heads(case: Case) -> list[SlotState]:
    """The head, where it is among those that are restarted."""
    return [state for state in case.meant if state.slot.group == HEAD and state.pod]


@finding(
    "JSR701",
    "warning",
    "a new head ends the workers that are not restarted with it",
    source="Ray, GCS fault tolerance; KubeRay, utils/util.go IsGCSFaultToleranceEnabled",
    todo="restart the whole RayCluster, or give it GCS fault tolerance (spec.gcsFaultToleranceOptions)",
)
def workers_do_not_outlive_the_head(case: Case) -> Occurrence | None:
    """The global control store of a Ray cluster is in its head's memory. Where it is not kept elsewhere as well (GCS
    fault tolerance, with an external Redis), workers that lose their head end: the kubelet restarts their containers
    under restartPolicy Always, and their Pods fail under Never. It does not matter whether the head's Pod or only its
    container is new."""
    workload = case.snapshot.workload
    if not isinstance(workload, RayWorkload) or not workload.head_is_alone_in_memory or not _heads(case):
        return None
    meant = {state.slot for state in case.meant}
    others = [state for state in case.snapshot.slots.values() if state.pod and state.slot not in meant]
    if not others:
        return None
    return Occurrence(named(others), f"{count(len(others), 'worker')} would lose the head")


@finding(
    "JSR702",
    "warning",
    "the submission of the RayJob ends with its Ray cluster",
    source="KubeRay, rayjob_controller.go; spec.backoffLimit of the RayJob",
    todo="make sure that what was submitted can begin again, from a checkpoint; or submit it anew",
)
def submission_ends(case: Case) -> Occurrence | None:
    """A RayJob runs one submission on its RayCluster. The driver is a process in the head, so restarting the head ends
    it; restarting workers takes away tasks and actors, which Ray tries again as far as they allow it. A submission that
    fails is tried again on a new RayCluster as often as the RayJob's backoffLimit says (default 0)."""
    workload = case.snapshot.workload
    if not isinstance(workload, RayJobWorkload) or not workload.running:
        return None
    what = "its driver runs in the head" if _heads(case) else "its tasks run in the workers"
    return Occurrence([workload.title], f"a submission is running, and {what}")


@finding(
    "JSR703",
    "blocker",
    "a head that is deleted would not come back",
    source="KubeRay, raycluster_controller.go reconcilePods: annotation ray.io/disable-provisioned-head-restart",
    todo="use --in-place, which keeps the head's Pod",
    concerns=only(PODS),
    final=True,
)
def head_stays_gone(case: Case) -> Occurrence | None:
    """The RayCluster of a RayJob in sidecar mode carries an annotation by which the operator makes no second head: with
    the first one the submission is over."""
    workload = case.snapshot.workload
    heads = _heads(case)
    if not isinstance(workload, RayWorkload) or not workload.head_is_not_replaced or not heads:
        return None
    return Occurrence(named(heads), "the operator does not make a second head for this RayCluster")
