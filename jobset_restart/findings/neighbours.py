"""JSR5xx: who else has a say in the workload. JSR6xx: what this user may do."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.commands import jsr
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import count, ways
from jobset_restart.objects import OwnerReference
from jobset_restart.owners import controller, group_of
from jobset_restart.places import at_once, completed_indexes
from jobset_restart.snapshot import job_complete
from jobset_restart.suspension import SUSPENDING_OWNERS
from jobset_restart.triggers.jobs import JOBS
from jobset_restart.triggers.rollout import ROLLOUT
from jobset_restart.triggers.suspend import SUSPEND
from jobset_restart.workloads.kinds import reference
from jobset_restart.workloads.leaderworkerset import LeaderWorkerSetWorkload
from jobset_restart.workloads.registry import reader_of
from jobset_restart.writes import Permission

CRON_JOB = ("CronJob", "batch/v1")


@finding(
    "JSR502",
    "warning",
    "another object owns the workload",
    source="metadata.ownerReferences",
    todo="if the owner reverts the change, restart through it, or a JobSet with --via jobs",
    concerns=only(SUSPEND),
)
def owned(case: Case) -> Occurrence | None:
    """An owner keeps the workload the way it wants it, spec.suspend included. A TrainJob resumes its JobSet 0.03
    seconds after it was suspended: some of its Pods are replaced, and old and new ones of an index run side by side, so
    a known owner of that kind is a blocker, and the Jobs, which are left to the JobSet controller, are deleted instead.
    Of other owners it is not known: if one resumes the workload while it is being suspended, this is seen and told, and
    the restart does not count as clean. A CronJob leaves its Jobs alone (JSR512)."""
    owner = controller(case.snapshot.workload.metadata)
    if owner is None or (owner.kind, owner.api_version) == CRON_JOB:
        return None
    name = f"{owner.kind} {owner.name}"
    if owner.kind not in SUSPENDING_OWNERS:
        return Occurrence([name], f"{name} may set spec.suspend too")
    recreate = ways(case, "jobs")
    through = f"restart {name} itself{_command(case, owner)}"
    todo = f"{f'recreate with {recreate}, or ' if recreate else ''}{through}"
    return Occurrence([name], f"{name} resumes it at once", todo=todo, severity="blocker")


def _command(case: Case, owner: OwnerReference) -> str:
    """The command that restarts the owner, "" where it is of a kind that cannot be restarted."""
    reader = reader_of(owner.kind, group_of(owner))
    if reader is None:
        return ""
    name = reference(reader.kind.kind, reader.kind.group, owner.name)
    return f": {jsr('restart', name, case.snapshot.namespace, case.snapshot.context, '--recreate')}"


@finding(
    "JSR512",
    "note",
    "a CronJob made the Job",
    source="CronJob API, spec.concurrencyPolicy; cronjob controller, syncCronJob",
    todo="nothing; look at concurrencyPolicy where the restart may last until the next run is due",
)
def made_by_a_cron_job(case: Case) -> Occurrence | None:
    """A CronJob makes a Job for each of its runs and then leaves it alone, so this one run can be restarted like any
    other Job; the next one is made from the CronJob's template all the same.

    Where the next run is due before this one is over, concurrencyPolicy decides: Allow runs both side by side, Forbid
    leaves the next one out, Replace deletes this one."""
    owner = controller(case.snapshot.workload.metadata)
    if owner is None or (owner.kind, owner.api_version) != CRON_JOB:
        return None
    return Occurrence([f"CronJob {owner.name}"], f"it is a run of CronJob {owner.name}, which leaves it alone")


@finding(
    "JSR503",
    "blocker",
    "completed indexes would not run again",
    source="job controller: completedIndexes of a suspended Job stay; kubernetes-sigs/jobset#1208",
    todo="recreate a JobSet with --via jobs, which runs every index of an unfinished Job again; or --allow JSR503",
    concerns=lambda trigger: trigger.suspends,
)
def completed_stay(case: Case) -> Occurrence | None:
    """A Job that is suspended and resumed keeps its completed indexes: they do not run again, only the others do.

    In training, where all indexes work together, that leaves a gang without some of its members. Jobs that are
    complete as a whole, such as a finished data preparation, are not meant: they stay complete either way. Nor are
    Jobs that want more completions than they run Pods at once: their indexes never all ran together."""
    waves = _waves(case)
    found = _hit({job: number for job, number in _completed(case).items() if job not in waves})
    if found is None:
        return None
    recreate = ways(case, "jobs")
    todo = f"recreate with {recreate}, which runs every index of an unfinished Job again; or --allow JSR503"
    if not recreate:
        todo = (
            "--allow JSR503 recreates what is not complete; a Job that is to run every index again has to be deleted "
        )
        todo += "and created anew"
    return Occurrence(found.objects, found.summary, todo)


@finding(
    "JSR504",
    "warning",
    "completed indexes would run again",
    source="a new Job starts with no completed index",
    todo="make sure that it is right to run them again",
    concerns=only(JOBS),
)
def completed_rerun(case: Case) -> Occurrence | None:
    """A deleted Job is created again from the JobSet's template and runs all its indexes, those that had completed
    included. Jobs that are complete as a whole are left alone."""
    return _hit(_completed(case))


def _completed(case: Case) -> dict[str, int]:
    """How many indexes of each unfinished Job are complete, by the Job's name."""
    jobs = ((job.metadata.name, len(completed_indexes(job))) for job in case.snapshot.jobs if not job_complete(job))
    return {name: number for name, number in jobs if number}


def _waves(case: Case) -> set[str]:
    """The Jobs whose indexes have their turns one after the other."""
    return {j.metadata.name for j in case.snapshot.jobs if (j.spec.completions or 0) > at_once(j.spec)}


def _hit(jobs: dict[str, int]) -> Occurrence | None:
    number = sum(jobs.values())
    words = f"{number:,} completed {'index' if number == 1 else 'indexes'}"
    return Occurrence([f"Job {name}" for name in jobs], words) if jobs else None


@finding(
    "JSR505",
    "blocker",
    "the trigger reaches further than what was selected",
    source="suspend and native restart the whole workload, jobs whole Jobs; native every container",
    todo="select the whole workload, or use --via image or --via pods, which go Pod by Pod",
    concerns=lambda trigger: not trigger.by_container,
    final=True,
    beside=False,
)
def reaches_too_far(case: Case) -> Occurrence | None:
    """A trigger is used only if it restarts exactly what was asked for.

    native and suspend restart the whole workload, jobs every Pod of a Job. Single containers can only be restarted in
    place by image or signal; native restarts them all.
    """
    target = [case.snapshot.workload.title]
    if case.containers:
        return Occurrence(target, f"{case.trigger} cannot restart single containers")
    if case.trigger.reach == "workload" and not case.whole:
        return Occurrence(
            target, f"{case.trigger} restarts the whole {case.snapshot.workload.kind.kind}, not a part of it"
        )
    if case.trigger.reach == "unit":
        asked = {s.slot for s in case.meant}
        reached = {slot.unit for slot in asked}
        others = [
            s for s in case.snapshot.slots.values() if s.slot.unit in reached and s.slot not in asked and s.expected
        ]
        if others:
            slots = [f"slot {s.slot}" for s in others]
            todo = f"select these too, or use {ways(case, 'image', 'pods')}, which goes Pod by Pod"
            return Occurrence(slots, f"{case.trigger} would restart {count(len(others), 'other slot')} too", todo)
    return None


@finding(
    "JSR508",
    "blocker",
    "the controller answers a restarted container by making Pods anew",
    source="LeaderWorkerSet, pod_controller.go (handleRestartPolicy); spec.leaderWorkerTemplate.restartPolicy",
    todo="use --recreate, which makes each group anew by one write; or run it with restartPolicy None",
    concerns=lambda trigger: trigger.in_place,
    final=True,
)
def recreated_anyway(case: Case) -> Occurrence | None:
    """With restartPolicy RecreateGroupOnPodRestart, the default of a LeaderWorkerSet, its controller deletes the leader
    of a group, and with it the workers, as soon as one container in it has been restarted: 0.07 s after the
    restartCount became 1. So nothing can be restarted in place there.

    A change of restartPolicy is a new revision, which recreates every group, so it cannot be switched off for the time
    of a restart."""
    workload = case.snapshot.workload
    reason = workload.answers_restarts
    if not reason:
        return None
    return Occurrence([workload.title], f"{reason}: one restarted container recreates its whole group")


@finding(
    "JSR509",
    "blocker",
    "a rollout would leave groups as they are",
    source="LeaderWorkerSet API, spec.rolloutStrategy.rollingUpdateConfiguration.partition",
    todo="use --via group, which restarts every group; or set partition to 0 first",
    concerns=only(ROLLOUT),
    final=True,
)
def groups_left_out(case: Case) -> Occurrence | None:
    """Of a LeaderWorkerSet with a partition, only the groups from that number on follow a change of the template. The
    others keep their Pods until the partition is lowered, so a restart by rollout would wait for them in vain."""
    workload = case.snapshot.workload
    left_out = workload.left_out_of_rollouts if isinstance(workload, LeaderWorkerSetWorkload) else 0
    if not left_out:
        return None
    return Occurrence([workload.title], f"partition {left_out} keeps {count(left_out, 'group')} out of it")


@finding(
    "JSR601",
    "blocker",
    "permissions are missing",
    source="SelfSubjectAccessReview for every action of the plan",
    todo="ask for these rules to be granted; nothing was changed",
)
def denied(case: Case) -> Occurrence | None:
    """Every verb the plan's actions use was asked about beforehand, so that a restart does not stop half way for want
    of a permission. The missing rules are printed as YAML, ready for a Role, those
    on Nodes for a ClusterRole."""
    missing = case.evidence.denied.get(case.trigger.name)
    if not missing:
        return None
    names = ", ".join(map(str, sorted(missing)))
    namespace = case.snapshot.namespace
    own, everybody_s = ([p for p in sorted(missing) if (p.resource == "nodes") == of_all] for of_all in (False, True))
    todo = [
        f"have a {holder} grant:\nrules:\n{_rules(those)}"
        for holder, those in ((f"Role in namespace {namespace}", own), ("ClusterRole", everybody_s))
        if those
    ]
    return Occurrence([f"namespace {namespace}"], f"not allowed: {names}", todo="\nand ".join(todo))


def _rules(missing: list[Permission]) -> str:
    return "\n".join(
        f'- {{apiGroups: ["{p.group}"], resources: [{p.resource}{"/" + p.subresource if p.subresource else ""}], '
        f"verbs: [{p.verb}]}}"
        for p in missing
    )
