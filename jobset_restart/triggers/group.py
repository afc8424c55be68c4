"""The `group` trigger: a LeaderWorkerSet makes a whole group anew when its leader is deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import all_anew
from jobset_restart.earlier import Earlier
from jobset_restart.objects import Pod
from jobset_restart.places import ended
from jobset_restart.slots import unit_text
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.deletion import undeleted
from jobset_restart.triggers.steps import step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, pod_path


def leaders(states: Iterable[SlotState], snapshot: Snapshot) -> Drawn[Write]:
    """DELETE of the leaders of these slots' groups, in the foreground: the workers go first, by their owner, and
    the new leader is made once all are gone. In the background it is made beside them, and deleted again for each
    worker that is still going: three times in 5 s (seen with LeaderWorkerSet v0.8)."""
    units = dict.fromkeys(state.slot.unit for state in states)
    first = {state.slot.unit: state.pod for state in snapshot.slots.values() if state.slot.indexes[-1:] == (0,)}
    found = ((unit, first.get(unit)) for unit in units)
    return Drawn([(pod, unit_text(unit)) for unit, pod in found if pod is not None and not ended(pod)], _delete)


def _delete(target: tuple[Pod, str]) -> Write:
    pod, unit = target
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    body = {"propagationPolicy": "Foreground"}
    return Write(verb="delete", path=path, body=body, uid=pod.metadata.uid, slot=unit)


@dataclass(frozen=True, kw_only=True, eq=False)
class Group(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        return step_by_step(case, "delete", lambda states: leaders(states, case.snapshot))

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        return undeleted(super().remaining(case, earlier, unfinished=unfinished), case.snapshot, earlier)

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        return all_anew(case)


GROUP = Group(
    name="group",
    strategy="recreate",
    reach="unit",
    why="one write a group: deleting its leader makes leader and workers anew, and nothing counts it",
    survives=("the LeaderWorkerSet and its other groups", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir",),
    jobs_count=False,
)
