"""Which Pods a restart means: later waves of a Job, Pods that a Job keeps, containers that completed, and strangers."""

from __future__ import annotations

import pytest

from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.facts import restarts, state
from tests.e2e.manifests import container, exits, jobset, replicated_job
from tests.e2e.picture import COMPLETION_INDEX, assert_nothing_counted, conditions, ready
from tests.e2e.place import Place


def indexes(pods: list[Object]) -> set[str]:
    """The completion indexes whose Pods are Ready."""
    return {pod["metadata"]["labels"][COMPLETION_INDEX] for pod in pods if ready(pod)}


@pytest.mark.short
def test_a_job_in_its_second_wave_is_not_restarted_to_death(place: Place, jsr: Jsr) -> None:
    trial = container(command=exits(0, after=20))
    place.create(
        jobset(
            "sweep", replicated_job("trial", trial, restart_policy="OnFailure", backoff_limit=2, job={"completions": 4})
        )
    )
    place.until_pods("sweep", lambda pods: indexes(pods) == {"2", "3"}, "the second wave")
    ended = jsr.restart("sweep", "--in-place").exited(3)
    assert "JSR201" in ended.stderr
    result = jsr.restart("sweep", "--recreate").exited(0).document
    outcomes = {slot["slot"]: slot["outcome"] for slot in result["slots"]}
    assert {outcomes["trial/0/2"], outcomes["trial/0/3"]} == {"recreated"}
    place.until_jobset("sweep", lambda found: "Completed" in conditions(found), "the JobSet to complete")


def test_a_failed_pod_that_its_job_keeps_holds_nothing_up(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(backoff_limit=6)))
    before = place.settled("train")
    allowed = ("--via", "signal", "--pod", before.pods["workers/0/0"].name, "--allow", "JSR204")
    result = jsr.restart("train", *allowed).exited(0).document
    assert result["outcomes"] == {"recreated": 1, "unchanged": 1}
    kept = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in place.pods("train")}
    assert kept[before.pods["workers/0/0"].name] == "Failed"
    assert len(kept) == 3
    status = jsr.status("train")
    assert (status["state"], status["ready"], status["expected"]) == ("Running", 2, 2)
    result = jsr.restart("train", "--recreate", "--via", "suspend").exited(0).document
    assert result["outcomes"] == {"recreated": 2}
    jsr.run("wait", "train", "--timeout", "60s").exited(0)


@pytest.mark.short
def test_a_pod_whose_other_container_has_completed_is_judged_by_the_restarted_one(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(), container("notify", exits(0, after=1)))))
    place.until_pods(
        "train",
        lambda pods: len(pods) == 2 and all("terminated" in state(pod, "notify") for pod in pods),
        "the second container to complete",
    )
    result = jsr.restart("train", "-c", "worker").exited(0).document
    assert result["outcomes"] == {"restarted": 2}
    assert all("notify had ended before" in slot["reason"] for slot in result["slots"])
    assert all(restarts(pod)["worker"] == 1 for pod in place.pods("train"))


@pytest.mark.short
def test_somebody_s_pod_with_the_jobset_s_labels_is_left_alone(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    labels = place.pods("train")[0]["metadata"]["labels"]
    borrowed = {key: value for key, value in labels.items() if "jobset" in key or key == COMPLETION_INDEX}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container()]}
    place.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forged", "labels": borrowed}, "spec": spec})
    place.until_pods("train", lambda pods: len(pods) == 3 and all(map(ready, pods)), "the forged Pod to be Ready")
    assert jsr.status("train")["ready"] == 2
    found = jsr.restart("train", "--via", "image", "--dry-run=client").exited(0).document
    assert [(f["id"], f["objects"]) for f in found["findings"]] == [("JSR111", ["Pod forged"])]
    for option, outcome in (("image", "restarted"), ("suspend", "recreated")):
        result = jsr.restart("train", "--via", option, "--timeout", "60s").exited(0).document
        assert result["outcomes"] == {outcome: 2}
        assert "forged" not in {slot["pod"] for slot in result["slots"]}
        (forged,) = (pod for pod in place.pods("train") if pod["metadata"]["name"] == "forged")
        assert restarts(forged) == {"worker": 0}
        assert "deletionTimestamp" not in forged["metadata"]
    assert_nothing_counted(before, place.picture("train"))
