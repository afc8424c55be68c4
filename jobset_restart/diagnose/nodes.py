"""What Nodes and Events tell of a machine."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import field

from jobset_restart.diagnose.observation import Machine
from jobset_restart.objects import ApiStruct, Condition, Event, Time, seconds
from jobset_restart.pods import ready_condition

RECENT_SECONDS = 3600.0
MOST_EVENTS = 5
"""Events that are kept of one Pod or Node."""
WORDS = 160
_GOOD = ("Ready", "Healthy", "Available")
"""How the names of conditions end that are well when they are True. Others, as those of node-problem-detector, name a
problem."""


class Taint(ApiStruct):
    key: str = ""
    value: str = ""
    effect: str = ""


class LabelledMeta(ApiStruct):
    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class LabelledSpec(ApiStruct):
    unschedulable: bool = False
    taints: list[Taint] = field(default_factory=list)


class LabelledStatus(ApiStruct):
    conditions: list[Condition] = field(default_factory=list)


class LabelledNode(ApiStruct):
    """A Node with all its labels, which say where it stands."""

    metadata: LabelledMeta
    spec: LabelledSpec = field(default_factory=LabelledSpec)
    status: LabelledStatus = field(default_factory=LabelledStatus)


def machine(node: LabelledNode) -> Machine:
    """What a Node says of itself."""
    ready = ready_condition(node.status.conditions)
    not_ready = ""
    if ready is None or ready.status != "True":
        not_ready = (ready.reason or f"Ready is {ready.status}") if ready else "no Ready condition"
    taints = [f"the taint {t.key}{f'={t.value}' if t.value else ''}:{t.effect}" for t in node.spec.taints]
    return Machine(
        name=node.metadata.name,
        not_ready=not_ready,
        problems=problems(node.status.conditions),
        taints=[*taints, *(["been cordoned"] if node.spec.unschedulable else [])],
        labels=node.metadata.labels,
    )


def problems(conditions: Iterable[Condition]) -> list[str]:
    """What the conditions of a Node say is wrong, Ready apart."""
    return [_said(c) for c in conditions if c.type != "Ready" and _is_problem(c)]


class LeaseSpec(ApiStruct):
    renew_time: Time = None


class Lease(ApiStruct):
    """coordination.k8s.io/v1: what a kubelet renews; it is named as the Node."""

    metadata: LabelledMeta
    spec: LeaseSpec = field(default_factory=LeaseSpec)


def lease_age(lease: Lease, now: float) -> float | None:
    """Seconds since the Lease was renewed, by the clock of the node; None where that cannot be told."""
    try:
        at = seconds(lease.spec.renew_time) if lease.spec.renew_time else 0.0
    except (ValueError, OverflowError):
        return None
    return max(0.0, now - at) if at else None


def _is_problem(condition: Condition) -> bool:
    return condition.status == ("False" if condition.type.endswith(_GOOD) else "True")


def _said(condition: Condition) -> str:
    why = condition.message or condition.reason
    return f"{condition.type} ({why[:WORDS]})" if why else condition.type


def warnings(events: Iterable[Event], now: float) -> dict[tuple[str, str], list[str]]:
    """The Events of the last hour in words, by (kind, name) of what they are about, the newest first."""
    recent = []
    for event in events:
        try:
            at = max(map(seconds, (event.last_timestamp, event.event_time, _last(event))))
        except (ValueError, OverflowError):
            continue
        if now - at <= RECENT_SECONDS:
            recent.append((at, event))
    found: dict[tuple[str, str], list[str]] = {}
    for at, event in sorted(recent, key=lambda each: -each[0]):
        said = found.setdefault((event.involved_object.kind, event.involved_object.name), [])
        if len(said) < MOST_EVENTS:
            ago = max(0.0, now - at)
            said.append(f"{event.reason} {ago:.0f} s ago: {' '.join(event.message.split())[:WORDS]}")
    return found


def _last(event: Event) -> Time:
    return event.series.last_observed_time if event.series else None
