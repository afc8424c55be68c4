"""A trigger, and one looked at for a restart: what it is, and the case it would be used in. Pure.

Whatever is said of a particular trigger is said in its own module in jobset_restart.triggers; everybody else asks the
object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from signal import SIGTERM
from typing import Literal

from msgspec import Struct, field

from jobset_restart.containers import containers_in_scope
from jobset_restart.earlier import Earlier, came_since, identity_before, living, renewed, replaced
from jobset_restart.health import dead, running
from jobset_restart.names import Absent
from jobset_restart.objects import Container, Job, Pod
from jobset_restart.pid1 import Means, Probe, deaf
from jobset_restart.pid1 import means as means_of
from jobset_restart.places import ended as over
from jobset_restart.pod_owners import Above
from jobset_restart.pods import Identity
from jobset_restart.rules import ExitEffect, effect_of_exit
from jobset_restart.scheduling import Surroundings
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Measured, Part
from jobset_restart.stages import Stage, filled
from jobset_restart.vocabulary import OrderName, Strategy, TriggerName
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Permission

Reach = Literal["pod", "unit", "workload"]
Order = Literal["steps", "at once", "controller"]


class Evidence(Struct, kw_only=True):
    """What was asked of the cluster besides the snapshot: PID 1 by (program, container), None before it was
    looked at; the permissions that the actions of a trigger need and this user lacks, by the trigger's name; what
    stands above Pods that were chosen by their labels, None where that was not asked; the Nodes around those that Pods
    are to leave, None before they were looked at; and what was measured."""

    probes: dict[tuple[str, str], Probe] | None = None
    denied: dict[str, list[Permission]] = {}
    above: list[Above] | None = None
    surroundings: Surroundings | None = None
    measured: Measured = field(default_factory=Measured)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trigger(ABC):
    """One way to cause a restart. There is one object of each, in jobset_restart.triggers.

    `reach` is what one action of it restarts at least: a Pod, a unit of the workload (in a JobSet a Job), or the whole
    of it. `why` says what speaks for it, `survives` and `lost` what of a slot is kept and what is not ("{owners}": what
    makes its Pods). `order` tells who keeps the order in which a JobSet starts its ReplicatedJobs: this tool, in steps;
    nobody, all start at once; or the JobSet's controller.

    `gives_grace`: containers get TERM and their grace period before they are killed. `by_exit`: what follows depends
    on the exit code, and on what PID 1 is, which has to be looked into beforehand. `marks`: the write that restarts a
    Pod leaves the operation's mark on it. `barrier`: all Pods go to the next in-place attempt, and wait there for each
    other. `suspends`: it sets spec.suspend meanwhile. `jobs_count`: the Jobs stay and go on counting, so that a Pod
    which is deleted is a failure; suspended Jobs count none, and deleted ones take their count along.
    `restarts_it`: the controller restarts the workload, and counts that, because it was asked to.
    """

    name: TriggerName
    strategy: Strategy
    reach: Reach
    why: str
    survives: tuple[str, ...]
    lost: tuple[str, ...]
    order: Order = "steps"
    gives_grace: bool = True
    by_exit: bool = False
    marks: bool = False
    barrier: bool = False
    suspends: bool = False
    jobs_count: bool = True
    restarts_it: bool = False

    def __str__(self) -> str:
        return self.name

    def kept(self, owners: str) -> tuple[str, ...]:
        """What survives of a slot whose Pods these `owners` make, in words."""
        return tuple(each.format(owners=owners) for each in self.survives)

    @property
    def in_place(self) -> bool:
        """Whether the Pods are kept."""
        return self.strategy == "in-place"

    @property
    def by_container(self) -> bool:
        """Whether it restarts containers one by one: single ones can be meant, and what does not run is left alone."""
        return self.in_place and self.reach == "pod"

    @property
    def paced(self) -> bool:
        """Whether a restart by it can be paced: it is sent slot by slot or unit by unit."""
        return self.reach != "workload"

    def offered(self, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Whether it is worth looking at where nobody asked for it by name."""
        return True

    # ------------------------------------------------------------ what is sent

    @abstractmethod
    def stages(self, case: Case, operation: str) -> list[Stage]:
        """The actions of the case, in the order they have to be sent. `operation` is the id they carry."""

    def remaining(self, case: Case, earlier: Earlier, *, unfinished: bool) -> list[Stage]:  # noqa: ARG002
        """Of the actions of the whole operation those that were not carried out, `case` being what is left of it.
        `unfinished` tells whether a slot was not triggered yet."""
        return filled(self.stages(case, earlier.id))

    def unproven(self, case: Case) -> dict[str, list[SlotState]]:  # noqa: ARG002
        """The means that nothing has shown to work in this workload, in words, and the slots that depend on each."""
        return {}

    def leaves_alone(self, state: SlotState) -> str:
        """Why it leaves a slot alone that --allow let through, "" where it does not."""
        if self.reach == "pod" and dead(state):
            return f"node {state.node_name} is not Ready"
        return "no running Pod" if self.by_container and not running(state) else ""

    @abstractmethod
    def takes(self, case: Case, back_off: float) -> list[Part]:
        """What the restart consists of until every slot is Ready, and how long each part takes. `back_off` are the
        seconds for which Jobs make no new Pods."""

    # ------------------------------------------------------------ what became of it

    def begun(self, state: SlotState, earlier: Earlier, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Whether the slot was triggered by this operation already. Nothing but the operation restarts a container this
        soon."""
        if self.in_place:
            return state.pod is None or self.through(state.pod, earlier)
        going = (self.suspends or self.restarts_it) and any(pod.metadata.deletion_timestamp for pod in living(state))
        return going or replaced(state, earlier)

    def before(self, pod: Pod, earlier: Earlier) -> Identity:
        """The Pod as it was before the operation: what has to go."""
        return identity_before(pod, int(earlier.began))

    def through(self, pod: Pod, earlier: Earlier) -> bool:
        """Whether the slot that this Pod fills has been through the operation: the Pod, or in place every container
        meant, has come since."""
        return came_since(pod, earlier) or (
            self.in_place and renewed(pod, self.before(pod, earlier), earlier.containers)
        )

    def arrived(self, pod: Pod, attempt: int) -> bool:  # noqa: ARG002
        """Whether the Pod has come to the barrier of this in-place attempt, where there is one."""
        return False


class Case(Struct, kw_only=True):
    """One trigger looked at: would it do for these slots?

    `scope` are the slots to restart with it, `lost` the slots on machines declared down, which it has to replace, and
    `replaced` those whose Pods are deleted beside a restart in place, to leave their Node; `whole` tells whether these
    are the whole workload. `replace_nodes` are the Nodes that Pods are to leave, however; `cordon` and `taint` whether
    those are cordoned first, and the machines declared down tainted as out of service. `containers` are the names asked
    for, empty for all main ones, `absent` what was selected by a name that nothing has. `canary` is how many slots are
    to go first, None where that was not said. `max_unavailable` is how many may be down at once ("N", "P%" or "" for
    all), `order` by what they are put in order, `keep_going` whether the restart goes on when one fails; `total` is how
    many slots or units a percentage is of, None for those of the case. `min_ready_seconds` is how long a slot has to
    stay Ready, None where that was not said.
    """

    snapshot: Snapshot
    trigger: Trigger
    scope: list[SlotState]
    lost: list[SlotState] = []
    replaced: list[SlotState] = []
    whole: bool = True
    containers: tuple[str, ...] = ()
    node_down: frozenset[str] = frozenset()
    replace_nodes: frozenset[str] = frozenset()
    cordon: bool = False
    taint: bool = False
    signal: str = ""
    canary: int | None = None
    max_unavailable: str = ""
    order: OrderName | Literal[""] = ""
    keep_going: bool = False
    total: int | None = None
    min_ready_seconds: float | None = None
    evidence: Evidence = field(default_factory=Evidence)
    finishes: str = ""
    absent: list[Absent] = []

    @property
    def meant(self) -> list[SlotState]:
        """Every slot that is restarted or replaced."""
        return [*self.scope, *self.lost, *self.replaced]

    @property
    def deleted(self) -> list[SlotState]:
        """The slots whose Pods are taken away."""
        return [*self.lost, *self.replaced] if self.trigger.in_place else self.meant

    @property
    def unprobed(self) -> bool:
        """Whether the containers have to be looked into before it is known what to send."""
        return self.trigger.by_exit and self.evidence.probes is None

    def deaf(self) -> frozenset[Slot]:
        """The slots with a container that does not notice when it is told to stop, as far as was looked."""
        asked = ((state, self.probe_of(state, container)) for state, _, container in self.targets())
        return frozenset(state.slot for state, probe in asked if probe is not None and deaf(probe))

    def pods(self) -> Iterable[tuple[SlotState, Pod]]:
        for state in self.scope:
            if state.pod is not None:
                yield state, state.pod

    def targets(self) -> Iterable[tuple[SlotState, Pod, Container]]:
        """Every container the restart means."""
        for state, pod in self.pods():
            for container in containers_in_scope(pod, self.containers):
                yield state, pod, container

    def touched_jobs(self) -> list[tuple[Job, list[SlotState]]]:
        """The Jobs with slots that are restarted or replaced, and those slots."""
        return _by_job(self.meant)

    def probe_of(self, slot: SlotState, container: Container) -> Probe | None:
        """What was seen of PID 1 of this container, or of another of its program; None where none was looked into."""
        return (self.evidence.probes or {}).get((self.snapshot.workload.program(slot), container.name))

    def means_for(self, slot: SlotState, container: Container) -> Means | None:
        found = self.probe_of(slot, container)
        return means_of(found, self.signal) if found else None

    def exits(self) -> Iterable[tuple[SlotState, Pod, Container, int, ExitEffect]]:
        """Every container the restart means, the code it is expected to exit with after a signal, and what follows."""
        for state, pod, container in self.targets():
            found = self.means_for(state, container)
            code = found.exit_code if found else 128 + SIGTERM
            yield state, pod, container, code, effect_of_exit(container, pod.spec, code)

    def deletions(self) -> list[tuple[Job, list[SlotState]]]:
        """The Jobs that count Pods this restart deletes as failures, and the slots of those. What is over already is
        not counted twice."""
        if not self.trigger.jobs_count:
            return []
        return _by_job(state for state in self.deleted if state.pod is not None and not over(state.pod))


def _by_job(states: Iterable[SlotState]) -> list[tuple[Job, list[SlotState]]]:
    by_uid: dict[str, tuple[Job, list[SlotState]]] = {}
    for state in states:
        if state.job:
            by_uid.setdefault(state.job.metadata.uid, (state.job, []))[1].append(state)
    return list(by_uid.values())
