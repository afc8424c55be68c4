"""TrainJobs. The embedded cluster does not play them: these run on a real cluster that has Kubeflow's Trainer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from jobset_restart.claim import LEASE_SECONDS
from tests.e2e.api import Answer, Object
from tests.e2e.command import Jsr, Running
from tests.e2e.facts import Seen
from tests.e2e.manifests import IGNORES_TERM, container, replicated_job
from tests.e2e.picture import OPERATION, assert_recreated, assert_restarted_in_place, slot_of
from tests.e2e.place import Place

COLLECTION = "/apis/trainer.kubeflow.org/v1alpha1"
GRACE = 3


def collection(place: Place, plural: str) -> str:
    return f"{COLLECTION}/namespaces/{place.namespace}/{plural}"


@pytest.fixture
def train(place: Place) -> Place:
    """A namespace with the TrainJob "train" of three nodes, which end only when they are killed; all Ready."""
    node = replicated_job("node", container("node", command=IGNORES_TERM), pods=1, grace=GRACE)
    node["template"]["metadata"] = {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}}
    runtime = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "plain"},
        "spec": {"mlPolicy": {"numNodes": 1}, "template": {"spec": {"replicatedJobs": [node]}}},
    }
    trainjob = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {"runtimeRef": {"kind": "TrainingRuntime", "name": "plain"}, "trainer": {"numNodes": 3}},
    }
    try:
        place.api.request("POST", collection(place, "trainingruntimes"), runtime)
    except Answer as answer:
        if answer.status == 404:
            pytest.skip("the cluster serves no TrainJobs")
        raise
    place.api.request("POST", collection(place, "trainjobs"), trainjob)
    place.until_jobset("train", lambda _: True, "the JobSet of the TrainJob")
    place.settled("train")
    return place


def trainjob(place: Place) -> Object:
    return place.api.request("GET", f"{collection(place, 'trainjobs')}/train")


def record(place: Place) -> dict[str, Any]:
    """The claim or record on the TrainJob."""
    found: dict[str, Any] = json.loads(trainjob(place)["metadata"].get("annotations", {}).get(OPERATION, "{}"))
    return found


def until(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.05)


def until_claimed(place: Place) -> dict[str, Any]:
    until(lambda: bool(record(place)), "a claim on the TrainJob")
    return record(place)


def crowded(pods: list[Object]) -> list[str]:
    """The slots in which more than one Pod is not over."""
    alive = Counter(slot_of(pod) for pod in pods if pod.get("status", {}).get("phase") not in ("Failed", "Succeeded"))
    return [slot for slot, number in alive.items() if number > 1]


def test_in_place_leaves_everything_above_the_pods_alone(train: Place, jsr: Jsr) -> None:
    before, generation = train.settled("train"), trainjob(train)["metadata"]["generation"]
    result = jsr.restart("trainjob/train", "--in-place").exited(0).document
    assert (result["workloadKind"], result["workloadGroup"]) == ("TrainJob", "trainer.kubeflow.org")
    assert (result["trigger"], result["outcomes"], result["writes"]) == ("image", {"restarted": 3}, 3)
    after = train.settled("train")
    assert_restarted_in_place(before, after)
    assert (after.jobset, after.jobs) == (before.jobset, before.jobs)
    assert trainjob(train)["metadata"]["generation"] == generation
    assert record(train)["id"] == result["operation"]
    assert OPERATION not in train.jobset("train")["metadata"].get("annotations", {})


@pytest.mark.parametrize("name", ["trainjob/train", "train"], ids=["by its name", "by its JobSet"])
def test_it_is_recreated_by_its_own_suspend_and_no_index_ever_has_two_pods(train: Place, jsr: Jsr, name: str) -> None:
    before = train.settled("train")
    old = {pod.uid for pod in before.pods.values()}
    started: list[Running] = []
    seen = Seen(lambda: started.append(jsr.start_restart(name, "--recreate")))
    at_once: list[str] = []

    def all_new(pods: list[Object]) -> bool:
        at_once.extend(crowded(pods))
        return len(pods) == 3 and not old & {pod["metadata"]["uid"] for pod in pods}

    train.until_pods("train", seen.until(all_new), "three new Pods")
    result = started[0].wait().exited(0).document
    assert at_once == []
    assert (result["workloadKind"], result["trigger"], result["writes"]) == ("TrainJob", "suspend", 2)
    assert result["outcomes"] == {"recreated": 3}
    assert_recreated(before, train.settled("train"), same_jobs=True)
    assert trainjob(train)["spec"]["suspend"] is False
    assert record(train)["state"] == "finished"


def test_one_of_its_jobs_is_restarted_under_its_claim(train: Place, jsr: Jsr) -> None:
    before = train.settled("train")
    planned = jsr.restart("job/train-node-0", "--in-place", "--dry-run=client").exited(0).document
    (said,) = [finding for finding in planned["findings"] if finding["id"] == "JSR510"]
    assert said["summary"] == "Job train-node-0 belongs to TrainJob train: of that, node/0 is meant here"
    result = jsr.restart("job/train-node-0", "--recreate", "--via", "jobs").exited(0).document
    assert (result["workloadKind"], result["outcomes"]) == ("TrainJob", {"recreated": 3})
    assert_recreated(before, train.settled("train"), same_jobs=False)
    assert record(train)["id"] == result["operation"]


def test_two_people_meet_whichever_name_they_use(train: Place, jsr: Jsr) -> None:
    before = train.settled("train")
    first = jsr.start_restart("trainjob/train", "--recreate")
    claimed = until_claimed(train)
    second = jsr.restart("train", "--in-place").exited(6)
    assert claimed["id"] in second.stderr
    assert "TrainJob train is being restarted" in second.stderr
    assert "jsr status trainjob/train" in second.stderr
    assert first.wait().exited(0).document["operation"] == claimed["id"]
    assert_recreated(before, train.settled("train"), same_jobs=True)


@pytest.mark.parametrize("resume", [False, True], ids=["by the next restart", "by --resume"])
def test_a_client_killed_between_suspend_and_resume_is_made_up_for(train: Place, jsr: Jsr, resume: bool) -> None:
    before = train.settled("train")
    first = jsr.start_restart("trainjob/train", "--recreate")
    until(lambda: trainjob(train)["spec"].get("suspend") is True, "the suspend of the TrainJob")
    first.kill()
    killed = time.monotonic()
    dead = record(train)
    assert dead["phase"] == "suspending"
    status = jsr.status("trainjob/train")
    assert status["operation"]["id"] == dead["id"]
    time.sleep(max(0.0, killed + LEASE_SECONDS + 1 - time.monotonic()))
    assert trainjob(train)["spec"]["suspend"] is True, "nobody else resumes it"
    options = ["--resume", dead["id"]] if resume else ["--in-place"]
    result = jsr.restart("train", *options).exited(0).document
    assert (result["operation"] == dead["id"]) == resume
    assert trainjob(train)["spec"]["suspend"] is False
    assert_recreated(before, train.settled("train"), same_jobs=True)


def test_a_jobset_that_is_deleted_meanwhile_ends_the_restart(train: Place, jsr: Jsr) -> None:
    old = train.jobset("train")["metadata"]["uid"]
    running = jsr.start_restart("trainjob/train", "--in-place")
    until_claimed(train)
    train.api.delete("jobsets", train.namespace, "train", propagationPolicy="Foreground")
    ended = running.wait().exited(6)
    assert "its JobSet" in ended.document["reason"]
    train.until_jobset("train", lambda found: found["metadata"]["uid"] != old, "another JobSet")
    assert record(train)["state"] == "finished", "the record has outlived the JobSet"


def test_status_and_wait(train: Place, jsr: Jsr) -> None:
    status = jsr.status("trainjob/train")
    assert (status["workloadKind"], status["name"], status["state"]) == ("TrainJob", "train", "Running")
    assert (status["ready"], status["expected"]) == (3, 3)
    assert status["advice"]["command"].startswith("jsr restart trainjob/train")
    waited = jsr.run("wait", "trainjob/train", "-o", "json").exited(0).document
    assert (waited["workloadKind"], waited["ready"]) == ("TrainJob", 3)


def test_a_runtime_that_changed_is_told_and_nothing_stays_suspended(train: Place, jsr: Jsr) -> None:
    """Trainer then asks for a JobSet that may not become what it asks for, and never suspends it."""
    before = train.settled("train")
    runtime = f"{collection(train, 'trainingruntimes')}/plain"
    found = train.api.request("GET", runtime)
    job = found["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    job["template"]["spec"]["containers"][0]["command"] = ["sleep", "1000000"]
    train.api.request("PUT", runtime, found)
    result = jsr.restart("trainjob/train", "--recreate", within=180).exited(4).document
    assert result["outcomes"] == {"failed": 3}
    assert {slot["reason"] for slot in result["slots"]} != {""}
    assert all("field is immutable" in slot["reason"] for slot in result["slots"])
    assert "--via jobs" in result["reason"]
    assert trainjob(train)["spec"]["suspend"] is False
    assert train.settled("train").pods == before.pods
    assert jsr.restart("trainjob/train", "--via", "jobs").exited(0).document["outcomes"] == {"recreated": 3}


def test_one_that_failed_runs_again_as_the_plan_says(train: Place, jsr: Jsr) -> None:
    """Its JobSet may restart no time, and the one node that ends fails it."""
    old = train.jobset("train")["metadata"]["uid"]
    train.api.patch("jobs", train.namespace, "train-node-0", {"spec": {"activeDeadlineSeconds": 1}})
    train.until_jobset("train", lambda found: found["status"].get("terminalState") == "Failed", "the end of the JobSet")
    refused = jsr.restart("trainjob/train").exited(3)
    assert f"kubectl delete jobset train -n {train.namespace}" in refused.stderr
    train.api.delete("jobsets", train.namespace, "train")
    train.until_jobset("train", lambda found: found["metadata"]["uid"] != old, "another JobSet")
    assert train.settled("train").jobset.restarts == 0
    assert jsr.restart("trainjob/train", "--in-place").exited(0).document["outcomes"] == {"restarted": 3}
