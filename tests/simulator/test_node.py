"""Nodes that fall silent, taints, evictions, and the Pods nobody is left to stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobset_restart.simulator.controllers.node import NodeController
from jobset_restart.simulator.controllers.podgc import PodGC
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj, StoreError
from tests.simulator.stage import Stage, conditions

PROFILE = replace(INSTANT, node_grace=40.0, pod_gc=20.0)
UNREACHABLE = "node.kubernetes.io/unreachable"


class Machines(Stage):
    """Two nodes with a switch each, one running Pod on each."""

    def __init__(self, nodes: int = 2) -> None:
        self.off: set[str] = set()
        powered = NodeController(PROFILE, lambda node: node not in self.off)
        super().__init__(powered, PodGC(PROFILE), nodes=nodes)
        for index in range(nodes):
            self.start(self.pod(f"on-{index}", nodeName=f"node-{index}"))
        self.run()

    def switch(self, node: str, on: bool) -> None:
        (self.off.discard if on else self.off.add)(node)
        self.touch(0, ("", node))

    def at(self, node: str) -> Obj:
        return self.store.get("nodes", "", node)

    def ready(self, node: str) -> str:
        return str(conditions(self.at(node))["Ready"]["status"])

    def taints(self, node: str) -> set[tuple[str, str]]:
        return {(each["key"], each["effect"]) for each in self.at(node)["spec"].get("taints", ())}

    def taint(self, node: str, key: str, effect: str = "NoExecute") -> None:
        found = self.at(node)
        taints = [*found["spec"].get("taints", ()), {"key": key, "value": "nodeshutdown", "effect": effect}]
        self.store.update("nodes", {**found, "spec": {**found["spec"], "taints": taints}}, self.now)


def deleting(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def test_nodes_declare_what_kubelets_can() -> None:
    status = Machines().at("node-1")["status"]
    assert "RestartAllContainersOnContainerExits" in status["declaredFeatures"]
    assert status["allocatable"]["pods"] == "110"
    assert {each["type"] for each in status["addresses"]} == {"InternalIP", "Hostname"}


def test_node_is_unknown_after_the_grace_period_and_its_pods_are_not_ready() -> None:
    world = Machines()
    world.switch("node-1", on=False)
    world.run(39)
    assert world.ready("node-1") == "True"
    world.run(1)
    ready = conditions(world.at("node-1"))["Ready"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert ready["message"] == "Kubelet stopped posting node status."
    assert world.taints("node-1") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    pod = world.get_pod("on-1")
    assert conditions(pod)["Ready"]["status"] == "False"
    assert pod["status"]["phase"] == "Running"
    assert all(each["ready"] for each in pod["status"]["containerStatuses"])
    assert conditions(world.get_pod("on-0"))["Ready"]["status"] == "True"
    assert world.events("NodeNotReady") == ["Node node-1 status is now: NodeNotReady", "Node is not ready"]


def test_a_node_that_is_back_in_time_was_never_away() -> None:
    world = Machines()
    version = world.at("node-1")["metadata"]["resourceVersion"]
    world.switch("node-1", on=False)
    world.run(39)
    world.switch("node-1", on=True)
    world.run(100)
    assert world.at("node-1")["metadata"]["resourceVersion"] == version


def test_a_silent_node_costs_no_writes_while_nothing_changes() -> None:
    world = Machines()
    world.switch("node-1", on=False)
    world.run(41)
    version = world.store.resource_version
    world.run(290)
    assert world.store.resource_version == version


def test_return_of_a_node() -> None:
    world = Machines()
    world.switch("node-1", on=False)
    world.run(100)
    world.switch("node-1", on=True)
    world.run(300)
    assert world.ready("node-1") == "True"
    assert "taints" not in world.at("node-1")["spec"]
    assert not deleting(world.get_pod("on-1"))


def test_taint_manager_deletes_pods_when_their_toleration_ends() -> None:
    """And the Pods stay, Terminating, because nobody is there to stop them."""
    world = Machines()
    hurried = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
    world.start(world.pod("hurried", nodeName="node-1", tolerations=[hurried]))
    world.start(world.pod("patient", nodeName="node-1", tolerations=[{"operator": "Exists"}]))
    world.switch("node-1", on=False)
    world.run(40 + 9)
    assert not deleting(world.get_pod("hurried"))
    world.run(1)
    assert deleting(world.get_pod("hurried"))
    world.run(289)
    assert not deleting(world.get_pod("on-1"))
    world.run(1)
    pod = world.get_pod("on-1")
    assert deleting(pod)
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    target = conditions(pod)["DisruptionTarget"]
    assert (target["status"], target["reason"]) == ("True", "DeletionByTaintManager")
    world.run(3600)
    assert world.get_pod("on-1")["status"]["phase"] == "Running"
    assert not deleting(world.get_pod("patient"))
    assert not deleting(world.get_pod("on-0"))


def cancelled(world: Machines) -> list[str]:
    events = world.store.list("events")
    return sorted(e["involvedObject"]["name"] for e in events if e["message"].startswith("Cancelling deletion of Pod"))


def test_an_eviction_that_is_no_longer_due_is_called_off_in_an_event() -> None:
    """Because the Pod has gone, because the node is back, or because the Pod does not tolerate a taint that came."""
    world = Machines()
    for name in ("goes", "stays"):
        world.start(world.pod(name, nodeName="node-1"))
    world.switch("node-1", on=False)
    world.run(50)
    assert cancelled(world) == []
    world.store.delete("pods", "default", "goes", world.now, grace=0)
    world.run(1)
    assert cancelled(world) == ["goes"]
    world.switch("node-1", on=True)
    world.run(50)
    assert cancelled(world) == ["goes", "on-1", "stays"]


def test_no_pod_is_evicted_while_every_node_is_silent() -> None:
    world = Machines()
    for node in ("node-0", "node-1"):
        world.switch(node, on=False)
    world.run(1000)
    assert world.ready("node-0") == world.ready("node-1") == "Unknown"
    assert world.taints("node-0") == world.taints("node-1") == {(UNREACHABLE, "NoSchedule")}
    assert not any(map(deleting, world.pods()))
    world.switch("node-0", on=True)
    world.run()
    assert world.taints("node-0") == set()
    assert world.taints("node-1") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}


@pytest.mark.parametrize("off", [True, False], ids=["silent", "ready"])
def test_out_of_service_taint(off: bool) -> None:
    """All its Pods are Failed and gone within a period; on a Ready node they are merely told to stop."""
    world = Machines()
    if off:
        world.switch("node-1", on=False)
        world.run(40)
    world.taint("node-1", "node.kubernetes.io/out-of-service")
    phases: list[str] = []
    world.store.subscribe(lambda resource, change, obj, old: phases.append(obj.get("status", {}).get("phase", "")))
    world.run(20)
    if not off:
        assert deleting(world.get_pod("on-1"))
        assert world.get_pod("on-1")["status"]["phase"] == "Running"
        return
    with pytest.raises(StoreError):
        world.get_pod("on-1")
    assert "Failed" in phases
    assert not deleting(world.get_pod("on-0"))


def test_out_of_service_pods_that_others_hold_are_failed_and_wait_for_them() -> None:
    world = Machines()
    world.start(world.pod("held", meta={"finalizers": ["example.com/hold"]}, nodeName="node-1"))
    world.switch("node-1", on=False)
    world.run(40)
    world.taint("node-1", "node.kubernetes.io/out-of-service")
    world.run(20)
    held = world.get_pod("held")
    assert held["status"]["phase"] == "Failed"
    assert conditions(held)["DisruptionTarget"]["reason"] == "DeletionByTaintManager"
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0


def test_pods_of_a_deleted_node_go_after_the_quarantine() -> None:
    world = Machines()
    world.start(world.pod("held", meta={"finalizers": ["example.com/hold"]}, nodeName="node-1"))
    world.store.delete("nodes", "", "node-1", world.now)
    world.run(40)
    assert not deleting(world.get_pod("on-1"))
    world.run(40)
    assert [pod["metadata"]["name"] for pod in world.pods()] == ["held", "on-0"]
    target = conditions(world.get_pod("held"))["DisruptionTarget"]
    assert (target["reason"], target["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")


def test_a_pod_without_a_node_that_others_hold_is_failed() -> None:
    world = Machines()
    world.pod("held", meta={"finalizers": ["example.com/hold"]})
    world.store.delete("pods", "default", "held", world.now)
    world.run(20)
    assert world.get_pod("held")["status"]["phase"] == "Failed"


def test_a_cordoned_node_is_tainted_until_it_is_not() -> None:
    world = Machines()
    world.store.update("nodes", {**world.at("node-1"), "spec": {"unschedulable": True}}, world.now)
    world.run()
    assert world.taints("node-1") == {("node.kubernetes.io/unschedulable", "NoSchedule")}
    spec = {"taints": world.at("node-1")["spec"]["taints"]}
    world.store.update("nodes", {**world.at("node-1"), "spec": spec}, world.now)
    world.run()
    assert world.at("node-1")["spec"] == {}
    assert not deleting(world.get_pod("on-1"))
