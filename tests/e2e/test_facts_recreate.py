"""Facts of recreating Pods: by suspend and resume, by deleting Jobs, by deleting Pods."""

from __future__ import annotations

from tests.e2e.api import Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import Exec, Seen, has_condition, leaving, suspend
from tests.e2e.manifests import IGNORES_TERM, container, handles_term, jobset, replicated_job
from tests.e2e.picture import assert_nothing_counted, assert_recreated, ready, slot_of
from tests.e2e.place import Place


def no_pods(pods: list[Object]) -> bool:
    return not pods


def test_suspend_and_resume_cost_nothing(place: Place) -> None:
    """Two writes recreate all Pods: Jobs keep their UIDs, and not even backoffLimit 0 minds."""
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2, pods=2)))
    before = place.settled("train")
    suspend(place, "train", True)
    place.until_pods("train", no_pods, "the end of the Pods")
    between = place.picture("train")
    assert {name: (job.uid, job.failed) for name, job in between.jobs.items()} == {
        name: (job.uid, 0) for name, job in before.jobs.items()
    }
    suspend(place, "train", False)
    after = place.settled("train")
    assert_recreated(before, after, same_jobs=True)
    assert (after.jobset.restarts, after.jobset.towards_max) == (0, 0)


def test_suspend_gives_pods_their_grace_period(place: Place) -> None:
    """A Pod that ignores TERM is there, Terminating, until its grace period is over, and shows the kill's exit code."""
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), pods=2, grace=4)))
    before = place.settled("train")
    seen = Seen(lambda: suspend(place, "train", True))
    place.until_pods("train", seen.until(no_pods), "the end of the Pods")
    for pod in before.pods.values():
        last = seen.of(pod.uid)[-1]
        assert last["metadata"]["deletionGracePeriodSeconds"] in (0, 4)
        codes = [
            status["state"].get("terminated", {}).get("exitCode") for status in last["status"]["containerStatuses"]
        ]
        assert codes == [137]


def test_resume_keeps_the_startup_order(place: Place) -> None:
    """In a JobSet that starts in order, no worker is created before the driver is ready, as at its start."""
    order = {"startupPolicyOrder": "InOrder"}
    parts = replicated_job("driver", pods=1), replicated_job("workers", pods=2)
    place.create(jobset("train", *parts, startupPolicy=order))
    before = place.settled("train")
    suspend(place, "train", True)
    place.until_pods("train", no_pods, "the end of the Pods")
    seen = Seen(lambda: suspend(place, "train", False))
    place.until_pods("train", seen.until(lambda pods: len(pods) == 3 and all(map(ready, pods))), "three Ready Pods")
    driver_ready = next(index for index, pod in enumerate(seen.all) if slot_of(pod) == "driver/0/0" and ready(pod))
    first_worker = next(index for index, pod in enumerate(seen.all) if slot_of(pod) != "driver/0/0")
    assert driver_ready < first_worker
    assert_recreated(before, place.settled("train"), same_jobs=True)


def test_resume_does_not_run_completed_indexes_again(place: Place, cluster: Cluster) -> None:
    """An index that is done stays done; only the other gets a new Pod."""
    run = Exec(cluster, place)
    place.create(jobset("train", replicated_job("workers", container(command=handles_term(0)), pods=2)))
    before = place.settled("train")
    run(before.pods["workers/0/0"].name, "sh", "-c", "kill -TERM 1")
    place.api.until(
        "jobs",
        place.namespace,
        lambda jobs: jobs["train-workers-0"]["status"].get("completedIndexes") == "0",
        within=30,
        what="index 0 to be done",
    )
    suspend(place, "train", True)
    place.until_pods("train", lambda pods: all(pod["status"]["phase"] == "Succeeded" for pod in pods), "no live Pod")
    seen = Seen(lambda: suspend(place, "train", False))
    pods = place.until_pods("train", seen.until(lambda pods: any(map(ready, pods))), "a Ready Pod")
    made = {pod["metadata"]["uid"]: slot_of(pod) for pod in seen.all} | {p["metadata"]["uid"]: slot_of(p) for p in pods}
    assert sorted(slot for uid, slot in made.items() if uid not in {p.uid for p in before.pods.values()}) == [
        "workers/0/1"
    ]
    job = place.api.get("jobs", place.namespace, "train-workers-0")
    assert (job["status"]["completedIndexes"], job["status"]["succeeded"]) == ("0", 1)
    assert job["status"].get("failed", 0) == 0


def test_deleted_jobs_come_back_and_nothing_counts(place: Place) -> None:
    """One foreground deletion per Job: the JobSet makes new ones, its restarts stay 0."""
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2, pods=2)))
    before = place.settled("train")
    for name in before.jobs:
        place.api.delete("jobs", place.namespace, name, propagationPolicy="Foreground")
    place.until_pods("train", lambda pods: not {p.uid for p in before.pods.values()} & uids(pods), "the old Pods' end")
    after = place.settled("train")
    assert_recreated(before, after, same_jobs=False)


def test_job_deleted_in_the_foreground_stays_until_its_pods_are_gone(place: Place) -> None:
    """The new Job has to wait for the name, so two Pods never hold one slot; other Jobs go on."""
    stubborn = container(command=IGNORES_TERM)
    place.create(
        jobset("train", replicated_job("driver", pods=1), replicated_job("workers", stubborn, pods=2, grace=4))
    )
    before = place.settled("train")

    def begin() -> None:
        place.api.delete("jobs", place.namespace, "train-workers-0", propagationPolicy="Foreground")
        job = place.api.get("jobs", place.namespace, "train-workers-0")
        assert leaving(job)
        assert "foregroundDeletion" in job["metadata"]["finalizers"]

    seen = Seen(begin)
    slots: list[list[str]] = []

    def done(pods: list[Object]) -> bool:
        slots.append(sorted(map(slot_of, pods)))
        new = [pod for pod in pods if pod["metadata"]["uid"] not in {p.uid for p in before.pods.values()}]
        return len(new) == 2 and all(map(ready, pods))

    place.until_pods("train", seen.until(done), "two new Pods")
    assert all(len(set(each)) == len(each) for each in slots)
    after = place.settled("train")
    assert after.pods["driver/0/0"] == before.pods["driver/0/0"]
    assert_nothing_counted(before, after)


def test_deleted_pods_count_as_a_failure_each(place: Place) -> None:
    """The Job replaces them and counts them; the JobSet does not notice."""
    place.create(jobset("train", replicated_job(pods=3, backoff_limit=6)))
    before = place.settled("train")
    for slot in ("workers/0/0", "workers/0/2"):
        place.api.delete("pods", place.namespace, before.pods[slot].name)
    place.until_pods(
        "train",
        lambda pods: (
            len({p.uid for p in before.pods.values()} & uids(pods)) == 1 and sum(map(ready, pods)) == len(pods) == 3
        ),
        "two new Pods",
    )
    after = place.settled("train")
    (job,) = after.jobs.values()
    assert (job.uid, job.failed) == (before.jobs["train-workers-0"].uid, 2)
    assert not job.conditions
    assert after.pods["workers/0/1"] == before.pods["workers/0/1"]
    assert after.jobset == before.jobset


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_suspended_condition_comes_and_goes(place: Place) -> None:
    """JobSet and Jobs say Suspended between the two writes, and no longer after them."""
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    suspend(place, "train", True)
    place.until_jobset("train", lambda found: has_condition(found, "Suspended"), "the condition")
    place.until_pods("train", no_pods, "the end of the Pods")
    job = place.api.get("jobs", place.namespace, "train-workers-0")
    assert job["spec"]["suspend"] is True
    assert has_condition(job, "Suspended")
    suspend(place, "train", False)
    place.until_jobset("train", lambda found: not has_condition(found, "Suspended"), "the condition's end")
    after = place.settled("train")
    assert "Suspended" not in after.jobs["train-workers-0"].conditions
