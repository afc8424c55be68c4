"""What a restart does by itself for slots that do not come back."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.picture import assert_nothing_counted, assert_restarted_in_place, assert_same_jobset
from tests.e2e.place import Place
from tests.e2e.test_facts_dead_node import dead, lost_slots, pair

WAITS_FOR_ITS_CHILD = ["sh", "-c", "trap '' TERM; sleep 100000; exit 3"]
GRACE = 300


def test_a_worker_that_ignores_term_is_back_long_before_its_grace_period(place: Place, jsr: Jsr) -> None:
    worker = container(command=WAITS_FOR_ITS_CHILD)
    place.create(jobset("train", replicated_job("workers", worker, pods=2, grace=GRACE)))
    before = place.settled("train")
    result = jsr.restart("train", "--in-place", "--escalate", "force").exited(0).document
    assert [(each["rung"], each["trigger"]) for each in result["rounds"]] == [("", "image"), ("force", "force")]
    assert {row["slot"]: row["rung"] for row in result["slots"]} == {"workers/0/0": "force", "workers/0/1": "force"}
    assert result["seconds"] < GRACE / 2
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    assert_nothing_counted(before, after)
    assert jsr.status("train")["operation"]["rung"] == "force"


def test_what_would_cost_too_much_is_skipped_and_said(place: Place, jsr: Jsr) -> None:
    """PID 1 that only sleeps cannot be ended from inside, and the Job cannot spare a Pod."""
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), pods=1, grace=40)))
    before = place.settled("train")
    how = ("--in-place", "--escalate", "pod", "--step-timeout", "5s", "--timeout", "20s")
    ended = jsr.restart("train", *how).exited(124)
    passed = {each["rung"]: each["reason"] for each in ended.document["passed"]}
    assert "JSR314" in passed["force"]
    assert "JSR202" in passed["pod"]
    assert "--escalate pod is skipped" in ended.stderr
    after = place.picture("train")
    assert after.pods["workers/0/0"].uid == before.pods["workers/0/0"].uid
    assert_nothing_counted(before, after)


@pytest.mark.real_fault
def test_a_node_that_dies_in_the_middle(place: Place, jsr: Jsr, cluster: Cluster, two_nodes: tuple[str, str]) -> None:
    """The result names it, and the command that goes on; that finishes. Nothing is done to its Pods before it was said
    that the machine is off."""
    place.create(pair("train", "Failed", backoff_limit=6))
    before = place.settled("train")
    node = two_nodes[1]
    (lost,) = lost_slots(before, node, two_nodes)
    (kept,) = before.pods.keys() - {lost}
    running = jsr.start_restart(
        "train", "--in-place", "--escalate", "pod", "--timeout", "5m", "--min-ready-seconds", "60"
    )
    place.until_claimed("train")
    with dead(cluster, place, node, "train"):
        ended = running.wait(within=240).exited(4)
        assert node in ended.document["reason"]
        assert "--node-down" in ended.document["reason"]
        assert place.picture("train").pods[lost].uid == before.pods[lost].uid
        follow = shlex.split(ended.document["follow"])[2:]
        on = jsr.run("restart", *follow, "--node-down", node, "--yes", "-o", "json", namespaced=False, within=240)
        assert on.exited(0).document["outcomes"].get("recreated") == 1
        after = place.picture("train")
        assert after.pods[kept].uid == before.pods[kept].uid
        assert after.pods[lost].uid != before.pods[lost].uid
