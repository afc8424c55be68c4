"""The `restart` trigger: a Volcano Job restarts as a whole on a Command. Pure.

A Command is an object that the controller deletes and then carries out, at most once (Volcano, processNextCommand). It
is made as Volcano's own client makes it (vcctl, createJobCommand).
"""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.durations import all_anew
from jobset_restart.earlier import Earlier
from jobset_restart.spans import Part
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.steps import freed, slots_of
from jobset_restart.writes import Write

BUS = "bus.volcano.sh/v1alpha1"
ACTION = "RestartJob"


@dataclass(frozen=True, kw_only=True, eq=False)
class Restart(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:
        workload = case.snapshot.workload
        target = {
            "apiVersion": workload.kind.api_version,
            "kind": workload.kind.kind,
            "name": workload.name,
            "uid": workload.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        write = Write(
            verb="create",
            path=f"/apis/{BUS}/namespaces/{workload.namespace}/commands",
            body={
                "apiVersion": BUS,
                "kind": "Command",
                "metadata": {"name": f"jsr-{ACTION.lower()}-{operation}", "ownerReferences": [target]},
                "target": target,
                "action": ACTION,
            },
        )
        return filled([Stage(name="trigger", actions=[write], slots=slots_of((*case.scope, *case.lost))), freed(case)])

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:
        """The one Command leaves all slots to the controller: where it restarts the Job, or one of them is going or has
        been replaced, the Command went out. A second one would cost another retry, perhaps the last."""
        begun = any(self.begun(state, earlier, case.snapshot) for state in case.snapshot.slots.values())
        begun = begun or case.snapshot.workload.restarting
        return super().remaining(case, earlier, unfinished=unfinished) if unfinished and not begun else []

    def takes(self, case: Case, back_off: float) -> list[Part]:  # noqa: ARG002
        return all_anew(case)


RESTART = Restart(
    name="restart",
    strategy="recreate",
    reach="workload",
    why="one Command makes every Pod anew; it is one of the Job's maxRetry",
    survives=("the Volcano Job and its PodGroup", "persistent volumes"),
    lost=("Pods, IPs, the nodes they were on, emptyDir",),
    order="controller",
    jobs_count=False,
    restarts_it=True,
)
