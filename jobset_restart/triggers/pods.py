"""The `pods` trigger: deleted Pods are replaced by their Jobs, which count each as a failure. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.earlier import Earlier
from jobset_restart.objects import Pod
from jobset_restart.places import ended
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.deletion import undeleted
from jobset_restart.triggers.steps import RECREATE_SECONDS_PER_POD, step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, pod_path


def pods(states: Iterable[SlotState]) -> Drawn[Write]:
    """DELETE of Pods with their own grace period: the Job makes new ones and counts each as a failure. What is over
    already is left to the Job, which replaces it anyway."""
    return Drawn([(s.pod, str(s.slot)) for s in states if s.pod is not None and not ended(s.pod)], _delete)


def _delete(target: tuple[Pod, str]) -> Write:
    pod, slot = target
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    return Write(verb="delete", path=path, uid=pod.metadata.uid, slot=slot)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pods(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        return step_by_step(case, "delete", pods)

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        return undeleted(super().remaining(case, earlier, unfinished=unfinished), case.snapshot, earlier)

    def until_ready(self, case: Case, turns: int, back_off: float) -> float:
        return (back_off + 1.5) * turns + (len(case.scope) + len(case.lost)) * RECREATE_SECONDS_PER_POD


PODS = Pods(
    name="pods",
    strategy="recreate",
    reach="pod",
    why="deleted Pods are made anew, and whatever counts them as failures has some to spare",
    survives=("{owners}", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir",),
)
