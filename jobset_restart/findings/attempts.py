"""What restarts cost a JobSet with restartStrategy InPlaceRestart: its attempts, and the barrier its agents wait at."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.containers import status_of
from jobset_restart.events import Budget
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.findings.words import count, named, some
from jobset_restart.objects import Pod
from jobset_restart.places import indexes_over
from jobset_restart.pods import agent, attempt
from jobset_restart.rules import agents_count_attempts, attempt_headroom, container_restart_headroom, max_restarts
from jobset_restart.triggers.image import IMAGE
from jobset_restart.workloads.jobset import is_native

IMAGE_TODO = "use --via image, which restarts containers and leaves the agents alone"


def restarts_agents(case: Case) -> bool:
    """Whether the restart makes an agent start anew, by a new Pod or in the one it is in: it takes the attempt after
    the current one, which is spent by that, and every Pod has to follow before the barrier lifts."""
    if not agents_count_attempts(case.snapshot.jobset):
        return False
    if not case.trigger.by_container or case.lost or case.replaced:
        return True
    return any(_is_agent(pod, container.name) for _, pod, container in case.targets())


def _is_agent(pod: Pod, container: str) -> bool:
    found = agent(pod.spec)
    return found is not None and found.name == container


def hold_the_barrier(case: Case) -> bool:
    """Whether the slots of this case hold the barrier, and all other Pods wait there at the next attempt: agents that
    start anew take that one too, so it lifts without another round."""
    jobset = case.snapshot.jobset
    current = jobset.status.current_in_place_restart_attempt if jobset else None
    if current is None:
        return False
    meant = {s.slot for s in (*case.scope, *case.lost)}
    others = [s.pod for s in case.snapshot.slots.values() if s.slot not in meant and s.expected and s.pod]
    return bool(others) and all((attempt(pod) or 0) == current + 1 for pod in others)


def restarts_others(case: Case) -> bool:
    """Whether Pods that were not meant are restarted in place with those that were."""
    if case.trigger.reach == "workload" or not restarts_agents(case) or hold_the_barrier(case):
        return False
    return not case.whole or case.trigger.in_place


def native_budgets(case: Case) -> list[tuple[Budget, bool]]:
    """What the restart spends of maxRestarts: an attempt where agents start anew, and of the restartCount of the
    container that has been restarted most. New Pods start with counts of 0, and those that leave their node take theirs
    along."""
    jobset = case.snapshot.jobset
    if not is_native(jobset):
        return []
    limit = max_restarts(jobset)
    pods = list(case.snapshot.pods())
    rows = []
    if restarts_agents(case):
        used = limit - attempt_headroom(jobset, pods)
        after_it = used if hold_the_barrier(case) else used + 1
        row = Budget(name="maxRestarts, in-place attempts", limit=limit, before=used, after=after_it)
        rows.append((row, after_it > limit))
    leaving = {state.pod.metadata.uid for state in case.replaced if state.pod}
    worst = limit - container_restart_headroom(jobset, [pod for pod in pods if pod.metadata.uid not in leaving])
    after = _most_restarts_after(case, worst)
    if after is not None:
        row = Budget(name="maxRestarts, restarts of one container", limit=limit, before=worst, after=after)
        rows.append((row, after > limit))
    return rows


def _most_restarts_after(case: Case, worst: int) -> int | None:
    """The highest restartCount there will be, None where every container starts from 0."""
    if not case.trigger.in_place and not restarts_others(case):
        return None
    if case.trigger is not IMAGE or restarts_others(case):
        return worst + 1
    touched = (status_of(pod, container.name) for _, pod, container in case.targets())
    return max([worst, *(status.restart_count + 1 for status in touched if status)])


@finding(
    "JSR203",
    "blocker",
    "the restart would exceed maxRestarts and fail the JobSet",
    source="JobSet, in_place_restart.go (getMaxContainerRestartCount, exceededMaxRestarts); "
    "cmd/in-place-restart-agent, Reconcile",
    todo=f"{IMAGE_TODO}; or create the JobSet again with a higher maxRestarts; or see `jsr explain JSR203`",
)
def max_restarts_headroom(case: Case) -> Occurrence | None:
    """A JobSet with restartStrategy InPlaceRestart is failed for good by its controller when the restartCount of any
    container, agents included, exceeds failurePolicy.maxRestarts, or when an attempt does, less the restarts that do
    not count towards it. failurePolicy is immutable, so the limit cannot be raised on the living JobSet.

    Recreating spends an attempt as well: the agent of a new Pod starts with the current attempt + 1, by suspend, jobs
    and pods alike. What it gives back are the counts of the containers, which start from 0 again. image spends no
    attempt, for it leaves the agents alone, but raises the counts of the containers it restarts.

    Where the attempts are used up and the JobSet has to be recreated all the same, either:
    - annotate the JobSet with jobset.sigs.k8s.io/disable-in-place-restart=true and use --recreate. Agents then do
      nothing and spend nothing. Leave the annotation there: without it they would take the next attempt. What is given
      up is the barrier, and every restart in place of the whole JobSet.
    - or suspend it (spec.suspend true), wait until no Pod of it is left, completed ones included, set
      status.currentInPlaceRestartAttempt and status.previousInPlaceRestartAttempt to null (kubectl patch jobset NAME
      --subresource=status --type merge -p
      '{"status":{"currentInPlaceRestartAttempt":null,"previousInPlaceRestartAttempt":null}}') and resume it: agents
      start with attempt 0. One Pod that still carries an old attempt sends the others round until the JobSet fails,
      so this tool leaves it to you.
    """
    for budget, fails in native_budgets(case):
        if fails:
            summary = f"{budget.name}: {budget.before} of {budget.limit} used, one more would fail the JobSet for good"
            return Occurrence([case.snapshot.workload.title], summary, todo=_way_out(case))
    return None


def _way_out(case: Case) -> str:
    """What is left to do, by which of the two limits is reached."""
    jobset, pods = case.snapshot.jobset, list(case.snapshot.pods())
    if jobset is None:
        return ""
    if attempt_headroom(jobset, pods) > 0:
        return "use --recreate: it spends an attempt, of which there are some left, and starts the counts from 0 again"
    if container_restart_headroom(jobset, pods) > 0 and case.trigger is not IMAGE:
        return ""
    return "create the JobSet again with a higher maxRestarts; `jsr explain JSR203` names another way"


@finding(
    "JSR210",
    "blocker",
    "the agents would wait for completed Pods for ever",
    source="JobSet, in_place_restart.go (reconcileInPlaceRestart: all Pods, by number, at one attempt)",
    todo=IMAGE_TODO,
    concerns=lambda trigger: not trigger.by_exit,
    final=True,
)
def completed_hold_the_barrier(case: Case) -> Occurrence | None:
    """The barrier of an InPlaceRestart JobSet lifts when all its Pods carry the same attempt. A Pod that completed has
    no agent that could take another one, and a completed Pod that was removed is missing for ever, so once a restart
    has sent the agents of the others to the barrier, they wait there until their startup probes fail. Where they wait
    already, the annotation jobset.sigs.k8s.io/disable-in-place-restart=true on the JobSet lets them go.

    Recreating whole Jobs (--via jobs) runs completed indexes again and is no such case, unless a Job that is complete
    as a whole stays behind."""
    if not restarts_agents(case):
        return None
    renewed = {job.metadata.uid for job, _ in case.touched_jobs()} if case.trigger.reach == "unit" else set()
    ended = case.snapshot.ended
    over = [
        (job, indexes_over(job, ended.get(job.metadata.uid, ())))
        for job in case.snapshot.jobs
        if job.metadata.uid not in renewed
    ]
    stay = [(job, number) for job, number in over if number]
    if not stay:
        return None
    jobs = [f"Job {job.metadata.name}" for job, _ in stay]
    return Occurrence(jobs, f"{count(sum(number for _, number in stay), 'Pod')} of {some(jobs)} completed")


@finding(
    "JSR211",
    "blocker",
    "the other Pods would restart in place as well",
    source="cmd/in-place-restart-agent, Reconcile; JobSet, in_place_restart.go (updatePreviousInPlaceRestartAttempt)",
    todo="restart the whole JobSet; or use --via image, which leaves the agents alone",
    concerns=lambda trigger: trigger.reach != "workload",
    beside=False,
)
def agents_set_off_a_round(case: Case) -> Occurrence | None:
    """In an InPlaceRestart JobSet an agent that starts anew takes the next attempt, and the controller then restarts
    every Pod that has not got it: by recreating some Pods all the others are restarted in place.

    The same follows when an agent itself is restarted (-c), and when the Pods of a machine declared down are replaced
    beside a restart by image or signal, which would restart the others a second time. --allow JSR211 lets it happen.
    """
    if not restarts_others(case):
        return None
    meant = {s.slot for s in (case.replaced if case.trigger.in_place else case.meant)}
    others = [s for s in case.snapshot.slots.values() if s.slot not in meant and s.expected and s.pod]
    return Occurrence(named(others), f"{count(len(others), 'other Pod')} would restart") if others else None
