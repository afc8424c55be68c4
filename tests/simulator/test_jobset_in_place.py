"""The JobSet controller: restarts in place, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.simulator.store import Obj, StoreError
from tests.simulator.jobset_stage import PREFIX, Cluster, in_place, policy, replicated_job


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_barrier_lifts_when_all_pods_have_the_same_attempt(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(2, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 0
    assert "previousInPlaceRestartAttempt" not in cluster.state()


def test_one_pod_ahead_outdates_the_others(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(2, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    cluster.annotate([1, 0, 0])
    assert cluster.state()["previousInPlaceRestartAttempt"] == 0
    assert cluster.state()["currentInPlaceRestartAttempt"] == 0
    cluster.annotate([1, 1, 1])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 1
    assert cluster.state()["restarts"] == 0
    assert not cluster.conditions()
    assert not cluster.told(), "nothing tells of an in-place restart"


def test_previous_attempt_never_goes_back(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(9, "InPlaceRestart"))
    cluster.annotate([4, 0, 0])
    assert cluster.state()["previousInPlaceRestartAttempt"] == 3
    cluster.annotate([2, 0, 0])
    assert cluster.state()["previousInPlaceRestartAttempt"] == 3


def test_failed_pod_does_not_count_and_its_successor_has_to_come(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(9, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    pod = cluster.pods_of()[0]
    cluster.store.update("pods", {**pod, "status": {"phase": "Failed"}}, cluster.now, subresource="status")
    cluster.annotate([1, 1, 1])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 0, "two Pods of three"
    cluster.run(11.0)
    cluster.annotate([1, 1, 1, 1])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 1


@pytest.mark.parametrize(("attempt", "failed"), [(2, False), (3, True)])
def test_too_many_attempts_fail_the_jobset(cluster: Cluster, attempt: int, failed: bool) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(2, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    cluster.annotate([attempt, 0, 0])
    assert ("Failed" in cluster.conditions()) is failed


def test_too_many_restarts_of_one_container_fail_the_jobset(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(2, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    cluster.ready(restarts=2)
    assert not cluster.conditions()
    cluster.ready(restarts=3)
    (failed,) = cluster.state()["conditions"]
    assert (failed["type"], failed["reason"]) == ("Failed", "ReachedMaxRestarts")
    assert failed["message"] == "jobset failed due to reaching max number of restarts"
    assert all("deletionTimestamp" in job["metadata"] for job in cluster.jobs().values())


def test_attempt_that_is_no_number_stops_the_controller_until_it_is_mended(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(2, "InPlaceRestart"))
    cluster.annotate([0, 0, "x"])
    cluster.run(1.0)
    assert "currentInPlaceRestartAttempt" not in cluster.state()
    cluster.annotate([0, 0, 0])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 0


def test_previous_attempt_written_by_a_client_stays(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(9, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    jobset = cluster.jobset()
    status = jobset["status"] | {"previousInPlaceRestartAttempt": 0}
    cluster.store.update("jobsets", {**jobset, "status": status}, cluster.now, subresource="status")
    cluster.run()
    assert cluster.state()["previousInPlaceRestartAttempt"] == 0
    cluster.annotate([1, 1, 1])
    assert cluster.state()["currentInPlaceRestartAttempt"] == 1


def test_pod_whose_label_changes_leaves_the_jobset(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(9, "InPlaceRestart"))
    cluster.annotate([0, 0, 7])
    assert cluster.state()["previousInPlaceRestartAttempt"] == 6
    pod = cluster.pods_of()[2]
    labels = pod["metadata"]["labels"] | {f"{PREFIX}jobset-name": "other"}
    cluster.store.update("pods", {**pod, "metadata": pod["metadata"] | {"labels": labels}}, cluster.now)
    cluster.run()
    cluster.annotate([10, 0, 20])
    assert "Failed" in cluster.conditions(), "by its own Pods only"
    assert cluster.state()["previousInPlaceRestartAttempt"] == 6


# Cost


def test_changes_that_alter_no_fact_wake_nobody(cluster: Cluster) -> None:
    cluster.create("train", in_place(), failurePolicy=policy(9, "InPlaceRestart"))
    cluster.annotate([0, 0, 0])
    before = cluster.controller.looks, cluster.jobset()["metadata"]["resourceVersion"]
    for pod in cluster.pods_of():
        status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": []}
        cluster.store.update("pods", {**pod, "status": status}, cluster.now, subresource="status")
    cluster.run()
    assert (cluster.controller.looks, cluster.jobset()["metadata"]["resourceVersion"]) == before


def test_status_is_written_only_when_it_changes(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), failurePolicy=policy())
    cluster.ready()
    version = cluster.jobset()["metadata"]["resourceVersion"]
    cluster.controller.reconcile(cluster.store, ("default", "train"), cluster.now)
    assert cluster.jobset()["metadata"]["resourceVersion"] == version


def test_service_that_cannot_be_made_is_told_in_an_event(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    create = cluster.store.create

    def refuse(resource: str, *args: Any, **more: Any) -> Obj:
        if resource == "services":
            raise StoreError(403, "Forbidden", "quota exceeded")
        return create(resource, *args, **more)

    monkeypatch.setattr(cluster.store, "create", refuse)
    cluster.create("train", replicated_job())
    assert not cluster.jobs()
    assert cluster.told() == [("Warning", "HeadlessServiceCreationFailed")]
