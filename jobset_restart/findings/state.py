"""JSR1xx: the state the workload and its Pods are in."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.containers import keep_unready
from jobset_restart.creation import reason
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import count, named, some
from jobset_restart.health import running
from jobset_restart.owners import controller
from jobset_restart.places import at_once
from jobset_restart.pods import attempt, condition
from jobset_restart.suspension import SUSPENDING_OWNERS, queue
from jobset_restart.triggers.jobs import JOBS
from jobset_restart.triggers.native import NATIVE
from jobset_restart.workloads.workload import SlotState


@finding(
    "JSR101",
    "blocker",
    "the workload is finished",
    source="JobSet API, status.terminalState and conditions Completed, Failed; Job API, JobConditionType",
    todo="delete it and create it again: a finished workload never runs again",
    final=True,
)
def finished(case: Case) -> Occurrence | None:
    """A JobSet whose condition Completed or Failed is True is over for good, and so is a Job that is Complete or
    Failed, or about to be (SuccessCriteriaMet, FailureTarget).

    Its controller ends what runs and starts nothing again, so neither strategy can bring it back. Delete it and create
    it again from its manifest.
    """
    workload, over = case.snapshot.workload, case.snapshot.workload.over()
    if over is None:
        return None
    summary = f"the {workload.kind.kind} has {over.state.lower()}: {over.message or over.reason}"
    return Occurrence([workload.title], summary, todo=over.again)


@finding(
    "JSR102",
    "blocker",
    "the workload is suspended",
    source="spec.suspend in the APIs of JobSet and Job",
    todo="resume it (spec.suspend false) or ask whoever suspended it; resuming starts every Pod anew anyway",
)
def suspended(case: Case) -> Occurrence | None:
    """A suspended workload has no running Pods, so there is nothing to restart.

    Somebody set spec.suspend: a person, or a queue such as Kueue that has not admitted it. Resuming it behind a
    queue's back would take resources it was not given, so this tool does not. The one exception is a suspend that an
    earlier run of this tool left behind when it died: that is finished by the next run (JSR108).
    """
    if not case.snapshot.workload.suspended or case.finishes:
        return None
    workload, name = case.snapshot.workload, case.snapshot.workload.title
    if waits := queue(workload.metadata):
        look = f"`kubectl get workloads.kueue.x-k8s.io -n {case.snapshot.namespace}`"
        todo = f"wait until Kueue admits it; {look} shows its Workload"
        admission = case.snapshot.admission
        if admission is not None and not admission.active:
            todo = f"its {admission.title} is deactivated: ask whoever did that, or set its spec.active to true"
        return Occurrence([name], f"it waits in Kueue's queue {waits}, or was evicted from it", todo=todo)
    owner = controller(workload.metadata)
    if owner is not None and owner.kind in SUSPENDING_OWNERS:
        owned_by = f"{owner.kind} {owner.name}"
        todo = f"resume {owned_by}, which resumes the {workload.kind.kind}"
        return Occurrence([name], f"its owner {owned_by} keeps it suspended", todo=todo)
    return Occurrence([name], "spec.suspend is true, and not by an operation of this tool")


@finding(
    "JSR103",
    "blocker",
    "the workload is being deleted",
    source="metadata.deletionTimestamp",
    todo="wait until it is gone and create it again",
    final=True,
)
def being_deleted(case: Case) -> Occurrence | None:
    """The workload has a deletionTimestamp: its controller no longer makes Pods for it, so nothing would come back."""
    meta = case.snapshot.workload.metadata
    if not meta.deletion_timestamp:
        return None
    return Occurrence(
        [case.snapshot.workload.title], f"being deleted since {meta.deletion_timestamp:%Y-%m-%dT%H:%M:%SZ}"
    )


@finding(
    "JSR104",
    "blocker",
    "there are no Pods to restart",
    source="Pods by label and controller reference",
    todo="see `kubectl describe` and the selection options: the workload may not have started, or all may be done",
    final=True,
)
def no_pods(case: Case) -> Occurrence | None:
    """No Pod fills a slot in scope: the workload has not started yet, has no replicas, everything selected is complete,
    or the selection matches nothing."""
    if any(state.pod for state in case.meant) or case.finishes:
        return None
    slots = len(case.scope)
    summary = f"{count(slots, 'slot')} in scope, none with a Pod" if slots else "no slot is in scope"
    workload = case.snapshot.workload
    if workload.shares_its_pods:
        todo = "see `kubectl get pods --show-labels` and the selection options: Pods that are over are left out"
        return Occurrence([workload.title], summary, todo)
    look = f"`kubectl describe {workload.kind.word} {workload.name} -n {workload.namespace}`"
    todo = f"see {look} and the selection options: it may not have started, or all may be done"
    return Occurrence([workload.title], summary, todo)


@finding(
    "JSR105",
    "blocker",
    "another controller manages the workload",
    source="spec.managedBy in the APIs of JobSet and Job",
    todo="restart it where it really runs, for instance in the MultiKueue worker cluster",
)
def managed_by_another(case: Case) -> Occurrence | None:
    """spec.managedBy names another controller (MultiKueue for one), so the controller here ignores the workload,
    and its Pods, if there are any, are mirrors."""
    manager = case.snapshot.workload.managed_by
    if not manager:
        return None
    return Occurrence([case.snapshot.workload.title], f"spec.managedBy is {manager}")


@finding(
    "JSR106",
    "blocker",
    "something selected is not there",
    source="the workload's spec, its Pods, their spec.nodeName and Jobs",
    todo="look with `jsr status` and `kubectl get pods -o wide`; --allow JSR106 restarts what is there",
)
def selected_in_vain(case: Case) -> Occurrence | None:
    """--replicated-job, --job-index, --pod, --node or --container names what this workload does not have: a slip of the
    pen, a Pod that was replaced since its name was noted, or a node its Pods have left.

    Restarting only the rest would look as if all that was asked for had been done.
    """
    if not case.absent:
        return None
    named = [str(each) for each in case.absent]
    near = [
        f"{each}: {each.suggestion}" if len(named) > 1 else each.suggestion for each in case.absent if each.suggestion
    ]
    rest = ["--allow JSR106 restarts what is there"] if case.meant else []
    todo = "; ".join([*near[:3], *rest]) if near else ""
    return Occurrence(named, f"{case.snapshot.workload.title} has nothing called {some(named)}", todo)


@finding(
    "JSR107",
    "blocker",
    "some slots have no running Pod",
    source="status.phase of the Pods",
    todo="see why with `jsr status`; --recreate brings them back, --allow JSR107 leaves them alone",
    concerns=lambda trigger: trigger.in_place,
)
def not_running(case: Case) -> Occurrence | None:
    """An in-place restart keeps the Pod, so a slot whose Pod is missing, failed or not started yet gets nothing from
    it.

    A Pod that is still Pending starts by itself once it can; a missing or failed one is the Job controller's to
    replace. With native such a slot holds the barrier for all others. With --allow JSR107, image and signal leave
    these slots alone and restart the others."""
    idle = [s for s in case.scope if not running(s)]
    if not idle:
        return None
    summary = (
        f"{count(len(idle), 'slot')} of {len(case.scope):,} without a running Pod: {some(list(map(_phase, idle)))}"
    )
    refused = case.snapshot.workload.parent_uid in case.snapshot.refusals
    if refused and any(s.job is None for s in idle):
        return Occurrence(
            named(idle), summary, todo="nothing brings them back before their Jobs can be created (JSR110)"
        )
    return Occurrence(named(idle), summary)


def _phase(state: SlotState) -> str:
    if state.pod is None:
        return f"{state.slot} missing"
    if state.pod.metadata.deletion_timestamp:
        return f"{state.slot} terminating"
    return f"{state.slot} {state.pod.status.phase or 'unknown'}"


@finding(
    "JSR108",
    "warning",
    "a restart that died while the workload was suspended is finished first",
    source="the record jobset-restart.io/operation on the workload",
    todo="nothing: this run resumes the workload and waits until every Pod is back",
)
def unfinished_suspend(case: Case) -> Occurrence | None:
    """An earlier run of this tool suspended the workload and ended before it resumed it, and its claim has lapsed.

    All its Pods are gone or going, so whatever was asked for now, the one right thing is to finish that: wait for the
    old Pods, resume, and wait for the new ones. They are all new, so nothing more is restarted.
    """
    if not case.finishes:
        return None
    return Occurrence([case.snapshot.workload.title], f"operation {case.finishes} died between suspend and resume")


@finding(
    "JSR109",
    "blocker",
    "the JobSet is restarting in place already",
    source="JobSet, in_place_restart.go; Pod condition AllContainersRestarting (KEP-5532)",
    todo="wait for it (`jsr status NAME --watch`), or use --recreate if it hangs",
    concerns=only(NATIVE),
)
def restarting(case: Case) -> Occurrence | None:
    """The Pods carry different in-place restart attempts, or some are restarting all their containers right now.

    A second attempt on top would cost another round of every budget. If a Pod never comes back, the barrier holds all
    the others: find it with `jsr status`.
    """
    if case.snapshot.jobset is None:
        return None
    status = case.snapshot.jobset.status
    current, previous = status.current_in_place_restart_attempt, status.previous_in_place_restart_attempt
    if current is not None and previous is not None and previous >= current:
        return Occurrence([case.snapshot.workload.title], f"attempt {current} is declared outdated already")
    moving = [
        state
        for state, pod in case.pods()
        if condition(pod.status.conditions, "AllContainersRestarting")
        or (current is not None and (attempt(pod) or current) != current)
    ]
    if not moving:
        return None
    return Occurrence(named(moving), f"{count(len(moving), 'Pod')} of {len(case.scope):,} in the middle of it")


@finding(
    "JSR110",
    "blocker",
    "the Jobs of the JobSet cannot be created",
    source="JobSet, jobset_controller.go: event JobCreationFailed",
    todo="neither way of restarting helps: Jobs are made from the same template and refused again; change what refuses "
    "them (a quota, a webhook, a feature gate), or delete the JobSet and create it with a template that is accepted",
)
def jobs_refused(case: Case) -> Occurrence | None:
    """The JobSet should have Jobs that are not there, and its controller's last word on them is that it could not
    create them.

    The JobSet shows nothing of it: no condition, no count, only the Event. Its controller tries again and again by
    itself, from a template that cannot be changed any more, so --recreate would do no more than that: it would take
    down what runs, and none of it might come back.
    """
    snapshot = case.snapshot
    refused = snapshot.refusals.get(snapshot.workload.parent_uid)
    missing = {s.slot.unit for s in snapshot.slots.values() if s.job is None}
    if refused is None or not missing or not snapshot.jobset:
        return None
    jobs = [f"Job {snapshot.jobset.metadata.name}-{name}-{index}" for name, (index,) in sorted(missing)]
    return Occurrence(jobs, f"{count(len(jobs), 'Job')} missing: {refused.reason}: {reason(refused)}")


@finding(
    "JSR111",
    "note",
    "objects carry the workload's labels and are not its own",
    source="metadata.ownerReferences: Pod -> Job -> JobSet by UID, controller true; JobSet, getChildJobs",
    todo="see who made them with `kubectl get -o yaml`; they are neither restarted nor waited for",
)
def strangers(case: Case) -> Occurrence | None:
    """Labels are written by whoever creates an object, so they prove nothing: a Pod belongs to a JobSet only when a
    Job manages it that the JobSet manages, and to a Job only when that manages it, each named by its UID in a
    controller reference.

    What has the workload's labels without that is left alone, and nothing waits for it: somebody's Pod under a borrowed
    name, or one whose Job was deleted without it."""
    names = case.snapshot.strangers
    return Occurrence(names, f"{some(names)}: left alone") if names else None


@finding(
    "JSR112",
    "note",
    "Pods that cannot be Ready are judged by their restarted containers",
    source="kubelet, status/generate.go GenerateContainersReadyCondition",
    todo="nothing; --recreate starts the ended containers too",
    concerns=lambda trigger: trigger.by_container,
)
def judged_by_containers(case: Case) -> Occurrence | None:
    """A container that has ended for good keeps its Pod from ever being Ready. Where such a container was there before
    and is left out with -c, the slot counts as back when the restarted containers are ready themselves."""
    states = [(state, keep_unready(pod, case.containers)) for state, pod in case.pods()]
    affected = [(state, names) for state, names in states if names]
    if not affected:
        return None
    ended = some(sorted({name for _, names in affected for name in names}))
    return Occurrence(
        named(s for s, _ in affected), f"container {ended} of {count(len(affected), 'Pod')} has ended for good"
    )


@finding(
    "JSR113",
    "warning",
    "Jobs that were scaled would be created at the size of their template",
    source="JobSet, constructJobsFromTemplate; spec.parallelism and spec.completions of the Job",
    todo="recreate with --via suspend, which keeps the Jobs as they are",
    concerns=only(JOBS),
)
def back_to_the_template(case: Case) -> Occurrence | None:
    """A child Job may be scaled while it runs. The JobSet controller creates a deleted Job from the JobSet's template,
    so it comes back with as many Pods as the template says: the others are gone, or more are there than before."""
    replicated_jobs = case.snapshot.jobset.spec.replicated_jobs if case.snapshot.jobset else []
    templates = {each.name: each.template.spec for each in replicated_jobs}
    scaled = []
    for job, _ in case.touched_jobs():
        template = templates.get(job.metadata.labels.replicated_job_name)
        if template is not None and at_once(template) != at_once(job.spec):
            scaled.append(f"Job {job.metadata.name} from {at_once(job.spec):,} Pods to {at_once(template):,}")
    return Occurrence([text.partition(" from ")[0] for text in scaled], some(scaled)) if scaled else None
