"""What Kubernetes will do: the arithmetic and decisions of its controllers that a restart has to reckon with.

Every rule names the upstream code or field it stands for. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeGuard

from jobset_restart.objects import Container, ContainerStatus, Job, JobSet, Pod, PodSpec, number, seconds
from jobset_restart.pods import attempt, statuses
from jobset_restart.workloads.jobset import is_native

ExitEffect = Literal["restart", "restart all", "complete", "fail"]

CRASH_LOOP_FIRST = 10.0
CRASH_LOOP_MAX = 300.0
CRASH_LOOP_RESET = 600.0
UNLIMITED = 2**31 - 1


def effect_of_exit(container: Container, spec: PodSpec, exit_code: int) -> ExitEffect:
    """What follows when the container exits with this code.

    Rules are tried in order, then the container's restartPolicy, then the Pod's (KEP-5307;
    pkg/api/v1/pod ContainerShouldRestart). OnFailure takes exit 0 for completion.
    """
    for rule in container.restart_policy_rules:
        if rule.exit_codes is None:
            continue
        listed = exit_code in rule.exit_codes.values
        if listed == (rule.exit_codes.operator == "In"):
            return "restart all" if rule.action == "RestartAllContainers" else "restart"
    policy = container.restart_policy or spec.restart_policy
    if policy == "Always" or (policy == "OnFailure" and exit_code != 0):
        return "restart"
    return "complete" if exit_code == 0 else "fail"


def ended_for_good(status: ContainerStatus, container: Container, spec: PodSpec) -> bool:
    """Whether the container has terminated and the kubelet will not start it again, a changed image included.

    computePodActions restarts on a changed definition only what runs; what is dead goes through
    ShouldContainerBeRestarted, which knows policies and rules only.
    """
    ended = status.state.terminated
    return ended is not None and effect_of_exit(container, spec, ended.exit_code) in ("complete", "fail")


def counted_restarts(pods: Iterable[Pod]) -> int:
    """The sum that an OnFailure Job holds against backoffLimit: restarts of all containers of its Pending and
    Running Pods (job controller, pastBackoffLimitOnFailure)."""
    return sum(
        status.restart_count for pod in pods if pod.status.phase in ("Running", "Pending") for status in statuses(pod)
    )


def past_backoff_limit_on_failure(limit: int, restarts: int) -> bool:
    """Whether an OnFailure Job fails at this sum (job controller, pastBackoffLimitOnFailure)."""
    return restarts > 0 if limit == 0 else restarts >= limit


def past_backoff_limit(limit: int, failed: int) -> bool:
    """Whether a Job fails at this count of failed Pods (job controller, syncJob: exceedsBackoffLimit)."""
    return failed > limit


def job_back_off(failures: int) -> float:
    """Seconds a Job waits before it makes new Pods after this many failures in a row: 10 s doubled per failure up to
    10 minutes (job controller, getRemainingTimeForFailuresCount)."""
    return min(10.0 * 2 ** min(failures - 1, 10), 600.0) if failures > 0 else 0.0


def index_failures(pod: Pod) -> int:
    """Failures already counted for the Pod's index (annotation batch.kubernetes.io/job-index-failure-count)."""
    return number(pod.metadata.annotations.index_failure_count) or 0


def index_failures_in_all(pod: Pod) -> int:
    """The same with those that a podFailurePolicy ignores: back-off counts them too (job controller,
    getIndexAbsoluteFailureCount)."""
    return index_failures(pod) + (number(pod.metadata.annotations.index_ignored_failure_count) or 0)


def failures_in_a_row(job: Job, ended: Iterable[Pod]) -> int:
    """The failures since the last success, by which a Job's back-off grows, as far as the API tells (job controller,
    newBackoffRecord): all of status.failed where nothing has succeeded, else the failed Pods among `ended`, those that
    the Job keeps, that ended later than the last one that succeeded."""
    if not job.status.succeeded:
        return job.status.failed
    pods = list(ended)
    last = max((ended_at(pod) for pod in pods if pod.status.phase == "Succeeded"), default=0.0)
    return sum(pod.status.phase == "Failed" and ended_at(pod) > last for pod in pods)


def ended_at(pod: Pod) -> float:
    """When the Pod failed or succeeded, in the eyes of its Job, in seconds since the epoch: when its last container
    ended, else when its Ready condition turned False, else when it was deleted (job controller, getFinishedTime)."""
    ends = [s.state.terminated.finished_at for s in pod.status.container_statuses if s.state.terminated]
    if ends and len(ends) == len(pod.status.container_statuses) and all(ends):
        return max(map(seconds, ends))
    unready = next((c for c in pod.status.conditions if c.type == "Ready" and c.status == "False"), None)
    if unready is not None and unready.last_transition_time:
        return seconds(unready.last_transition_time)
    return seconds(pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp)


def pod_failure_action(policy: dict[str, Any], container: str, exit_code: int) -> str:
    """The action of the first podFailurePolicy rule on exit codes that matches, "Count" without one
    (job controller, matchPodFailurePolicy). Rules on Pod conditions are not tried: a plain deletion sets none."""
    for rule in policy.get("rules", ()):
        codes = rule.get("onExitCodes")
        if not codes or codes.get("containerName", container) != container:
            continue
        if (exit_code in codes.get("values", ())) == (codes.get("operator") == "In"):
            return str(rule.get("action", "Count"))
    return "Count"


def replaces_only_failed(job: Job) -> bool:
    """podReplacementPolicy Failed: a Pod being deleted keeps its place until it has really ended."""
    return job.spec.pod_replacement_policy == "Failed"


def container_restart_headroom(jobset: JobSet, pods: Iterable[Pod]) -> int:
    """How many more restarts the most restarted container of an InPlaceRestart JobSet may have.

    The JobSet fails for good when any restartCount exceeds maxRestarts (JobSet, getMaxContainerRestartCount).
    """
    worst = max((status.restart_count for pod in pods for status in statuses(pod)), default=0)
    return max_restarts(jobset) - worst


def attempt_headroom(jobset: JobSet, pods: Iterable[Pod]) -> int:
    """How many more in-place attempts an InPlaceRestart JobSet may have (JobSet, exceededMaxRestarts): the highest
    attempt, less the restarts that do not count, must not exceed maxRestarts. The current one counts as well: while
    there are no Pods, it is what the next agents add one to."""
    attempts = [attempt(pod) or 0 for pod in pods if pod.status.phase != "Failed"]
    highest = max([*attempts, jobset.status.current_in_place_restart_attempt or 0])
    uncounted = jobset.status.restarts - jobset.status.restarts_count_towards_max
    return max_restarts(jobset) - (highest - uncounted)


def agents_count_attempts(jobset: JobSet | None) -> TypeGuard[JobSet]:
    """Whether the agents of new Pods start with the attempt after the current one, which is spent by that (JobSet,
    cmd/in-place-restart-agent, Reconcile: "current in-place restart attempt + 1"). They start with 0 where no attempt
    was ever in sync, and write none where the JobSet's annotation makes them do nothing (shouldBypassBarrier)."""
    return (
        is_native(jobset)
        and jobset.metadata.annotations.disable_in_place_restart is None
        and jobset.status.current_in_place_restart_attempt is not None
    )


def in_place_exit_code(agent: Container) -> int:
    """The code an in-place restart agent exits with to restart its Pod: IN_PLACE_RESTART_EXIT_CODE, 1 without it
    (JobSet, cmd/in-place-restart-agent, parseEnvOrDie)."""
    text = next((variable.value for variable in agent.env if variable.name == "IN_PLACE_RESTART_EXIT_CODE"), "")
    code = number(text)
    return 1 if code is None else code


def max_restarts(jobset: JobSet) -> int:
    """spec.failurePolicy.maxRestarts; without a failure policy the first failure is the last."""
    return jobset.spec.failure_policy.max_restarts if jobset.spec.failure_policy else 0


def crash_loop_delay(status: ContainerStatus, now: float) -> float:
    """Seconds the next exit-based start would wait in CrashLoopBackOff if the container died now.

    The first restart is at once; then 10 s, doubled per exit up to 300 s, forgotten when the container has run for
    10 minutes (kubelet, doBackOff and its 2 x MaxContainerBackOff reset).
    """
    ended = status.last_state.terminated
    if ended is None or status.restart_count == 0 or now - seconds(ended.finished_at) > CRASH_LOOP_RESET:
        return 0.0
    return float(min(CRASH_LOOP_FIRST * 2 ** (min(status.restart_count, 10) - 1), CRASH_LOOP_MAX))


def back_off_left(status: ContainerStatus, now: float) -> float | None:
    """Seconds left of the CrashLoopBackOff the container waits in, None where it does not.

    The kubelet's message names the whole delay ("back-off 40s restarting ..."), counted from the last exit. It comes
    late: for most of the back-off the container is shown as terminated, and the delay follows from its restartCount.
    """
    waiting, ended = status.state.waiting, status.last_state.terminated
    if status.state.terminated is not None and status.restart_count > 0:
        delay = float(min(CRASH_LOOP_FIRST * 2 ** (min(status.restart_count, 10) - 1), CRASH_LOOP_MAX))
        return max(0.0, seconds(status.state.terminated.finished_at) + delay - now)
    if waiting is None or waiting.reason != "CrashLoopBackOff" or ended is None:
        return None
    word = waiting.message.removeprefix("back-off ").split(" ")[0]
    named = go_duration(word)
    return None if named is None else max(0.0, seconds(ended.finished_at) + named - now)


def go_duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it ("1m20s", "40s"), None where it is none."""
    total, digits = 0.0, ""
    for char in text:
        if char in "0123456789.":
            digits += char
        elif char in "hms" and 0 < len(digits) < 20 and digits.count(".") < 2 and digits != ".":
            total += float(digits) * {"h": 3600, "m": 60, "s": 1}[char]
            digits = ""
        else:
            return None
    return total if text and not digits else None
