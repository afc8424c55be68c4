"""Parts that go away: the connection, a node, the API server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from tests.e2e import kubeconfigs
from tests.e2e.api import Answer, Object
from tests.e2e.cluster import Cluster
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, native, replicated_job
from tests.e2e.picture import (
    OPERATION,
    assert_nothing_counted,
    assert_recreated,
    assert_restarted_in_place,
    assert_same_jobset,
    assert_untouched,
    ready,
    slot_of,
)
from tests.e2e.place import Place
from tests.e2e.relay import Relay

STUBBORN = container(command=IGNORES_TERM)


def suspended(found: Object) -> bool:
    return found["spec"].get("suspend") is True


# ---------------------------------------------------------------- the connection


@pytest.mark.parametrize("how", ["--in-place", "--recreate"])
def test_connection_lost_in_the_middle(place: Place, jsr: Jsr, tmp_path: Path, how: str) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=5)))
    before = place.settled("train")
    with Relay(kubeconfigs.server(jsr.kubeconfig)) as relay:
        away = Jsr(kubeconfigs.through(tmp_path, jsr.kubeconfig, relay.port), place.namespace, tmp_path)
        running = away.start_restart("train", how)
        record = place.until_claimed("train")
        if how == "--in-place":
            place.until_pods("train", lambda pods: all(_marked(pod, record["id"]) for pod in pods), "the marks")
        else:
            place.until_jobset("train", suspended, "the suspend")
        relay.cut()
        time.sleep(7)  # the Pods stop and, in place, start again while nobody sees it
        assert not running.over
        relay.mend()
        ended = running.wait().exited(0)
    assert "away" in ended.stderr
    after = place.settled("train")
    if how == "--in-place":
        assert_restarted_in_place(before, after)
    else:
        assert_recreated(before, after, same_jobs=True)


def _marked(pod: Object, operation: str) -> bool:
    return operation in pod["metadata"].get("annotations", {}).get(OPERATION, "")


def test_connection_lost_for_good_while_suspended(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """The client can do nothing more; the record on the JobSet tells the next one what to do."""
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=3)))
    before = place.settled("train")
    with Relay(kubeconfigs.server(jsr.kubeconfig)) as relay:
        away = Jsr(kubeconfigs.through(tmp_path, jsr.kubeconfig, relay.port), place.namespace, tmp_path)
        running = away.start_restart("train", "--recreate", "--timeout", "6s")
        place.until_jobset("train", suspended, "the suspend")
        relay.cut()
        ended = running.wait(150)
    assert ended.code in (1, 124), str(ended)
    assert "suspended" in ended.stderr
    record = place.record("train")
    assert record["phase"] == "suspending"
    jsr.restart("train", "--resume", record["id"]).exited(0)
    assert_recreated(before, place.settled("train"), same_jobs=True)


# ---------------------------------------------------------------- a node


@pytest.mark.real_fault
def test_dead_node(place: Place, jsr: Jsr, cluster: Cluster, two_nodes: tuple[str, str]) -> None:
    """What status says, what is refused, and the way out that costs nothing."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.create(jobset("train", replicated_job(pods=4, pod=_apart("train"))))
    before = place.settled("train")
    assert {pod.node for pod in before.pods.values()} == set(two_nodes)
    dead = two_nodes[1]
    lost = {slot for slot, pod in before.pods.items() if pod.node == dead}
    try:
        cluster.command("JSR_TEST_BREAK_NODE", dead)
        place.until_pods("train", lambda pods: _ready(pods) == {*before.pods} - lost, "the Pods there to be unready")
        status = jsr.status("train")
        assert (status["ready"], status["state"]) == (4 - len(lost), "Degraded")
        assert {(row["slot"], row["node"], row["state"]) for row in status["notReady"]} == {
            (slot, dead, "node down") for slot in lost
        }
        assert all(c["ready"] for pod in _on(place, dead) for c in pod["status"]["containerStatuses"])
        now = place.picture("train")
        refused = jsr.restart("train", "--in-place").exited(3)
        assert "JSR401" in refused.stderr
        assert f"--node-down {dead}" in refused.stderr
        healthy = next(node for node in two_nodes if node != dead)
        assert "JSR405" in jsr.restart("train", "--recreate", "--node-down", healthy).exited(3).stderr
        assert_same_jobset(now, place.picture("train"))
        assert_untouched(now, place.picture("train"))
        assert OPERATION not in place.jobset("train")["metadata"].get("annotations", {})
        result = jsr.restart("train", "--recreate", "--node-down", dead, within=180).exited(0).document
        assert (result["trigger"], result["outcomes"]) == ("suspend", {"recreated": 4})
        after = place.picture("train")
        assert {pod.node for pod in after.pods.values()} == {healthy}
        assert_recreated(before, after, same_jobs=True)
    finally:
        _mend(cluster, place, dead)
    assert_recreated(before, place.settled("train"), same_jobs=True)


@pytest.mark.real_fault
def test_native_with_a_dead_node(place: Place, jsr: Jsr, cluster: Cluster, two_nodes: tuple[str, str]) -> None:
    """The Pods there are given up, the others restart in place."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.grant("agent")
    manifest = native("train", workers=3)
    for replicated in manifest["spec"]["replicatedJobs"]:
        replicated["template"]["spec"]["template"]["spec"].update(_apart("train"))
    place.create(manifest)
    before = place.settled("train")
    assert {pod.node for pod in before.pods.values()} == set(two_nodes)
    dead = next(node for node in two_nodes if node != before.pods["driver/0/0"].node)
    lost = {slot for slot, pod in before.pods.items() if pod.node == dead}
    try:
        cluster.command("JSR_TEST_BREAK_NODE", dead)
        place.until_pods("train", lambda pods: _ready(pods) == {*before.pods} - lost, "the Pods there to be unready")
        assert "JSR401" in jsr.restart("train", "--in-place").exited(3).stderr
        jsr.restart("train", "--in-place", "--node-down", dead, within=240).exited(0)
        after = place.settled("train")
        assert after.jobset.restarts == 0
        for slot, pod in after.pods.items():
            assert pod.ready, slot
            assert pod.node != dead, slot
            assert (pod.uid != before.pods[slot].uid) == (slot in lost), slot
    finally:
        _mend(cluster, place, dead)


def _apart(name: str) -> Object:
    """Rather on another node than the other Pods."""
    selector = {"matchLabels": {"jobset.sigs.k8s.io/jobset-name": name}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    wish = {"weight": 100, "podAffinityTerm": term}
    return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def _ready(pods: list[Object]) -> set[str]:
    return {slot_of(pod) for pod in pods if ready(pod)}


def _on(place: Place, node: str) -> list[Object]:
    return [pod for pod in place.pods("train") if pod["spec"].get("nodeName") == node]


def _mend(cluster: Cluster, place: Place, node: str) -> None:
    cluster.command("JSR_TEST_MEND_NODE", node)
    place.until_usable(node, within=90)
    place.until_pods(
        "train",
        lambda pods: all("deletionTimestamp" not in pod["metadata"] for pod in pods),
        "the end of the Pods that were given up",
        within=120,
    )


# ---------------------------------------------------------------- the API server


@pytest.mark.real_fault
@pytest.mark.parametrize("how", ["--in-place", "--recreate"])
def test_api_server_gone_for_10_seconds(place: Place, jsr: Jsr, cluster: Cluster, how: str) -> None:
    cluster.needs("JSR_TEST_STOP_APISERVER", "JSR_TEST_START_APISERVER")
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=6)))
    before = place.settled("train")
    running = jsr.start_restart("train", how)
    record = place.until_claimed("train")
    if how == "--in-place":
        place.until_pods("train", lambda pods: all(_marked(pod, record["id"]) for pod in pods), "the marks")
    else:
        place.until_jobset("train", suspended, "the suspend")
    try:
        cluster.command("JSR_TEST_STOP_APISERVER")
        time.sleep(10)  # this long it is gone
        assert not running.over
    finally:
        cluster.command("JSR_TEST_START_APISERVER")
        _answering(place)
    ended = running.wait(180).exited(0)
    assert "away" in ended.stderr
    after = place.settled("train", within=180)
    if how == "--in-place":
        assert_restarted_in_place(before, after)
    else:
        assert_recreated(before, after, same_jobs=True)
    assert_nothing_counted(before, after)


def _answering(place: Place) -> None:
    """Waits until the API server answers; there is nothing to watch while it does not."""
    end = time.monotonic() + 60
    while True:
        try:
            place.jobset("train")
        except (Answer, HTTPError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return
