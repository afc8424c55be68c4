"""Any Pods, chosen by a label that those of a plain Job and of a JobSet carry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobset_restart.claim import LEASE_SECONDS
from jobset_restart.workloads.pods import lease_name
from tests.e2e.api import Answer, Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, job, jobset, replicated_job
from tests.e2e.picture import OPERATION, ready
from tests.e2e.place import Place
from tests.e2e.plain import PlainJob

SELECTOR = "mixed=yes"
PODS = ("pods", "-l", SELECTOR)
LEASES = "/apis/coordination.k8s.io/v1"


def two_kinds(place: Place, command: list[str] | None = None, grace: int = 2) -> dict[str, Object]:
    """Two Pods of Job etl and two of JobSet train, which carry one label, and a third of the Job's namespace that does
    not; the four, once they are Ready."""
    train = jobset("train", replicated_job("workers", container(command=command), grace=grace))
    etl = job("etl", container(command=command), pods=2, grace=grace)
    other = job("other", container())
    labels = {"metadata": {"labels": {"mixed": "yes"}}}
    train["spec"]["replicatedJobs"][0]["template"]["spec"]["template"].update(labels)
    etl["spec"]["template"].update(labels)
    place.create(train, etl, other)
    PlainJob(place, "other").settled()
    PlainJob(place, "etl").settled()
    place.settled("train")
    return pods(place)


def pods(place: Place) -> dict[str, Object]:
    return place.api.until(
        "pods",
        place.namespace,
        lambda found: len(found) == 4 and all(map(ready, found.values())),
        within=90,
        what="four Ready Pods",
        selector=SELECTOR,
    )


def seen(found: dict[str, Object]) -> dict[str, tuple[str, int]]:
    """UID and restartCount of each."""
    return {
        name: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for name, pod in found.items()
    }


def restarted(before: dict[str, Object]) -> dict[str, tuple[str, int]]:
    return {name: (uid, count + 1) for name, (uid, count) in seen(before).items()}


def record(place: Place, selector: str = SELECTOR) -> dict[str, Any]:
    """What the Lease of the selection says, {} where there is none."""
    try:
        path = f"{LEASES}/namespaces/{place.namespace}/leases/{lease_name(selector)}"
        lease = place.api.request("GET", path)
    except Answer as answer:
        if answer.status == 404:
            return {}
        raise
    assert lease["metadata"]["annotations"]["jobset-restart.io/selector"] == selector
    found: dict[str, Any] = json.loads(lease["metadata"]["annotations"][OPERATION])
    return found


def until_marked(place: Place, reached: Callable[[int], bool]) -> str:
    """Waits until so many of the Pods carry the mark of the operation that holds the Lease; its id."""
    operation: list[str] = []

    def enough(found: dict[str, Object]) -> bool:
        operation[:] = [record(place).get("id", "")]
        marked = [pod for pod in found.values() if operation[0] and operation[0] in str(pod["metadata"])]
        return reached(len(marked))

    place.api.until("pods", place.namespace, enough, within=60, what="marks on the Pods", selector=SELECTOR)
    return operation[0]


def test_pods_of_two_kinds_at_once(place: Place, jsr: Jsr) -> None:
    before = two_kinds(place)
    result = jsr.restart(*PODS, "--in-place").exited(0).document
    assert (result["workloadKind"], result["trigger"], result["outcomes"]) == ("Pod", "image", {"restarted": 4})
    assert sorted(slot["slot"] for slot in result["slots"]) == sorted(before)
    assert seen(pods(place)) == restarted(before)
    assert PlainJob(place, "etl").settled().failed is None
    assert place.jobset("train")["status"].get("restarts", 0) == 0
    (other,) = {count for _, count in seen(_others(place)).values()}
    assert other == 0
    assert (record(place)["id"], record(place)["state"]) == (result["operation"], "finished")


def _others(place: Place) -> dict[str, Object]:
    found = place.api.list("pods", place.namespace, "mixed!=yes")["items"]
    return {pod["metadata"]["name"]: pod for pod in found}


def test_a_part_of_them_and_a_dry_run_that_leaves_no_lease(place: Place, jsr: Jsr) -> None:
    before = two_kinds(place)
    jsr.run("restart", *PODS, "--in-place", "--dry-run=server").exited(0)
    assert record(place) == {}
    one = min(before)
    result = jsr.restart("pod", "-l", SELECTOR, "--pod", one).exited(0).document
    assert result["outcomes"] == {"restarted": 1, "unchanged": 3}
    after = seen(pods(place))
    assert {name for name in after if after[name] != seen(before)[name]} == {one}


def test_two_clients_at_once_and_the_owner_s_own_restart(place: Place, jsr: Jsr) -> None:
    two_kinds(place, IGNORES_TERM, grace=8)
    running = jsr.start_restart(*PODS, "--in-place")
    until_marked(place, lambda marked: marked == 4)
    assert "is being restarted by" in jsr.restart(*PODS, "--in-place").exited(6).stderr
    overlapping = jsr.restart("pods", "-l", f"{SELECTOR},batch.kubernetes.io/job-name=etl", "--in-place").exited(3)
    assert "JSR523" in overlapping.stderr
    running.wait().exited(0)
    whole = jsr.start_restart("job/etl", "--in-place")
    PlainJob(place, "etl").until_claimed()
    refused = jsr.restart(*PODS, "--in-place").exited(3)
    assert "JSR523" in refused.stderr
    assert "Job etl is being restarted by" in refused.stderr
    whole.wait().exited(0)


def test_carried_on_after_the_client_was_killed(place: Place, jsr: Jsr) -> None:
    before = two_kinds(place, IGNORES_TERM, grace=6)
    running = jsr.start_restart(*PODS, "--in-place")
    operation = until_marked(place, lambda marked: marked > 0)
    running.kill()
    end = time.monotonic() + 3 * LEASE_SECONDS
    while (ended := jsr.restart(*PODS, "--resume", operation)).code == 6 and time.monotonic() < end:
        time.sleep(2)
    assert ended.exited(0).document["operation"] == operation
    assert seen(pods(place)) == restarted(before)


def test_what_is_refused_in_words(place: Place, jsr: Jsr) -> None:
    before = two_kinds(place)
    assert "JSR313" in jsr.restart(*PODS, "--recreate").exited(3).stderr
    assert "JSR104" in jsr.restart("pods", "-l", "mixed=no", "--in-place").exited(3).stderr
    assert "selector" in jsr.restart("pods", "-l", "mixed in", "--in-place").exited(2).stderr
    assert "-l" in jsr.restart("pods", "--in-place").exited(2).stderr
    jsr.restart("pods", "-l", "", "--in-place").exited(2)
    assert seen(pods(place)) == seen(before)
    assert record(place) == {}


def test_status_by_labels(place: Place, jsr: Jsr) -> None:
    before = two_kinds(place)
    jsr.restart(*PODS, "--in-place").exited(0)
    shown = jsr.run("status", *PODS, "-o", "json").exited(0).document
    assert (shown["workloadKind"], shown["name"], shown["ready"], shown["expected"]) == ("Pod", SELECTOR, 4, 4)
    assert shown["containerRestarts"] == 4
    assert shown["operation"]["id"] == record(place)["id"]
    table = jsr.run("status", *PODS).exited(0).stdout
    assert all(name in table for name in before)


@pytest.fixture
def group(place: Place) -> None:
    """A LeaderWorkerSet of one group of two, with the default restartPolicy."""
    template = {"metadata": {"labels": {"mixed": "yes"}}, "spec": {"containers": [container()]}}
    body = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "serving"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }
    try:
        path = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{place.namespace}/leaderworkersets"
        place.api.request("POST", path, body)
    except Answer as answer:
        if answer.status == 404:
            pytest.skip("the cluster serves no LeaderWorkerSets")
        raise


@pytest.mark.usefixtures("group")
def test_what_an_owner_would_make_anew_is_refused(place: Place, jsr: Jsr) -> None:
    found = place.api.until(
        "pods",
        place.namespace,
        lambda found: len(found) == 2 and all(map(ready, found.values())),
        within=90,
        what="two Ready Pods",
        selector=SELECTOR,
    )
    refused = jsr.restart(*PODS, "--in-place").exited(3).stderr
    assert "JSR522" in refused
    assert "jsr restart lws/serving" in refused
    assert {count for _, count in seen(found).values()} == {0}
