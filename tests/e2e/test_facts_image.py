"""Facts of the image trigger: another reference to the image that runs makes the kubelet start a container again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.api import Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import (
    Exec,
    Seen,
    has_condition,
    last_exit,
    patch_images,
    pin_images,
    references,
    restarts,
    running,
    state,
    statuses,
    until_event,
    until_restarted,
    waiting,
)
from tests.e2e.manifests import IGNORES_TERM, container, exits, handles_term, jobset, replicated_job
from tests.e2e.picture import assert_restarted_in_place, assert_same_jobset, ready
from tests.e2e.place import Place

RESTART_ALL_UNLESS_0: dict[str, Any] = {
    "restartPolicy": "Never",
    "restartPolicyRules": [{"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}],
}


def test_one_patch_restarts_all_containers_of_a_pod_whatever_its_restart_policy(place: Place) -> None:
    """One PATCH names every container; policy Never comes back as OnFailure does, and no Job or JobSet counts it."""
    two = [container(), container("log")]
    never = replicated_job("never", *two, pods=1)
    on_failure = replicated_job("onfailure", *two, pods=1, restart_policy="OnFailure", backoff_limit=9)
    place.create(jobset("train", never, on_failure))
    before = place.settled("train")
    for pod in place.pods("train"):
        pin_images(place, pod)
    until_restarted(place, pods=2)
    until_restarted(place, pods=2, container="log")
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


def test_container_that_is_not_patched_goes_on(place: Place) -> None:
    """Only the container whose image was changed is killed."""
    place.create(jobset("train", replicated_job("workers", container(), container("log"), pods=1)))
    before = place.settled("train")
    (pod,) = place.pods("train")
    pin_images(place, pod, "worker")
    until_restarted(place, pods=1)
    assert_restarted_in_place(before, place.settled("train"), containers={"worker"})


def test_event_says_the_definition_changed(place: Place) -> None:
    """The kubelet's Event Killing tells the reason."""
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    (pod,) = place.pods("train")
    pin_images(place, pod)
    event = until_event(place, pod["metadata"]["name"], lambda event: event["reason"] == "Killing")
    assert event["message"] == "Container worker definition changed, will be restarted"
    assert event["type"] == "Normal"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{worker}"


def test_references_to_rotate_through(place: Place) -> None:
    """tag, tag@digest, digest alone, and tag@digest again: each differs from the last, so each restarts it."""
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    (pod,) = place.pods("train")
    image = statuses(pod)["worker"]["imageID"]
    tagged, untagged = references(pod)
    for times, reference in enumerate((tagged, untagged, tagged), start=1):
        patch_images(place, pod["metadata"]["name"], {"worker": reference})
        (again,) = until_restarted(place, pods=1, times=times).values()
        assert again["spec"]["containers"][0]["image"] == reference
        assert statuses(again)["worker"]["imageID"] == image


def test_tag_beside_a_digest_is_ignored(place: Place) -> None:
    """A tag no registry has, here as the id of an operation, runs the image of the digest."""
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    (pod,) = place.pods("train")
    untagged = references(pod)[1]
    repository, _, digest = untagged.partition("@")
    patch_images(place, pod["metadata"]["name"], {"worker": f"{repository}:op-7f3a9c@{digest}"})
    (again,) = until_restarted(place, pods=1).values()
    assert statuses(again)["worker"]["imageID"] == statuses(pod)["worker"]["imageID"]


def test_image_id_of_an_image_from_a_registry_has_its_digest(place: Place) -> None:
    """The digest to pin stands behind an @ in the container's status."""
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    (pod,) = place.pods("train")
    repository, at, digest = statuses(pod)["worker"]["imageID"].rpartition("@")
    assert at
    assert pod["spec"]["containers"][0]["image"].startswith(repository)
    assert digest.startswith("sha256:")


def test_same_reference_again_does_nothing(place: Place) -> None:
    """It is the change that counts: a PATCH that changes nothing writes nothing, and so restarts nothing."""
    place.create(jobset("train", replicated_job(pods=1)))
    before = place.settled("train")
    (pod,) = place.pods("train")
    name = pod["metadata"]["name"]
    patch_images(place, name, {"worker": pod["spec"]["containers"][0]["image"]})
    assert place.api.get("pods", place.namespace, name)["metadata"]["resourceVersion"] == before.versions[name]
    pin_images(place, pod)
    until_restarted(place, pods=1, times=1)


def test_grace_period_is_kept(place: Place) -> None:
    """Whoever handles TERM is back at once, whoever does not is killed when the grace period is over, and a preStop
    hook comes before TERM."""
    hook = container(lifecycle={"preStop": {"sleep": {"seconds": 3}}})
    place.create(
        jobset(
            "train",
            replicated_job("handles", container(), pods=1, grace=12),
            replicated_job("ignores", container(command=IGNORES_TERM), pods=1, grace=5),
            replicated_job("hook", hook, pods=1, grace=12),
        )
    )
    place.settled("train")
    pods = {pod["metadata"]["name"].split("-")[1]: pod for pod in place.pods("train")}
    taken: dict[str, float] = {}
    began = time.monotonic()
    for pod in pods.values():
        pin_images(place, pod)

    def look(found: list[Object]) -> bool:
        for pod in found:
            if restarts(pod)["worker"]:
                taken.setdefault(pod["metadata"]["name"].split("-")[1], time.monotonic() - began)
        return len(taken) == 3

    place.until_pods("train", look, "three restarts")
    after = {pod["metadata"]["name"].split("-")[1]: pod for pod in place.pods("train")}
    assert {name: last_exit(pod)["exitCode"] for name, pod in after.items()} == {
        "handles": 143,
        "ignores": 137,
        "hook": 143,
    }
    assert taken["handles"] < 4.5
    assert 4.8 < taken["ignores"] < 10
    assert 2.8 < taken["hook"] < 9


def test_it_clears_crash_loop_back_off(place: Place) -> None:
    """A container that is to wait for 10 s is started at once: the back-off goes by the container's spec."""
    loop = container(command=exits(1, after=1))
    place.create(jobset("train", replicated_job("workers", loop, pods=1, restart_policy="OnFailure", backoff_limit=99)))
    (pod,) = place.until_pods(
        "train",
        lambda pods: len(pods) == 1 and not running(pods[0]) and restarts(pods[0]).get("worker") == 1,
        "the second exit",
    )
    began = time.monotonic()
    pin_images(place, pod)
    place.until_pods("train", lambda pods: restarts(pods[0])["worker"] == 2, "the start that does not wait", within=30)
    assert time.monotonic() - began < 5


def test_no_second_restart_in_a_pod_with_restart_all_containers_rules(place: Place) -> None:
    """The exit code of the killed container would call for all containers to restart; it is not asked."""
    two = [container(**RESTART_ALL_UNLESS_0), container("log", **RESTART_ALL_UNLESS_0)]
    place.create(jobset("train", replicated_job("workers", *two, pods=1)))
    before = place.settled("train")
    (pod,) = place.pods("train")
    seen = Seen(lambda: pin_images(place, pod, "worker"))
    place.until_pods(
        "train", seen.until(lambda pods: running(pods[0]) and restarts(pods[0])["worker"] > 0), "a restart"
    )
    # The kubelet works off a Pod's changes one after another: what the first had led to is there with the second.
    seen_more = Seen(lambda: pin_images(place, pod, "log"))
    place.until_pods(
        "train", seen_more.until(lambda pods: running(pods[0], "log") and restarts(pods[0])["log"] > 0), "the other"
    )
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    assert not any(has_condition(each, "AllContainersRestarting") for each in (*seen.all, *seen_more.all))


def test_image_that_cannot_be_pulled_keeps_an_on_failure_container_down(place: Place) -> None:
    """The old one is killed before the new image is there; no count moves, and a good reference mends it."""
    place.create(jobset("train", replicated_job(pods=1, restart_policy="OnFailure", backoff_limit=9)))
    before = place.settled("train")
    (pod,) = place.pods("train")
    patch_images(place, pod["metadata"]["name"], {"worker": "registry.invalid/none:1"})
    (down,) = place.until_pods("train", lambda pods: waiting(pods[0]) == "ImagePullBackOff", "the back-off", within=60)
    assert not ready(down)
    assert down["status"]["phase"] == "Running"
    assert (last_exit(down)["exitCode"], restarts(down)["worker"]) == (143, 0)
    pin_images(place, pod)
    until_restarted(place, pods=1)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


@pytest.mark.parametrize(("code", "phase", "counted"), [(143, "Failed", "failed"), (0, "Succeeded", "succeeded")])
def test_image_that_cannot_be_pulled_ends_a_never_pod(place: Place, code: int, phase: str, counted: str) -> None:
    """With no container started in its place, the kill is the end of the container, and its exit code counts after all:
    the Pod fails, or even succeeds."""
    worker = container(command=handles_term(code))
    place.create(jobset("train", replicated_job("workers", worker, pods=1), max_restarts=0))
    place.settled("train")
    (pod,) = place.pods("train")
    patch_images(place, pod["metadata"]["name"], {"worker": "registry.invalid/none:1"})
    (ended,) = place.until_pods("train", lambda pods: pods[0]["status"]["phase"] != "Running", "its end", within=60)
    assert ended["status"]["phase"] == phase
    assert state(ended)["terminated"]["exitCode"] == code
    place.api.until(
        "jobs",
        place.namespace,
        lambda jobs: jobs["train-workers-0"]["status"].get(counted) == 1,
        within=20,
        what=counted,
    )


def test_restart_of_a_quick_container_may_never_show_it_down(place: Place) -> None:
    """Of several Pods some go from one running container to the next: only what was frozen before tells them apart."""
    place.create(jobset("train", replicated_job(pods=8)))
    before = place.settled("train")

    def begin() -> None:
        for pod in place.pods("train"):
            pin_images(place, pod)

    seen = Seen(begin)
    place.until_pods(
        "train", seen.until(lambda pods: all(running(p) and restarts(p)["worker"] == 1 for p in pods)), "8 restarts"
    )
    after = place.settled("train")
    quick = {
        slot for slot, pod in before.pods.items() if all(running(each) and ready(each) for each in seen.of(pod.uid))
    }
    assert quick
    assert_restarted_in_place(before, after)


def test_restart_count_counts_towards_the_backoff_limit_of_on_failure_pods(place: Place) -> None:
    """No exit failed here, yet the Job gives up when the restarts reach its limit."""
    place.create(jobset("train", replicated_job(pods=2, restart_policy="OnFailure", backoff_limit=2), max_restarts=0))
    place.settled("train")
    first, second = place.pods("train")
    pin_images(place, first)
    until_restarted(place, pods=1)
    (job,) = place.settled("train").jobs.values()
    assert not job.conditions
    pin_images(place, second)
    found = place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    assert found["status"]["terminalState"] == "Failed"


def test_early_exit_by_signal_shortens_the_grace_period(place: Place, cluster: Cluster) -> None:
    """Once the kubelet is at it, whatever ends the container will do: under policy Never exit code 7 fails nothing."""
    run = Exec(cluster, place)
    waits = container(command=["sh", "-c", "sleep 1000; exit 7"])
    place.create(jobset("train", replicated_job("workers", waits, pods=1, grace=15)))
    before = place.settled("train")
    (pod,) = place.pods("train")
    pin_images(place, pod)
    until_event(place, pod["metadata"]["name"], lambda event: event["reason"] == "Killing")
    run(pod["metadata"]["name"], "sh", "-c", "kill -9 -1")
    began = time.monotonic()
    (again,) = until_restarted(place, pods=1).values()
    assert time.monotonic() - began < 8
    assert last_exit(again)["exitCode"] == 7
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
