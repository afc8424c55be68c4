"""What is kept of restarts: on the object as `jsr history` shows it, and as Events."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jobset_restart.claim import LEASE_SECONDS
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, job, jobset, replicated_job
from tests.e2e.place import Place
from tests.e2e.plain import PlainJob


def shown(jsr: Jsr, *words: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = jsr.run("history", *words, "-o", "json").exited(0).document["items"]
    return items


def events_of(place: Place, name: str) -> list[str]:
    """The reasons of our Events on this object, in the order of their times and names."""
    found = [
        each
        for each in place.api.list("events", place.namespace)["items"]
        if each["source"].get("component") == "jsr" and each["involvedObject"]["name"] == name
    ]
    return [each["reason"] for each in sorted(found, key=lambda each: int(each["metadata"]["name"].split(".")[-1], 16))]


@pytest.mark.short
def test_restarts_of_a_jobset_one_of_which_lost_its_client(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), pods=2, grace=4)))
    place.settled("train")
    assert "no restart is recorded" in jsr.run("history", "train").exited(0).stdout
    first = jsr.restart("train", "--in-place", "--replicated-job", "workers").exited(0).document
    killed = jsr.start_restart("train", "--recreate")
    died = place.until_claimed("train", other_than=first["operation"])
    assert shown(jsr, "train")[0]["state"] == "running"
    killed.kill()
    third = restarted_once_it_may(jsr, "train", "--in-place")
    newest, lapsed, oldest = shown(jsr, "train")
    assert (oldest["operation"], oldest["asked"], oldest["exitCode"]) == (first["operation"], "--in-place", 0)
    assert oldest["podSeconds"] == first["podSeconds"] > 4
    assert oldest["owner"].endswith(")")
    assert (lapsed["operation"], lapsed["state"], lapsed["exitCode"]) == (died["id"], "lapsed", None)
    assert (newest["operation"], newest["state"]) == (third["operation"], "finished")
    names = jsr.run("history", "jobset/train", "-o", "name").exited(0).stdout.split()
    assert names == [third["operation"], died["id"], first["operation"]]
    assert "its client died" in jsr.run("history", "train").exited(0).stdout
    assert events_of(place, "train") == ["RestartStarted", "Restarted", "RestartStarted", "RestartStarted", "Restarted"]


def restarted_once_it_may(jsr: Jsr, *words: str) -> dict[str, Any]:
    """The result of the first restart that the claim of a dead client does not refuse any more."""
    end = time.monotonic() + 3 * LEASE_SECONDS
    while True:
        tried = jsr.restart(*words)
        if tried.code != 6:
            return tried.exited(0).document
        assert time.monotonic() < end, str(tried)
        time.sleep(2)


def test_of_a_plain_job_and_of_pods_by_a_label(place: Place, jsr: Jsr) -> None:
    etl = job("etl", container())
    etl["spec"]["template"]["metadata"] = {"labels": {"app": "etl"}}
    place.create(etl)
    PlainJob(place, "etl").settled()
    one = jsr.restart("job/etl", "--in-place").exited(0).document
    PlainJob(place, "etl").settled()
    other = jsr.run("restart", "pods", "-l", "app=etl", "--in-place", "--yes", "-o", "json").exited(0).document
    assert [each["operation"] for each in shown(jsr, "job/etl")] == [one["operation"]]
    assert [each["operation"] for each in shown(jsr, "pods", "-l", "app=etl")] == [other["operation"]]
    assert events_of(place, "etl") == ["RestartStarted", "Restarted"]
