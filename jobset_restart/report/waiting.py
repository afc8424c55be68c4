"""Why a slot is not ready: the machine, the Pod, its containers, or who could not create it. Pure."""

from __future__ import annotations

from jobset_restart.creation import last_seen
from jobset_restart.creation import reason as reason_of
from jobset_restart.health import dead
from jobset_restart.objects import ContainerStatus, Pod
from jobset_restart.pods import age, condition, ready_condition, statuses, why
from jobset_restart.report import NotReadyReport
from jobset_restart.rules import back_off_left, ended_for_good
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.workload import SlotState


def waiting(snapshot: Snapshot) -> list[NotReadyReport]:
    """A row for each slot that should have a Ready Pod and has none."""
    rows = []
    for state in snapshot.slots.values():
        if not state.expected or state.ready:
            continue
        rows.append(not_ready(state, snapshot.time) if state.pod else _missing(snapshot, state))
    return rows


def _missing(snapshot: Snapshot, state: SlotState) -> NotReadyReport:
    """A slot without a Pod, in the words of the Job that could not create it, or of the workload without the Job."""
    workload = snapshot.workload
    uid = state.job.metadata.uid if state.job else workload.parent_uid
    row = NotReadyReport(
        slot=str(state.slot), state="missing", reason="no Pod" if state.job or not workload.made_of_jobs else "no Job"
    )
    refused = snapshot.refusals.get(uid)
    if refused is not None:
        row.reason, row.message = refused.reason, reason_of(refused)
        row.age = max(0.0, snapshot.time - last_seen(refused)) if last_seen(refused) else None
    elif state.job is None:
        row.message = workload.held_back(state.slot.group)
    return row


def not_ready(state: SlotState, now: float) -> NotReadyReport:
    """Why the Pod of this slot is not ready."""
    pod = state.pod
    if pod is None:
        return NotReadyReport(slot=str(state.slot), state="missing", reason="no Pod")
    row = NotReadyReport(
        slot=str(state.slot),
        state="not ready",
        reason=pod.status.reason,
        pod=pod.metadata.name,
        node=pod.spec.node_name,
        message=pod.status.message,
        restarts=sum(s.restart_count for s in statuses(pod)),
        age=_since(pod, now),
    )
    if dead(state) and state.node:
        ready = ready_condition(state.node.status.conditions)
        row.state, row.reason = "node down", (ready.reason if ready else "") or "NotReady"
        row.age = age(ready.last_transition_time, now) if ready else None
        if pod.metadata.deletion_timestamp:
            row.message = "Terminating, which a dead node cannot finish"
    elif pod.metadata.deletion_timestamp:
        row.state, row.reason, row.age = "terminating", "Terminating", age(pod.metadata.deletion_timestamp, now)
    elif pod.status.phase in ("Failed", "Succeeded"):
        row.state = pod.status.phase.lower()
        row.reason = row.reason or _ended(pod)
    else:
        _blame_container(row, pod, now)
    return row


def _since(pod: Pod, now: float) -> float | None:
    ready = ready_condition(pod.status.conditions)
    return age(ready.last_transition_time if ready else pod.metadata.creation_timestamp, now)


def _ended(pod: Pod) -> str:
    return ", ".join(f"{s.name}: {why(s)}" for s in pod.status.container_statuses if s.state.terminated)


def _blame_container(row: NotReadyReport, pod: Pod, now: float) -> None:
    if condition(pod.status.conditions, "AllContainersRestarting"):
        row.state, row.reason = "restarting", "RestartingAllContainers"
        return
    for status in statuses(pod):
        if status.state.running is not None and (status.ready or status.started):
            continue
        reason = why(status)
        if not reason or reason == "Completed (exit 0)":
            continue
        row.container, row.reason, row.restarts = status.name, reason, status.restart_count
        row.message = status.state.waiting.message if status.state.waiting else ""
        row.back_off = None if _stays_down(status, pod) else back_off_left(status, now)
        row.state = "starting" if reason in ("ContainerCreating", "PodInitializing") else "not ready"
        if row.state == "not ready":
            return
    if row.container:
        return
    unmet = next(
        (c for c in pod.status.conditions if c.status == "False" and c.type in ("PodScheduled", "Ready")), None
    )
    if unmet is not None:
        row.state = "pending" if unmet.type == "PodScheduled" else "not ready"
        row.reason, row.message = unmet.reason, unmet.message
    elif pod.status.phase == "Pending":
        row.state, row.reason = "pending", "Pending"


def _stays_down(status: ContainerStatus, pod: Pod) -> bool:
    container = next((c for c in (*pod.spec.init_containers, *pod.spec.containers) if c.name == status.name), None)
    return container is not None and ended_for_good(status, container, pod.spec)
