"""The `suspend` trigger: a workload that is suspended and resumed makes all its Pods anew. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import all_anew
from jobset_restart.earlier import Earlier
from jobset_restart.rules import replaces_only_failed
from jobset_restart.spans import Part
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.nodes import freeing
from jobset_restart.workloads.workload import SlotState, Workload
from jobset_restart.writes import Write


def suspend(workload: Workload, suspended: bool) -> Write:
    """Sets spec.suspend. Whoever sends it adds the record of the operation to the same write, so that nothing is ever
    suspended without the word of who did it."""
    return Write(verb="patch", path=workload.path, body={"spec": {"suspend": suspended}}, uid=workload.metadata.uid)


def holds_up(workload: Workload, state: SlotState) -> bool:
    """Whether a Pod that cannot end keeps the workload from being resumed. A Job that replaces only what has failed
    waits for it; and so does the operator of a RayCluster, which counts as suspended when no Pod is left, and is not
    resumed before (KubeRay, raycluster_controller.go, calculateStatus)."""
    return replaces_only_failed(state.job) if state.job else not workload.made_of_jobs


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspend(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        workload = case.snapshot.workload
        stuck = [s for s in case.lost if case.taint or holds_up(workload, s)]
        return filled(
            [
                Stage(name="suspend", actions=[suspend(workload, True)]),
                freeing(case, stuck),
                Stage(name="resume", actions=[suspend(workload, False)], after="stopped"),
            ]
        )

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        """A client that suspends and resumes in one breath may be too quick for the controllers to see the suspend."""
        suspended = case.snapshot.workload.suspended
        if not suspended and not unfinished:
            return []
        return [s for s in self.stages(case, earlier.id) if not (suspended and s.name == "suspend")]

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        return all_anew(case)


SUSPEND = Suspend(
    name="suspend",
    strategy="recreate",
    reach="workload",
    why="two writes recreate every Pod, and no Job counts a failure",
    survives=("{owners}", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir",),
    order="controller",
    suspends=True,
    jobs_count=False,
)
