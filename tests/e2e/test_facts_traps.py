"""The traps: what looks harmless and costs the Job, the JobSet or minutes."""

from __future__ import annotations

import contextlib
from datetime import datetime

import pytest

from tests.e2e.api import Answer, Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import (
    Exec,
    Seen,
    condition,
    has_condition,
    last_exit,
    patch_images,
    pin_images,
    references,
    state,
    until_event,
    until_restarted,
)
from tests.e2e.manifests import container, jobset, replicated_job
from tests.e2e.picture import assert_restarted_in_place, ready
from tests.e2e.place import Place

JOB = "train-workers-0"


def job_failed(found: dict[str, Object]) -> bool:
    return JOB in found and has_condition(found[JOB], "Failed")


def test_backoff_limit_sums_the_restarts_of_all_pods(place: Place) -> None:
    """3 Pods restarted in place twice are 6 restarts: backoffLimit 6 fails the Job, and every Pod goes."""
    place.create(jobset("train", replicated_job(pods=3, restart_policy="OnFailure", backoff_limit=6), max_restarts=0))
    before = place.settled("train")
    for pod in place.pods("train"):
        pin_images(place, pod)
    until_restarted(place, pods=3)
    once = place.settled("train")
    assert_restarted_in_place(before, once)
    assert not once.jobs[JOB].conditions, "3 are fewer than 6"

    for pod in place.pods("train"):
        with contextlib.suppress(Answer):  # the last one may be gone by now
            patch_images(place, pod["metadata"]["name"], {"worker": references(pod)[1]})
    jobs = place.api.until("jobs", place.namespace, job_failed, within=60, what="the end of the Job")
    assert condition(jobs[JOB], "Failed")["reason"] == "BackoffLimitExceeded"
    place.until_pods("train", lambda pods: not pods, "the end of every Pod")


def test_any_restart_is_too_many_for_backoff_limit_0(place: Place) -> None:
    """Restarts fail the Job once they reach the limit, so with 0 the first one does."""
    place.create(jobset("train", replicated_job(pods=2, restart_policy="OnFailure"), max_restarts=0))
    place.settled("train")
    pin_images(place, place.pods("train")[0])
    jobs = place.api.until("jobs", place.namespace, job_failed, within=60, what="the end of the Job")
    assert condition(jobs[JOB], "Failed")["reason"] == "BackoffLimitExceeded"
    place.until_pods("train", lambda pods: not pods, "the end of every Pod")


def test_one_deleted_pod_fails_a_job_with_backoff_limit_0(place: Place) -> None:
    """The Job fails, its other Pods go too, and the JobSet's failure policy starts everything again: one restart that
    counts."""
    place.create(jobset("train", replicated_job(pods=3)))
    before = place.settled("train")
    seen = Seen(lambda: place.api.delete("pods", place.namespace, before.pods["workers/0/1"].name))
    old = before.jobs[JOB].uid
    place.api.until(
        "jobs",
        place.namespace,
        lambda jobs: seen.until(lambda _: JOB in jobs and jobs[JOB]["metadata"]["uid"] != old)([*jobs.values()]),
        within=60,
        what="another Job",
    )
    reasons = {condition(each, "Failed").get("reason") for each in seen.of(old)} - {None}
    assert reasons == {"BackoffLimitExceeded"}
    place.until_jobset("train", lambda found: found["status"].get("restarts") == 1, "the JobSet's restart")
    after = place.settled("train")
    assert (after.jobset.restarts, after.jobset.towards_max) == (1, 1)
    assert not {pod.uid for pod in after.pods.values()} & {pod.uid for pod in before.pods.values()}
    assert {pod["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] for pod in place.pods("train")} == {"1"}


def test_pods_of_a_deleted_job_pass_through_failed(place: Place) -> None:
    """They end like Pods that failed, and neither the new Job nor the JobSet counts it."""
    place.create(jobset("train", replicated_job(pods=2)))
    before = place.settled("train")
    seen = Seen(lambda: place.api.delete("jobs", place.namespace, JOB, propagationPolicy="Foreground"))
    old = {pod.uid for pod in before.pods.values()}

    def replaced(pods: list[Object]) -> bool:
        return len(pods) == 2 and all(ready(pod) and pod["metadata"]["uid"] not in old for pod in pods)

    place.until_pods("train", seen.until(replaced), "two new Pods")
    for uid in old:
        assert "Failed" in {each["status"]["phase"] for each in seen.of(uid)}
    after = place.settled("train")
    assert (after.jobset.restarts, after.jobs[JOB].failed) == (0, 0)


def test_second_exit_waits_10_seconds_and_the_third_20(place: Place, cluster: Cluster) -> None:
    """The first exit restarts at once; for 10 minutes after that there is a back-off, and it doubles. It is over when
    the kubelet next looks, which may be half as long again."""
    run = Exec(cluster, place)
    job = replicated_job("workers", container(), pods=1, restart_policy="OnFailure", backoff_limit=9)
    place.create(jobset("train", job))
    name = place.settled("train").pods["workers/0/0"].name
    waited = []
    for times in (1, 2, 3):
        run(name, "sh", "-c", "kill -TERM 1")
        (pod,) = until_restarted(place, pods=1, times=times).values()
        started, finished = state(pod)["running"]["startedAt"], last_exit(pod)["finishedAt"]
        waited.append((datetime.fromisoformat(started) - datetime.fromisoformat(finished)).total_seconds())
        assert last_exit(pod)["exitCode"] == 143
    assert waited[0] < 5
    assert 9 <= waited[1] < 19
    assert 19 <= waited[2] < 39


def test_restart_policy_always_is_refused(place: Place) -> None:
    """A Job does not take it; a JobSet with it is taken, and its Job never comes."""
    body = replicated_job(pods=1, restart_policy="Always")["template"] | {"metadata": {"name": "always"}}
    with pytest.raises(Answer) as refused:
        place.api.create("jobs", place.namespace, body)
    assert refused.value.status == 422
    assert r"spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"" in str(
        refused.value
    )
    place.create(jobset("train", replicated_job(pods=1, restart_policy="Always")))
    event = until_event(place, "train", lambda event: event["reason"] == "JobCreationFailed")
    assert event["type"] == "Warning"
    assert 'valid values: "OnFailure", "Never"' in event["message"]
    assert place.api.list("jobs", place.namespace)["items"] == []
