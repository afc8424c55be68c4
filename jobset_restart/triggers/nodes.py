"""What is written to a Node itself: a cordon before its Pods leave it, and the taint that says it is off. Pure.

Neither is ever taken back by this tool: when a machine is fit again, somebody who looks after it has to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.case import Case
from jobset_restart.scheduling import OUT_OF_SERVICE, Place
from jobset_restart.stages import Stage, filled
from jobset_restart.triggers.release import release
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, node_path


def cordoning(case: Case) -> Stage:
    """Makes the Nodes that Pods are to leave unschedulable, where that is asked for and they are not so yet."""
    nodes = case.snapshot.nodes or {}
    names = sorted(case.replace_nodes) if case.cordon else []
    open_ = (name for name in names if name not in nodes or not nodes[name].spec.unschedulable)
    writes = [cordon(name, nodes[name].metadata.uid if name in nodes else "") for name in open_]
    return Stage(name="cordon", actions=writes)


def cordoned_first(case: Case, stages: Iterable[Stage]) -> list[Stage]:
    """The stages, after the cordon of the Nodes that Pods are to leave; those with something to send."""
    return filled([cordoning(case), *stages])


def cordon(node: str, uid: str = "") -> Write:
    """The write that makes a Node take no new Pods, which `kubectl uncordon` takes back."""
    return Write(verb="patch", path=node_path(node), body={"spec": {"unschedulable": True}}, uid=uid)


def freeing(case: Case, states: list[SlotState]) -> Stage:
    """Frees these slots, whose Pods are on machines declared down: one Pod after the other, or with the taint the whole
    machine."""
    slots = tuple(state.slot for state in states)
    if not case.taint:
        return Stage(name="release", actions=release(states), slots=slots)
    return Stage(name="taint", actions=_taints(case, {state.node_name for state in states}), slots=slots)


def _taints(case: Case, names: Iterable[str]) -> list[Write]:
    seen = case.evidence.surroundings
    places = (seen.places if seen else None) or {}
    wanted = ((name, places.get(name) or Place()) for name in sorted(names))
    return [taint(name, place) for name, place in wanted if not out_of_service(place)]


def taint(node: str, place: Place) -> Write:
    """The write that adds the taint to those a Node has. They are one value to the API (core/v1 NodeSpec.taints, an
    atomic list), so it fails with Conflict where the Node has changed since."""
    return Write(
        verb="patch",
        path=node_path(node),
        body={"spec": {"taints": [*place.spec.taints, OUT_OF_SERVICE]}},
        uid=place.metadata.uid,
        resource_version=place.metadata.resource_version,
    )


def out_of_service(place: Place) -> bool:
    """Whether the Node has the taint already."""
    return any(each.get("key") == OUT_OF_SERVICE["key"] for each in place.spec.taints)
