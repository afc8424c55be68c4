"""LeaderWorkerSets. The embedded cluster does not play them: these run on a real cluster that has their controller."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from jobset_restart.claim import LEASE_SECONDS
from tests.e2e.api import Answer, Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import container, jobset
from tests.e2e.picture import OPERATION, ready
from tests.e2e.place import Place

COLLECTION = "/apis/leaderworkerset.x-k8s.io/v1"
SELECTOR = "leaderworkerset.sigs.k8s.io/name=serving"


@pytest.fixture
def serving(place: Place, request: pytest.FixtureRequest) -> str:
    """The restartPolicy of a LeaderWorkerSet of two groups of three, all Ready."""
    policy: str = request.param
    create(place, policy)
    return policy


def create(place: Place, policy: str, **spec: str) -> None:
    """Two groups of three, all Ready. Skips where the cluster serves none."""
    template = {"spec": {"terminationGracePeriodSeconds": 5, "containers": [container()]}}
    body = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "serving"},
        "spec": {
            "replicas": 2,
            "leaderWorkerTemplate": {"size": 3, "restartPolicy": policy, "workerTemplate": template},
            **spec,
        },
    }
    try:
        place.api.request("POST", f"{COLLECTION}/namespaces/{place.namespace}/leaderworkersets", body)
    except Answer as answer:
        if answer.status == 404:
            pytest.skip("the cluster serves no LeaderWorkerSets")
        raise
    pods(place)


def pods(place: Place) -> dict[str, Object]:
    """The six Pods, once they are all Ready."""
    return place.api.until(
        "pods",
        place.namespace,
        lambda found: len(found) == 6 and all(map(ready, found.values())),
        within=120,
        what="six Ready Pods",
        selector=SELECTOR,
    )


def uids(found: dict[str, Object]) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in found.items()}


def restarts(found: dict[str, Object]) -> dict[str, int]:
    return {name: pod["status"]["containerStatuses"][0]["restartCount"] for name, pod in found.items()}


@pytest.mark.parametrize("serving", ["None"], indirect=True)
def test_one_worker_one_group_and_all_in_place(place: Place, jsr: Jsr, serving: str) -> None:
    before = pods(place)
    for number, options in enumerate((["--pod", "serving-0-1"], ["--job-index", "1"], [])):
        result = jsr.restart("lws/serving", "--in-place", *options).exited(0).document
        assert (result["workloadKind"], result["trigger"]) == ("LeaderWorkerSet", "image")
        assert result["outcomes"].get("restarted") == (1, 3, 6)[number]
    after = pods(place)
    assert uids(after) == uids(before)
    assert restarts(after) == {name: 1 + (name == "serving-0-1" or name.startswith("serving-1")) for name in after}


@pytest.mark.parametrize("serving", ["RecreateGroupOnPodRestart"], indirect=True)
def test_the_default_policy_refuses_in_place_and_recreates_each_group_once(
    place: Place, jsr: Jsr, serving: str
) -> None:
    before = pods(place)
    refused = jsr.restart("lws/serving", "--in-place").exited(3)
    assert "JSR508" in refused.stderr
    assert (uids(pods(place)), sum(restarts(pods(place)).values())) == (uids(before), 0)
    one = jsr.restart("lws/serving", "--recreate", "--job-index", "1").exited(0).document
    assert (one["trigger"], one["writes"], one["outcomes"]) == ("group", 1, {"recreated": 3, "unchanged": 3})
    middle = pods(place)
    changed = {name for name in middle if uids(middle)[name] != uids(before)[name]}
    assert changed == {"serving-1", "serving-1-1", "serving-1-2"}
    both = jsr.restart("lws/serving").exited(0).document
    assert (both["trigger"], both["writes"], both["outcomes"]) == ("group", 2, {"recreated": 6})
    after = pods(place)
    assert not set(uids(after).values()) & set(uids(middle).values())
    assert uids(after) == {slot["pod"]: uids(after)[slot["pod"]] for slot in both["slots"]}


@pytest.mark.parametrize("serving", ["RecreateGroupOnPodRestart"], indirect=True)
def test_a_rollout_is_judged_by_every_pod(place: Place, jsr: Jsr, serving: str) -> None:
    before = pods(place)
    result = jsr.restart("lws/serving", "--recreate", "--via", "rollout").exited(0).document
    assert (result["writes"], result["outcomes"]) == (1, {"recreated": 6})
    found = place.api.list("pods", place.namespace, SELECTOR)["items"]
    assert all(map(ready, found))
    assert not {pod["metadata"]["uid"] for pod in found} & set(uids(before).values())


@pytest.mark.parametrize("serving", ["RecreateGroupOnPodRestart"], indirect=True)
def test_two_clients_and_a_client_that_is_killed(place: Place, jsr: Jsr, serving: str) -> None:
    running = jsr.start_restart("lws/serving", "--recreate")
    claimed = until_record(place, bool)
    jsr.restart("lws/serving", "--recreate").exited(6)
    running.kill()
    until_record(place, lambda record: time.time() - heartbeat(record) > LEASE_SECONDS)
    result = jsr.restart("lws/serving", "--resume", claimed["id"]).exited(0).document
    assert result["operation"] == claimed["id"]
    assert set(result["outcomes"]) == {"recreated"}


def until_record(place: Place, reached: Callable[[Object], bool]) -> Object:
    """The record on the LeaderWorkerSet, once it is as it should be."""
    path = f"{COLLECTION}/namespaces/{place.namespace}/leaderworkersets/serving"

    def record() -> Object:
        annotations = place.api.request("GET", path)["metadata"].get("annotations", {})
        found: Object = json.loads(annotations.get(OPERATION, "{}"))
        return found

    place.api.until("pods", place.namespace, lambda _: reached(record()), within=90, what="a record as it should be")
    return record()


def heartbeat(record: Object) -> float:
    return datetime.fromisoformat(record["heartbeat"]).timestamp()


@pytest.mark.parametrize("serving", ["None"], indirect=True)
def test_it_is_named_and_listed_as_any_workload(place: Place, jsr: Jsr, serving: str) -> None:
    place.create(jobset("train"))
    place.settled("train")
    _, header, *lines = jsr.run("status").exited(0).stdout.splitlines()
    assert header.split()[:3] == ["KIND", "NAME", "READY"]
    assert [line.split()[:4] for line in lines] == [
        ["LeaderWorkerSet", "serving", "6/6", "Running"],
        ["JobSet", "train", "2/2", "Running"],
    ]
    for kind in ("lws", "LeaderWorkerSets.leaderworkerset.x-k8s.io"):
        (alone,) = jsr.run("status", kind, "-o", "json").exited(0).document["items"]
        assert (alone["name"], alone["workloadKind"]) == ("serving", "LeaderWorkerSet")
    for words in (("lws/serving",), ("leaderworkerset", "serving")):
        waited = jsr.run("wait", *words, "-o", "json").exited(0).document
        assert (waited["workloadKind"], waited["ready"]) == ("LeaderWorkerSet", 6)
    assert "hint: there is a LeaderWorkerSet serving: write" in jsr.run("status", "serving").exited(1).stderr
    assert "hint: there is a JobSet train: write jobset/train" in jsr.run("wait", "lws/train").exited(1).stderr


def triggered(file: Path) -> list[str]:
    """The slots in the order in which they were triggered."""
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(event["slot"] for event in events if event["event"] == "triggered"))


def test_leaders_go_before_their_workers_where_it_starts_so(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    create(place, "None", startupPolicy="LeaderReady")
    file = tmp_path / "events.jsonl"
    ended = jsr.restart("lws/serving", "--in-place", "--events", str(file)).exited(0)
    assert ended.document["outcomes"] == {"restarted": 6}
    went = triggered(file)
    assert sorted(went[:2]) == ["serving/0/0", "serving/1/0"]
    assert len(went) == 6
    assert "step 2 of 2: the workers" in ended.stderr


@pytest.mark.parametrize("serving", ["RecreateGroupOnPodRestart"], indirect=True)
def test_one_group_at_a_time(place: Place, jsr: Jsr, serving: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    options = ("--via", "group", "--max-unavailable", "1", "--canary", "1", "--events", str(file))
    ended = jsr.restart("lws/serving", *options).exited(0)
    assert ended.document["outcomes"] == {"recreated": 6}
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    told = [(event["event"], event["slot"][:9]) for event in events if event["event"] in ("triggered", "ready")]
    assert told.index(("triggered", "serving/1")) > max(
        n for n, each in enumerate(told) if each == ("ready", "serving/0")
    )
