"""Pods leave a node while the others restart in place, in one operation; and a dead machine is declared out of
service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.api import Object
from tests.e2e.cluster import Cluster
from tests.e2e.command import Jsr
from tests.e2e.manifests import jobset, native, replicated_job
from tests.e2e.picture import Picture, assert_nothing_changed, ready, rounds_between
from tests.e2e.place import Place
from tests.e2e.test_facts_dead_node import OUT_OF_SERVICE, apart, dead, lost_slots, pair

pytestmark = pytest.mark.real_fault
"""A cordon is for the whole cluster: nothing else may run meanwhile."""

LEASE_SECONDS = 30


@pytest.fixture
def left(two_nodes: tuple[str, str], place: Place) -> Iterator[str]:
    """The node that Pods are to leave, which takes Pods again afterwards."""
    node = two_nodes[1]
    try:
        yield node
    finally:
        place.api.patch("nodes", "", node, {"spec": {"unschedulable": None}})


def cordoned(place: Place, node: str) -> bool:
    return bool(place.api.get("nodes", "", node)["spec"].get("unschedulable"))


def on_both(manifest: Object) -> Object:
    """Its Pods rather on different nodes."""
    for job in manifest["spec"]["replicatedJobs"]:
        template = job["template"]["spec"]["template"]
        template["spec"] = template["spec"] | apart(manifest["metadata"]["name"])
    return manifest


def assert_moved(before: Picture, after: Picture, result: dict[str, Any], node: str) -> None:
    """The Pods that were on the node are new and elsewhere, the others are the same with new containers; and the
    result tells it so."""
    rows = {row["slot"]: row for row in result["slots"]}
    for slot, was in before.pods.items():
        now = after.pods[slot]
        assert now.ready, slot
        if was.node == node:
            assert (now.uid != was.uid, now.node != node) == (True, True), slot
            assert (rows[slot]["outcome"], rows[slot]["previousNode"], rows[slot]["node"]) == (
                "recreated",
                node,
                now.node,
            )
        else:
            assert (now.uid, now.node) == (was.uid, was.node), slot
            fresh = {name: c.id != was.containers[name].id for name, c in now.containers.items()}
            assert all(fresh.values()), (slot, fresh)
            assert rows[slot]["outcome"] == "restarted"


def test_native_waits_for_the_new_pods_in_one_attempt(place: Place, jsr: Jsr, left: str) -> None:
    place.grant("agent")
    place.create(on_both(native("train")))
    before = place.settled("train")
    lost = {slot for slot, pod in before.pods.items() if pod.node == left}
    assert 0 < len(lost) < len(before.pods)
    refused = jsr.restart("train", "--in-place", "--replace-node", left).exited(3)
    assert "add --cordon" in refused.stderr
    assert_nothing_changed(before, place.settled("train"))
    result = jsr.restart("train", "--in-place", "--replace-node", left, "--cordon").exited(0).document
    after = place.settled("train")
    assert_moved(before, after, result, left)
    assert (result["trigger"], result["cordoned"], rounds_between(before, after)) == ("native", [left], 1)
    assert result["writes"] == 2 + len(lost)
    assert cordoned(place, left)
    status = jsr.status("train")["operation"]
    assert {row["slot"] for row in status["replaced"]} == lost
    assert status["cordoned"] == [left]


def test_image_restarts_the_others_and_counts_only_what_was_deleted(place: Place, jsr: Jsr, left: str) -> None:
    place.create(on_both(jobset("train", replicated_job("workers", pods=3, backoff_limit=6))))
    before = place.settled("train")
    lost = [slot for slot, pod in before.pods.items() if pod.node == left]
    dry = jsr.restart("train", "--in-place", "--replace-node", left, "--cordon", "--dry-run=server").exited(0).document
    first = dry["actions"][0]
    assert (first["verb"], first["path"]) == ("patch", f"/api/v1/nodes/{left}")
    assert [a["verb"] for a in dry["actions"]].count("delete") == len(lost)
    assert not cordoned(place, left)
    result = jsr.restart("train", "--in-place", "--replace-node", left, "--cordon").exited(0).document
    after = place.settled("train")
    assert_moved(before, after, result, left)
    assert sum(job.failed for job in after.jobs.values()) == len(lost)


def test_killed_while_a_new_pod_is_awaited_and_carried_on(place: Place, jsr: Jsr, left: str) -> None:
    place.grant("agent")
    place.create(on_both(native("train")))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place", "--replace-node", left, "--cordon")
    record = place.until_claimed("train")
    place.until_pods("train", lambda pods: not all(map(ready, pods)), "the restart to have begun")
    running.kill()
    killed = time.monotonic()
    while time.monotonic() < killed + LEASE_SECONDS + 1:  # nothing but time ends the claim of a dead client
        time.sleep(1)
    result = jsr.restart("train", "--resume", record["id"], "--cordon").exited(0).document
    after = place.settled("train")
    assert_moved(before, after, result, left)
    assert result["cordoned"] == [left]


def test_a_dead_machine_is_declared_out_of_service(
    place: Place, cluster: Cluster, jsr: Jsr, two_nodes: tuple[str, str]
) -> None:
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.create(pair("train", "TerminatingOrFailed", backoff_limit=6))
    before = place.settled("train")
    gone = two_nodes[1]
    (lost,) = lost_slots(before, gone, two_nodes)
    alive = jsr.restart("train", "--in-place", "--node-down", gone, "--taint", "--allow", "JSR405").exited(3)
    assert "JSR414" in alive.stderr
    with dead(cluster, place, gone, "train"):
        result = jsr.restart("train", "--in-place", "--node-down", gone, "--taint").exited(0).document
        taints = place.api.get("nodes", "", gone)["spec"]["taints"]
        assert any(each["key"] == OUT_OF_SERVICE["key"] for each in taints)
        assert len(taints) > 1, "those that were there are kept"
        after = place.settled("train")
    assert (result["tainted"], result["outcomes"]) == ([gone], {"recreated": 1, "restarted": 1})
    assert after.pods[lost].node != gone
