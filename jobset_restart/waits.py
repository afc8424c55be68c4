"""What a restart has to wait for besides the containers: Jobs in their back-off, programs that crashed before. Pure."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

from jobset_restart.case import Case
from jobset_restart.containers import mark_of, status_of
from jobset_restart.objects import ContainerStateTerminated, ContainerStatus, Job, Pod, seconds
from jobset_restart.rules import CRASH_LOOP_RESET, ended_at, failures_in_a_row, index_failures_in_all, job_back_off
from jobset_restart.workloads.workload import SlotState

LEAST_SECONDS = 10.0
MOST_SECONDS = 60.0
LONGER_BY = 5.0
PROVING_SECONDS = 2.0
"""How long a slot that went first must stay Ready before the others follow: a program that ends as soon as it starts is
Ready for a moment, where it has no readinessProbe."""
STOPPED = frozenset({128 + SIGINT, 128 + SIGKILL, 128 + SIGTERM})
"""Exit codes of a container that was stopped, by a restart for one; a KILL for want of memory has a reason of its
own."""


def crash_of(pod: Pod, status: ContainerStatus, now: float) -> ContainerStateTerminated | None:
    """The crash that the container has not yet outlived, None where it has not crashed in the last 10 minutes, after
    which the kubelet forgets it too. `now` is in seconds since the epoch. Its own restart is no crash: the mark on the
    Pod tells the restartCount before it."""
    ended = status.state.terminated or status.last_state.terminated
    if ended is None:
        return None
    if status.state.waiting is not None and status.state.waiting.reason == "CrashLoopBackOff":
        return ended
    ours = mark_of(pod)[1].get(status.name, -2) + 1 == status.restart_count
    stopped = ended.exit_code == 0 or (ended.exit_code in STOPPED and ended.reason != "OOMKilled")
    old = now - seconds(ended.finished_at) > CRASH_LOOP_RESET
    return None if stopped or old or (ours and status.state.terminated is None) else ended


def crashed(case: Case) -> list[tuple[SlotState, str, float]]:
    """The containers of the case that have crashed, and how many seconds each had lived."""
    found = []
    for state, pod, container in case.targets():
        status = status_of(pod, container.name)
        ended = crash_of(pod, status, case.snapshot.time) if status else None
        if ended is not None:
            found.append((state, container.name, max(0.0, seconds(ended.finished_at) - seconds(ended.started_at))))
    return found


def min_ready_seconds(case: Case) -> float:
    """How long a slot must stay Ready to count: as --min-ready-seconds says; without it 0, PROVING_SECONDS where others
    go when it is back, and where a container has crashed, somewhat longer than it had lived, within bounds."""
    if case.min_ready_seconds is not None:
        return case.min_ready_seconds
    longest = max((lived for _, _, lived in crashed(case)), default=None)
    if longest is None:
        return PROVING_SECONDS if case.max_unavailable else 0.0
    return min(MOST_SECONDS, max(LEAST_SECONDS, longest + LONGER_BY))


def grace_of(state: SlotState) -> float:
    """The seconds for which a container of the slot may go on after TERM."""
    return max(0.0, float(state.pod.spec.termination_grace_period_seconds)) if state.pod else 0.0


def longest_grace(case: Case) -> float:
    """The longest grace period of the Pods whose containers are told to end, 0.0 where none are."""
    told = [*(case.scope if case.trigger.gives_grace else ()), *case.replaced]
    return max(map(grace_of, told), default=0.0)


def back_off(case: Case, job: Job, deleted: list[SlotState]) -> float:
    """Seconds until the Job makes new Pods for these, which this restart deletes now. A Pod on a machine that is down
    failed, in the eyes of its Job, when it stopped being Ready."""
    now = case.snapshot.time
    failed = [(s.pod, ended_at(s.pod) if s.node_name in case.node_down else now) for s in deleted if s.pod]
    if job.spec.backoff_limit_per_index is not None:
        waits = (at + job_back_off(index_failures_in_all(pod) + 1) for pod, at in failed)
        return max(0.0, max(waits, default=now) - now)
    before = failures_in_a_row(job, case.snapshot.ended.get(job.metadata.uid, ()))
    last = max((at for _, at in failed), default=now)
    return max(0.0, min(last, now) + job_back_off(before + len(failed)) - now)


def longest_back_off(case: Case) -> float:
    """Seconds until the last Job makes new Pods for those that this restart deletes, 0.0 where it deletes none."""
    return max((back_off(case, job, states) for job, states in case.deletions()), default=0.0)
