"""The `pods` trigger: deleted Pods are replaced by their Jobs, which count each as a failure. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import making, stopping, waited
from jobset_restart.earlier import Earlier
from jobset_restart.spans import Part
from jobset_restart.stages import Stage
from jobset_restart.triggers.deletion import pods, undeleted
from jobset_restart.triggers.steps import step_by_step


@dataclass(frozen=True, kw_only=True, eq=False)
class Pods(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        return step_by_step(case, "delete", pods)

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        return undeleted(super().remaining(case, earlier, unfinished=unfinished), case.snapshot, earlier)

    def takes(self, case: Case, back_off: float) -> list[Part]:
        return [stopping(case), making(case), waited(back_off, each=True)]


PODS = Pods(
    name="pods",
    strategy="recreate",
    reach="pod",
    why="deleted Pods are made anew, and whatever counts them as failures has some to spare",
    survives=("{owners}", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir",),
)
