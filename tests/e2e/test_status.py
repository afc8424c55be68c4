"""`jsr status` while nothing happens, and while something does. What it says during restarts is asserted there too."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.e2e.api import Answer
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.place import Place


@pytest.mark.short
def test_of_one_jobset(place: Place, jsr: Jsr) -> None:
    on_failure = replicated_job("workers", jobs=2, pods=2, restart_policy="OnFailure", backoff_limit=6)
    place.create(jobset("train", replicated_job("driver", pods=1), on_failure))
    before = place.settled("train")
    status = jsr.status("train")
    assert (status["apiVersion"], status["kind"]) == ("jobset-restart.io/v1", "JobSetStatus")
    assert (status["name"], status["namespace"], status["uid"]) == ("train", place.namespace, before.jobset.uid)
    assert (status["state"], status["ready"], status["expected"], status["notReady"]) == ("Running", 5, 5, [])
    rows = {row["name"]: (row["ready"], row["expected"], row["jobs"]) for row in status["replicatedJobs"]}
    assert rows == {"driver": (1, 1, 1), "workers": (4, 4, 2)}
    assert status["advice"]["trigger"] == "image"
    assert status["advice"]["slots"] == 5
    assert status["operation"] is None
    limits = {budget["name"]: budget["limit"] for budget in status["budgets"]}
    assert limits["maxRestarts"] == 3
    assert limits["Job train-workers-0 backoffLimit"] == 6


def test_of_a_namespace(place: Place, jsr: Jsr) -> None:
    place.create(jobset("second", suspend=True), jobset("first"))
    place.settled("first")
    where, *table = jsr.run("status").exited(0).stdout.splitlines()
    assert where.endswith(f", namespace {place.namespace}")
    assert [line.split()[0] for line in table] == ["NAME", "first", "second"]
    assert jsr.run("status", "-o", "name").exited(0).stdout.split() == [
        "jobset.jobset.x-k8s.io/first",
        "jobset.jobset.x-k8s.io/second",
    ]
    listed = jsr.run("status", "-o", "json").exited(0).document
    assert listed["kind"] == "JobSetStatusList"
    assert {item["name"]: item["state"] for item in listed["items"]} == {"first": "Running", "second": "Suspended"}
    everywhere = jsr.run("status", "-A", "-o", "json", namespaced=False).exited(0).document
    mine = [item["name"] for item in everywhere["items"] if item["namespace"] == place.namespace]
    assert mine == ["first", "second"]


def test_of_an_empty_namespace(place: Place, jsr: Jsr) -> None:
    assert "no workloads found" in jsr.run("status").exited(0).stdout
    assert jsr.run("status", "-o", "json").exited(0).document["items"] == []


@pytest.mark.parametrize("form", ["table", "wide", "yaml", "name"])
def test_every_form(place: Place, jsr: Jsr, form: str) -> None:
    place.create(jobset("train"))
    place.settled("train")
    printed = jsr.run("status", "train", "-o", form).exited(0).stdout
    assert "train" in printed
    if form == "yaml":
        assert yaml.safe_load(printed)["kind"] == "JobSetStatus"


def test_of_pods_that_cannot_be_scheduled(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=1, pod={"nodeSelector": {"no": "such-node"}})))
    place.until_pods("train", lambda pods: [*map(_unscheduled, pods)] == [True], "the scheduler's verdict")
    status = jsr.status("train")
    assert (status["ready"], status["expected"]) == (0, 1)
    (slot,) = status["notReady"]
    assert (slot["slot"], slot["reason"]) == ("workers/0/0", "Unschedulable")
    assert "JSR107" in jsr.restart("train", "--in-place").exited(3).stderr


def _unscheduled(pod: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    return any(c["type"] == "PodScheduled" and c["status"] == "False" for c in pod["status"].get("conditions", ()))


def test_of_pods_that_cannot_be_created(place: Place, jsr: Jsr) -> None:
    """The Job alone knows why, and tells it in Events alone."""
    try:
        place.api.create(
            "resourcequotas", place.namespace, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
        )
    except Answer as answer:
        if answer.status != 404:
            raise
        pytest.skip("this cluster has no quotas")
    place.create(jobset("train", replicated_job(pods=3)))
    place.until_event("FailedCreate")
    status = jsr.status("train")
    missing = [slot for slot in status["notReady"] if slot["state"] == "missing"]
    assert len(missing) == 2
    assert all(slot["reason"] == "FailedCreate" and "exceeded quota: q" in slot["message"] for slot in missing)
    assert status["state"] == "Degraded"
    (listed,) = jsr.run("status", "-o", "json").exited(0).document["items"]
    assert (listed["state"], listed["expected"]) == ("Degraded", 3)


def test_of_jobs_that_cannot_be_created(place: Place, jsr: Jsr) -> None:
    """The JobSet is accepted, its Jobs are not; nothing but an Event says so."""
    place.create(jobset("train", replicated_job(restart_policy="Always")))
    place.until_event("JobCreationFailed")
    status = jsr.status("train")
    (workers,) = status["replicatedJobs"]
    assert (workers["jobs"], workers["expectedJobs"]) == (0, 1)
    (note,) = status["notes"]
    assert note.startswith("1 Job is missing: JobCreationFailed: ")
    assert "restartPolicy" in note
    assert "0/1" in jsr.run("status", "train").exited(0).stdout
    refused = jsr.restart("train", "--recreate").exited(3).stderr
    assert "JSR110" in refused
    assert "neither way of restarting helps" in refused


def test_watch_shows_a_restart_go_by(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=4)))
    place.settled("train")
    watching = jsr.start("status", "train", "--watch", "-o", "json")
    watching.until_printed('"Running"')
    operation = jsr.restart("train", "--in-place").exited(0).document["operation"]
    place.settled("train")
    seen = watching.until_printed(f'"{operation}"', '"finished"')
    watching.interrupt()
    assert watching.wait().code in (0, 130)
    states = [document["state"] for document in _documents(seen)]
    assert states[0] == "Running"
    assert "Restarting" in states


def test_of_a_restart_under_way_and_left(place: Place, jsr: Jsr) -> None:
    """No restart is advised that would be refused; what was left unfinished is neither hidden nor replaced unsaid."""
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=10)))
    place.settled("train")
    restarting = jsr.start_restart("train", "--in-place")
    operation = place.until_claimed("train")["id"]
    status = jsr.status("train")
    where, advice = f"-n {place.namespace} --context {status['context']}", status["advice"]
    assert advice["trigger"] == ""
    assert advice["reason"].startswith("refused: ")
    assert operation in advice["reason"]
    assert advice["follow"] == f"jsr status train {where} --watch"
    assert operation in jsr.restart("train", "--in-place").exited(6).stderr
    restarting.interrupt()
    restarting.wait().exited(130)
    carry_on = f"jsr restart train {where} --resume {operation}"
    assert jsr.status("train")["advice"]["follow"] == carry_on
    plan = jsr.run("restart", "train", "--recreate", "--dry-run=client", "-o", "json").exited(0).document
    assert (plan["unfinished"]["id"], plan["unfinished"]["total"]) == (operation, 2)
    assert carry_on in jsr.run("restart", "train", "--recreate", "--dry-run=client").exited(0).stdout
    resumed = jsr.restart("train", "--resume", operation).exited(0).document
    assert resumed["operation"] == operation
    assert jsr.status("train")["operation"]["done"] == 2


@pytest.mark.parametrize("kind", ["jobset.jobset.x-k8s.io/", "jobset/", "js/"])
def test_options_before_the_command_and_names_as_they_are_printed(place: Place, jsr: Jsr, kind: str) -> None:
    place.create(jobset("train", suspend=True))
    before = ("-n", place.namespace, "-o", "json", "--kubeconfig", jsr.kubeconfig)
    document = jsr.run(*before, "status", f"{kind}train", namespaced=False).exited(0).document
    assert (document["name"], document["namespace"]) == ("train", place.namespace)
    assert document["context"]
    refused = jsr.run(*before, "restart", f"{kind}train", "--yes", namespaced=False).exited(3).document
    assert (refused["jobset"], refused["context"]) == ("train", document["context"])
    assert jsr.run(*before, "wait", f"{kind}train", "--timeout", "1s", namespaced=False).code == 124


def _documents(text: str) -> list[dict[str, str]]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) != -1:
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        found.append(document)
    return found
