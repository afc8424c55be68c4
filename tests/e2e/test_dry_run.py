"""Showing the plan and changing nothing."""

from __future__ import annotations

import json

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.picture import OPERATION, assert_nothing_changed
from tests.e2e.place import Place


@pytest.mark.parametrize("kind", ["client", "server"])
@pytest.mark.parametrize(
    ("how", "trigger", "writes"),
    [("--in-place", "image", 4), ("--recreate", "suspend", 2), ("--via=jobs", "jobs", 2)],
    ids=["image", "suspend", "jobs"],
)
def test_changes_nothing(place: Place, jsr: Jsr, kind: str, how: str, trigger: str, writes: int) -> None:
    place.create(jobset("train", replicated_job(jobs=2, pods=2)))
    before = place.settled("train")
    plan = jsr.run("restart", "train", how, f"--dry-run={kind}", "-o", "json").exited(0).document
    assert (plan["kind"], plan["jobset"], plan["refused"]) == ("RestartPlan", "train", False)
    assert (plan["trigger"], plan["writes"], len(plan["actions"])) == (trigger, writes, writes)
    assert {slot["slot"] for slot in plan["slots"] if slot["trigger"]} == before.pods.keys()
    assert (plan["serverDryRun"] != "") == (kind == "server")
    assert_nothing_changed(before, place.picture("train"))
    assert OPERATION not in place.jobset("train")["metadata"].get("annotations", {})


def test_writes_of_suspend_are_shown_with_the_record_and_the_version_they_carry(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    place.settled("train")
    plan = jsr.run("restart", "train", "--recreate", "--via", "suspend", "--dry-run=client", "-o", "json").document
    version = place.jobset("train")["metadata"]["resourceVersion"]
    bodies = [action["body"] for action in plan["actions"]]
    assert [body["spec"] for body in bodies] == [{"suspend": True}, {"suspend": False}]
    records = [json.loads(body["metadata"]["annotations"][OPERATION]) for body in bodies]
    assert [record["phase"] for record in records] == ["suspending", "resuming"]
    assert {record["trigger"] for record in records} == {"suspend"}
    assert [body["metadata"]["resourceVersion"] for body in bodies] == [version] * 2


def test_refusal_is_shown(place: Place, jsr: Jsr) -> None:
    workers = replicated_job("workers", container(command=IGNORES_TERM), restart_policy="OnFailure", backoff_limit=1)
    place.create(jobset("train", workers))
    before = place.settled("train")
    plan = jsr.run("restart", "train", "--in-place", "--dry-run=client", "-o", "json").exited(3).document
    assert plan["refused"] is True
    blockers = {finding["id"] for finding in plan["findings"] if finding["severity"] == "blocker"}
    assert "JSR201" in blockers
    assert plan["writes"] == 0
    assert_nothing_changed(before, place.picture("train"))


def test_allow_lets_one_blocker_through(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(restart_policy="OnFailure", backoff_limit=1)))
    before = place.settled("train")
    args = ("restart", "train", "--via", "image", "--dry-run=client", "-o", "json")
    plan = jsr.run(*args, "--allow", "JSR201").exited(0).document
    assert [(f["id"], f["allowed"]) for f in plan["findings"] if f["severity"] == "blocker"] == [("JSR201", True)]
    jsr.run(*args, "--allow", "JSR202").exited(3)
    assert_nothing_changed(before, place.picture("train"))


@pytest.mark.parametrize("form", ["table", "wide", "yaml", "name"])
def test_every_form(place: Place, jsr: Jsr, form: str) -> None:
    place.create(jobset("train"))
    place.settled("train")
    ended = jsr.run("restart", "train", "--dry-run=client", "-o", form).exited(0)
    assert "train" in ended.stdout
