"""A snapshot as a report: what `jsr status` shows. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from jobset_restart import claim
from jobset_restart.commands import jsr
from jobset_restart.creation import reason
from jobset_restart.objects import Job, Pod
from jobset_restart.places import at_once, wanted
from jobset_restart.plan import Plan
from jobset_restart.pods import age, statuses
from jobset_restart.report import (
    BudgetReport,
    JobSetReport,
    ReplicatedJobReport,
)
from jobset_restart.report.operation import as_recorded, operation_of
from jobset_restart.report.plan import advice
from jobset_restart.report.state import state_of
from jobset_restart.report.waiting import waiting
from jobset_restart.rules import (
    UNLIMITED,
    attempt_headroom,
    container_restart_headroom,
    counted_restarts,
    max_restarts,
)
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.jobset import is_native
from jobset_restart.workloads.kinds import JOBSET, WorkloadKind
from jobset_restart.workloads.workload import SlotState, Workload


def jobset_report(snapshot: Snapshot, plan: Plan | None = None) -> JobSetReport:
    """Everything about one workload; with a plan, also what a restart would do now."""
    now = snapshot.time
    report = _base(snapshot.workload, now)
    report.context = snapshot.context
    report.operation = operation_of(snapshot)
    _count(report, snapshot)
    report.container_restarts = sum(r.container_restarts for r in report.replicated_jobs)
    report.budgets = _budgets(snapshot)
    report.advice = advice(plan, report.operation) if plan else None
    report.notes = [*snapshot.owners, *snapshot.notes, *_notes(snapshot, now)]
    return report


def _count(report: JobSetReport, snapshot: Snapshot) -> None:
    """The counts and the state, from the Pods."""
    expected = [s for s in snapshot.slots.values() if s.expected]
    report.ready = sum(s.ready for s in expected)
    report.expected = len(expected)
    report.replicated_jobs = _replicated_jobs(snapshot)
    report.not_ready = waiting(snapshot)
    report.state = state_of(report, snapshot.workload, snapshot, report.not_ready)


def line_report(workload: Workload, jobs: Iterable[Job], now: float) -> JobSetReport:
    """One workload of a list, from the counters of its Jobs: no Pod is read as long as all are Ready. One that is not
    made of Jobs has only its size yet: its Pods tell the rest."""
    report = _base(workload, now)
    if not workload.made_of_jobs:
        sizes = Counter(slot.group for slot in workload.fill((), ()).slots)
        report.replicated_jobs = [ReplicatedJobReport(name=g, ready=0, expected=n) for g, n in sizes.items()]
        return _stated(report, workload, now)
    by_group: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if workload.owns(job):
            by_group[workload.unit_of(job)[0]].append(job)
    templates = (
        {each.name: each.template.spec for each in workload.jobset.spec.replicated_jobs} if workload.jobset else {}
    )
    for group in workload.groups:
        own = by_group[group]
        replicas = workload.jobs_wanted.get(group, len(own))
        missing = max(0, replicas - len(own)) * at_once(templates[group]) if group in templates else 0
        row = ReplicatedJobReport(
            name=group,
            ready=sum(job.status.ready for job in own),
            expected=missing + sum(wanted(job, job.status.succeeded, job.status.active) for job in own),
            jobs=len(own),
            expected_jobs=replicas,
            succeeded=sum(job.status.succeeded for job in own),
        )
        report.replicated_jobs.append(row)
    return _stated(report, workload, now)


def _stated(report: JobSetReport, workload: Workload, now: float) -> JobSetReport:
    """The line with what its groups come to."""
    report.ready = sum(r.ready for r in report.replicated_jobs)
    report.expected = sum(r.expected for r in report.replicated_jobs)
    found = claim.lock(workload)
    report.operation = as_recorded(found, now) if found else None
    report.state = state_of(report, workload, None, [])
    return report


def refine(report: JobSetReport, snapshot: Snapshot) -> None:
    """Decides the state of a line by its Pods, as `jobset_report` does, where the counters of its Jobs could not."""
    _count(report, snapshot)
    report.container_restarts = sum(r.container_restarts for r in report.replicated_jobs)


def unreadable(name: str, namespace: str, error: str, kind: WorkloadKind = JOBSET) -> JobSetReport:
    """The line of a workload that cannot be read."""
    return JobSetReport(
        name=name,
        workload_kind=kind.kind,
        workload_group=kind.group,
        namespace=namespace,
        state="Unreadable",
        ready=0,
        expected=0,
        notes=[f"cannot be read: {error}"],
    )


def _base(workload: Workload, now: float) -> JobSetReport:
    report = JobSetReport(
        name=workload.name,
        workload_kind=workload.kind.kind,
        workload_group=workload.kind.group,
        namespace=workload.namespace,
        uid=workload.metadata.uid,
        state="",
        ready=0,
        expected=0,
        age=None if workload.shares_its_pods else age(workload.metadata.creation_timestamp, now),
    )
    if workload.jobset is not None:
        status, policy = workload.jobset.status, workload.jobset.spec.failure_policy
        report.restart_strategy = policy.restart_strategy if policy else ""
        report.restarts, report.restarts_towards_max = status.restarts, status.restarts_count_towards_max
        report.max_restarts = max_restarts(workload.jobset)
        report.previous_in_place_attempt = status.previous_in_place_restart_attempt
        report.current_in_place_attempt = status.current_in_place_restart_attempt
    return report


# ---------------------------------------------------------------- parts


def _replicated_jobs(snapshot: Snapshot) -> list[ReplicatedJobReport]:
    slots: dict[str, list[SlotState]] = defaultdict(list)
    for state in snapshot.slots.values():
        slots[state.slot.group].append(state)
    jobs: dict[str, list[Job]] = defaultdict(list)
    for job in snapshot.jobs:
        jobs[snapshot.workload.unit_of(job)[0]].append(job)
    replicas = snapshot.workload.jobs_wanted
    groups = [*(snapshot.workload.groups or slots)]
    return [_replicated_job(each, replicas.get(each, len(jobs[each])), jobs[each], slots[each]) for each in groups]


def _replicated_job(group: str, replicas: int, jobs: list[Job], slots: list[SlotState]) -> ReplicatedJobReport:
    expected = [s for s in slots if s.expected]
    return ReplicatedJobReport(
        name=group,
        ready=sum(s.ready for s in expected),
        expected=len(expected),
        jobs=len(jobs),
        expected_jobs=replicas,
        succeeded=sum(job.status.succeeded for job in jobs),
        container_restarts=sum(c.restart_count for s in slots if s.pod for c in statuses(s.pod)),
        nodes=len({s.node_name for s in slots if s.node_name}),
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
    elif jobset is not None:
        used, limit = jobset.status.restarts_count_towards_max, max_restarts(jobset)
        meaning = "restarts of the JobSet by its failure policy"
        rows.append(BudgetReport(name="maxRestarts", limit=limit, used=used, headroom=limit - used, meaning=meaning))
    by_job = snapshot.pods_by_job()
    limited = (job for job in snapshot.jobs if job.spec.backoff_limit < UNLIMITED)
    rows += [_job_budget(job, by_job.get(job.metadata.uid, [])) for job in limited]
    return sorted(rows, key=lambda row: (row.headroom, row.name))


def _job_budget(job: Job, pods: list[Pod]) -> BudgetReport:
    name, limit = f"Job {job.metadata.name} backoffLimit", job.spec.backoff_limit
    if job.spec.template.spec.restart_policy == "OnFailure":
        used, meaning = counted_restarts(pods), "container restarts of all its Pods; at the limit the Job fails"
        return BudgetReport(name=name, limit=limit, used=used, headroom=max(0, limit - used - 1), meaning=meaning)
    used, meaning = job.status.failed, "failed Pods; beyond the limit the Job fails"
    return BudgetReport(name=name, limit=limit, used=used, headroom=limit - used, meaning=meaning)


def _notes(snapshot: Snapshot, now: float) -> list[str]:
    workload, over = snapshot.workload, snapshot.workload.over()
    notes = [f"{over.state}: {over.reason}: {over.message}"] if over else []
    if not over:
        notes += [*_missing_part(snapshot), *_missing_jobs(snapshot)]
    left = claim.left_suspended(workload, now)
    if left:
        notes.append(
            f"suspended by operation {left.id} of {left.owner}, whose client is gone; "
            f"`{jsr('restart', workload.reference, workload.namespace, snapshot.context)}` resumes it"
        )
    return notes


def _missing_part(snapshot: Snapshot) -> list[str]:
    workload = snapshot.workload
    if not workload.lacking or workload.suspended:
        return []
    refused = snapshot.refusals.get(workload.parent_uid)
    why = f"{refused.reason}: {reason(refused)}" if refused else "no Event says why"
    return [f"{workload.lacking} is missing: {why}"]


def _missing_jobs(snapshot: Snapshot) -> list[str]:
    """A workload whose Jobs the API server refuses has no condition that says so: its Event alone does."""
    workload = snapshot.workload
    there = {workload.unit_of(job) for job in snapshot.jobs}
    wanted = ((group, (index,)) for group, replicas in workload.jobs_wanted.items() for index in range(replicas))
    missing = [unit for unit in wanted if unit not in there]
    if not missing or workload.suspended:
        return []
    what = "1 Job is missing" if len(missing) == 1 else f"{len(missing):,} Jobs are missing"
    refused = snapshot.refusals.get(workload.parent_uid)
    if refused is not None:
        return [f"{what}: {refused.reason}: {reason(refused)}"]
    waits = list(filter(None, dict.fromkeys(workload.held_back(group) for group, _ in missing)))
    return [f"{what}: {waits[0] if waits else 'no Event says why'}"]
