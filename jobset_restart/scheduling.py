"""Where the scheduler would put a Pod: what a Pod asks of a Node, and why a Node does not take it. Pure.

Looked at is what can be told from Pod and Node alone; neither room nor the company of other Pods is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from jobset_restart.objects import ApiStruct, Name, NodeStatus, number
from jobset_restart.pods import condition

CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
"""A Pod that tolerates this taint is scheduled to a cordoned Node (scheduler, NodeUnschedulable)."""
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
"""Says that a machine is off: its Pods are ended without its kubelet (pod garbage collector, gcTerminating)."""
EXCLUSIVE_TOPOLOGY = "alpha.jobset.sigs.k8s.io/exclusive-topology"


class Toleration(ApiStruct):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class Requirement(ApiStruct):
    key: str = ""
    operator: str = ""
    values: list[str] = field(default_factory=list)


class NodeSelectorTerm(ApiStruct):
    match_expressions: list[Requirement] = field(default_factory=list)
    match_fields: list[Requirement] = field(default_factory=list)


class NodeSelector(ApiStruct):
    node_selector_terms: list[NodeSelectorTerm] = field(default_factory=list)


class NodeAffinity(ApiStruct):
    required: NodeSelector | None = field(name="requiredDuringSchedulingIgnoredDuringExecution", default=None)


class Affinity(ApiStruct):
    node_affinity: NodeAffinity | None = None


class ClaimSource(ApiStruct):
    claim_name: Name = ""


class Volume(ApiStruct):
    persistent_volume_claim: ClaimSource | None = None


class DemandingSpec(ApiStruct):
    node_name: Name = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: Affinity | None = None
    tolerations: list[Toleration] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)


class DemandingMeta(ApiStruct):
    name: Name = ""
    namespace: Name = ""
    annotations: dict[str, str] = field(default_factory=dict)


class DemandingPod(ApiStruct):
    """A Pod as the scheduler sees it: core/v1 Pod by what its place depends on."""

    metadata: DemandingMeta = field(default_factory=DemandingMeta)
    spec: DemandingSpec = field(default_factory=DemandingSpec)

    @property
    def claims(self) -> list[str]:
        """The names of the PersistentVolumeClaims it mounts."""
        claims = (volume.persistent_volume_claim for volume in self.spec.volumes)
        return [claim.claim_name for claim in claims if claim is not None]

    @property
    def topology(self) -> str:
        """The label of Nodes whose values are domains that each have at most one Job ("" where it may be anywhere):
        the Pods of its Job all run in one domain (JobSet, pod_admission_webhook.go)."""
        return self.metadata.annotations.get(EXCLUSIVE_TOPOLOGY, "")


class PlaceMeta(ApiStruct):
    name: Name = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class PlaceSpec(ApiStruct):
    unschedulable: bool = False
    taints: list[dict[str, Any]] = field(default_factory=list)


class Place(ApiStruct):
    """A Node as the scheduler sees it; its taints as they are, to be sent again with one more."""

    metadata: PlaceMeta = field(default_factory=PlaceMeta)
    spec: PlaceSpec = field(default_factory=PlaceSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What was looked at where Pods are to leave a Node. `places` are all Nodes by name, None where they may not be
    listed; `pods` those that are to leave, by name; `volumes` the Nodes that a claim's volume can be used on, by the
    claim's name; `tenants` every Pod of a Node that is to be tainted, as (namespace, name), None where they may not be
    listed. `notes` say what could not be seen."""

    places: dict[str, Place] | None = None
    pods: dict[str, DemandingPod] = {}
    volumes: dict[str, NodeSelector] = {}
    tenants: dict[str, list[tuple[str, str]]] | None = None
    notes: tuple[str, ...] = ()


def tolerates(pod: DemandingPod, taint: dict[str, Any]) -> bool:
    """Whether one of the Pod's tolerations matches the taint (core/v1, Toleration.ToleratesTaint)."""
    key, value, effect = (str(taint.get(name) or "") for name in ("key", "value", "effect"))
    return any(
        each.effect in ("", effect)
        and each.key in ("", key)
        and (each.operator == "Exists" or (each.key != "" and each.value == value))
        for each in pod.spec.tolerations
    )


def shut(place: Place, pod: DemandingPod, *, cordoned: bool = False) -> str:
    """Why the Node takes no new Pod like this one, whatever that asks for; "" where it takes one. `cordoned`: it will
    be by then."""
    if (cordoned or place.spec.unschedulable) and not tolerates(pod, CORDON):
        return "is cordoned"
    if condition(place.status.conditions, "Ready") is None:
        return "is not Ready"
    for taint in place.spec.taints:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(pod, taint):
            return f"has the taint {taint.get('key')}:{taint.get('effect')}"
    return ""


def unfit(place: Place, pod: DemandingPod, seen: Surroundings) -> str:
    """Why the scheduler does not put a new Pod like this one there, "" where nothing speaks against it."""
    if why := shut(place, pod):
        return why
    labels = place.metadata.labels
    missing = [f"{key}={value}" for key, value in pod.spec.node_selector.items() if labels.get(key) != value]
    if missing:
        return f"lacks the label {missing[0]}"
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    if affinity is not None and affinity.required is not None and not _selected(affinity.required, place):
        return "does not match the node affinity"
    for claim in pod.claims:
        if claim in seen.volumes and not _selected(seen.volumes[claim], place):
            return f"cannot use the volume of claim {claim}"
    here = (seen.places or {}).get(pod.spec.node_name)
    topology = pod.topology
    if topology and here is not None and labels.get(topology) != here.metadata.labels.get(topology):
        return f"is in another domain of {topology}"
    return ""


def _selected(selector: NodeSelector, place: Place) -> bool:
    """Whether one of the terms matches; an empty one matches nothing (component-helpers, nodeaffinity)."""
    labels, fields = place.metadata.labels, {"metadata.name": place.metadata.name}
    return any(
        (term.match_expressions or term.match_fields)
        and _met(term.match_expressions, labels)
        and _met(term.match_fields, fields)
        for term in selector.node_selector_terms
    )


def _met(requirements: Iterable[Requirement], labels: dict[str, str]) -> bool:
    return all(_is_met(each, labels.get(each.key)) for each in requirements)


def _is_met(wanted: Requirement, value: str | None) -> bool:
    match wanted.operator:
        case "In":
            return value in wanted.values
        case "NotIn":
            return value not in wanted.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    have, bound = number(value or ""), number(wanted.values[0]) if wanted.values else None
    if have is None or bound is None:
        return False
    return have > bound if wanted.operator == "Gt" else have < bound
