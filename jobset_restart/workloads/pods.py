"""Any Pods: what carries some labels, whoever owns it. Pure.

There is no object that these Pods belong to together, so the claim and the record are on a Lease made for them
(coordination.k8s.io/v1), whose name stands for the labels. Nothing is known of what makes such Pods, and nothing new
is to come where one is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from jobset_restart.errors import JsrError, TooLarge
from jobset_restart.objects import ApiStruct, Pod, WorkloadMeta
from jobset_restart.objects import PodSpec as Template
from jobset_restart.owners import controller
from jobset_restart.places import ended
from jobset_restart.slots import Slot
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.kinds import LEASE, POD, WorkloadKind
from jobset_restart.workloads.workload import (
    MOST_SLOTS,
    Ending,
    Filling,
    Several,
    Single,
    SlotState,
    Sources,
    Workload,
)
from jobset_restart.writes import Write

SELECTOR = "jobset-restart.io/selector"
_APART = re.compile(r",(?![^()]*\))")


class Lease(ApiStruct):
    metadata: WorkloadMeta


def canonical(selector: str) -> str:
    """The label selector in one form, whatever the order and the spaces it was typed with."""
    parts = (re.sub(r"\s+", " ", part).strip() for part in _APART.split(selector))
    return ",".join(sorted({re.sub(r"\s*(!=|==?)\s*", r"\1", part) for part in parts if part}))


def lease_name(labels: str) -> str:
    """The name of the Lease for the Pods with these labels."""
    return f"jsr-pods-{sha256(labels.encode()).hexdigest()[:20]}"


def sources(namespace: str, labels: str) -> Sources:
    """Where the Pods with these labels are read from, and the Lease that carries their claim, if there is one yet."""
    name = lease_name(labels)
    meta = WorkloadMeta(name=name, namespace=namespace)
    meta.annotations.selector = labels
    return Sources(
        itself=Single(LEASE.collection(namespace), name, Lease, otherwise=Lease(metadata=meta)),
        pods=Several(POD.collection(namespace), Pod, labels),
    )


def workload(lease: Lease) -> PodsWorkload:
    """The Pods that the Lease is for. Raises JsrError where it does not say which."""
    labels = lease.metadata.annotations.selector
    if lease_name(labels) != lease.metadata.name:
        raise JsrError(
            f"Lease {lease.metadata.name} does not say any more which Pods it is for (annotation {SELECTOR})",
            f"if no restart is under way, `kubectl delete lease {lease.metadata.name} -n {lease.metadata.namespace}`",
        )
    return PodsWorkload(lease, labels)


@dataclass(frozen=True)
class PodsWorkload(Workload):
    """The Pods with these `labels`. `object` is the Lease, without a UID where there is none yet."""

    object: Lease
    labels: str

    @property
    def kind(self) -> WorkloadKind:
        return POD

    @property
    def carrier(self) -> WorkloadKind:
        return LEASE

    @property
    def metadata(self) -> WorkloadMeta:
        return self.object.metadata

    @property
    def name(self) -> str:
        return self.labels

    @property
    def title(self) -> str:
        return f"Selection {self.labels}"

    @property
    def sources(self) -> Sources:
        return sources(self.namespace, self.labels)

    def renewed(self, newer: Any) -> PodsWorkload:
        return replace(self, object=newer)

    def changed(self, body: dict[str, Any], *, resource_version: str = "") -> Write:
        """A Lease that is not there yet is made; where somebody else is faster, that is a Conflict."""
        if self.metadata.uid:
            return super().changed(body, resource_version=resource_version)
        annotations = {SELECTOR: self.labels, **body.get("metadata", {}).get("annotations", {})}
        return Write(
            verb="create",
            path=LEASE.collection(self.namespace),
            body={
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self.metadata.name, "annotations": annotations},
                "spec": {},
            },
        )

    # ------------------------------------------------------------ what it does

    @property
    def suspended(self) -> bool:
        return False

    @property
    def triggers(self) -> tuple[TriggerName, ...]:
        return ("image", "signal", "force")

    def over(self) -> Ending | None:
        return None

    # ------------------------------------------------------------ its Pods

    @property
    def made_of_jobs(self) -> bool:
        return False

    @property
    def shares_its_pods(self) -> bool:
        return True

    def program(self, state: SlotState) -> str:
        """Pods of one owner were made from one template."""
        owner = controller(state.pod.metadata) if state.pod else None
        return f"{owner.kind} {owner.name}" if owner else state.slot.group

    def fill(self, children: Sequence[Any], pods: Iterable[Pod]) -> Filling:  # noqa: ARG002
        there = sorted((pod for pod in pods if not ended(pod)), key=lambda pod: pod.metadata.name)
        if len(there) > MOST_SLOTS:
            raise TooLarge(
                f"{self.title} finds {len(there):,} Pods, more than jsr handles ({MOST_SLOTS:,})",
                "give labels that fewer Pods have",
            )
        return Filling(slots={slot_of(pod): SlotState(slot_of(pod), None, pod) for pod in there})

    @property
    def groups(self) -> dict[str, Template]:
        """Each Pod stands for itself."""
        return {}


def slot_of(pod: Pod) -> Slot:
    return Slot(pod.metadata.name)
