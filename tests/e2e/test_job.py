"""A plain Job: in place, recreated, in part, by two people, and by clients that die."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, exits, job
from tests.e2e.picture import conditions
from tests.e2e.place import Place
from tests.e2e.plain import JOB_NAME, PlainJob, assert_in_place, assert_new_pods, assert_same_job

LEASE_SECONDS = 30


@pytest.mark.short
def test_image_twice_in_a_row(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", pods=3, backoff_limit=0))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    for _ in (1, 2):
        result = jsr.restart("job/etl", "--in-place").exited(0).document
        assert (result["workloadKind"], result["workloadGroup"], result["jobset"]) == ("Job", "batch", "etl")
        assert (result["trigger"], result["outcomes"], result["writes"]) == ("image", {"restarted": 3}, 3)
        assert {slot["slot"] for slot in result["slots"]} == {"etl/0", "etl/1", "etl/2"}
        after = etl.settled()
        assert_in_place(before, after)
        assert after.failed is None
        before = after
    assert etl.record()["state"] == "finished"


@pytest.mark.short
def test_suspend_recreates_every_pod_and_counts_nothing(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", container(command=IGNORES_TERM), pods=3, backoff_limit=0, grace=4))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    running = jsr.start_restart("job/etl", "--recreate")
    record = etl.until_claimed()
    result = running.wait().exited(0).document
    assert (result["operation"], result["trigger"], result["writes"]) == (record["id"], "suspend", 2)
    assert result["outcomes"] == {"recreated": 3}
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)
    assert after.failed is None


def test_one_pod_where_the_job_has_failures_to_spare(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", pods=3, backoff_limit=6))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    result = jsr.restart("job/etl", "--recreate", "--job-index", "1").exited(0).document
    assert (result["trigger"], result["outcomes"]) == ("pods", {"recreated": 1, "unchanged": 2})
    after = etl.settled()
    assert_new_pods(before, after, [1])
    assert (after.uid, after.failed) == (before.uid, 1)


def test_pods_are_refused_where_one_deletion_fails_the_job(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", pods=2, backoff_limit=0))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    refused = jsr.restart("job/etl", "--recreate", "--job-index", "1").exited(3).stderr
    assert "JSR202" in refused
    assert "JobSet" not in refused
    assert etl.picture() == before


def test_in_place_is_refused_where_the_restarts_would_fail_the_job(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", pods=3, restart_policy="OnFailure", backoff_limit=3))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    assert "JSR201" in jsr.restart("job/etl", "--in-place").exited(3).stderr
    assert etl.picture() == before
    assert jsr.restart("job/etl").exited(0).document["trigger"] == "suspend"
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)


def test_part_of_a_job(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", pods=3))
    etl = PlainJob(place, "etl")
    first = etl.settled()
    jsr.restart("job/etl", "--in-place", "--job-index", "2").exited(0)
    second = etl.settled()
    assert_in_place(first, second, [2])
    jsr.restart("job/etl", "--in-place", "-l", "batch.kubernetes.io/job-completion-index in (0,1)").exited(0)
    third = etl.settled()
    assert_in_place(second, third, [0, 1])
    assert "JSR106" in jsr.restart("job/etl", "--in-place", "--job-index", "3").exited(3).stderr
    assert etl.picture() == third


@pytest.mark.parametrize("via", ["native", "jobs"])
def test_what_a_job_does_not_offer_is_refused_with_what_it_does(place: Place, jsr: Jsr, via: str) -> None:
    place.create(job("etl"))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    refused = jsr.restart("job/etl", "--via", via, "--allow", "JSR313").exited(3).stderr
    assert f"JSR313 blocker: {via} is not for a Job" in refused
    assert "use --via image, signal, force, suspend or pods" in refused
    assert etl.picture() == before


def test_finished_and_suspended_jobs_are_refused(place: Place, jsr: Jsr) -> None:
    place.create(job("done", container(command=exits(0, after=1)), pods=1))
    suspended = job("later")
    suspended["spec"]["suspend"] = True
    place.create(suspended)
    PlainJob(place, "done").until(lambda found: "Complete" in conditions(found), "the end of the Job")
    assert "JSR101" in jsr.restart("job/done").exited(3).stderr
    assert "JSR102" in jsr.restart("job/later").exited(3).stderr
    assert PlainJob(place, "later").get()["spec"]["suspend"] is True
    missing = jsr.restart("job/doen").exited(1).stderr
    assert "Job doen not found" in missing
    assert "did you mean done?" in missing


def test_waves_go_on_after_a_restart(place: Place, jsr: Jsr) -> None:
    """Two at once of four indexes: the later ones have their turn when the first are done."""
    more = {"completions": 4}
    place.create(job("etl", container(command=exits(0, after=12)), pods=2, backoff_limit=0, job=more))
    etl = PlainJob(place, "etl")
    etl.settled()
    result = jsr.restart("job/etl", "--in-place").exited(0).document
    assert {slot["slot"] for slot in result["slots"]} == {"etl/0", "etl/1"}
    done = etl.until(lambda found: "Complete" in conditions(found), "the end of the Job")
    assert (done["status"]["completedIndexes"], done["status"].get("failed")) == ("0-3", None)


@pytest.mark.short
def test_status_and_wait(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", container(command=IGNORES_TERM), pods=2, grace=5))
    etl = PlainJob(place, "etl")
    etl.settled()
    status = jsr.status("job/etl")
    assert (status["workloadKind"], status["name"], status["state"]) == ("Job", "etl", "Running")
    assert (status["ready"], status["expected"], status["advice"]["trigger"]) == (2, 2, "image")
    running = jsr.start_restart("job/etl", "--recreate")
    record = etl.until_claimed()
    during = jsr.status("job/etl")
    assert (during["state"], during["operation"]["id"]) == ("Restarting", record["id"])
    waited = jsr.run("wait", "job/etl", "-o", "json", "--timeout", "60s").exited(0).document
    assert (waited["state"], waited["ready"]) == ("Running", 2)
    running.wait().exited(0)
    listed = jsr.run("status", "-o", "json").exited(0).document["items"]
    assert [(each["workloadKind"], each["name"], each["ready"]) for each in listed] == [("Job", "etl", 2)]
    assert jsr.run("status", "job/etl", "-o", "name").exited(0).stdout.strip() == "job.batch/etl"


# ---------------------------------------------------------------- two people, and clients that die


def test_second_restart_while_one_runs(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", container(command=IGNORES_TERM), grace=8))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    first = jsr.start_restart("job/etl", "--recreate")
    record = etl.until_claimed()
    second = jsr.restart("job/etl", "--in-place").exited(6).stderr
    assert record["id"] in second
    assert "jsr status job/etl" in second
    assert first.wait().exited(0).document["operation"] == record["id"]
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)


def test_in_place_carried_on_after_the_client_was_killed(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", container(command=IGNORES_TERM), pods=3, grace=6))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    running = jsr.start_restart("job/etl", "--in-place")
    record = etl.until_claimed()
    etl.until_pods(
        lambda pods: any(record["id"] in str(pod["metadata"].get("annotations")) for pod in pods), "the first mark"
    )
    running.kill()
    held = jsr.restart("job/etl", "--resume", record["id"]).exited(6).stderr
    assert "lapses" in held
    carried_on = _after_the_lease(jsr, "job/etl", "--resume", record["id"])
    assert carried_on["operation"] == record["id"]
    assert_in_place(before, etl.settled())


def test_next_restart_resumes_what_a_killed_client_left_suspended(place: Place, jsr: Jsr) -> None:
    place.create(job("etl", container(command=IGNORES_TERM), grace=6))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    running = jsr.start_restart("job/etl", "--recreate")
    etl.until(lambda found: found["spec"].get("suspend") is True, "the suspend")
    running.kill()
    assert etl.record()["phase"] == "suspending"
    result = _after_the_lease(jsr, "job/etl")
    assert result["reason"].startswith("finished operation")
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)


def _after_the_lease(jsr: Jsr, *args: str) -> dict[str, Any]:
    """What the restart answers once the claim of the dead client has lapsed. Only its age tells."""
    end = time.monotonic() + 3 * LEASE_SECONDS
    while (ended := jsr.restart(*args)).code == 6 and time.monotonic() < end:
        time.sleep(2)
    return ended.exited(0).document


def test_the_record_and_the_event_are_on_the_job(place: Place, jsr: Jsr) -> None:
    place.create(job("etl"))
    etl = PlainJob(place, "etl")
    etl.settled()
    operation = jsr.restart("job/etl").exited(0).document["operation"]
    assert etl.record()["id"] == operation
    events = place.api.list("events", place.namespace)["items"]
    (told,) = [event for event in events if event["reason"] == "Restarted"]
    assert (told["involvedObject"]["kind"], told["involvedObject"]["name"]) == ("Job", "etl")
    selector = f"{JOB_NAME}=etl"
    assert place.api.list("pods", place.namespace, selector)["items"]
