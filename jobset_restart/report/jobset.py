"""A snapshot as a report: what `jsr status` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart import claim
from jobset_restart.findings.nodes import dead
from jobset_restart.objects import ContainerStatus, Job, JobSet, Pod
from jobset_restart.plan import Plan
from jobset_restart.report import (
    BudgetReport,
    JobSetReport,
    NotReadyReport,
    OperationReport,
    ReplicatedJobReport,
)
from jobset_restart.report.plan import advice
from jobset_restart.rules import (
    UNLIMITED,
    attempt_headroom,
    back_off_left,
    container_restart_headroom,
    counted_restarts,
    ended_for_good,
    max_restarts,
)
from jobset_restart.snapshot import (
    SlotState,
    Snapshot,
    age,
    attempt,
    condition,
    is_native,
    pods_per_job,
    ready_condition,
    statuses,
    why,
)
from jobset_restart.triggers import mark_of


def jobset_report(snapshot: Snapshot, plan: Plan | None = None) -> JobSetReport:
    """Everything about one JobSet; with a plan, also what a restart would do now."""
    jobset, now = snapshot.jobset, snapshot.time
    report = _base(jobset, now)
    wanted = [s for s in snapshot.slots.values() if not s.completed]
    report.ready = sum(s.ready for s in wanted)
    report.expected = len(wanted)
    report.replicated_jobs = [_replicated_job(snapshot, r.name) for r in jobset.spec.replicated_jobs]
    report.container_restarts = sum(r.container_restarts for r in report.replicated_jobs)
    report.not_ready = [not_ready(s, now) for s in wanted if not s.ready]
    report.budgets = _budgets(snapshot)
    report.operation = _operation(snapshot)
    report.advice = advice(plan) if plan else None
    report.notes = [*snapshot.notes, *_notes(snapshot, now)]
    report.state = _state(snapshot, report)
    return report


def line_report(jobset: JobSet, jobs: Iterable[Job], now: float) -> JobSetReport:
    """One JobSet of a list, from the counters of its Jobs: no Pod has to be read."""
    report = _base(jobset, now)
    mine = [job for job in jobs if any(o.uid == jobset.metadata.uid for o in job.metadata.owner_references)]
    for replicated_job in jobset.spec.replicated_jobs:
        own = [job for job in mine if job.metadata.labels.replicated_job_name == replicated_job.name]
        succeeded = sum(job.status.succeeded for job in own)
        expected = replicated_job.replicas * pods_per_job(replicated_job) - succeeded
        row = ReplicatedJobReport(
            name=replicated_job.name,
            ready=sum(job.status.ready for job in own),
            expected=max(0, expected),
            jobs=len(own),
            succeeded=succeeded,
        )
        report.replicated_jobs.append(row)
    report.ready = sum(r.ready for r in report.replicated_jobs)
    report.expected = sum(r.expected for r in report.replicated_jobs)
    found = claim.lock(jobset)
    report.operation = _record(found, now) if found else None
    report.state = _final_state(report, jobset) or _moving_state(report, jobset)
    return report


def _base(jobset: JobSet, now: float) -> JobSetReport:
    status, policy = jobset.status, jobset.spec.failure_policy
    return JobSetReport(
        name=jobset.metadata.name,
        namespace=jobset.metadata.namespace,
        uid=jobset.metadata.uid,
        state="",
        ready=0,
        expected=0,
        age=age(jobset.metadata.creation_timestamp, now),
        restart_strategy=policy.restart_strategy if policy else "",
        restarts=status.restarts,
        restarts_towards_max=status.restarts_count_towards_max,
        max_restarts=max_restarts(jobset),
        previous_in_place_attempt=status.previous_in_place_restart_attempt,
        current_in_place_attempt=status.current_in_place_restart_attempt,
    )


# ---------------------------------------------------------------- states


def _final_state(report: JobSetReport, jobset: JobSet) -> str:
    """The states that hold whatever the Pods do. A JobSet that a running restart suspended is restarting."""
    if jobset.metadata.deletion_timestamp:
        return "Deleting"
    for kind in ("Completed", "Failed"):
        if condition(jobset.status.conditions, kind):
            return kind
    if report.operation and report.operation.state == "running":
        return "Restarting"
    return "Suspended" if jobset.spec.suspend else ""


def _moving_state(report: JobSetReport, jobset: JobSet) -> str:
    if condition(jobset.status.conditions, "RestartingJobSet"):
        return "Restarting"
    return "Running" if report.ready >= report.expected else "Degraded"


def _state(snapshot: Snapshot, report: JobSetReport) -> str:
    final = _final_state(report, snapshot.jobset)
    if final:
        return final
    attempts = {attempt(pod) for pod in snapshot.pods()} if is_native(snapshot.jobset) else set()
    if len(attempts) > 1 and report.ready < report.expected:
        return "Restarting"
    moving = _moving_state(report, snapshot.jobset)
    if moving == "Degraded" and all(row.state in ("starting", "pending", "missing") for row in report.not_ready):
        return "Starting"
    return moving


def not_ready(state: SlotState, now: float) -> NotReadyReport:
    """Why the slot is not ready: the machine first, then the Pod, then its containers."""
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


# ---------------------------------------------------------------- parts


def _replicated_job(snapshot: Snapshot, name: str) -> ReplicatedJobReport:
    mine = [s for s in snapshot.slots.values() if s.slot.replicated_job == name]
    return ReplicatedJobReport(
        name=name,
        ready=sum(s.ready for s in mine if not s.completed),
        expected=sum(not s.completed for s in mine),
        jobs=len({s.slot.job_index for s in mine}),
        succeeded=sum(s.completed for s in mine),
        container_restarts=sum(c.restart_count for s in mine if s.pod for c in statuses(s.pod)),
        nodes=len({s.node_name for s in mine if s.node_name}),
    )


def _budgets(snapshot: Snapshot) -> list[BudgetReport]:
    """Every limit that has a bound, the one with the least headroom first."""
    jobset = snapshot.jobset
    rows = []
    if is_native(jobset):
        pods, limit = list(snapshot.pods()), max_restarts(jobset)
        for name, headroom in (
            ("maxRestarts, in-place attempts", attempt_headroom(jobset, pods)),
            ("maxRestarts, restarts of one container", container_restart_headroom(jobset, pods)),
        ):
            meaning = "the JobSet fails for good when it is exceeded"
            row = BudgetReport(name=name, limit=limit, used=limit - headroom, headroom=headroom, meaning=meaning)
            rows.append(row)
    else:
        used, limit = jobset.status.restarts_count_towards_max, max_restarts(jobset)
        meaning = "restarts of the JobSet by its failure policy"
        rows.append(BudgetReport(name="maxRestarts", limit=limit, used=used, headroom=limit - used, meaning=meaning))
    rows += [_job_budget(snapshot, job) for job in snapshot.jobs if job.spec.backoff_limit < UNLIMITED]
    return sorted(rows, key=lambda row: (row.headroom, row.name))


def _job_budget(snapshot: Snapshot, job: Job) -> BudgetReport:
    name, limit = f"Job {job.metadata.name} backoffLimit", job.spec.backoff_limit
    if job.spec.template.spec.restart_policy == "OnFailure":
        pods = [s.pod for s in snapshot.slots.values() if s.job is job and s.pod is not None]
        used, meaning = counted_restarts(pods), "container restarts of all its Pods; at the limit the Job fails"
        return BudgetReport(name=name, limit=limit, used=used, headroom=max(0, limit - used - 1), meaning=meaning)
    used, meaning = job.status.failed, "failed Pods; beyond the limit the Job fails"
    return BudgetReport(name=name, limit=limit, used=used, headroom=limit - used, meaning=meaning)


def _record(found: claim.Lock, now: float) -> OperationReport:
    """What the annotation tells of an operation; little where another version wrote it."""
    held, record = claim.live(found, now), found.record
    if record is None:
        return OperationReport(
            id=found.id,
            owner=found.owner,
            strategy="",
            trigger=found.trigger,
            state="running" if held else found.state if found.state in ("detached", "finished") else "lapsed",
            started="",
            reason=f"its record cannot be read: {found.flaw}",
            phase=found.phase,
        )
    state: str = record.state
    if state == "running" and not held:
        state = "lapsed"
    return OperationReport(
        id=record.id,
        owner=record.owner,
        strategy=record.strategy,
        trigger=record.trigger,
        state=state,
        started=record.started,
        deadline=record.deadline,
        heartbeat=record.heartbeat,
        ended=record.ended,
        exit_code=record.exit_code,
        reason=record.reason,
        outcomes=record.outcomes,
        total=record.slots,
        phase=record.phase,
    )


def _operation(snapshot: Snapshot) -> OperationReport | None:
    found = claim.lock(snapshot.jobset)
    if found is None:
        return None
    report, record = _record(found, snapshot.time), found.record
    if record is not None and report.state != "finished":
        report.done = sum(_back(state, record) for state in _meant(snapshot, record))
    return report


def _meant(snapshot: Snapshot, record: claim.Record) -> list[SlotState]:
    try:
        parts = record.parts()
    except ValueError:
        parts = None
    states = [state for state in snapshot.slots.values() if not state.completed]
    return [s for s in states if any(s.slot in part for part in parts)] if parts else states


def _back(state: SlotState, record: claim.Record) -> bool:
    """Whether the slot has been through the operation and is Ready, as far as the cluster alone tells."""
    pod = state.pod
    if pod is None or not state.ready:
        return False
    if record.trigger == "native":
        return (attempt(pod) or 0) >= (record.attempt or 0)
    if record.trigger == "image":
        operation, before = mark_of(pod)
        scope = record.request.containers or tuple(c.name for c in pod.spec.containers)
        counts = {s.name: s.restart_count for s in statuses(pod)}
        return operation == record.id and all(counts.get(name, 0) > before.get(name, 0) for name in scope)
    if record.trigger == "signal":
        return all((s.state.running.started_at or "") >= record.started[:19] for s in statuses(pod) if s.state.running)
    return (pod.metadata.creation_timestamp or "")[:19] >= record.started[:19]


def _notes(snapshot: Snapshot, now: float) -> list[str]:
    jobset, notes = snapshot.jobset, []
    for kind in ("Failed", "Completed"):
        over = condition(jobset.status.conditions, kind)
        if over:
            notes.append(f"{kind}: {over.reason}: {over.message}")
    left = claim.left_suspended(jobset, now)
    if left:
        notes.append(
            f"suspended by operation {left.id} of {left.owner}, whose client is gone; "
            f"`jsr restart {jobset.metadata.name}` resumes it"
        )
    return notes
