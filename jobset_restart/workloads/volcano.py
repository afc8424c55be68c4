"""Volcano Job: tasks of Pods that Volcano schedules together (batch.volcano.sh/v1alpha1). Pure.

Written from Volcano's API (volcano.sh/apis v1.14) and its controller's source, and not tried with the controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import field as default

from jobset_restart.objects import ApiStruct, Int32, Pod, PodTemplateSpec, WorkloadMeta, number
from jobset_restart.objects import PodSpec as Template
from jobset_restart.owners import controller
from jobset_restart.slots import Unit
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.direct import DirectWorkload, Kinship, Seat
from jobset_restart.workloads.kinds import POD, VOLCANO_JOB, WorkloadKind
from jobset_restart.workloads.workload import Ending, Several, Single, Sources, Workload

DEFAULT_TASK = "default"
"""The name of a task without one (batch/v1alpha1, DefaultTaskSpec)."""
DEFAULT_MAX_RETRY = 3
"""Of the Job (state, DefaultMaxRetry) and of a task (cache, TaskFailed) where the field is 0."""
ENDINGS = {"Completing": "Completed", "Completed": "Completed"}
OVER = frozenset({"Terminating", "Terminated", "Failed", "Aborting", "Aborted", *ENDINGS})


class LifecyclePolicy(ApiStruct):
    action: str = ""
    event: str = ""
    events: tuple[str, ...] = ()


class TaskSpec(ApiStruct):
    name: str = ""
    replicas: Int32 = 0
    max_retry: Int32 = 0
    policies: tuple[LifecyclePolicy, ...] = ()
    template: PodTemplateSpec = default(default_factory=PodTemplateSpec)

    @property
    def called(self) -> str:
        return self.name or DEFAULT_TASK

    @property
    def limit(self) -> int | None:
        """At how many restarts of its containers the task counts as failed, None where at none."""
        return None if self.max_retry == -1 else self.max_retry or DEFAULT_MAX_RETRY


class VolcanoJobSpec(ApiStruct):
    tasks: tuple[TaskSpec, ...] = ()
    policies: tuple[LifecyclePolicy, ...] = ()
    max_retry: Int32 = 0


class JobState(ApiStruct):
    phase: str = ""
    reason: str = ""
    message: str = ""


class VolcanoJobStatus(ApiStruct):
    state: JobState = default(default_factory=JobState)
    retry_count: Int32 = 0


class VolcanoJob(ApiStruct):
    metadata: WorkloadMeta
    spec: VolcanoJobSpec = default(default_factory=VolcanoJobSpec)
    status: VolcanoJobStatus = default(default_factory=VolcanoJobStatus)

    @property
    def limit(self) -> int:
        """At how many restarts of the whole Job it fails for good (state, restarting.go)."""
        return self.spec.max_retry or DEFAULT_MAX_RETRY

    def answer(self, task: str, event: str) -> str:
        """The action that the first policy for this event of this task asks for, "" where there is none: those of the
        task come before those of the Job (controller, applyPolicies)."""
        own = next((each.policies for each in self.spec.tasks if each.called == task), ())
        return _first(own, event) or _first(self.spec.policies, event)


def _first(policies: Iterable[LifecyclePolicy], event: str) -> str:
    return next((p.action for p in policies if {event, "*"} & {p.event, *p.events}), "")


def sources(namespace: str, name: str) -> Sources:
    """Where the Volcano Job of this name is read from."""
    return Sources(
        itself=Single(VOLCANO_JOB.collection(namespace), name, VolcanoJob),
        pods=Several(POD.collection(namespace), Pod, f"{VOLCANO_JOB.label}={name}"),
    )


@dataclass(frozen=True)
class Tasks(Kinship):
    """The Pods that this very Job controls, by what the controller wrote on them (createJobPod)."""

    job: VolcanoJob

    def see_child(self, child: Any, *, deleted: bool = False) -> None:
        """Nothing stands between the Job and its Pods."""

    def seat(self, pod: Pod) -> Seat | None:
        owner, meta = controller(pod.metadata), pod.metadata
        if owner is None or owner.uid != self.job.metadata.uid:
            return None
        task = meta.annotations.task_spec or meta.labels.task_spec
        index = number(meta.labels.task_index or meta.annotations.task_index or meta.name.rpartition("-")[2])
        known = any(each.called == task for each in self.job.spec.tasks)
        return Seat((task, ()), index) if known and index is not None else None


@dataclass(frozen=True)
class VolcanoJobWorkload(DirectWorkload):
    """A Volcano Job as it was read."""

    object: VolcanoJob

    @property
    def kind(self) -> WorkloadKind:
        return VOLCANO_JOB

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def title(self) -> str:
        return f"Volcano Job {self.name}"

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.name)

    def renewed(self, newer: Any) -> VolcanoJobWorkload:
        return VolcanoJobWorkload(newer)

    @property
    def suspended(self) -> bool:
        """There is no spec.suspend: a Job that is aborted is over, until a Command resumes it."""
        return False

    @property
    def restarting(self) -> bool:
        return self.object.status.state.phase == "Restarting"

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("image", "signal", "force", "restart", "pods")

    def over(self) -> Ending | None:
        """Its phase. An aborted Job has no Pods and makes none before a Command ResumeJob."""
        state = self.object.status.state
        if state.phase not in OVER:
            return None
        aborted = "it was aborted; `vcctl job resume` brings it back" if state.phase.startswith("Abort") else ""
        return Ending(
            "Completed" if state.phase in ENDINGS else "Failed", state.reason or state.phase, aborted or state.message
        )

    def replaced(self, newer: Workload) -> str:
        """A Job that its controller restarts makes every Pod anew (status.retryCount)."""
        now = newer.object.status.retry_count if isinstance(newer, VolcanoJobWorkload) else 0
        if now > self.object.status.retry_count:
            return f"the Volcano controller restarted it (retryCount {now})"
        return ""

    @property
    def keeps_completed(self) -> bool:
        return True

    def kinship(self) -> Tasks:
        return Tasks(self.object)

    @property
    def wanted(self) -> dict[Unit, int]:
        return {(task.called, ()): task.replicas for task in self.object.spec.tasks}

    @property
    def groups(self) -> dict[str, Template]:
        return {task.called: task.template.spec for task in self.object.spec.tasks}
