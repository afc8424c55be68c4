"""JSR521 to JSR525: Pods that were chosen by their labels, whoever owns them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobset_restart.case import Case
from jobset_restart.containers import containers_in_scope, mark_of
from jobset_restart.events import Budget
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.findings.words import count, named, some
from jobset_restart.objects import Pod
from jobset_restart.pod_owners import Above
from jobset_restart.pods import statuses
from jobset_restart.rules import UNLIMITED, counted_restarts, past_backoff_limit_on_failure
from jobset_restart.workloads.workload import SlotState


def _above(case: Case) -> Iterator[tuple[Above, list[SlotState]]]:
    """What stands above the slots of the case, and those slots."""
    by_uid = {pod.metadata.uid: state for state, pod in case.pods()}
    for each in case.evidence.above or ():
        states = [by_uid[pod.metadata.uid] for pod in each.pods if pod.metadata.uid in by_uid]
        if states:
            yield each, states


def _through(tops: Iterable[str]) -> str:
    """How to restart through the owners instead, "" where jsr knows none of them."""
    known = sorted(set(filter(None, tops)))
    return f"restart it as what it is: {some([f'`jsr restart {top}`' for top in known])}" if known else ""


@finding(
    "JSR521",
    "warning",
    "how an owner of these Pods reacts to a restart is not known",
    source="metadata.ownerReferences of the Pods, up to the topmost owner",
    todo="ask whoever runs that owner; if it makes Pods anew, that is seen and told, and the restart has failed there",
)
def reaction_unknown(case: Case) -> Occurrence | None:
    """Pods chosen by their labels may be anybody's. The controllers of Jobs, JobSets, LeaderWorkerSets, RayClusters,
    ReplicaSets, StatefulSets and DaemonSets do not look at the restartCount, unless another finding here says
    otherwise; a Pod without an owner has nobody who reacts. Of every other kind it is not known what it does about a
    container that was restarted: nothing, count it, or make the Pod anew."""
    unknown = [(each, states) for each, states in _above(case) if each.unknown]
    if not unknown:
        return None
    told = list(dict.fromkeys(each.unknown for each, _ in unknown))
    return Occurrence(
        named(state for _, states in unknown for state in states), some(told), _through(each.top for each, _ in unknown)
    )


@finding(
    "JSR522",
    "blocker",
    "an owner answers a restarted container by making Pods anew",
    source="LeaderWorkerSet, pod_controller.go (handleRestartPolicy)",
    todo="restart it as what it is",
    final=True,
)
def recreates(case: Case) -> Occurrence | None:
    """What would be restarted in place here would be deleted by its owner a moment later, together with Pods that were
    not selected."""
    those = [(each, states) for each, states in _above(case) if each.recreates]
    if not those:
        return None
    told = list(dict.fromkeys(each.recreates for each, _ in those))
    return Occurrence(
        named(state for _, states in those for state in states), some(told), _through(each.top for each, _ in those)
    )


@finding(
    "JSR523",
    "blocker",
    "somebody else is restarting these Pods",
    source="the claim jobset-restart.io/operation on the owners, and the mark of that name on the Pods",
    todo="wait until that restart is over; --allow JSR523 goes ahead beside it",
)
def restarted_by_others(case: Case) -> Occurrence | None:
    """The Lease that carries the claim keeps others away who choose Pods by the same labels. Whoever restarts the
    workload that these Pods belong to, or chooses them by other labels, has a claim elsewhere: on an owner of the Pods,
    where it is looked for; or told by a mark on a Pod whose containers have not been started again yet."""
    if not case.snapshot.workload.shares_its_pods:
        return None
    held = [(each, states) for each, states in _above(case) if each.held]
    if held:
        told = list(dict.fromkeys(each.held for each, _ in held))
        return Occurrence(named(state for _, states in held for state in states), some(told))
    own = case.snapshot.workload.metadata.annotations.operation
    under_way = ((state, _under_way(pod)) for state, pod in case.pods())
    marked = [(state, mark) for state, mark in under_way if mark and f'"id":"{mark}"' not in own]
    if not marked:
        return None
    operations = some(sorted({mark for _, mark in marked}))
    return Occurrence(
        named(state for state, _ in marked),
        f"{count(len(marked), 'Pod')} marked by operation {operations} and not restarted yet",
    )


def _under_way(pod: Pod) -> str:
    """The operation that has marked the Pod and none of whose containers was started since, "" where none is so."""
    operation, before = mark_of(pod)
    begun = any(status.restart_count > before.get(status.name, 0) for status in statuses(pod))
    return operation if operation and before and not begun else ""


def counted(case: Case) -> Iterator[tuple[Budget, bool, list[SlotState]]]:
    """What image and signal spend, at least, of the backoffLimit of Jobs whose Pods have restartPolicy OnFailure: the
    Pods of a Job that the labels do not choose are not known. And whether the Job would fail."""
    for each, states in _above(case):
        pods = [state.pod for state in states if state.pod]
        if each.backoff_limit is None or any(pod.spec.restart_policy != "OnFailure" for pod in pods):
            continue
        now = counted_restarts(each.pods)
        after = now + sum(len(containers_in_scope(pod, case.containers)) for pod in pods)
        budget = Budget(name=f"Job {each.job} backoffLimit", limit=each.backoff_limit, before=now, after=after)
        yield budget, past_backoff_limit_on_failure(each.backoff_limit, after), states


@finding(
    "JSR524",
    "warning",
    "the restarts count towards the backoffLimit of a Job",
    source="job controller, pastBackoffLimitOnFailure",
    todo="restart the Job as what it is, which knows all its Pods; or raise its backoffLimit",
    concerns=lambda trigger: trigger.by_container,
)
def counted_by_a_job(case: Case) -> Occurrence | None:
    """In a Job whose Pods have restartPolicy OnFailure every container restart counts, summed over all its Pods, those
    included that these labels do not choose. The numbers are therefore the least that it may be. Where they reach the
    limit, the Job would fail and all its Pods be deleted: then this is a blocker."""
    rows = [row for row in counted(case) if row[0].limit < UNLIMITED]
    if not rows:
        return None
    budget, fails, _ = next((row for row in rows if row[1]), rows[0])
    summary = f"{budget.name} {budget.limit:,}: at least {budget.before:,} restarts now, {budget.after:,} after"
    return Occurrence(
        named(state for _, _, states in rows for state in states),
        f"{summary}; the Job would fail" if fails else summary,
        severity="blocker" if fails else "warning",
    )


@finding(
    "JSR525",
    "blocker",
    "what replaces a Pod of a lost machine cannot be told",
    source="metadata.ownerReferences; controllers give new Pods new names",
    todo="leave --node-down away, or restart the owner of the Pods as what it is",
    final=True,
)
def lost_machines(case: Case) -> Occurrence | None:
    """A Pod chosen by its labels stands for itself alone. On a machine that is declared down it would have to be
    deleted, and which Pod comes in its place, if any, only its owner knows."""
    if not (case.snapshot.workload.shares_its_pods and case.lost):
        return None
    return Occurrence(named(case.lost), f"{count(len(case.lost), 'Pod')} on machines declared down")
