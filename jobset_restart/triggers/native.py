"""The `native` trigger: one write restarts a whole JobSet with restartStrategy InPlaceRestart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import in_place, starting, waited
from jobset_restart.earlier import Earlier
from jobset_restart.objects import JobSet, Pod
from jobset_restart.pods import attempt as attempt_of
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part, Span
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.steps import freed, replacing, slots_of
from jobset_restart.workloads.jobset import is_native
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, jobset_path


def native(jobset: JobSet) -> Write:
    """The one write that restarts a whole InPlaceRestart JobSet: it declares the current attempt outdated.

    Every agent whose attempt is not above status.previousInPlaceRestartAttempt exits and comes back with the next one
    (JobSet, cmd/in-place-restart-agent Reconcile). The controller writes the same field when it sees attempts that
    differ; to make one Pod's attempt differ instead is a race: if that Pod's agent is the last to come back, the
    barrier has been lifted without it and everybody restarts once more."""
    return Write(
        verb="patch",
        path=f"{jobset_path(jobset.metadata.namespace, jobset.metadata.name)}/status",
        body={"status": {"previousInPlaceRestartAttempt": jobset.status.current_in_place_restart_attempt or 0}},
        uid=jobset.metadata.uid,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Native(Trigger):
    def offered(self, snapshot: Snapshot) -> bool:
        return is_native(snapshot.jobset)

    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        """Pods that leave their node are deleted before the write, so that their old agents take no new attempt: the
        new Pods start with the next one, which is the one that the write leads all others to, and these wait for them
        at the barrier."""
        jobset = case.snapshot.jobset
        actions = [native(jobset)] if case.scope and jobset else []
        trigger = Stage(name="trigger", actions=actions, slots=slots_of(case.scope))
        return filled([replacing(case), trigger, freed(case)])

    def takes(self, case: Case, back_off: float) -> list[Part]:
        """2.8 s for four Pods: the agents exit, everything is started anew, and waits for the last at the barrier."""
        return [Part(once=Span(1.0, 2.2, 8.0)), starting(case), in_place(case), waited(back_off)]

    def begun(self, state: SlotState, earlier: Earlier, snapshot: Snapshot) -> bool:
        """The JobSet as a whole was triggered, or one of its Pods has gone ahead."""
        jobset = snapshot.jobset
        outdated = jobset.status.previous_in_place_restart_attempt if jobset else None
        if state.pod is None or (outdated is not None and outdated >= earlier.attempt - 1):
            return True
        return any(self.arrived(pod, earlier.attempt) for pod in snapshot.pods())

    def through(self, pod: Pod, earlier: Earlier) -> bool:
        return self.arrived(pod, earlier.attempt) and super().through(pod, earlier)

    def arrived(self, pod: Pod, attempt: int) -> bool:
        return (attempt_of(pod) or 0) >= attempt


NATIVE = Native(
    name="native",
    strategy="in-place",
    reach="workload",
    why="the JobSet restarts all its Pods in place after one write",
    survives=("Pods, nodes, IPs", "volumes, emptyDir included"),
    lost=("the file systems of all containers, sidecars included", "the grace period and preStop: none is given"),
    order="at once",
    gives_grace=False,
    barrier=True,
)
