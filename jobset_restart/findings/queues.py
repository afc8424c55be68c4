"""What Kueue has a say in: workloads in its queues."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, Severity, finding, only
from jobset_restart.findings.words import ways
from jobset_restart.prediction import predicted
from jobset_restart.suspension import queue
from jobset_restart.triggers.requeue import REQUEUE
from jobset_restart.triggers.suspend import SUSPEND

READY_SECONDS = 300.0
"""waitForPodsReady.timeout where Kueue's configuration does not say, and recoveryTimeout is the same (Kueue,
apis/config/v1beta2, defaults.go)."""


@finding(
    "JSR501",
    "blocker",
    "Kueue owns spec.suspend of this workload",
    source="Kueue, jobframework: label kueue.x-k8s.io/queue-name",
    todo="recreate a JobSet with --via jobs, which keeps it admitted; or restart in place",
    concerns=only(SUSPEND),
)
def kueue(case: Case) -> Occurrence | None:
    """Kueue suspends and resumes the workloads of its queues to admit them. One that is suspended behind its back is
    resumed 0.02 to 0.06 seconds later, with its old and new Pods side by side, or only some of them replaced; or it is
    evicted, and then queues for its resources again."""
    workload = case.snapshot.workload
    name = queue(workload.metadata)
    if not name:
        return None
    recreate = ways(case, "jobs")
    kept = f"recreate with {recreate}: it stays admitted" if recreate else "restart in place: it stays admitted"
    todo = f"{kept}; or have Kueue recreate it, with --via requeue"
    return Occurrence([workload.title], f"it is in queue {name}", todo)


@finding(
    "JSR513",
    "warning",
    "the quota is free in between",
    source="Kueue, workload_controller.go: an inactive Workload is evicted, its quota released",
    todo="make sure that nobody waits for it, or restart in place, which leaves the quota alone; see "
    "`kubectl get workloads.kueue.x-k8s.io`",
    concerns=only(REQUEUE),
)
def quota_is_free(case: Case) -> Occurrence | None:
    """requeue makes Kueue evict the workload (spec.active false of its Workload), waits until its Pods are gone, and
    has it queued again (spec.active true). Kueue gives up its quota in between, and whoever waits in the queue may take
    it: then the workload waits until there is room again, and this restart with it, until its deadline. It is queued
    all the same after that."""
    name = queue(case.snapshot.workload.metadata)
    return Occurrence([case.snapshot.workload.title], f"others in queue {name} may take it first") if name else None


@finding(
    "JSR514",
    "blocker",
    "there is no Workload of Kueue to requeue",
    source="Kueue, jobframework: Workload with the label kueue.x-k8s.io/job-uid and a controller reference",
    todo="see `kubectl get workloads.kueue.x-k8s.io`, and whether you may list them; or use another trigger",
    concerns=only(REQUEUE),
    final=True,
)
def no_workload(case: Case) -> Occurrence | None:
    """Kueue queues, admits and evicts by an object of its own, a Workload, which it makes for each JobSet or Job that
    names a queue. It is found by the UID of what it is for, in a label and a controller reference."""
    workload = case.snapshot.workload
    if case.snapshot.admission is not None or not queue(workload.metadata):
        return None
    return Occurrence([workload.title], f"none with the UID of {workload.title} can be seen")


@finding(
    "JSR515",
    "note",
    "Kueue watches whether all Pods are Ready",
    source="Kueue, waitForPodsReady: recoveryTimeout, by default its timeout, 5 minutes; Workload condition PodsReady",
    todo="look up recoveryTimeout in Kueue's configuration: no object of the API shows it",
)
def watched_for_ready(case: Case) -> Occurrence | None:
    """With waitForPodsReady, Kueue evicts a workload whose Pods are not all Ready again within recoveryTimeout: all its
    Pods are deleted, also those that were never restarted, it is queued again after a back-off, and may be deactivated
    in the end (requeuingStrategy.backoffLimitCount).

    That Kueue watches shows in the condition PodsReady of its Workload; for how long it waits does not, so it can't be
    compared with the time that the restart should take. Where that is more than the 5 minutes that are Kueue's default,
    this is a warning."""
    admission = case.snapshot.admission
    if admission is None or not admission.watches_pods:
        return None
    most = predicted(case).high
    summary = f"not all Ready may be for up to {most:.0f} s; how long Kueue waits (recoveryTimeout) cannot be seen"
    severity: Severity | None = "warning" if most > READY_SECONDS else None
    return Occurrence([admission.title], summary, severity=severity)
