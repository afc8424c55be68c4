"""Recreating Pods: by suspend, by their Jobs, one by one; and what is refused because it would cost the Job."""

from __future__ import annotations

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, exits, jobset, replicated_job
from tests.e2e.picture import (
    assert_nothing_changed,
    assert_nothing_counted,
    assert_recreated,
    assert_restarted_in_place,
    assert_same_jobset,
    conditions,
)
from tests.e2e.place import Place


@pytest.mark.short
@pytest.mark.parametrize(("trigger", "same_jobs"), [("suspend", True), ("jobs", False)])
def test_whole_jobset_with_backoff_limit_0(place: Place, jsr: Jsr, trigger: str, same_jobs: bool) -> None:
    stubborn = container(command=IGNORES_TERM)
    place.create(
        jobset("train", replicated_job("driver", pods=1), replicated_job("workers", stubborn, jobs=2, grace=4))
    )
    before = place.settled("train")
    running = jsr.start_restart("train", "--recreate", "--via", trigger)
    record = place.until_claimed("train")
    during = jsr.status("train")
    assert (during["state"], during["operation"]["state"]) == ("Restarting", "running")
    assert (during["operation"]["id"], during["operation"]["trigger"]) == (record["id"], trigger)
    assert during["operation"]["strategy"] == "recreate"
    result = running.wait().exited(0).document
    assert (result["strategy"], result["trigger"], result["outcomes"]) == ("recreate", trigger, {"recreated": 5})
    assert result["writes"] == (2 if trigger == "suspend" else 3)
    after = place.settled("train")
    assert_recreated(before, after, same_jobs=same_jobs)
    assert jsr.status("train")["operation"]["state"] == "finished"


def test_part_of_a_jobset_by_its_jobs(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2, pods=1)))
    before = place.settled("train")
    result = jsr.restart("train", "--recreate", "--replicated-job", "workers", "--job-index", "1").exited(0).document
    assert result["trigger"] == "jobs"
    after = place.settled("train")
    assert after.pods["workers/1/0"].uid != before.pods["workers/1/0"].uid
    for slot in ("driver/0/0", "workers/0/0"):
        assert after.pods[slot] == before.pods[slot]
    assert_nothing_counted(before, after)


@pytest.mark.short
def test_pods_where_the_job_has_failures_to_spare(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=3, backoff_limit=6)))
    before = place.settled("train")
    pod = before.pods["workers/0/1"].name
    result = jsr.restart("train", "--recreate", "--via", "pods", "--pod", pod).exited(0).document
    assert (result["trigger"], result["outcomes"]) == ("pods", {"recreated": 1, "unchanged": 2})
    after = place.settled("train")
    assert after.pods["workers/0/1"].uid != before.pods["workers/0/1"].uid
    for slot in ("workers/0/0", "workers/0/2"):
        assert after.pods[slot] == before.pods[slot]
    assert after.jobset == before.jobset
    (job,) = after.jobs.values()
    assert (job.uid, job.failed) == (before.jobs["train-workers-0"].uid, 1)
    assert not job.conditions & {"Failed", "FailureTarget"}


@pytest.mark.short
def test_pods_that_a_quota_does_not_let_come_back_are_told_of_in_the_words_of_their_job(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=2)))
    place.settled("train")
    place.api.create("resourcequotas", place.namespace, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    ended = jsr.restart("train", "--recreate", "--via", "suspend", "--timeout", "20s").exited(124)
    reasons = [slot["reason"] for slot in ended.document["slots"] if slot["outcome"] != "recreated"]
    assert reasons
    for reason in reasons:
        assert reason.startswith("FailedCreate: ")
        assert "exceeded quota: q" in reason
    assert "exceeded quota: q" in ended.document["reason"]


def test_pods_refused_where_one_deletion_fails_the_job(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    ended = jsr.restart("train", "--recreate", "--via", "pods").exited(3)
    assert "JSR202" in ended.stderr
    assert "train-workers-0" in ended.stderr
    assert_nothing_changed(before, place.picture("train"))


def test_in_place_refused_where_the_restarts_would_fail_the_job(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=3, restart_policy="OnFailure", backoff_limit=3)))
    before = place.settled("train")
    ended = jsr.restart("train", "--in-place").exited(3)
    assert "JSR201" in ended.stderr
    assert_nothing_changed(before, place.picture("train"))
    assert jsr.status("train")["ready"] == 3
    chosen = jsr.restart("train").exited(0).document
    assert chosen["trigger"] == "suspend", "without --in-place there is a way that costs nothing"
    assert_recreated(before, place.settled("train"), same_jobs=True)


@pytest.mark.short
def test_last_restart_the_job_can_bear(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=3, restart_policy="OnFailure", backoff_limit=4)))
    before = place.settled("train")
    jsr.restart("train", "--in-place").exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    assert "JSR201" in jsr.restart("train", "--in-place").exited(3).stderr
    assert_nothing_changed(after, place.picture("train"))


def test_finished_jobset_is_refused(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=exits(0, after=1)), pods=1)))
    place.until_jobset("train", lambda found: "Completed" in conditions(found), "the end of the JobSet")
    ended = jsr.restart("train")
    assert ended.code in (3, 5), str(ended)
    assert "JSR101" in ended.stderr
    assert jsr.status("train")["state"] == "Completed"


def test_jobset_suspended_by_somebody_is_refused(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", suspend=True))
    place.until_jobset("train", lambda _: True, "the JobSet")
    ended = jsr.restart("train", "--recreate").exited(3)
    assert "JSR102" in ended.stderr
    assert place.jobset("train")["spec"]["suspend"] is True
    assert jsr.status("train")["state"] == "Suspended"
