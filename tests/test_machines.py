"""Machines that die during an operation: noticed, named, and no false alarm after an outage of the control plane."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.events import Event, Noticed, Triggered
from jobset_restart.machines import DOWN_SECONDS, Machines
from jobset_restart.objects import Node, Pod
from jobset_restart.plan import Request, make
from jobset_restart.slots import Slot
from jobset_restart.track import Tracker
from tests import build

NOW = build.NOW


def node(name: str = "node-1", *, ready: bool, since: float = NOW) -> Node:
    found = build.node(name, ready=ready)
    found.status.conditions[0].last_transition_time = build.at(since)
    return found


def pod(index: int = 1, *, on: str = "node-1", since: float = NOW, **fields: Any) -> Pod:
    found = build.pod(index, node=on, **fields)
    found.status.conditions[0].last_transition_time = build.at(since)
    return found


def machines(*pods: Pod) -> Machines:
    found = Machines()
    for each in pods or (pod(),):
        found.saw(each)
    return found


def test_a_machine_is_down_when_its_node_has_not_been_ready_for_a_while() -> None:
    found = machines()
    found.observe(node(ready=False))
    assert found.tick(NOW + DOWN_SECONDS - 1) == []
    assert found.why([pod(ready=False)]) == ""
    (said,) = found.tick(NOW + DOWN_SECONDS)
    assert "Node node-1 is down (NodeStatusUnknown)" in said
    assert found.why([pod(ready=False)]) == "node node-1 is down: NodeStatusUnknown"
    assert found.why([pod(on="node-0")]) == ""
    assert found.tick(NOW + DOWN_SECONDS + 1) == []
    found.observe(node(ready=True, since=NOW + 60))
    assert found.tick(NOW + 61) == ["Node node-1 is Ready again"]
    assert found.why([pod(ready=False)]) == ""


@given(st.floats(12, 30))
def test_an_outage_of_the_api_server_is_no_dead_machine(lasts: float) -> None:
    """Afterwards every Node is Unknown for 12 to 30 seconds while its kubelet lives."""
    found = machines()
    found.observe(node(ready=False))
    said = [sentence for second in range(int(lasts)) for sentence in found.tick(NOW + second)]
    found.observe(node(ready=True, since=NOW + lasts))
    assert said + found.tick(NOW + lasts) == []


def test_a_pod_that_turned_ready_since_is_the_word_of_a_living_kubelet() -> None:
    found = machines()
    found.observe(node(ready=False))
    found.tick(NOW + DOWN_SECONDS)
    assert found.why([pod(since=NOW + 10)]) == ""


def test_machines_that_no_pod_is_on_are_nobody_s_business() -> None:
    found = machines(pod(on="node-0"))
    found.observe(node("node-7", ready=False))
    assert found.tick(NOW + 100) == []
    assert found.way_out("jsr") == ""


def test_where_nodes_cannot_be_watched_pods_speak_for_them() -> None:
    found = machines()
    assert found.why([pod(ready=False)]) == ""
    found.unwatched = True
    assert "node node-1 may be down" in found.why([pod(ready=False)])
    assert found.why([pod(ready=False, statuses=[build.status(ready=False)])]) == ""
    assert found.why([pod()]) == ""


def test_a_slot_on_a_dead_machine_says_so_until_it_is_back() -> None:
    pods = [pod(0, on="node-0"), pod(1)]
    snapshot = build.snapshot(pods=pods, nodes=[build.node(), build.node("node-1")])
    tracker = Tracker(make(snapshot, Request(via="image"), "op1"), NOW)
    slot = Slot("workers", (0, 1))
    tracker.sent(slot, NOW)
    tracker.machines.observe(node(ready=False))
    tracker.observe(pod(1, ready=False), NOW + 1)
    said: list[Event] = tracker.tick(NOW + DOWN_SECONDS)
    assert [type(event) for event in said] == [Noticed, Triggered]
    assert tracker.slots[slot].reason == "node node-1 is down: NodeStatusUnknown"
    assert tracker.slots[Slot("workers", (0, 0))].reason == ""
    tracker.observe(pod(1, ready=False), NOW + 40)
    assert tracker.slots[slot].reason == "node node-1 is down: NodeStatusUnknown"
    tracker.machines.observe(node(ready=True, since=NOW + 50))
    tracker.tick(NOW + 51)
    assert tracker.slots[slot].reason == ""


def test_nodes_of_any_form_are_borne() -> None:
    found = machines()
    found.observe(msgspec.convert({"metadata": {"name": "node-1"}}, Node))
    assert found.tick(NOW) == ["Node node-1 is down (no Ready condition): nothing that is asked of its Pods happens"]
