"""The JobSet as it stands: objects in, slots out. Pure; the time of the look comes in as an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from jobset_restart.errors import TooLarge
from jobset_restart.objects import (
    Condition,
    Container,
    ContainerStatus,
    Event,
    Job,
    JobSet,
    Node,
    Pod,
    PodSpec,
    Time,
    number,
    seconds,
)
from jobset_restart.owners import by_job, is_child
from jobset_restart.places import Place, at_once, finished_with, places
from jobset_restart.places import ended as over
from jobset_restart.slots import Slot, Unit

DISABLE_IN_PLACE_RESTART = "jobset.sigs.k8s.io/disable-in-place-restart"
OPERATION = "jobset-restart.io/operation"

IN_PLACE_STRATEGY = "InPlaceRestart"


MOST_SLOTS = 200_000
"""More than any cluster runs: Kubernetes is built for 150,000 Pods (its large-cluster guide), and an Indexed Job may
have 100,000 at once (Job API validation). A JobSet that asks for more is a slip of the pen, or is meant to exhaust
memory."""


class Identity(Struct, frozen=True):
    """What a restart is judged by, frozen before anything is touched: the Pod's UID and per container the
    containerID and restartCount. A container without an entry is not there yet: whatever comes is new."""

    uid: str
    containers: dict[str, tuple[str, int]]


class SlotState(Struct):
    """One slot with what fills it. `pod` is the Pod that counts, `leftovers` other Pods of the slot that are not over
    yet. Where none is alive, `pod` is what the Job keeps of the last one. `completed`: its index is complete;
    `surplus`: its Pods are going, and the Job wants none here now.

    `job` is None between the deletion of a Job and its return, `node` where the Node is unknown or cannot be seen.
    """

    slot: Slot
    job: Job | None = None
    pod: Pod | None = None
    node: Node | None = None
    leftovers: list[Pod] = []
    completed: bool = False
    surplus: bool = False

    @property
    def expected(self) -> bool:
        """Whether a Pod is to run here now."""
        return not (self.completed or self.surplus)

    @property
    def ready(self) -> bool:
        return self.pod is not None and pod_ready(self.pod)

    @property
    def node_name(self) -> str:
        return self.pod.spec.node_name if self.pod else ""


class Snapshot(Struct):
    """A JobSet, its Jobs, Pods and Nodes at `time` (seconds since the epoch, server time).

    `nodes` is None where the caller may not read Nodes. `resource_version` is the one of the Pod LIST, `jobs_version`
    that of the Jobs: a WATCH from it misses nothing. `ended` are the Pods that are over and that their Jobs keep, by
    Job UID. `strangers` names the Jobs and Pods that carry the JobSet's name but are not its own. `refusals` has what
    stands in the way of Jobs and Pods that are missing, by UID of the JobSet or Job that could not create them
    (jobset_restart.creation).
    """

    jobset: JobSet
    jobs: list[Job]
    slots: dict[Slot, SlotState]
    nodes: dict[str, Node] | None
    time: float
    resource_version: str = ""
    jobs_version: str = ""
    context: str = ""
    notes: list[str] = field(default_factory=list)
    refusals: dict[str, Event] = field(default_factory=dict)
    ended: dict[str, list[Pod]] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.jobset.metadata.namespace

    @property
    def name(self) -> str:
        return self.jobset.metadata.name

    def pods(self) -> Iterator[Pod]:
        """Every Pod of the JobSet, once, leftovers and those that are over included."""
        for state in self.slots.values():
            if state.pod and not over(state.pod):
                yield state.pod
            yield from state.leftovers
        for pods in self.ended.values():
            yield from pods

    def pods_by_job(self) -> dict[str, list[Pod]]:
        """Every Pod of the JobSet by the UID of its Job."""
        return by_job(self.pods())


def take(
    jobset: JobSet,
    jobs: Iterable[Job],
    pods: Iterable[Pod],
    nodes: Mapping[str, Node] | None,
    time: float,
    *,
    resource_version: str = "",
    jobs_version: str = "",
    context: str = "",
) -> Snapshot:
    """The snapshot of these objects. A Job is the JobSet's, and a Pod a Job's, only by its controller reference: what
    merely carries their labels is named as a stranger and left out.

    Raises TooLarge where the JobSet asks for more than MOST_SLOTS Pods."""
    listed = list(jobs)
    own = [job for job in listed if is_child(job, jobset)]
    _refuse_too_many(jobset, own)
    pods_of = by_job(pods)
    slots: dict[Slot, SlotState] = {}
    ended: dict[str, list[Pod]] = {}
    for job in own:
        mine = pods_of.pop(job.metadata.uid, [])
        states = [_state(job, place) for place in places(job, mine)]
        slots |= {state.slot: state for state in states}
        ended[job.metadata.uid] = [pod for pod in mine if over(pod)]
    slots |= _without_job(jobset, own)
    if nodes is not None:
        for state in slots.values():
            state.node = nodes.get(state.node_name)
    return Snapshot(
        jobset=jobset,
        jobs=own,
        slots=_in_order(jobset, slots),
        nodes=dict(nodes) if nodes is not None else None,
        time=time,
        resource_version=resource_version,
        jobs_version=jobs_version,
        context=context,
        ended=ended,
        strangers=[
            *(f"Job {job.metadata.name}" for job in listed if not is_child(job, jobset)),
            *(f"Pod {pod.metadata.name}" for others in pods_of.values() for pod in others),
        ],
    )


def _refuse_too_many(jobset: JobSet, jobs: list[Job]) -> None:
    there = Counter(job.metadata.labels.replicated_job_name for job in jobs)
    missing = sum(max(0, r.replicas - there[r.name]) * at_once(r.template.spec) for r in jobset.spec.replicated_jobs)
    asked = missing + sum(at_once(job.spec) for job in jobs)
    if asked > MOST_SLOTS:
        raise TooLarge(
            f"JobSet {jobset.metadata.name} asks for {asked:,} Pods at once, more than jsr handles ({MOST_SLOTS:,})",
            "check replicas and parallelism of the JobSet and of its Jobs",
        )


def _state(job: Job, place: Place) -> SlotState:
    group, indexes = unit_of(job)
    slot = Slot(group, (*indexes, place.index))
    first = place.pods[0] if place.pods else None
    leftovers = [pod for pod in place.pods[1:] if not over(pod)]
    return SlotState(slot, job, first, leftovers=leftovers, completed=place.completed, surplus=place.surplus)


def _without_job(jobset: JobSet, jobs: list[Job]) -> dict[Slot, SlotState]:
    """The slots of Jobs that are not there: what the template says will fill them."""
    there = {unit_of(job) for job in jobs}
    slots = (
        Slot(replicated_job.name, (index, completion))
        for replicated_job in jobset.spec.replicated_jobs
        for index in range(replicated_job.replicas)
        if (replicated_job.name, (index,)) not in there
        for completion in range(at_once(replicated_job.template.spec))
    )
    return {slot: SlotState(slot) for slot in slots}


def _in_order(jobset: JobSet, slots: dict[Slot, SlotState]) -> dict[Slot, SlotState]:
    position = {replicated_job.name: n for n, replicated_job in enumerate(jobset.spec.replicated_jobs)}

    def order(slot: Slot) -> tuple[int, tuple[int, ...]]:
        return position.get(slot.group, len(position)), slot.indexes

    return {slot: slots[slot] for slot in sorted(slots, key=order)}


def job_index(job: Job) -> int:
    """The Job's index in its ReplicatedJob (label jobset.sigs.k8s.io/job-index)."""
    return number(job.metadata.labels.job_index) or 0


def unit_of(job: Job) -> Unit:
    """Where the Job stands: its ReplicatedJob and its index there."""
    return job.metadata.labels.replicated_job_name, (job_index(job),)


def job_complete(job: Job | None) -> bool:
    return finished_with(job, "Complete") is not None


def condition(conditions: Iterable[Condition], kind: str, status: str = "True") -> Condition | None:
    """The condition of this type where it has this status, else None."""
    return next((c for c in conditions if c.type == kind and c.status == status), None)


def ready_condition(conditions: Iterable[Condition]) -> Condition | None:
    """The condition Ready, whatever its status."""
    return next((c for c in conditions if c.type == "Ready"), None)


def pod_ready(pod: Pod) -> bool:
    """The Pod's Ready condition. A Pod on a dead node keeps containers `ready: true`; only this turns False."""
    return not pod.metadata.deletion_timestamp and condition(pod.status.conditions, "Ready") is not None


def node_ready(node: Node) -> bool:
    return condition(node.status.conditions, "Ready") is not None


def identity(pod: Pod) -> Identity:
    """The Pod's identity now; see `Identity`. A container that is still to come has no ID yet, and its restartCount may
    be the one it will have: it is told as never started, and counts as new once it is there."""
    containers = {s.name: (s.container_id, s.restart_count) for s in statuses(pod) if s.container_id}
    return Identity(pod.metadata.uid, containers)


def statuses(pod: Pod) -> Iterator[ContainerStatus]:
    yield from pod.status.init_container_statuses
    yield from pod.status.container_statuses


def sidecars(spec: PodSpec) -> list[Container]:
    """Init containers that run all along: restartPolicy Always (KEP-753)."""
    return [c for c in spec.init_containers if c.restart_policy == "Always"]


def agent(spec: PodSpec) -> Container | None:
    """The in-place restart agent among the containers, known by the environment it demands (JobSet,
    cmd/in-place-restart-agent: JOBSET_NAME and POD_NAME must be set)."""
    wanted = {"JOBSET_NAME", "POD_NAME"}
    for container in (*sidecars(spec), *spec.containers):
        if wanted <= {variable.name for variable in container.env}:
            return container
    return None


def attempt(pod: Pod) -> int | None:
    """The in-place restart attempt the agent wrote on its Pod, None before its first word."""
    return number(pod.metadata.annotations.in_place_restart_attempt)


def is_native(jobset: JobSet) -> bool:
    """Whether the JobSet restarts in place through its own controller (spec.failurePolicy.restartStrategy)."""
    policy = jobset.spec.failure_policy
    return policy is not None and policy.restart_strategy == IN_PLACE_STRATEGY


def age(timestamp: Time, now: float) -> float | None:
    """Seconds since an API timestamp, None where there is none."""
    return max(0.0, now - seconds(timestamp)) if timestamp else None


def why(status: ContainerStatus) -> str:
    """The kubelet's reason for a container that is not running."""
    if status.state.waiting:
        return status.state.waiting.reason
    if status.state.terminated:
        ended = status.state.terminated
        return f"{ended.reason or 'Terminated'} (exit {ended.exit_code})"
    return ""


def waits_for(pod: Pod, containers: Iterable[ContainerStatus]) -> str:
    """What a Pod that is not Ready waits for: a container's reason, else the condition that is not met."""
    for status in containers:
        if status.state.running is None and (reason := why(status)):
            return reason
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        unmet = condition(pod.status.conditions, kind, "False")
        if unmet:
            return unmet.reason or f"not {kind}"
    return pod.status.phase
