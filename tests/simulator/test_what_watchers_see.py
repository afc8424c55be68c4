"""Steps on the way that a client sees only if it watches, and the Events of a kubelet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobset_restart.simulator.profile import REALTIME
from jobset_restart.simulator.store import Obj, Store
from jobset_restart.simulator.world import World
from tests.simulator.test_agent import native_world, outdate
from tests.simulator.test_job_controller import Jobs
from tests.simulator.test_kubelet import Kubelets, container


@pytest.fixture
def node() -> Kubelets:
    return Kubelets()


def graces(store: Store, name: str = "p") -> list[tuple[str, Any]]:
    """Type and grace period of every change of a Pod that is being deleted."""
    found = [each for each in store.log("pods", 0) if each.obj["metadata"]["name"] == name]
    metas = [(each.type, each.obj["metadata"]) for each in found]
    return [(kind, meta["deletionGracePeriodSeconds"]) for kind, meta in metas if "deletionTimestamp" in meta]


def events(node: Kubelets, reason: str) -> list[Obj]:
    return [each for each in node.store.all("events") if each["reason"] == reason]


# ---------------------------------------------------------------- deletions


def test_last_step_of_a_deletion_is_written_before_the_pod_goes(node: Kubelets) -> None:
    node.start_pod()
    node.store.delete("pods", "default", "p", node.now)
    node.run(6)
    seen = graces(node.store)
    assert seen[0] == ("MODIFIED", 5)
    assert seen[-2:] == [("MODIFIED", 0), ("DELETED", 0)]


def test_pod_without_a_node_is_marked_before_it_goes(node: Kubelets) -> None:
    node.pod("q")
    node.store.delete("pods", "default", "q", node.now)
    assert graces(node.store, "q") == [("MODIFIED", 0), ("DELETED", 0)]


def test_job_goes_without_a_word(node: Kubelets) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [container()]}}
    node.store.create("jobs", {"metadata": {"name": "j", "namespace": "default"}, "spec": {"template": template}}, 0)
    node.store.delete("jobs", "default", "j", node.now)
    assert [each.type for each in node.store.log("jobs", 0)] == ["ADDED", "DELETED"]


def test_deletion_under_way_is_only_ever_made_shorter(node: Kubelets) -> None:
    pod = node.start_pod(container(command=["sleep", "infinity"]))
    node.store.delete("pods", "default", "p", node.now, grace=60)
    for grace in (None, 90):
        node.store.delete("pods", "default", "p", node.now, grace=grace)
        assert node.get_pod("p")["metadata"]["deletionGracePeriodSeconds"] == 60
    node.store.delete("pods", "default", "p", node.now, grace=1)
    assert node.get_pod("p")["metadata"]["deletionGracePeriodSeconds"] == 1
    assert node.get_pod("p")["metadata"]["generation"] == pod["metadata"]["generation"] + 1


# ---------------------------------------------------------------- counting


def test_failed_pods_are_named_in_the_status_until_they_are_counted() -> None:
    world = Jobs(backoffLimit=6)
    pod = world.at(0)
    world.end(pod)
    world.run(12)
    written = [each.obj["status"] for each in world.store.log("jobs", 0)]
    named = [status for status in written if status.get("uncountedTerminatedPods", {}).get("failed")]
    assert [status["uncountedTerminatedPods"]["failed"] for status in named] == [[pod["metadata"]["uid"]]]
    assert "failed" not in named[0]
    assert (written[-1]["failed"], written[-1]["uncountedTerminatedPods"]) == (1, {})


# ---------------------------------------------------------------- a kubelet's Events


def test_events_name_the_container_and_the_node(node: Kubelets) -> None:
    node.start_pod(container(), container("log"), initContainers=[container("prepare", ["true"])])
    started = events(node, "Started")
    assert {each["involvedObject"]["fieldPath"] for each in started} == {
        "spec.initContainers{prepare}",
        "spec.containers{worker}",
        "spec.containers{log}",
    }
    assert {each["count"] for each in started} == {1}
    assert {each["source"]["host"] for each in started} == {"node-0"}
    assert {each["reportingInstance"] for each in started} == {"node-0"}


def test_probe_of_a_barrier_that_is_up_is_told_of() -> None:
    world = native_world(driver_node="node-0", workers_node="node-1", workers=1)
    world.set_power("node-1", False)
    outdate(world, 1)
    world.settle(30)
    store = world.store
    found = [each for each in store.all("events") if each["reason"] == "Unhealthy"]
    assert {each["involvedObject"]["fieldPath"] for each in found} == {"spec.initContainers{agent}"}
    pod = store.get("pods", "default", found[0]["involvedObject"]["name"])
    where = f"{pod['status']['podIP']}:8081"
    refused = f"dial tcp {where}: connect: connection refused"
    assert found[0]["message"] == f'Startup probe failed: Get "http://{where}/barrier-is-down": {refused}'


# ---------------------------------------------------------------- short lives


def test_program_that_ends_at_once_is_seen_to_run(node: Kubelets) -> None:
    node.start_pod(initContainers=[container("prepare", ["true"])])
    found = [each["status"].get("initContainerStatuses", [{"state": {}}])[0]["state"] for each in node.seen]
    seen = [kind for state in found for kind in state]
    assert list(dict.fromkeys(seen)) == ["waiting", "running", "terminated"]


def test_init_container_that_was_completed_is_ready_for_one_status_more_when_all_restart() -> None:
    """The kubelet's own oversight: the flag goes with the next status."""
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
    fails = container(command=["sh", "-c", "sleep 1; exit 1"], restartPolicy="Never", restartPolicyRules=[rule])
    node = Kubelets()
    node.start_pod(fails, initContainers=[container("prepare", ["true"])])
    node.run(1)
    found = [each["status"]["initContainerStatuses"][0] for each in node.seen if "containerStatuses" in each["status"]]
    reasons = [(each["state"].get("waiting", {}).get("reason"), each["ready"]) for each in found]
    assert not reasons[reasons.index(("RestartingAllContainers", True)) + 1][1]


def test_pod_deleted_before_its_containers_started_fails_with_its_last_status(node: Kubelets) -> None:
    node.start_pod(initContainers=[container("prepare")], restartPolicy="OnFailure")
    node.store.delete("pods", "default", "p", node.now)
    node.run(6)
    statuses = [each["status"] for each in node.seen if "initContainerStatuses" in each["status"]]
    ended = [each for each in statuses if "terminated" in each["initContainerStatuses"][0]["state"]]
    assert [each["phase"] for each in ended][:2] == ["Pending", "Failed"]
    assert node.store.find("pods", "default", "p") is None


# ---------------------------------------------------------------- a pull that fails


def test_back_off_after_a_kill_is_that_of_the_pull() -> None:
    """The death of the container is news once; the sync after that is the retry, when a crash loop would be over."""
    world = World(nodes=1, profile=replace(REALTIME, spread=0.0))
    spec = {"restartPolicy": "OnFailure", "containers": [container()]}
    world.load([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}])
    world.settle(5)
    pod = world.store.get("pods", "default", "p")
    changed = [{**pod["spec"]["containers"][0], "image": "registry.invalid/none:1"}]
    world.store.update("pods", {**pod, "spec": {**pod["spec"], "containers": changed}}, world.now)
    world.settle(30)
    statuses = [each.obj["status"].get("containerStatuses", [{}])[0] for each in world.store.log("pods", 0)]
    reasons = [each.get("state", {}).get("waiting", {}).get("reason") for each in statuses]
    assert "ImagePullBackOff" in reasons
    assert "CrashLoopBackOff" not in reasons


# ---------------------------------------------------------------- the end of a status


def test_resources_of_a_pod_that_has_ended_are_what_is_left_without_its_cgroup(node: Kubelets) -> None:
    asked = {"requests": {"cpu": "1", "memory": "16Mi"}, "limits": {"cpu": "2"}}
    made = node.start_pod(container(command=["sh", "-c", "sleep 1; true"], resources=asked))
    assert made["status"]["resources"] == asked
    node.run(3)
    ended = node.get_pod("p")["status"]
    assert (ended["phase"], ended["resources"]) == ("Succeeded", {"requests": {"memory": "16Mi"}})
    assert ended["containerStatuses"][0]["resources"] == asked
