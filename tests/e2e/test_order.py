"""What is restarted first: ReplicatedJobs in the order the JobSet starts them, and one slot ahead of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import Manifest, container, jobset, replicated_job
from tests.e2e.picture import (
    assert_recreated,
    assert_restarted_in_place,
    assert_same_jobset,
    assert_untouched,
    conditions,
    usable,
)
from tests.e2e.place import Place

FOR_EVER = "while :; do sleep 1 & wait $!; done"
FOLDER = "/tmp/jsr-e2e-order"
MOUNTED: Manifest = {"volumeMounts": [{"name": "s", "mountPath": "/s"}]}


def with_broker(place: Place, **spec: Any) -> Manifest:
    """Workers that end with an error where their broker is not up: a file of a node is what it listens on."""
    up = f"/s/{place.namespace}"
    node = min(usable({node["metadata"]["name"]: node for node in place.api.list("nodes")["items"]}))
    pod = {"volumes": [{"name": "s", "hostPath": {"path": FOLDER, "type": "DirectoryOrCreate"}}]}
    broker = container(
        "broker",
        ["sh", "-c", f"rm -f {up}; trap 'rm -f {up}; exit 0' TERM; sleep 3; touch {up}; {FOR_EVER}"],
        readinessProbe={"exec": {"command": ["test", "-f", up]}, "periodSeconds": 1},
        **MOUNTED,
    )
    worker = container(
        "worker",
        ["sh", "-c", f"sleep 1; test -f {up} || exit 1; trap 'exit 0' TERM; touch /tmp/joined; {FOR_EVER}"],
        readinessProbe={"exec": {"command": ["test", "-f", "/tmp/joined"]}, "periodSeconds": 1},
        **MOUNTED,
    )
    return jobset(
        "train",
        replicated_job("broker", broker, pods=1, node=node, pod=pod),
        {**replicated_job("workers", worker, node=node, pod=pod), **spec.pop("workers", {})},
        max_restarts=0,
        **spec,
    )


@pytest.mark.parametrize(
    "order",
    [
        {"startupPolicy": {"startupPolicyOrder": "InOrder"}},
        {"workers": {"dependsOn": [{"name": "broker", "status": "Ready"}]}},
    ],
    ids=["in-order", "depends-on"],
)
def test_workers_that_need_their_broker(place: Place, jsr: Jsr, order: dict[str, Any]) -> None:
    place.create(with_broker(place, **order))
    before = place.settled("train")
    ended = jsr.restart("train").exited(0)
    assert (ended.document["trigger"], ended.document["outcomes"]) == ("image", {"restarted": 3})
    assert "step 2 of 2: workers" in ended.stderr
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    (up,) = (_ready_since(pod) for pod in place.pods("train") if "-broker-" in pod["metadata"]["name"])
    assert all(pod.containers["worker"].started >= up for slot, pod in after.pods.items() if slot.startswith("workers"))


def _ready_since(pod: Object) -> str:
    since: str = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return since


@pytest.mark.parametrize("via", ["jobs", "suspend"])
def test_new_pods_in_order(place: Place, jsr: Jsr, via: str) -> None:
    place.create(with_broker(place, startupPolicy={"startupPolicyOrder": "InOrder"}))
    before = place.settled("train")
    jsr.restart("train", "--via", via).exited(0)
    assert_recreated(before, place.settled("train"), same_jobs=via == "suspend")


def test_a_part_needs_no_order(place: Place, jsr: Jsr) -> None:
    place.create(with_broker(place, startupPolicy={"startupPolicyOrder": "InOrder"}))
    before = place.settled("train")
    jsr.restart("train", "--replicated-job", "workers").exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after, slots={"workers/0/0", "workers/0/1"})


def test_the_plan_tells_the_order(place: Place, jsr: Jsr) -> None:
    place.create(with_broker(place, startupPolicy={"startupPolicyOrder": "InOrder"}))
    place.settled("train")
    plan = jsr.run("restart", "train", "--dry-run=client", "-o", "json").exited(0).document
    assert "broker, then workers" in plan["reason"]
    assert "JSR506" in {finding["id"] for finding in plan["findings"]}


def once(**more: Any) -> Manifest:
    """A program that starts only once in a Pod's life."""
    command = ["sh", "-c", f"test -f /s/once && exit 1; touch /s/once; trap 'exit 0' TERM; {FOR_EVER}"]
    return container(command=command, **MOUNTED, **more)


ONCE: Manifest = {"volumes": [{"name": "s", "emptyDir": {}}]}


def test_a_step_that_does_not_come_back_leaves_the_next_alone(place: Place, jsr: Jsr) -> None:
    late = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 1}
    first = replicated_job("first", once(readinessProbe=late), pods=1, backoff_limit=6, pod=ONCE)
    order = {"startupPolicyOrder": "InOrder"}
    place.create(jobset("train", first, replicated_job("second"), startupPolicy=order))
    before = place.settled("train")
    result = jsr.restart("train", "--via", "image").exited(4).document
    assert result["outcomes"] == {"failed": 1, "unchanged": 2}
    assert "2 others were not touched" in result["reason"]
    assert {slot["reason"] for slot in result["slots"] if slot["outcome"] == "unchanged"} == {
        "not touched, for first/0/0 did not come back"
    }
    assert_untouched(before, place.picture("train"), ["second/0/0", "second/0/1"])


def test_one_goes_first_and_does_not_come_back(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", once(), pods=3, backoff_limit=6, pod=ONCE)))
    before = place.settled("train")
    result = jsr.restart("train", "--in-place", "--canary", "1").exited(4).document
    assert result["outcomes"] == {"failed": 1, "unchanged": 2}
    assert result["writes"] == 1
    assert_untouched(before, place.picture("train"), ["workers/0/1", "workers/0/2"])


def test_one_goes_first_and_the_others_follow(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", replicated_job("workers", pods=3)))
    before = place.settled("train")
    file = tmp_path / "events.jsonl"
    ended = jsr.restart("train", "--in-place", "--canary", "1", "--events", str(file)).exited(0)
    assert "workers/0/0 first" in ended.stderr
    assert_restarted_in_place(before, place.settled("train"))
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    told = [(e["event"], e["slot"]) for e in events if e["event"] in ("triggered", "ready")]
    assert told[:2] == [("triggered", "workers/0/0"), ("ready", "workers/0/0")]
    assert sorted(told[2:4]) == [("triggered", "workers/0/1"), ("triggered", "workers/0/2")]


def test_a_canary_is_no_use_where_all_go_at_once(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    assert "JSR507" in jsr.restart("train", "--via", "suspend", "--canary", "1").exited(3).stderr
    assert_untouched(before, place.picture("train"))


def test_a_broker_that_is_up_is_not_waited_for_by_its_condition_of_before(place: Place, jsr: Jsr) -> None:
    """The Pod is Ready until the kubelet has taken the change up: what counts is the new container."""
    slow = container(readinessProbe={"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "periodSeconds": 1})
    order = {"startupPolicyOrder": "InOrder"}
    place.create(jobset("train", replicated_job("a", slow, pods=1), replicated_job("b", pods=1), startupPolicy=order))
    place.settled("train")
    jsr.restart("train", "--in-place").exited(0)
    after = place.settled("train")
    (up,) = (_ready_since(pod) for pod in place.pods("train") if "-a-" in pod["metadata"]["name"])
    assert after.pods["b/0/0"].containers["worker"].started >= up
    assert all("Ready" in conditions(pod) for pod in place.pods("train"))
