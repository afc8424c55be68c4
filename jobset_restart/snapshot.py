"""The workload as it stands: objects in, slots out. Pure; the time of the look comes in as an argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field, structs

from jobset_restart.objects import Event, Job, JobSet, Node, Pod
from jobset_restart.owners import by_job
from jobset_restart.places import ended as over
from jobset_restart.places import finished_with
from jobset_restart.slots import Slot, Unit
from jobset_restart.workloads.kueue import Admission
from jobset_restart.workloads.workload import SlotState, Workload

DISABLE_IN_PLACE_RESTART = "jobset.sigs.k8s.io/disable-in-place-restart"
OPERATION = "jobset-restart.io/operation"
HISTORY = "jobset-restart.io/history"


class Snapshot(Struct, frozen=True):
    """A workload, its Jobs, Pods and Nodes at `time` (seconds since the epoch, server time).

    `nodes` is None where the caller may not read Nodes. `resource_version` is the one of the Pod LIST,
    `children_versions` are those of the LISTs of its children, in the order of its sources: a WATCH from them misses
    nothing. `ended` are the Pods that are over and that their Jobs keep, by Job UID. `strangers` names the objects that
    carry the workload's name but are not its own. `children` are the objects between it and its Pods where no Jobs run
    these. `refusals` has what stands in the way of Jobs and Pods that are missing, by UID of the object that could not
    create them (jobset_restart.creation). `admission` is Kueue's Workload, where it is in a queue and that can be read.
    `part` is what of the workload was asked for, by the name of its Job; None: all of it. `owners` has a sentence each
    on what stands above what was asked for.
    """

    workload: Workload
    jobs: list[Job]
    slots: dict[Slot, SlotState]
    nodes: dict[str, Node] | None
    time: float
    resource_version: str = ""
    children_versions: tuple[str, ...] = ()
    context: str = ""
    notes: list[str] = field(default_factory=list)
    refusals: dict[str, Event] = field(default_factory=dict)
    ended: dict[str, list[Pod]] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    part: Unit | None = None
    owners: list[str] = field(default_factory=list)
    children: list[Any] = []
    admission: Admission | None = None

    @property
    def jobset(self) -> JobSet | None:
        """The JobSet that the workload is or consists of, None where there is none."""
        return self.workload.jobset

    @property
    def namespace(self) -> str:
        return self.workload.namespace

    @property
    def name(self) -> str:
        return self.workload.name

    def pods(self) -> Iterator[Pod]:
        """Every Pod of the workload, once, leftovers and those that are over included."""
        for state in self.slots.values():
            if state.pod and not over(state.pod):
                yield state.pod
            yield from state.leftovers
        for pods in self.ended.values():
            yield from pods

    def pods_by_job(self) -> dict[str, list[Pod]]:
        """Every Pod of the workload by the UID of its Job."""
        return by_job(self.pods())


def take(
    workload: Workload,
    children: Sequence[Any],
    pods: Iterable[Pod],
    nodes: Mapping[str, Node] | None,
    time: float,
    *,
    resource_version: str = "",
    children_versions: tuple[str, ...] = (),
    context: str = "",
) -> Snapshot:
    """The snapshot of these objects: `children` are those that stand between the workload and its Pods.

    Raises TooLarge where the workload asks for more Pods than there can be."""
    filling = workload.fill(children, pods)
    slots = filling.slots
    if nodes is not None:
        slots = {slot: structs.replace(state, node=nodes.get(state.node_name)) for slot, state in slots.items()}
    return Snapshot(
        workload=workload,
        jobs=filling.jobs,
        slots=slots,
        nodes=dict(nodes) if nodes is not None else None,
        time=time,
        resource_version=resource_version,
        children_versions=children_versions,
        context=context,
        ended=filling.ended,
        strangers=filling.strangers,
        children=[] if workload.made_of_jobs else [*children],
    )


def job_complete(job: Job | None) -> bool:
    return finished_with(job, "Complete") is not None
