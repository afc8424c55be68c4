"""The JobSet as it stands: objects in, slots out. Pure; the time of the look comes in as an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

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
    ReplicatedJob,
    Time,
    seconds,
)

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
DISABLE_IN_PLACE_RESTART = "jobset.sigs.k8s.io/disable-in-place-restart"
OPERATION = "jobset-restart.io/operation"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

IN_PLACE_STRATEGY = "InPlaceRestart"


class Slot(Struct, frozen=True, order=True):
    """The place a Pod fills. Prints as "workers/0/3": ReplicatedJob, job index, completion index."""

    replicated_job: str
    job_index: int
    completion_index: int

    def __str__(self) -> str:
        return f"{self.replicated_job}/{self.job_index}/{self.completion_index}"


def folded(slots: Iterable[Slot]) -> tuple[str, ...]:
    """The slots in few words: "workers/0-1/0-4999,5002", job indexes and completion indexes in ranges."""
    indexes: dict[tuple[str, int], list[int]] = defaultdict(list)
    for slot in sorted(slots):
        indexes[slot.replicated_job, slot.job_index].append(slot.completion_index)
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (replicated_job, job_index), completions in indexes.items():
        alike[replicated_job, _ranges(completions)].append(job_index)
    return tuple(f"{name}/{_ranges(jobs)}/{completions}" for (name, completions), jobs in alike.items())


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


class Folded:
    """Slots written by `folded`, to ask which are among them. Raises ValueError for what was not."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rows: dict[str, list[tuple[list[range], list[range]]]] = defaultdict(list)
        for text in texts:
            name, jobs, completions = text.split("/")
            self._rows[name].append((_read_ranges(jobs), _read_ranges(completions)))

    def __contains__(self, slot: Slot) -> bool:
        return any(
            any(slot.job_index in each for each in jobs) and any(slot.completion_index in each for each in completions)
            for jobs, completions in self._rows.get(slot.replicated_job, ())
        )


def _read_ranges(text: str) -> list[range]:
    ends = ([int(end) for end in part.split("-")] for part in text.split(","))
    return [range(first, (last or [first])[-1] + 1) for first, *last in ends]


class Identity(Struct, frozen=True):
    """What a restart is judged by, frozen before anything is touched: the Pod's UID and per container the
    containerID and restartCount. A container without an entry is not there yet: whatever comes is new."""

    uid: str
    containers: dict[str, tuple[str, int]]


class SlotState(Struct):
    """One slot with what fills it. `pod` is the Pod that counts, `leftovers` older Pods of the slot still there.

    `job` is None between the deletion of a Job and its return, `node` where the Node is unknown or cannot be seen.
    """

    slot: Slot
    job: Job | None = None
    pod: Pod | None = None
    node: Node | None = None
    leftovers: list[Pod] = []
    completed: bool = False

    @property
    def ready(self) -> bool:
        return self.pod is not None and pod_ready(self.pod)

    @property
    def node_name(self) -> str:
        return self.pod.spec.node_name if self.pod else ""


class Snapshot(Struct):
    """A JobSet, its Jobs, Pods and Nodes at `time` (seconds since the epoch, server time).

    `nodes` is None where the caller may not read Nodes. `resource_version` is the one of the Pod LIST: a WATCH from it
    misses nothing. `refusals` has what stands in the way of Jobs and Pods that are missing, by UID of the JobSet or Job
    that could not create them (jobset_restart.creation).
    """

    jobset: JobSet
    jobs: list[Job]
    slots: dict[Slot, SlotState]
    nodes: dict[str, Node] | None
    time: float
    resource_version: str = ""
    context: str = ""
    notes: list[str] = field(default_factory=list)
    refusals: dict[str, Event] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.jobset.metadata.namespace

    @property
    def name(self) -> str:
        return self.jobset.metadata.name

    def pods(self) -> Iterator[Pod]:
        """Every Pod of the JobSet, leftovers included."""
        for state in self.slots.values():
            if state.pod:
                yield state.pod
            yield from state.leftovers


def take(
    jobset: JobSet,
    jobs: Iterable[Job],
    pods: Iterable[Pod],
    nodes: Mapping[str, Node] | None,
    time: float,
    *,
    resource_version: str = "",
    context: str = "",
) -> Snapshot:
    """The snapshot of these objects. Jobs and Pods of another JobSet of the same name are left out by UID."""
    own_jobs = [job for job in jobs if any(o.uid == jobset.metadata.uid for o in job.metadata.owner_references)]
    slots = _empty_slots(jobset, own_jobs)
    seats = Seats(slots)
    for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp or ""):
        if belongs(pod, jobset):
            slot = seats.slot_of(pod)
            state = slots.setdefault(slot, SlotState(slot))
            if state.pod is None:
                state.pod = pod
            elif _outranks(pod, state.pod):
                state.leftovers = [*state.leftovers, state.pod]
                state.pod = pod
            else:
                state.leftovers = [*state.leftovers, pod]
    if nodes is not None:
        for state in slots.values():
            state.node = nodes.get(state.node_name)
    return Snapshot(
        jobset=jobset,
        jobs=own_jobs,
        slots=dict(sorted(slots.items(), key=lambda item: _order(jobset, item[0]))),
        nodes=dict(nodes) if nodes is not None else None,
        time=time,
        resource_version=resource_version,
        context=context,
    )


def _order(jobset: JobSet, slot: Slot) -> tuple[int, int, int]:
    names = [r.name for r in jobset.spec.replicated_jobs]
    position = names.index(slot.replicated_job) if slot.replicated_job in names else len(names)
    return position, slot.job_index, slot.completion_index


def _empty_slots(jobset: JobSet, jobs: list[Job]) -> dict[Slot, SlotState]:
    by_place = {(job.metadata.labels.replicated_job_name, job_index(job)): job for job in jobs}
    slots = {}
    for replicated_job in jobset.spec.replicated_jobs:
        for index in range(replicated_job.replicas):
            job = by_place.get((replicated_job.name, index))
            completed = parse_indexes(job.status.completed_indexes) if job else frozenset()
            for completion in range(pods_per_job(replicated_job)):
                slot = Slot(replicated_job.name, index, completion)
                slots[slot] = SlotState(slot, job=job, completed=completion in completed or job_complete(job))
    return slots


class Seats:
    """Tells the slot of a Pod. Pods of a NonIndexed Job carry no index: they take the Job's free places in the order
    they come, and keep them."""

    def __init__(self, slots: Iterable[Slot] = ()) -> None:
        self._slots = set(slots)
        self._seated: dict[str, Slot] = {}
        self._taken: dict[Slot, str] = {}

    def slot_of(self, pod: Pod) -> Slot:
        labels = pod.metadata.labels
        name, job = labels.replicated_job_name, _number(labels.job_index)
        index = labels.completion_index or pod.metadata.annotations.completion_index
        if index:
            return Slot(name, job, _number(index))
        uid = pod.metadata.uid
        if uid not in self._seated:
            free = (Slot(name, job, n) for n in range(len(self._slots) + len(self._taken) + 1))
            seat = next(slot for slot in free if slot not in self._taken)
            self._seated[uid], self._taken[seat] = seat, uid
        return self._seated[uid]

    def leave(self, uid: str) -> None:
        """The Pod is gone, its place is free."""
        seat = self._seated.pop(uid, None)
        if seat is not None:
            self._taken.pop(seat, None)


def _outranks(challenger: Pod, holder: Pod) -> bool:
    """Which of two Pods in one slot counts: the one not being deleted, not finished, then the younger."""

    def rank(pod: Pod) -> tuple[bool, bool, str]:
        meta = pod.metadata
        return (
            not meta.deletion_timestamp,
            pod.status.phase not in ("Failed", "Succeeded"),
            meta.creation_timestamp or "",
        )

    return rank(challenger) >= rank(holder)


def belongs(pod: Pod, jobset: JobSet) -> bool:
    """Whether the Pod is of this very JobSet: by the UID label, which older JobSet controllers do not set."""
    labels = pod.metadata.labels
    return (
        labels.jobset_name == jobset.metadata.name and (labels.jobset_uid or jobset.metadata.uid) == jobset.metadata.uid
    )


def pods_per_job(replicated_job: ReplicatedJob) -> int:
    """How many Pods of one Job run at once (Job API: completions defaults to parallelism, parallelism to 1)."""
    spec = replicated_job.template.spec
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    return parallelism if spec.completions is None else min(parallelism, spec.completions)


def job_index(job: Job) -> int:
    return _number(job.metadata.labels.job_index)


def job_complete(job: Job | None) -> bool:
    return job is not None and condition(job.status.conditions, "Complete") is not None


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def parse_indexes(text: str) -> frozenset[int]:
    """The indexes of a Job's status.completedIndexes, such as "1,3-5"."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


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
    text = pod.metadata.annotations.in_place_restart_attempt
    return int(text) if text.isdigit() else None


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
