"""JSR711 to JSR713: what a Volcano Job makes of a restart. From its source; not tried with the controller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from jobset_restart.case import Case
from jobset_restart.containers import containers_in_scope
from jobset_restart.events import Budget
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import named, some
from jobset_restart.rules import counted_restarts
from jobset_restart.triggers.pods import PODS
from jobset_restart.triggers.restart import RESTART
from jobset_restart.workloads.volcano import VolcanoJob, VolcanoJobWorkload
from jobset_restart.workloads.workload import SlotState

HARMLESS = frozenset({"", "SyncJob", "EnqueueJob"})
"""Actions that restart and end nothing."""


def _job(case: Case) -> VolcanoJob | None:
    workload = case.snapshot.workload
    return workload.object if isinstance(workload, VolcanoJobWorkload) else None


def _tasks(states: list[SlotState]) -> dict[str, list[SlotState]]:
    found: dict[str, list[SlotState]] = defaultdict(list)
    for state in states:
        if state.pod is not None:
            found[state.slot.group].append(state)
    return found


def task_budgets(case: Case) -> Iterator[tuple[Budget, bool, str, list[SlotState]]]:
    """What image and signal spend of each task's maxRetry, whether the task then counts as failed, what its policies do
    about that, and the slots that are restarted."""
    job = _job(case)
    if job is None or not case.trigger.by_container:
        return
    every = _tasks([*case.snapshot.slots.values()])
    limits = {task.called: task.limit for task in job.spec.tasks}
    for task, states in _tasks(case.scope).items():
        limit = limits.get(task)
        if limit is None:
            continue
        now = counted_restarts(pod for s in every[task] for pod in (s.pod, *s.leftovers) if pod)
        after = now + sum(len(containers_in_scope(s.pod, case.containers)) for s in states if s.pod)
        budget = Budget(name=f"task {task} maxRetry", limit=limit, before=now, after=after)
        yield budget, after >= limit, job.answer(task, "TaskFailed"), states


@finding(
    "JSR711",
    "warning",
    "the restarted containers would raise TaskFailed",
    source="Volcano, job cache, TaskFailed; applyPolicies",
    todo="restart fewer Pods at a time, raise maxRetry of the task (-1: no limit), or use --recreate",
    concerns=lambda trigger: trigger.by_container,
)
def task_fails(case: Case) -> Occurrence | None:
    """Volcano adds up the restartCounts of all containers, init containers included, in the Running and Pending Pods of
    a task. Where they reach the task's maxRetry (3 where it is not set, -1: never) it raises TaskFailed, and what the
    policies of the task, and then of the Job, say about TaskFailed or * is done. Some versions raise it only beyond
    maxRetry; the smaller number is taken here.

    Without such a policy nothing follows. Where one aborts, ends or restarts anything, this is a blocker: the Pods that
    were restarted in place would be deleted a moment later."""
    over = [row for row in task_budgets(case) if row[1]]
    if not over:
        return None
    budget, _, action, states = next((row for row in over if row[2] not in HARMLESS), over[0])
    numbers = f"{budget.name} {budget.limit:,}: {budget.before:,} restarts now, {budget.after:,} after"
    if action in HARMLESS:
        return Occurrence(named(states), f"{numbers}; no policy acts on it")
    return Occurrence(named(states), f"{numbers}; its policy is {action}", severity="blocker")


@finding(
    "JSR712",
    "blocker",
    "a policy answers a deleted Pod",
    source="Volcano, deletePod (PodEvicted) and applyPolicies; spec.policies and spec.tasks[].policies",
    todo="use --via restart, which makes all Pods anew by one Command; or restart in place",
    concerns=only(PODS),
)
def eviction_policy(case: Case) -> Occurrence | None:
    """A Pod that is deleted is PodEvicted to Volcano. Without a policy its controller makes it again and counts
    nothing; a policy on PodEvicted or * acts on it first: RestartJob makes every Pod anew and costs one of the Job's
    maxRetry, AbortJob and TerminateJob end the Job, RestartTask deletes the other Pods of the task."""
    job = _job(case)
    if job is None:
        return None
    answers = {task: job.answer(task, "PodEvicted") for task in _tasks([*case.scope, *case.lost])}
    acting = {task: action for task, action in answers.items() if action not in HARMLESS}
    if not acting:
        return None
    states = [s for s in (*case.scope, *case.lost) if s.slot.group in acting]
    return Occurrence(named(states), some([f"PodEvicted in task {task}: {action}" for task, action in acting.items()]))


def retry_budget(case: Case) -> tuple[Budget, bool] | None:
    """What a restart of the whole Job spends of its maxRetry, and whether it would fail."""
    job = _job(case)
    if job is None or case.trigger is not RESTART:
        return None
    now = job.status.retry_count
    return Budget(name="Job maxRetry", limit=job.limit, before=now, after=now + 1), now + 1 >= job.limit


@finding(
    "JSR713",
    "blocker",
    "the restart would be one too many for the Volcano Job",
    source="Volcano, state/restarting.go: retryCount >= maxRetry is Failed",
    todo="raise spec.maxRetry, or restart in place, which leaves retryCount alone",
    concerns=only(RESTART),
)
def retries_spent(case: Case) -> Occurrence | None:
    """Every restart of the whole Job, by a policy or by a Command, raises status.retryCount. A Job whose retryCount has
    reached spec.maxRetry (3 where it is not set) fails for good while it restarts, and makes no Pods any more."""
    found = retry_budget(case)
    if found is None or not found[1]:
        return None
    budget = found[0]
    summary = f"{budget.name} {budget.limit:,}: retryCount {budget.before:,} now, {budget.after:,} after; it would fail"
    return Occurrence([case.snapshot.workload.title], summary)


def volcano_budgets(case: Case) -> list[Budget]:
    retries = retry_budget(case)
    return [*(row[0] for row in task_budgets(case)), *([retries[0]] if retries else [])]
