"""The `signal` trigger: PID 1 of each container is made to exit, and the restart policy brings it back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.containers import containers_in_scope
from jobset_restart.durations import crash_loop, in_place, starting, stopping, waited
from jobset_restart.objects import Container, Pod
from jobset_restart.pid1 import REFUSALS, Means, command
from jobset_restart.spans import Part
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.steps import step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Exec, pod_path


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        """One exec for each container that has a means; the others have nothing to send (findings JSR303, JSR304).
        Before the containers were looked into, each counts."""
        means: dict[tuple[str, str], Means] = {}
        program = case.snapshot.workload.program
        for state, _, container in case.targets():
            by = case.means_for(state, container)
            if by is not None:
                means[program(state), container.name] = by

        def send(target: tuple[SlotState, Pod, Container]) -> Exec:
            state, pod, container = target
            by = means[program(state), container.name]
            path = pod_path(pod.metadata.namespace, pod.metadata.name)
            return Exec(
                path=path, container=container.name, command=command(by), slot=str(state.slot), refusals=REFUSALS
            )

        def execs(states: Sequence[SlotState]) -> Drawn[Exec]:
            targets = [
                (state, state.pod, container)
                for state in states
                if state.pod is not None
                for container in containers_in_scope(state.pod, case.containers)
                if case.unprobed or (program(state), container.name) in means
            ]
            return Drawn(targets, send)

        return step_by_step(case, "trigger", execs)

    def takes(self, case: Case, back_off: float) -> list[Part]:
        return [stopping(case), starting(case), crash_loop(case), in_place(case), waited(back_off)]

    def unproven(self, case: Case) -> dict[str, list[SlotState]]:
        """That the program of a ReplicatedJob dies of the signal and comes back."""
        found: dict[str, list[SlotState]] = {}
        for state, _ in case.pods():
            found.setdefault(f"the signal to {case.snapshot.workload.program(state)}", []).append(state)
        return found


SIGNAL = Signal(
    name="signal",
    strategy="in-place",
    reach="pod",
    why="PID 1 exits on a signal it handles and the restart policy brings it back",
    survives=("Pods, nodes, IPs", "volumes, emptyDir included", "containers that are not in scope"),
    lost=("the file systems of the restarted containers",),
    gives_grace=False,
    by_exit=True,
)
