"""What is read from Kubernetes: only the fields that are used, as msgspec Structs named after the API's own types.

Decoding skips every other field, which is what keeps 5,000 Pods under 100 MB. `seconds` turns a time into seconds
since the epoch.

A field holds what the API says it holds, or the object is not decoded: a time is RFC 3339, an int32 fits 32 bits, and
a name can be part of a path. What comes after decoding need not ask again.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct, field

T = TypeVar("T")

Time = Annotated[datetime, Meta(tz=True)] | None
"""RFC 3339 (meta/v1 Time and MicroTime), or null where the API has a zero time (a container that was never started)."""


def seconds(time: datetime | str | None) -> float:
    """Seconds since the epoch of a time of the API, or of its text; 0.0 for none.

    Raises ValueError or OverflowError for text that is no time."""
    if not time:
        return 0.0
    return (time if isinstance(time, datetime) else datetime.fromisoformat(time)).timestamp()


MOST = 2**31 - 1
"""The largest number that the API's int32 fields hold: indexes, counts, attempts."""
Int32 = Annotated[int, Meta(ge=-(2**31), le=MOST)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Attempt = Annotated[int, Meta(ge=0, le=MOST - 1)]
"""An in-place restart attempt (JobSet API, int32): one more must still be one."""
NAME = r"^(?!\.{1,2}\Z)[A-Za-z0-9._:-]{0,253}\Z"
Name = Annotated[str, Meta(pattern=NAME)]
"""The name of an object: part of the paths of requests, of selectors and of commands for a shell. The API server takes
DNS subdomains for the kinds read here (apimachinery, NameIsDNSSubdomain)."""

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)


def number(text: str) -> int | None:
    """The number that a label, an annotation or a list of indexes holds: ASCII digits up to `MOST`, else None. Anybody
    who may write the object chooses the text, and `int` takes other scripts' digits and fails on thousands of them."""
    if not _DIGITS.fullmatch(text):
        return None
    value = int(text)
    return value if value <= MOST else None


class ApiStruct(Struct, rename="camel", omit_defaults=True, kw_only=True):
    pass


class OwnerReference(ApiStruct):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Labels(Struct, omit_defaults=True):
    """The labels that are used. An object carries twenty; with thousands of Pods the others are not worth keeping."""

    jobset_name: str = field(name="jobset.sigs.k8s.io/jobset-name", default="")
    replicated_job_name: str = field(name="jobset.sigs.k8s.io/replicatedjob-name", default="")
    job_index: str = field(name="jobset.sigs.k8s.io/job-index", default="")
    completion_index: str = field(name="batch.kubernetes.io/job-completion-index", default="")
    group_index: str = field(name="leaderworkerset.sigs.k8s.io/group-index", default="")
    worker_index: str = field(name="leaderworkerset.sigs.k8s.io/worker-index", default="")
    ray_node_type: str = field(name="ray.io/node-type", default="")
    ray_group: str = field(name="ray.io/group", default="")
    task_spec: str = field(name="volcano.sh/task-spec", default="")
    task_index: str = field(name="volcano.sh/task-index", default="")
    queue_name: str = field(name="kueue.x-k8s.io/queue-name", default="")
    prebuilt_workload_name: Name = field(name="kueue.x-k8s.io/prebuilt-workload-name", default="")


class Annotations(Struct, omit_defaults=True):
    """The annotations that are used. Our own are `operation`, the record on a workload or the mark on a Pod; `history`,
    the restarts before that; `selector`, the labels of the Pods that a Lease is for; and `restarted_by`, the operation
    that changed a template."""

    operation: str = field(name="jobset-restart.io/operation", default="")
    history: str = field(name="jobset-restart.io/history", default="")
    selector: str = field(name="jobset-restart.io/selector", default="")
    restarted_by: str = field(name="jobset-restart.io/restarted-by", default="")
    in_place_restart_attempt: str = field(name="jobset.sigs.k8s.io/in-place-restart-attempt", default="")
    disable_in_place_restart: str | None = field(name="jobset.sigs.k8s.io/disable-in-place-restart", default=None)
    completion_index: str = field(name="batch.kubernetes.io/job-completion-index", default="")
    ray_ft_enabled: str = field(name="ray.io/ft-enabled", default="")
    ray_head_is_not_replaced: str = field(name="ray.io/disable-provisioned-head-restart", default="")
    task_spec: str = field(name="volcano.sh/task-spec", default="")
    task_index: str = field(name="volcano.sh/task-index", default="")
    index_failure_count: str = field(name="batch.kubernetes.io/job-index-failure-count", default="")
    index_ignored_failure_count: str = field(name="batch.kubernetes.io/job-index-ignored-failure-count", default="")


class ObjectMeta(ApiStruct):
    name: Name = ""
    namespace: Name = ""
    uid: str = ""
    resource_version: str = ""
    generation: Int64 = 0
    creation_timestamp: Time = None
    deletion_timestamp: Time = None
    labels: Labels = field(default_factory=Labels)
    annotations: Annotations = field(default_factory=Annotations)
    owner_references: list[OwnerReference] = []


class OwnedAnnotations(Struct):
    operation: Any = field(name="f:jobset-restart.io/operation", default=None)


class OwnedMeta(Struct):
    annotations: OwnedAnnotations = field(name="f:annotations", default_factory=OwnedAnnotations)


class OwnedSpec(Struct):
    suspend: Any = field(name="f:suspend", default=None)


class OwnedFields(Struct):
    """Of the fields a manager owns (FieldsV1), those that are asked about. A field that is owned is not None."""

    metadata: OwnedMeta = field(name="f:metadata", default_factory=OwnedMeta)
    spec: OwnedSpec = field(name="f:spec", default_factory=OwnedSpec)


class ManagedFieldsEntry(ApiStruct):
    """Who wrote fields of an object last, and when by the API server's clock: `time` moves with every value."""

    manager: str = ""
    time: Time = None
    fields_v1: OwnedFields = field(default_factory=OwnedFields)


class WorkloadMeta(ObjectMeta):
    managed_fields: list[ManagedFieldsEntry] = []


class Condition(ApiStruct):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time = None


# ---------------------------------------------------------------- Pods


class ContainerRestartRuleOnExitCodes(ApiStruct):
    operator: str = ""
    values: list[Int32] = []


class ContainerRestartRule(ApiStruct):
    action: str = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class EnvVar(ApiStruct):
    name: str = ""
    value: str = ""


class Probe(ApiStruct):
    initial_delay_seconds: Int32 = 0
    period_seconds: Int32 = 10
    failure_threshold: Int32 = 3


class ResourceRequirements(ApiStruct):
    requests: dict[str, Any] = {}


class Container(ApiStruct):
    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    restart_policy: str = ""
    restart_policy_rules: list[ContainerRestartRule] = []
    command: list[str] = []
    env: list[EnvVar] = []
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None


class PodSpec(ApiStruct):
    node_name: Name = ""
    restart_policy: str = "Always"
    termination_grace_period_seconds: Int64 = 30
    share_process_namespace: bool = False
    host_pid: bool = field(name="hostPID", default=False)
    containers: list[Container] = []
    init_containers: list[Container] = []
    overhead: dict[str, Any] = {}


class ContainerStateRunning(ApiStruct):
    started_at: Time = None


class ContainerStateTerminated(ApiStruct):
    exit_code: Int32 = 0
    signal: Int32 = 0
    reason: str = ""
    message: str = ""
    started_at: Time = None
    finished_at: Time = None


class ContainerStateWaiting(ApiStruct):
    reason: str = ""
    message: str = ""


class ContainerState(ApiStruct):
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ContainerStatus(ApiStruct):
    name: str = ""
    container_id: str = field(name="containerID", default="")
    image: str = ""
    image_id: str = field(name="imageID", default="")
    ready: bool = False
    started: bool | None = None
    restart_count: Int32 = 0
    state: ContainerState = field(default_factory=ContainerState)
    last_state: ContainerState = field(default_factory=ContainerState)


class PodStatus(ApiStruct):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(ApiStruct):
    metadata: ObjectMeta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


# ---------------------------------------------------------------- Nodes


class NodeSpec(ApiStruct):
    unschedulable: bool = False


class NodeSystemInfo(ApiStruct):
    container_runtime_version: str = ""


class NodeStatus(ApiStruct):
    conditions: list[Condition] = []
    node_info: NodeSystemInfo = field(default_factory=NodeSystemInfo)
    declared_features: list[str] = []


class Node(ApiStruct):
    metadata: ObjectMeta
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


# ---------------------------------------------------------------- Jobs


LabelName = Annotated[str, Meta(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")]
LabelValue = Annotated[str, Meta(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")]
"""Parts of a label selector (apimachinery, IsQualifiedName and IsValidLabelValue)."""


class LabelSelectorRequirement(ApiStruct):
    key: LabelName = ""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = "Exists"
    values: list[LabelValue] = []

    def text(self) -> str:
        if self.operator in ("Exists", "DoesNotExist"):
            return self.key if self.operator == "Exists" else f"!{self.key}"
        return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"


class LabelSelector(ApiStruct):
    match_labels: dict[LabelName, LabelValue] = {}
    match_expressions: list[LabelSelectorRequirement] = []

    def text(self) -> str:
        """As a request carries it: "app=web,tier in (a,b)" (apimachinery, LabelSelectorAsSelector)."""
        equal = (f"{key}={value}" for key, value in self.match_labels.items())
        return ",".join([*equal, *(each.text() for each in self.match_expressions)])


class PodTemplateSpec(ApiStruct):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)


class JobSpec(ApiStruct):
    parallelism: Int32 | None = None
    completions: Int32 | None = None
    backoff_limit: Int32 = 6
    backoff_limit_per_index: Int32 | None = None
    completion_mode: str = "NonIndexed"
    pod_replacement_policy: str = "TerminatingOrFailed"
    pod_failure_policy: dict[str, Any] | None = None
    suspend: bool = False
    managed_by: str = ""
    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)


class JobStatus(ApiStruct):
    active: Int32 = 0
    ready: Int32 = 0
    succeeded: Int32 = 0
    failed: Int32 = 0
    completed_indexes: str = ""
    failed_indexes: str = ""
    conditions: list[Condition] = []


class Job(ApiStruct):
    metadata: ObjectMeta
    spec: JobSpec = field(default_factory=JobSpec)
    status: JobStatus = field(default_factory=JobStatus)


class ClaimedJob(Job):
    """A Job that carries a claim itself: who wrote it last is read as well."""

    metadata: WorkloadMeta


# ---------------------------------------------------------------- JobSets


class JobTemplateSpec(ApiStruct):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: JobSpec = field(default_factory=JobSpec)


class DependsOn(ApiStruct):
    name: str = ""
    status: str = ""


class ReplicatedJob(ApiStruct):
    name: str
    replicas: Int32 = 1
    template: JobTemplateSpec = field(default_factory=JobTemplateSpec)
    depends_on: list[DependsOn] = []


class FailurePolicy(ApiStruct):
    max_restarts: Int32 = 0
    restart_strategy: str = "Recreate"
    rules: list[dict[str, Any]] = []


class StartupPolicy(ApiStruct):
    startup_policy_order: str = "AnyOrder"


class JobSetSpec(ApiStruct):
    replicated_jobs: list[ReplicatedJob] = []
    failure_policy: FailurePolicy | None = None
    startup_policy: StartupPolicy | None = None
    suspend: bool = False
    managed_by: str = ""


class JobSetStatus(ApiStruct):
    conditions: list[Condition] = []
    restarts: Int32 = 0
    restarts_count_towards_max: Int32 = 0
    previous_in_place_restart_attempt: Attempt | None = None
    current_in_place_restart_attempt: Attempt | None = None


class JobSet(ApiStruct):
    metadata: WorkloadMeta
    spec: JobSetSpec = field(default_factory=JobSetSpec)
    status: JobSetStatus = field(default_factory=JobSetStatus)


# ---------------------------------------------------------------- Kueue


class KueueWorkloadSpec(ApiStruct):
    active: bool = True


class KueueWorkloadStatus(ApiStruct):
    conditions: list[Condition] = []


class KueueWorkload(ApiStruct):
    """kueue.x-k8s.io Workload: what Kueue queues, admits and evicts in place of a JobSet or Job."""

    metadata: ObjectMeta
    spec: KueueWorkloadSpec = field(default_factory=KueueWorkloadSpec)
    status: KueueWorkloadStatus = field(default_factory=KueueWorkloadStatus)


# ---------------------------------------------------------------- TrainJobs


class TrainJobSpec(ApiStruct):
    suspend: bool | None = None
    managed_by: str | None = None


class TrainJobStatus(ApiStruct):
    conditions: list[Condition] = []


class TrainJob(ApiStruct):
    metadata: WorkloadMeta
    spec: TrainJobSpec = field(default_factory=TrainJobSpec)
    status: TrainJobStatus = field(default_factory=TrainJobStatus)


# ---------------------------------------------------------------- Events


class ObjectReference(ApiStruct):
    kind: str = ""
    name: str = ""
    uid: str = ""


class EventSeries(ApiStruct):
    count: Int32 = 0
    last_observed_time: Time = None


class Event(ApiStruct):
    """core/v1 Event: what a controller says of an object. What happens in an operation of ours is in
    jobset_restart.events."""

    metadata: ObjectMeta
    involved_object: ObjectReference = field(default_factory=ObjectReference)
    reason: str = ""
    message: str = ""
    last_timestamp: Time = None
    event_time: Time = None
    series: EventSeries | None = None


# ---------------------------------------------------------------- what the API server wraps things in


class ListMeta(ApiStruct):
    resource_version: str = ""
    continue_: str = field(name="continue", default="")


class ObjectList(ApiStruct, Generic[T]):
    """One page of a LIST."""

    metadata: ListMeta = field(default_factory=ListMeta)
    items: list[T] = []


class StatusCause(ApiStruct):
    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(ApiStruct):
    causes: list[StatusCause] = []
    retry_after_seconds: Int32 = 0


class Status(ApiStruct):
    """The API server's own error object (meta/v1 Status)."""

    status: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails | None = None


class Named(ApiStruct):
    """Any object, by its metadata alone."""

    metadata: ObjectMeta


class SubjectAccessReviewStatus(ApiStruct):
    allowed: bool = False
    reason: str = ""


class SelfSubjectAccessReview(ApiStruct):
    status: SubjectAccessReviewStatus = field(default_factory=SubjectAccessReviewStatus)
