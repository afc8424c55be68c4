"""JSR2xx: what a restart spends, and whether Kubernetes would take the job away for it."""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.case import Case
from jobset_restart.containers import awaits_its_end, containers_in_scope, status_of
from jobset_restart.events import Budget
from jobset_restart.findings.attempts import native_budgets
from jobset_restart.findings.pod_owners import counted
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.volcano import volcano_budgets
from jobset_restart.findings.words import count, named, some, ways
from jobset_restart.objects import Job
from jobset_restart.rules import (
    UNLIMITED,
    agents_count_attempts,
    counted_restarts,
    crash_loop_delay,
    ended_for_good,
    index_failures,
    past_backoff_limit,
    past_backoff_limit_on_failure,
    pod_failure_action,
    replaces_only_failed,
)
from jobset_restart.triggers.force import FORCE
from jobset_restart.triggers.pods import PODS
from jobset_restart.waits import back_off
from jobset_restart.workloads.jobset import is_native
from jobset_restart.workloads.workload import SlotState

RECREATE_TODO = "use --recreate, which leaves backoffLimit alone"


def container_restart_budgets(case: Case) -> Iterable[tuple[Budget, bool]]:
    """What image and signal spend of each OnFailure Job's backoffLimit, and whether the Job would fail."""
    pods = case.snapshot.pods_by_job()
    taken = {state.slot for state in case.deleted}
    for job, states in case.touched_jobs():
        if job.spec.template.spec.restart_policy != "OnFailure":
            continue
        now = counted_restarts(pods.get(job.metadata.uid, ()))
        more = sum(len(containers_in_scope(s.pod, case.containers)) for s in states if s.pod and s.slot not in taken)
        limit = job.spec.backoff_limit
        budget = Budget(name=f"Job {job.metadata.name} backoffLimit", limit=limit, before=now, after=now + more)
        yield budget, past_backoff_limit_on_failure(limit, now + more)


@finding(
    "JSR201",
    "blocker",
    "the restarts would exceed the Job's backoffLimit",
    source="job controller, pastBackoffLimitOnFailure",
    todo=f"{RECREATE_TODO}; or raise backoffLimit for the next run",
    concerns=lambda trigger: trigger.by_container,
)
def backoff_limit(case: Case) -> Occurrence | None:
    """In a Job whose Pods have restartPolicy OnFailure, every container restart counts towards backoffLimit, summed
    over all Pods of the Job, sidecars and init containers included.

    When the sum reaches the limit (with backoffLimit 0: at any restart), the Job fails and all its Pods are deleted.
    A restart in place of N Pods adds N per container, so a Job of three Pods with the default limit of 6 survives one
    round and dies of the second.
    """
    over = [budget for budget, fails in container_restart_budgets(case) if fails]
    if not over:
        return None
    worst = over[0]
    summary = f"{worst.name} {worst.limit:,}: {worst.before:,} restarts now, {worst.after:,} after; the Job would fail"
    if len(over) > 1:
        summary += f" (and {count(len(over) - 1, 'other Job')})"
    return Occurrence([budget.name.rpartition(" ")[0] for budget in over], summary)


def deletion_budgets(case: Case) -> Iterable[tuple[Budget, bool]]:
    """What deleting Pods spends of each Job's backoffLimit, and whether the Job would fail."""
    for job, deleted in case.deletions():
        failures = sum(_counts(job, state) for state in deleted)
        limit = job.spec.backoff_limit
        budget = Budget(
            name=f"Job {job.metadata.name} backoffLimit",
            limit=limit,
            before=job.status.failed,
            after=job.status.failed + failures,
        )
        per_index = job.spec.backoff_limit_per_index
        spent = any(s.pod and per_index is not None and index_failures(s.pod) + 1 > per_index for s in deleted)
        fails = any(_end(job, state) == "FailJob" for state in deleted)
        yield budget, spent or fails or past_backoff_limit(limit, budget.after)


def _end(job: Job, state: SlotState) -> str:
    """What a podFailurePolicy does about the exit codes of a stopped Pod (143 after TERM, 137 after KILL)."""
    policy, pod = job.spec.pod_failure_policy, state.pod
    if policy is None or pod is None:
        return "Count"
    actions = {pod_failure_action(policy, c.name, code) for c in pod.spec.containers for code in (143, 137)}
    return next((a for a in ("FailJob", "FailIndex", "Count") if a in actions), "Ignore")


def _counts(job: Job, state: SlotState) -> int:
    return 0 if _end(job, state) == "Ignore" else 1


@finding(
    "JSR202",
    "blocker",
    "the deleted Pods would fail their Job",
    source="job controller, isPodFailed and syncJob (exceedsBackoffLimit)",
    todo="recreate with --via suspend, or a JobSet with --via jobs, which count no failure",
    concerns=lambda trigger: trigger.jobs_count,
)
def deletion_fails_job(case: Case) -> Occurrence | None:
    """A Pod that is deleted counts as failed: with podReplacementPolicy TerminatingOrFailed (the default) at once, with
    Failed when it has ended, and then only if a container exited with another code than 0.

    When the failures exceed backoffLimit (or backoffLimitPerIndex, or a podFailurePolicy says FailJob), the Job
    fails, all its Pods are deleted, and a JobSet's failure policy fires. With backoffLimit 0 one deletion is
    enough. Pods on a machine declared down with --node-down are taken away the same way, so they count as well."""
    over = [budget for budget, fails in deletion_budgets(case) if fails]
    if not over:
        return None
    worst = over[0]
    summary = f"{worst.name} {worst.limit:,}: {worst.before:,} failures now, {worst.after:,} after; the Job would fail"
    clean = ways(case, "suspend", "jobs")
    todo = f"recreate with {clean}: no failure is counted" if clean else "restart in place"
    return Occurrence([budget.name.rpartition(" ")[0] for budget in over], summary, todo)


@finding(
    "JSR204",
    "blocker",
    "the exit code would not bring the container back",
    source="KEP-5307 restartPolicyRules; pkg/api/v1/pod ContainerShouldRestart; job controller, matchPodFailurePolicy",
    todo="use --via image, for which neither restart policy nor exit code matters",
    concerns=lambda trigger: trigger.by_exit,
)
def exit_code(case: Case) -> Occurrence | None:
    """What follows an exit is decided by the container's restartPolicyRules in order, then by its restartPolicy, then
    by the Pod's.

    With restartPolicy Never and no matching rule the container stays down and the Pod fails: a Job failure. With
    OnFailure an exit code of 0 means "completed". The code expected after a signal is 128 + its number, unless the
    handler chooses another: a handler that exits 0 under OnFailure completes the index.

    A container whose image was changed comes back whatever it exits with, also when it is made to end by force.
    """
    bad = []
    for state, pod, container, code, effect in case.exits():
        if effect in ("complete", "fail") and not (case.trigger is FORCE and awaits_its_end(pod, container.name)):
            bad.append((state, f"{container.name}, expected to exit {code}, {effect}s"))
    if not bad:
        return None
    return Occurrence(named(s for s, _ in bad), f"container {bad[0][1]} instead of restarting")


@finding(
    "JSR205",
    "warning",
    "the containers would wait in CrashLoopBackOff",
    source="kubelet, doBackOff: 10 s doubled to 300 s, forgotten after 10 minutes of running",
    todo="use --via image, which starts a new back-off",
    concerns=lambda trigger: trigger.by_exit,
)
def crash_loop(case: Case) -> Occurrence | None:
    """The first exit-based restart is at once; one within 10 minutes of the last waits 10 s, then 20 s, 40 s ... 300 s.

    A changed image is not kept waiting: the back-off is kept per container definition.
    """
    waits = []
    for state, pod, container in case.targets():
        status = status_of(pod, container.name)
        delay = crash_loop_delay(status, case.snapshot.time) if status else 0.0
        if delay:
            waits.append((delay, state))
    if not waits:
        return None
    return Occurrence(
        named(s for _, s in waits),
        f"{count(len(waits), 'container')} would wait up to {max(delay for delay, _ in waits):.0f} s",
    )


@finding(
    "JSR206",
    "blocker",
    "a container has ended for good",
    source="kubelet, ShouldContainerBeRestarted: a dead container goes by policy and rules, changed image or not",
    todo="use --recreate, or --via native where a JobSet restarts in place; or leave that container out with -c",
    concerns=lambda trigger: trigger.by_container,
)
def ended(case: Case) -> Occurrence | None:
    """A container that has terminated and whose restart policy does not bring it back stays down, even if its image
    is changed: the kubelet restarts on a changed definition only what is running.

    The Pod would come back with only some of its containers.
    """
    dead = []
    for state, pod, container in case.targets():
        status = status_of(pod, container.name)
        if status and ended_for_good(status, container, pod.spec) and pod.status.phase == "Running":
            dead.append((state, container.name))
    if not dead:
        return None
    names = some(sorted({name for _, name in dead}))
    use = " or ".join(filter(None, ("--recreate", ways(case, "native") if is_native(case.snapshot.jobset) else "")))
    return Occurrence(
        named(s for s, _ in dead),
        f"container {names} of {count(len(dead), 'Pod')} ended and stays down",
        todo=f"use {use}; or leave that container out with -c",
    )


@finding(
    "JSR207",
    "warning",
    "a Pod whose containers exit 0 when stopped would complete its index",
    source="kubelet, getPhase; job controller, newSucceededIndexes",
    todo="use --via suspend, or a JobSet's --via jobs, unless every container exits with another code on TERM",
    concerns=only(PODS),
)
def deletion_completes(case: Case) -> Occurrence | None:
    """With podReplacementPolicy Failed, the Job waits for the end of a deleted Pod and goes by its phase. Containers
    that handle TERM and exit 0 make it Succeeded: the Job considers the index completed and creates no new Pod."""
    states = [s for job, states in case.touched_jobs() if replaces_only_failed(job) for s in states]
    if not states:
        return None
    clean = ways(case, "suspend", "jobs")
    unless = "unless every container exits with another code on TERM"
    todo = f"use {clean} {unless}" if clean else f"restart in place {unless}"
    summary = "podReplacementPolicy is Failed: the exit code after TERM decides"
    if agents_count_attempts(case.snapshot.jobset):
        summary += "; with 0 the index is complete, and the other Pods wait at the barrier for ever"
    return Occurrence(named(states), summary, todo)


@finding(
    "JSR208",
    "warning",
    "the Job would wait before it creates new Pods",
    source="job controller, backoff_utils.go newBackoffRecord, getRemainingTimeForFailuresCount",
    todo="use --via suspend, or a JobSet's --via jobs, which create new Pods at once",
    concerns=lambda trigger: trigger.jobs_count,
)
def job_waits(case: Case) -> Occurrence | None:
    """Every failed Pod of a Job doubles the time before its next Pod is made: 10 s after one, 20 s after two, 40 s
    after three, 10 minutes at most, counted from the last failure.

    Pods deleted together count together, and failures before the restart count as well, those since the last success.
    With backoffLimitPerIndex each index waits for itself. Pods on a machine declared down count like deleted ones,
    whatever restarts the others."""
    waits = {job.metadata.name: back_off(case, job, states) for job, states in case.deletions()}
    worst = max(waits.values(), default=0.0)
    if not worst:
        return None
    clean = ways(case, "suspend", "jobs")
    todo = f"use {clean}: new Pods are created at once" if clean else "restart in place, or wait"
    waiting = [f"Job {name}" for name, wait in waits.items() if wait]
    return Occurrence(waiting, f"up to {worst:.0f} s without a new Pod", todo)


def budgets(case: Case) -> list[Budget]:
    """What this case would spend, limits without a bound left out."""
    rows: list[Budget] = []
    if case.trigger.by_container:
        rows += [budget for budget, _ in container_restart_budgets(case)]
        rows += [budget for budget, _, _ in counted(case)]
    rows += volcano_budgets(case)
    rows += [budget for budget, _ in deletion_budgets(case)]
    rows += [budget for budget, _ in native_budgets(case)]
    return [row for row in rows if row.limit < UNLIMITED]
