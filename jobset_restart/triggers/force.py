"""The `force` trigger: what a container can still be made to do from inside, where TERM did not end it. Pure.

Where the image of a container was changed, the kubelet waits for its end, for the whole grace period if need be, and
starts it anew whatever the exit code: an early end is an early start. Elsewhere an end by force is an exit like any
other, and restart policy and rules decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobset_restart.case import Case, Trigger
from jobset_restart.containers import awaits_its_end, containers_in_scope
from jobset_restart.durations import crash_loop, in_place, starting, waited
from jobset_restart.objects import Container, Pod
from jobset_restart.pid1 import SURVIVALS, force, measures
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part, Span
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.steps import step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Exec, pod_path

Target = tuple[SlotState, Pod, Container]


def forced(case: Case, states: Iterable[SlotState]) -> list[Target]:
    """The containers to be forced: where some were told to end and have not, those, else all that are meant."""
    found = []
    for state in states:
        if state.pod is None:
            continue
        meant = containers_in_scope(state.pod, case.containers)
        waiting = [container for container in meant if awaits_its_end(state.pod, container.name)]
        found += [(state, state.pod, container) for container in waiting or meant]
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Force(Trigger):
    def offered(self, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Only where it is asked for: nobody is killed as long as there are milder means."""
        return False

    def stages(self, case: Case, operation: str) -> list[Stage]:  # noqa: ARG002
        """One exec for each container; before the containers were looked into, each counts."""

        def possible(target: Target) -> tuple[str, ...]:
            state, _, container = target
            found = case.probe_of(state, container)
            return measures(found) if found else ()

        def send(target: Target) -> Exec:
            state, pod, container = target
            path = pod_path(pod.metadata.namespace, pod.metadata.name)
            how = force(possible(target))
            return Exec(path=path, container=container.name, command=how, slot=str(state.slot), refusals=SURVIVALS)

        def execs(states: Sequence[SlotState]) -> Drawn[Exec]:
            return Drawn((each for each in forced(case, states) if case.unprobed or possible(each)), send)

        return step_by_step(case, "trigger", execs)

    def takes(self, case: Case, back_off: float) -> list[Part]:
        """2.4 s for one container whose PID 1 is a shell that waits for its child."""
        forcing = Part(turn=Span(0.1, 1.5, 10.0))
        return [forcing, starting(case), crash_loop(case), in_place(case), waited(back_off)]


FORCE = Force(
    name="force",
    strategy="in-place",
    reach="pod",
    why="containers that did not end when they were told to are made to end from inside",
    survives=("Pods, nodes, IPs", "volumes, emptyDir included", "containers that are not in scope"),
    lost=("the file systems of the restarted containers", "what their processes had not written yet"),
    gives_grace=False,
    by_exit=True,
)
