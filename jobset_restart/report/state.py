"""The state of a workload in one word, decided here for a line of a list and for a page of its own. Pure."""

from __future__ import annotations

from jobset_restart.creation import REASONS
from jobset_restart.pods import attempt
from jobset_restart.report import JobSetReport, NotReadyReport
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.jobset import is_native
from jobset_restart.workloads.workload import Workload

ON_ITS_WAY = ("starting", "pending", "missing")


def state_of(report: JobSetReport, workload: Workload, snapshot: Snapshot | None, rows: list[NotReadyReport]) -> str:
    """Running, Starting, Degraded, Restarting, Suspended, Completed, Failed or Deleting.

    `report` has the counts and the operation; `rows` are the slots that are not ready. Without a `snapshot` the Pods
    were not read, and what only they can tell is not guessed: NotReady then stands for Starting, Degraded and a restart
    in place by the workload's own controller."""
    whole = _whatever_the_pods_do(report, workload)
    if whole:
        return whole
    if workload.lacking:
        refused = snapshot is not None and workload.parent_uid in snapshot.refusals
        return "Degraded" if refused else "Starting"
    if report.ready >= report.expected:
        return "Running"
    if snapshot is None:
        return "NotReady"
    if is_native(workload.jobset) and len({attempt(pod) for pod in snapshot.pods()}) > 1:
        return "Restarting"
    return "Starting" if all(_on_its_way(row) for row in rows) else "Degraded"


def _whatever_the_pods_do(report: JobSetReport, workload: Workload) -> str:
    """A workload that a running restart suspended is restarting."""
    if workload.metadata.deletion_timestamp:
        return "Deleting"
    if over := workload.over():
        return over.state
    if report.operation and report.operation.state == "running":
        return "Restarting"
    if workload.suspended:
        return "Suspended"
    return "Restarting" if workload.restarting else ""


def _on_its_way(row: NotReadyReport) -> bool:
    """Whether the slot comes without help, as far as can be seen: nobody was refused its Pod or Job."""
    return row.state in ON_ITS_WAY and row.reason not in {*REASONS, "Unschedulable"}
