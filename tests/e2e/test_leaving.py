"""Leaving early, in good order or not: Ctrl-C, SIGKILL, the deadline, a JobSet that goes away or fails."""

from __future__ import annotations

import time

import pytest

from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, native, replicated_job
from tests.e2e.picture import (
    OPERATION,
    assert_recreated,
    assert_restarted_in_place,
    assert_same_jobset,
    rounds_between,
)
from tests.e2e.place import Place

STUBBORN = container(command=IGNORES_TERM)
LEASE_SECONDS = 30


def marked(pods: list[Object], operation: str) -> bool:
    return all(operation in pod["metadata"].get("annotations", {}).get(OPERATION, "") for pod in pods)


def suspended(found: Object) -> bool:
    return found["spec"].get("suspend") is True


@pytest.mark.short
def test_ctrl_c_in_the_middle_and_on_again(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, jobs=2, grace=10)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    place.until_pods("train", lambda pods: marked(pods, record["id"]), "the mark on every Pod")
    running.interrupt()
    ended = running.wait().exited(130)
    where = f"-n {place.namespace} --context {ended.document['context']}"
    assert ended.document["follow"] == f"jsr restart train {where} --resume {record['id']}"
    assert ended.stderr.splitlines()[-1].endswith(ended.document["follow"])
    assert place.record("train")["state"] == "detached"
    assert jsr.status("train")["operation"]["state"] == "detached"
    carried_on = jsr.restart("train", "--resume", record["id"]).exited(0).document
    assert carried_on["operation"] == record["id"]
    assert carried_on["writes"] == 0, "everything had been triggered"
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    assert place.record("train")["state"] == "finished"


def test_part_left_alone_and_carried_on_when_its_pod_has_gone(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=3, backoff_limit=6)))
    before = place.settled("train")
    old = before.pods["workers/0/1"]
    jsr.restart("train", "--via", "pods", "--pod", old.name, "--no-wait").exited(0)
    record = place.record("train")
    place.until_pods("train", lambda pods: old.name not in {pod["metadata"]["name"] for pod in pods}, "the Pod to go")
    carried_on = jsr.restart("train", "--resume", record["id"]).exited(0).document
    assert (carried_on["writes"], carried_on["outcomes"]) == (0, {"recreated": 1})
    after = place.picture("train")
    assert after.pods["workers/0/1"].ready
    assert after.pods["workers/0/1"].uid != old.uid
    for slot in ("workers/0/0", "workers/0/2"):
        assert after.pods[slot] == before.pods[slot]


def test_ctrl_c_before_everything_is_triggered(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=6)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place", "--concurrency", "1")
    record = place.until_claimed("train")
    running.interrupt()
    ended = running.wait()
    assert ended.code in (0, 130), str(ended)
    if ended.code == 130:
        jsr.restart("train", "--resume", record["id"]).exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


def test_ctrl_c_during_a_native_restart(place: Place, jsr: Jsr) -> None:
    place.grant("agent")
    place.create(native("train"))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    running.interrupt()
    ended = running.wait()
    assert ended.code in (0, 130), str(ended)
    if ended.code == 130:
        jsr.restart("train", "--resume", record["id"]).exited(0)
    place.until_jobset(
        "train", lambda found: found["status"].get("currentInPlaceRestartAttempt", 0) >= 1, "the first attempt"
    )
    after = place.settled("train")
    assert_restarted_in_place(before, after, rounds=rounds_between(before, after))
    assert after.jobset.restarts == 0


def test_ctrl_c_while_suspended_leaves_nothing_suspended(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=8)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--recreate", "--via", "suspend")
    jobset_then = place.until_jobset("train", suspended, "the suspend")
    assert '"suspending"' in jobset_then["metadata"]["annotations"][OPERATION], "never suspended without the record"
    running.interrupt()
    ended = running.wait().exited(130)
    assert not suspended(place.jobset("train"))
    record = place.record("train")
    assert f"--resume {record['id']}" in ended.stderr
    jsr.restart("train", "--resume", record["id"]).exited(0)
    assert_recreated(before, place.settled("train"), same_jobs=True)


def test_killed_between_suspend_and_resume(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=8)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--recreate", "--via", "suspend")
    place.until_jobset("train", suspended, "the suspend")
    running.kill()
    killed = time.monotonic()
    record = place.record("train")
    assert (record.get("state", "running"), record["phase"]) == ("running", "suspending")
    too_early = jsr.restart("train", "--recreate").exited(6)
    assert record["id"] in too_early.stderr
    assert "lapses" in too_early.stderr
    assert suspended(place.jobset("train"))
    while time.monotonic() < killed + LEASE_SECONDS + 1:  # nothing but time ends the claim of a dead client
        time.sleep(1)
    status = jsr.status("train")
    assert (status["operation"]["id"], status["operation"]["state"]) == (record["id"], "lapsed")
    ended = jsr.restart("train", "--in-place").exited(0)
    assert "JSR108" in ended.stderr
    assert record["id"] in ended.stderr
    assert_recreated(before, place.settled("train"), same_jobs=True)


def test_killed_while_triggering_and_resumed_by_another(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=6)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    place.until_pods("train", lambda pods: marked(pods, record["id"]), "the mark on every Pod")
    running.kill()
    killed = time.monotonic()
    while time.monotonic() < killed + LEASE_SECONDS + 1:  # nothing but time ends the claim of a dead client
        time.sleep(1)
    carried_on = jsr.restart("train", "--resume", record["id"]).exited(0).document
    assert carried_on["writes"] == 0
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


def test_deadline(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=10)))
    before = place.settled("train")
    ended = jsr.restart("train", "--in-place", "--timeout", "2s").exited(124)
    assert ended.document["outcomes"] == {"timed out": 2}
    assert "workers/0/0" in ended.stderr
    record = place.record("train")
    jsr.restart("train", "--resume", record["id"], "--timeout", "1m").exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


def test_deadline_while_suspended_leaves_nothing_suspended(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=8)))
    before = place.settled("train")
    jsr.restart("train", "--recreate", "--via", "suspend", "--timeout", "2s").exited(124)
    assert not suspended(place.jobset("train"))
    place.until_pods(
        "train",
        lambda pods: not {pod["metadata"]["uid"] for pod in pods} & {pod.uid for pod in before.pods.values()},
        "the end of the old Pods",
    )
    assert_recreated(before, place.settled("train"), same_jobs=True)


def test_jobset_deleted_in_mid_restart(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=5)))
    place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    place.until_claimed("train")
    place.api.delete("jobsets", place.namespace, "train")
    ended = running.wait().exited(6)
    assert "deleted" in ended.stderr
    assert "train" in ended.stderr


def test_jobset_deleted_while_suspended(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=5)))
    place.settled("train")
    running = jsr.start_restart("train", "--recreate", "--via", "suspend")
    place.until_jobset("train", suspended, "the suspend")
    place.api.delete("jobsets", place.namespace, "train")
    assert "deleted" in running.wait().exited(6).stderr


def test_jobset_that_fails_in_mid_restart(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=8), max_restarts=0))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    place.until_pods("train", lambda pods: marked(pods, record["id"]), "the mark on every Pod")
    place.api.delete("pods", place.namespace, before.pods["workers/0/0"].name)
    ended = running.wait().exited(5)
    assert "failed" in ended.stderr.lower()
    assert jsr.status("train")["state"] == "Failed"


def test_jobset_restarted_by_its_controller_in_mid_restart(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=8), max_restarts=3))
    before = place.settled("train")
    running = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    place.until_pods("train", lambda pods: marked(pods, record["id"]), "the mark on every Pod")
    place.api.delete("pods", place.namespace, before.pods["workers/0/0"].name)
    ended = running.wait().exited(6)
    assert "restart" in ended.stderr
