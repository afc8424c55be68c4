"""The scheduler of the embedded cluster."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from jobset_restart.simulator.controllers.scheduler import Scheduler
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj
from tests.simulator.stage import Stage, conditions

HELPLESS = "Preemption is not helpful for scheduling"
VICTIMS = "No preemption victims found for incoming pod"


def stage(nodes: int = 2, pods: int = 110) -> Stage:
    return Stage(Scheduler(INSTANT), nodes=nodes, pods=pods)


def taint(world: Stage, node: str, effect: str = "NoSchedule", key: str = "gone") -> None:
    found = world.store.get("nodes", "", node)
    spec = {"taints": [{"key": key, "effect": effect}]} if effect else {}
    world.store.update("nodes", {**found, "spec": spec}, world.now)


def apart(kind: str, label: str = "a", topology: str = "kubernetes.io/hostname") -> dict[str, Any]:
    """An affinity field: not with Pods labelled app=``label``."""
    term: Obj = {"topologyKey": topology, "labelSelector": {"matchLabels": {"app": label}}}
    if kind == "preferred":
        wish = {"weight": 100, "podAffinityTerm": term}
        return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def refusal(world: Stage, pod: str) -> str:
    condition = conditions(world.get_pod(pod))["PodScheduled"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] in world.events("FailedScheduling")
    return str(condition["message"])


def test_binding_sets_node_and_condition_in_one_write_and_says_so() -> None:
    world = stage(1)
    made = world.pod("p")
    version = int(made["metadata"]["resourceVersion"])
    world.run()
    pod = world.get_pod("p")
    assert pod["spec"]["nodeName"] == "node-0"
    assert conditions(pod)["PodScheduled"]["status"] == "True"
    assert int(pod["metadata"]["resourceVersion"]) == version + 1
    assert pod["metadata"]["generation"] == 1
    assert world.events("Scheduled") == ["Successfully assigned default/p to node-0"]


def test_pods_spread_over_the_least_allocated_nodes() -> None:
    world = stage(4)
    for index in range(10):
        world.pod(f"p{index}")
    world.run()
    assert sorted(Counter(world.nodes_of(*(f"p{index}" for index in range(10)))).values()) == [2, 2, 3, 3]
    for name in ("p0", "p4", "p8"):  # node-0 is empty now
        assert world.nodes_of(name) == ["node-0"]
        world.store.delete("pods", "default", name, world.now, grace=0)
    world.pod("next")
    world.run()
    assert world.nodes_of("next") == ["node-0"]


@pytest.mark.parametrize(
    "spec",
    [
        {"nodeSelector": {"kubernetes.io/hostname": "node-1"}},
        {"nodeSelector": {"kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux"}},
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "absent", "operator": "Exists"}]},
                            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
                        ]
                    }
                }
            }
        },
        {
            "affinity": {
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 5,
                            "preference": {
                                "matchExpressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
                                ]
                            },
                        }
                    ]
                }
            }
        },
    ],
    ids=["selector", "two labels", "required", "preferred"],
)
def test_node_selection(spec: Obj) -> None:
    world = stage(3)
    names = ["a", "b", "c"]
    for name in names:
        world.pod(name, **spec)
    world.run()
    assert world.nodes_of(*names) == ["node-1"] * 3


def test_a_pod_that_matches_no_node_waits_until_one_does() -> None:
    world = stage(2)
    world.pod("p", nodeSelector={"pool": "gpu"})
    world.run()
    head = "0/2 nodes are available: 2 "
    expected = f"node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: {head}"
    assert refusal(world, "p") == f"{head}{expected}{HELPLESS}."
    world.node("node-2", labels={"pool": "gpu"})
    world.run()
    assert world.nodes_of("p") == ["node-2"]
    assert conditions(world.get_pod("p"))["PodScheduled"]["status"] == "True"


def test_a_pod_that_waits_for_a_node_is_not_tried_again_when_another_pod_ends() -> None:
    world = stage(1)
    world.pod("p", nodeSelector={"pool": "gpu"})
    world.pod("q")
    world.run()
    world.store.delete("pods", "default", "q", world.now, grace=0)
    world.run()
    assert len(world.events("FailedScheduling")) == 1


def test_repeats_about_one_version_of_a_pod_are_a_series_of_two_until_minutes_later() -> None:
    world = stage(1)
    world.pod("p", nodeSelector={"pool": "gpu"})
    for value in "abcd":
        world.run()
        node = world.store.get("nodes", "", "node-0")
        labels = {**node["metadata"]["labels"], "more": value}
        world.store.update("nodes", {**node, "metadata": {**node["metadata"], "labels": labels}}, world.now)
    found = [each for each in world.store.all("events") if each["reason"] == "FailedScheduling"]
    assert [each.get("series", {}).get("count") for each in found] == [None, 2], "before and after the condition"


def test_no_nodes() -> None:
    world = stage(0)
    world.pod("p")
    world.run()
    assert refusal(world, "p") == "no nodes available to schedule pods"


def test_a_full_node_takes_the_next_pod_when_one_ends() -> None:
    world = stage(1, pods=2)
    for name in "abcd":
        world.pod(name)
    world.run()
    assert world.nodes_of(*"abcd") == ["node-0", "node-0", "", ""]
    head = "0/1 nodes are available: 1 "
    expected = f"{head}Too many pods. no new claims to deallocate, preemption: {head}{VICTIMS}."
    assert refusal(world, "c") == expected
    world.status(world.get_pod("a"), phase="Succeeded")
    world.run()
    assert world.nodes_of(*"cd") == ["node-0", ""]
    world.store.delete("pods", "default", "b", world.now, grace=0)
    world.run()
    assert world.nodes_of("d") == ["node-0"]


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
def test_taints_keep_pods_away_that_do_not_tolerate_them(effect: str) -> None:
    world = stage(2)
    taint(world, "node-0", effect)
    world.pod("plain")
    world.pod("tolerant", tolerations=[{"key": "gone", "operator": "Exists"}])
    world.pod("all", tolerations=[{"operator": "Exists"}], nodeSelector={"kubernetes.io/hostname": "node-0"})
    world.run()
    assert world.nodes_of("plain", "tolerant", "all") == ["node-1", "node-0", "node-0"]
    taint(world, "node-1", effect)
    world.pod("late")
    world.run()
    assert "2 node(s) had untolerated taint(s)" in refusal(world, "late")
    taint(world, "node-1", "")
    world.run()
    assert world.nodes_of("late") == ["node-1"]


def test_soft_taints_are_the_last_resort() -> None:
    world = stage(2, pods=2)
    taint(world, "node-0", "PreferNoSchedule")
    for name in "abc":
        world.pod(name)
    world.run()
    assert world.nodes_of(*"abc") == ["node-1", "node-1", "node-0"]


def test_a_cordoned_node_gets_no_pods() -> None:
    world = stage(1)
    found = world.store.get("nodes", "", "node-0")
    world.store.update("nodes", {**found, "spec": {"unschedulable": True}}, world.now)
    world.pod("p")
    world.run()
    assert "1 node(s) were unschedulable" in refusal(world, "p")
    world.store.update("nodes", {**world.store.get("nodes", "", "node-0"), "spec": {}}, world.now)
    world.run()
    assert world.nodes_of("p") == ["node-0"]


def test_preferred_anti_affinity_spreads_its_pods_whatever_else_runs() -> None:
    world = stage(2)
    for index in range(6):
        world.pod(f"other-{index}", nodeName="node-1")
    for index in range(4):
        world.pod(f"p{index}", labels={"app": "a"}, affinity=apart("preferred"))
    world.run()
    assert Counter(world.nodes_of("p0", "p1", "p2", "p3")) == {"node-0": 2, "node-1": 2}


def test_required_anti_affinity_by_topology() -> None:
    world = Stage(Scheduler(INSTANT))
    for index in range(4):
        world.node(f"node-{index}", labels={"zone": str(index // 2)})
    for index in range(3):
        world.pod(f"p{index}", labels={"app": "a"}, affinity=apart("required", topology="zone"))
    world.run()
    zones = [int(node[-1]) // 2 for node in world.nodes_of("p0", "p1")]
    assert sorted(zones) == [0, 1]
    assert "4 node(s) didn't match pod anti-affinity rules" in refusal(world, "p2")
    world.store.delete("pods", "default", "p0", world.now, grace=0)
    world.run()
    assert int(world.nodes_of("p2")[0][-1]) // 2 == zones[0]


def test_required_anti_affinity_of_pods_already_there_counts_too() -> None:
    world = stage(1)
    world.pod("loner", affinity=apart("required", "b"))
    world.pod("friend", labels={"app": "c"})
    world.pod("unwanted", labels={"app": "b"})
    world.run()
    assert world.nodes_of("loner", "friend", "unwanted") == ["node-0", "node-0", ""]
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in refusal(world, "unwanted")


def test_required_affinity_follows_the_first_pod() -> None:
    world = stage(3)
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    world.pod("elsewhere", nodeName="node-0")
    for name in "abc":
        world.pod(name, labels={"app": "a"}, affinity=near)
    world.run()
    assert len(set(world.nodes_of(*"abc"))) == 1
    world.pod("stranger", labels={"app": "z"}, affinity={"podAffinity": near["podAffinity"]})
    world.run()
    assert world.nodes_of("stranger") == world.nodes_of("a")


def test_gated_pods_and_those_of_other_schedulers_are_left_alone() -> None:
    world = stage(1)
    world.pod("gated", schedulingGates=[{"name": "wait"}])
    world.pod("other", schedulerName="nobody")
    world.run(60)
    assert world.nodes_of("gated", "other") == ["", ""]
    assert conditions(world.get_pod("gated"))["PodScheduled"]["reason"] == "SchedulingGated"
    assert "conditions" not in world.get_pod("other")["status"]
    gated = world.get_pod("gated")
    world.store.update("pods", {**gated, "spec": {**gated["spec"], "schedulingGates": []}}, world.now)
    world.run()
    assert world.nodes_of("gated") == ["node-0"]


def test_binds_no_faster_than_the_rate() -> None:
    world = Stage(Scheduler(replace(INSTANT, schedule_rate=10.0)), nodes=1)
    for index in range(30):
        world.pod(f"p{index}")
    world.run(0.95)
    assert sum(bool(pod["spec"].get("nodeName")) for pod in world.pods()) == 10
    world.run(2.0)
    assert all(pod["spec"].get("nodeName") for pod in world.pods())


def test_five_hundred_pods_on_as_many_nodes_take_little_time() -> None:
    world = stage(500, pods=1)
    begin = time.process_time()
    for index in range(501):
        world.pod(f"p{index}", labels={"app": "a"}, affinity=apart("preferred"))
    world.run()
    assert time.process_time() - begin < 2.0
    placed = [pod["spec"].get("nodeName") for pod in world.pods()]
    assert len(set(placed)) == 501
    assert placed.count(None) == 1
