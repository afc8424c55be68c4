"""RayCluster and RayJob: a head and groups of workers (KubeRay, ray-operator/apis/ray/v1). Pure.

The operator manages the Pods itself. It gives a new Pod a new name, and counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import field as default

from jobset_restart.objects import ApiStruct, Int32, Pod, PodSpec, PodTemplateSpec, WorkloadMeta
from jobset_restart.order import Step, in_roles
from jobset_restart.owners import controller
from jobset_restart.slots import Slot, Unit
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.direct import DirectWorkload, Kinship, Seat
from jobset_restart.workloads.kinds import RAY_CLUSTER, RAY_JOB, WorkloadKind
from jobset_restart.workloads.workload import Ending, Several, Single, SlotState, Sources, Workload

HEAD = "head"
MANAGERS = ("", "ray.io/kuberay-operator")
MOST_REPLICAS = 2**31 - 1
PODS_REFUSED = "involvedObject.kind=RayCluster,type=Warning"
"""Field selector of the Events about Pods that the operator could not create (KubeRay, utils/constant.go:
FailedToCreateHeadPod, FailedToCreateWorkerPod)."""


class HeadGroupSpec(ApiStruct):
    template: PodTemplateSpec = default(default_factory=PodTemplateSpec)


class WorkerGroupSpec(ApiStruct):
    group_name: str = ""
    replicas: Int32 | None = None
    min_replicas: Int32 = 0
    max_replicas: Int32 = MOST_REPLICAS
    num_of_hosts: Int32 = 1
    suspend: bool = False
    template: PodTemplateSpec = default(default_factory=PodTemplateSpec)

    @property
    def wanted(self) -> int:
        """How many Pods the operator keeps (KubeRay, utils/util.go, GetWorkerGroupDesiredReplicas)."""
        replicas = max(self.min_replicas, min(self.replicas or 0, self.max_replicas))
        return 0 if self.suspend else max(0, replicas) * max(0, self.num_of_hosts)


class RayClusterSpec(ApiStruct):
    suspend: bool = False
    managed_by: str = ""
    enable_in_tree_autoscaling: bool = False
    gcs_fault_tolerance_options: Mapping[str, Any] | None = None
    head_group_spec: HeadGroupSpec = default(default_factory=HeadGroupSpec)
    worker_group_specs: list[WorkerGroupSpec] = default(default_factory=list)


class RayCluster(ApiStruct):
    metadata: WorkloadMeta
    spec: RayClusterSpec = default(default_factory=RayClusterSpec)


class RayJobSpec(ApiStruct):
    suspend: bool = False
    managed_by: str = ""


class RayJobStatus(ApiStruct):
    ray_cluster_name: str = ""
    job_status: str = ""
    job_deployment_status: str = ""
    reason: str = ""
    message: str = ""


class RayJob(ApiStruct):
    metadata: WorkloadMeta
    spec: RayJobSpec = default(default_factory=RayJobSpec)
    status: RayJobStatus = default(default_factory=RayJobStatus)


def sources(namespace: str, name: str) -> Sources:
    """Where the RayCluster of this name is read from."""
    return Sources(itself=_cluster(namespace, name), pods=_pods(namespace, name), pod_refused=PODS_REFUSED)


def sources_of_job(namespace: str, name: str, job: RayJob | None) -> Sources | None:
    """Where the RayJob of this name is read from: which RayCluster is its own stands in its status."""
    if job is None:
        return None
    cluster = job.status.ray_cluster_name
    return Sources(
        itself=Single(RAY_JOB.collection(namespace), name, RayJob),
        pods=_pods(namespace, cluster or name),
        parts=(_cluster(namespace, cluster),) if cluster else (),
        pod_refused=PODS_REFUSED,
    )


def _cluster(namespace: str, name: str) -> Single:
    return Single(RAY_CLUSTER.collection(namespace), name, RayCluster)


def _pods(namespace: str, cluster: str) -> Several:
    return Several(f"/api/v1/namespaces/{namespace}/pods", Pod, f"{RAY_CLUSTER.label}={cluster}")


@dataclass(frozen=True)
class Nodes(Kinship):
    """The Pods that this very RayCluster controls; a Pod's group is where the operator put it."""

    cluster: RayCluster | None

    def see_child(self, child: Any, *, deleted: bool = False) -> None:
        """Nothing stands between the RayCluster and its Pods."""

    def seat(self, pod: Pod) -> Seat | None:
        owner = controller(pod.metadata)
        if self.cluster is None or owner is None or owner.uid != self.cluster.metadata.uid:
            return None
        if pod.metadata.labels.ray_node_type == "head":
            return Seat((HEAD, ()))
        group = pod.metadata.labels.ray_group
        known = any(group == each.group_name for each in self.cluster.spec.worker_group_specs)
        return Seat((group, ())) if known else None


class RayWorkload(DirectWorkload):
    """What a RayCluster and a RayJob, which runs on one, have in common."""

    object: RayCluster | RayJob

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def suspended(self) -> bool:
        return self.object.spec.suspend

    @property
    def managed_by(self) -> str:
        manager = self.object.spec.managed_by
        return "" if manager in MANAGERS else manager

    @property
    def cluster(self) -> RayCluster | None:
        """The RayCluster, None where there is none now."""
        raise NotImplementedError

    @property
    def ordered(self) -> bool:
        """Workers join their head when they start: the operator makes them wait for it by an init container (KubeRay,
        common/pod.go, DefaultWorkerPodTemplate), which does not run again in a Pod that is restarted in place."""
        return True

    def steps(self, slots: Iterable[Slot]) -> list[Step]:
        return in_roles(slots, lambda slot: (0, HEAD) if slot.group == HEAD else (1, slot.group))

    def kinship(self) -> Nodes:
        return Nodes(self.cluster)

    @property
    def wanted(self) -> dict[Unit, int]:
        if self.cluster is None:
            return {}
        found: dict[Unit, int] = {(HEAD, ()): 1}
        found.update({(each.group_name, ()): each.wanted for each in self.cluster.spec.worker_group_specs})
        return found

    @property
    def groups(self) -> dict[str, PodSpec]:
        if self.cluster is None:
            return {}
        workers = {each.group_name: each.template.spec for each in self.cluster.spec.worker_group_specs}
        return {HEAD: self.cluster.spec.head_group_spec.template.spec, **workers}

    def seated(self, state: SlotState) -> bool:  # noqa: ARG002
        return True

    @property
    def head_is_alone_in_memory(self) -> bool:
        """Whether the state of the Ray cluster is in its head alone, so that workers do not outlive it (KubeRay,
        utils/util.go, IsGCSFaultToleranceEnabled)."""
        if self.cluster is None:
            return False
        enabled = self.cluster.metadata.annotations.ray_ft_enabled.lower() == "true"
        return not enabled and self.cluster.spec.gcs_fault_tolerance_options is None

    @property
    def head_is_not_replaced(self) -> bool:
        """Whether a head that is deleted does not come back (KubeRay, raycluster_controller.go, reconcilePods)."""
        return self.cluster is not None and self.cluster.metadata.annotations.ray_head_is_not_replaced == "true"


@dataclass(frozen=True)
class RayClusterWorkload(RayWorkload):
    """A RayCluster as it was read."""

    object: RayCluster

    @property
    def kind(self) -> WorkloadKind:
        return RAY_CLUSTER

    @property
    def cluster(self) -> RayCluster:
        return self.object

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.name)

    def renewed(self, newer: Any) -> RayClusterWorkload:
        return RayClusterWorkload(newer)

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("image", "signal", "force", "suspend", "pods")

    def over(self) -> Ending | None:
        """It serves until it is deleted."""
        return None


@dataclass(frozen=True)
class RayJobWorkload(RayWorkload):
    """A RayJob as it was read, with the RayCluster it runs on."""

    object: RayJob
    runs_on: RayCluster | None

    @property
    def kind(self) -> WorkloadKind:
        return RAY_JOB

    @property
    def cluster(self) -> RayCluster | None:
        return self.runs_on

    @property
    def sources(self) -> Sources:
        found = sources_of_job(self.namespace, self.name, self.object)
        assert found is not None
        return found

    def renewed(self, newer: Any) -> RayJobWorkload:
        """A newer RayCluster counts where it is the one that the RayJob names."""
        if isinstance(newer, RayCluster):
            return RayJobWorkload(self.object, newer)
        return RayJobWorkload(newer, self.runs_on)

    def version(self, single: Single) -> str:
        of_cluster = single.type is RayCluster and self.runs_on is not None
        return (self.runs_on or self.object).metadata.resource_version if of_cluster else super().version(single)

    @property
    def parts(self) -> tuple[RayClusterWorkload, ...]:
        return (RayClusterWorkload(self.runs_on),) if self.runs_on else ()

    def without(self, part: Single) -> RayJobWorkload:
        gone = self.runs_on is not None and self.runs_on.metadata.name == part.name
        return RayJobWorkload(self.object, None) if gone else self

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        """Not suspend: a suspended RayJob deletes its RayCluster and submits anew (KubeRay, rayjob_controller.go)."""
        return ("image", "signal", "force", "pods")

    @property
    def running(self) -> bool:
        """Whether its submission is under way (status.jobDeploymentStatus)."""
        return self.object.status.job_deployment_status in ("Initializing", "Running")

    def over(self) -> Ending | None:
        status = self.object.status
        if status.job_deployment_status in ("Failed", "ValidationFailed"):
            return Ending("Failed", status.reason or status.job_deployment_status, status.message)
        return Ending("Completed", status.job_status, status.message) if self._complete else None

    @property
    def _complete(self) -> bool:
        return self.object.status.job_deployment_status == "Complete"

    def replaced(self, newer: Workload) -> str:
        """A RayJob that is tried again runs on another RayCluster."""
        now = newer.cluster if isinstance(newer, RayJobWorkload) else None
        named = newer.object.status.ray_cluster_name if isinstance(newer, RayJobWorkload) else ""
        if self.runs_on is not None and named not in ("", self.runs_on.metadata.name):
            return f"the RayJob runs on another RayCluster now ({named})"
        if self.runs_on is not None and now is None:
            return "its RayCluster was deleted"
        return "its RayCluster was made anew" if now and self.runs_on and _uid(now) != _uid(self.runs_on) else ""


def _uid(cluster: RayCluster) -> str:
    return cluster.metadata.uid
