"""The `jobs` trigger: deleted child Jobs are created again by the JobSet controller. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import all_anew
from jobset_restart.earlier import Earlier
from jobset_restart.objects import Job
from jobset_restart.slots import unit_text
from jobset_restart.snapshot import job_complete
from jobset_restart.spans import Part
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.deletion import undeleted
from jobset_restart.triggers.steps import step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, job_path


def jobs(children: Iterable[Job], place: Callable[[Job], str] = lambda _: "") -> Drawn[Write]:
    """DELETE of child Jobs in the foreground: their Pods go first, then the JobSet controller makes new Jobs. `place`
    says where a Job stands, such as "workers/0"."""
    return Drawn([(job, place(job)) for job in children], _delete)


def _delete(target: tuple[Job, str]) -> Write:
    job, place = target
    return Write(
        verb="delete",
        path=job_path(job.metadata.namespace, job.metadata.name),
        body={"propagationPolicy": "Foreground"},
        uid=job.metadata.uid,
        slot=place,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Jobs(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        touched, workload = case.touched_jobs(), case.snapshot.workload

        def place(job: Job) -> str:
            return unit_text(workload.unit_of(job))

        def deletions(states: Sequence[SlotState]) -> Drawn[Write]:
            meant = {state.slot for state in states}
            wanted = (job for job, filled in touched if any(s.slot in meant for s in filled))
            return jobs((job for job in wanted if not job_complete(job)), place)

        return step_by_step(case, "delete", deletions)

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        return undeleted(super().remaining(case, earlier, unfinished=unfinished), case.snapshot, earlier)

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        return all_anew(case)


JOBS = Jobs(
    name="jobs",
    strategy="recreate",
    reach="unit",
    why="the JobSet controller creates deleted Jobs again, and counts no restart",
    survives=("the JobSet", "persistent volumes"),
    lost=("Jobs, Pods, IPs, the nodes they were on, emptyDir",),
    jobs_count=False,
)
