"""LeaderWorkerSet: groups of a leader and its workers (sigs.k8s.io/lws, api/leaderworkerset/v1). Pure.

The leaders are Pods of a StatefulSet of the same name; the workers of a group are Pods of a StatefulSet that the
group's leader owns, so a worker belongs to the LeaderWorkerSet by way of its leader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import field as default

from jobset_restart.objects import ApiStruct, Int32, Pod, PodTemplateSpec, WorkloadMeta, number
from jobset_restart.objects import PodSpec as Template
from jobset_restart.order import Step, in_roles
from jobset_restart.owners import controller
from jobset_restart.slots import Slot, Unit
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.direct import DirectWorkload, Kinship, Seat
from jobset_restart.workloads.kinds import LEADER_WORKER_SET, WorkloadKind
from jobset_restart.workloads.workload import MOST_SLOTS, Ending, Several, Single, SlotState, Sources

APPS = "/apis/apps/v1"
POD_REFUSED = "involvedObject.kind=StatefulSet,reason=FailedCreate"
"""Field selector of the Events about Pods that a StatefulSet could not create (StatefulSet controller,
stateful_pod_control.go, recordPodEvent)."""


class StatefulSet(ApiStruct):
    metadata: WorkloadMeta


class LeaderWorkerTemplate(ApiStruct):
    size: Int32 = 1
    restart_policy: str = "RecreateGroupOnPodRestart"
    leader_template: PodTemplateSpec | None = None
    worker_template: PodTemplateSpec = default(default_factory=PodTemplateSpec)


class RollingUpdateConfiguration(ApiStruct):
    partition: Int32 = 0


class RolloutStrategy(ApiStruct):
    rolling_update_configuration: RollingUpdateConfiguration | None = None


class LeaderWorkerSetSpec(ApiStruct):
    replicas: Int32 = 1
    startup_policy: str = "LeaderCreated"
    rollout_strategy: RolloutStrategy = default(default_factory=RolloutStrategy)
    leader_worker_template: LeaderWorkerTemplate = default(default_factory=LeaderWorkerTemplate)


class LeaderWorkerSet(ApiStruct):
    metadata: WorkloadMeta
    spec: LeaderWorkerSetSpec = default(default_factory=LeaderWorkerSetSpec)


def sources(namespace: str, name: str) -> Sources:
    """Where the LeaderWorkerSet of this name is read from."""
    selector = f"{LEADER_WORKER_SET.label}={name}"
    return Sources(
        itself=Single(LEADER_WORKER_SET.collection(namespace), name, LeaderWorkerSet),
        pods=Several(f"/api/v1/namespaces/{namespace}/pods", Pod, selector),
        children=(Several(f"{APPS}/namespaces/{namespace}/statefulsets", StatefulSet, selector),),
        pod_refused=POD_REFUSED,
    )


@dataclass
class Groups(Kinship):
    """Which Pods are leaders of this LeaderWorkerSet, by UID, and which are workers of these."""

    lws: LeaderWorkerSet
    sets: dict[str, StatefulSet] = field(default_factory=dict)
    leaders: dict[str, int] = field(default_factory=dict)
    """The group index of each leader, by its UID. Those that are gone stay: their workers may be going still."""

    def see_child(self, child: StatefulSet, *, deleted: bool = False) -> None:  # noqa: ARG002
        self.sets[child.metadata.uid] = child

    def seat(self, pod: Pod) -> Seat | None:
        owner = controller(pod.metadata)
        owning_set = self.sets.get(owner.uid) if owner and owner.kind == "StatefulSet" else None
        above = controller(owning_set.metadata) if owning_set else None
        if owning_set is None or above is None:
            return None
        labels = pod.metadata.labels
        if above.uid == self.lws.metadata.uid and owning_set.metadata.name == self.lws.metadata.name:
            group, worker = number(labels.group_index), 0
            if group is not None:
                self.leaders[pod.metadata.uid] = group
        else:
            group, worker = self.leaders.get(above.uid), number(labels.worker_index) or 0
        if group is None or (worker == 0) != (pod.metadata.uid in self.leaders):
            return None
        return Seat((self.lws.metadata.name, (group,)), worker)


@dataclass(frozen=True)
class LeaderWorkerSetWorkload(DirectWorkload):
    """A LeaderWorkerSet as it was read."""

    object: LeaderWorkerSet

    @property
    def kind(self) -> WorkloadKind:
        return LEADER_WORKER_SET

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.name)

    def renewed(self, newer: Any) -> LeaderWorkerSetWorkload:
        return LeaderWorkerSetWorkload(newer)

    @property
    def suspended(self) -> bool:
        """There is no spec.suspend."""
        return False

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("image", "signal", "force", "group", "rollout")

    def over(self) -> Ending | None:
        """It serves until it is deleted."""
        return None

    @property
    def answers_restarts(self) -> str:
        """With this policy, the default, the controller recreates the group of a Pod in which the restartCount of any
        container is above 0, init containers included (LeaderWorkerSet, pod_controller.go, handleRestartPolicy and
        pod utils, ContainerRestarted). Of a policy that is not known, the worst is taken for granted."""
        policy = self.object.spec.leader_worker_template.restart_policy
        return "" if policy in ("None", "Default") else f"restartPolicy {policy}"

    def program(self, state: SlotState) -> str:
        """Leaders have a template of their own, or that of the workers."""
        own = self.object.spec.leader_worker_template.leader_template is not None
        return f"the leaders of {self.name}" if own and state.slot.indexes[-1:] == (0,) else self.name

    @property
    def ordered(self) -> bool:
        """With startupPolicy LeaderReady workers are created once the leader of their group is Ready
        (LeaderWorkerSet, pod_controller.go)."""
        return self.object.spec.startup_policy == "LeaderReady"

    def steps(self, slots: Iterable[Slot]) -> list[Step]:
        if not self.ordered:
            return super().steps(slots)
        return in_roles(slots, lambda slot: (0, "the leaders") if slot.indexes[-1] == 0 else (1, "the workers"))

    def kinship(self) -> Groups:
        return Groups(self.object)

    @property
    def wanted(self) -> dict[Unit, int]:
        spec = self.object.spec
        groups = range(min(spec.replicas, MOST_SLOTS))
        return {(self.name, (group,)): spec.leader_worker_template.size for group in groups}

    @property
    def asked(self) -> int:
        return self.object.spec.replicas * self.object.spec.leader_worker_template.size

    @property
    def rolled_out_by(self) -> str:
        """The operation that changed the template of its Pods last, "" where none did."""
        return self.object.spec.leader_worker_template.worker_template.metadata.annotations.restarted_by

    @property
    def left_out_of_rollouts(self) -> int:
        """How many groups, the first ones, keep their template when it changes (rollingUpdateConfiguration)."""
        configuration = self.object.spec.rollout_strategy.rolling_update_configuration
        return min(configuration.partition, self.object.spec.replicas) if configuration else 0

    @property
    def groups(self) -> dict[str, Template]:
        """The leaders are in the group of their workers, whatever template they have."""
        template = self.object.spec.leader_worker_template
        return {self.name: template.worker_template.spec}
