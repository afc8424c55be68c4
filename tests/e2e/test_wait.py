"""`jsr wait`: until every Pod is Ready and nobody restarts, or why that will not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import kubeconfigs
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, exits, jobset, replicated_job
from tests.e2e.place import Place

STUBBORN = container(command=IGNORES_TERM)


@pytest.mark.short
def test_for_a_jobset_that_starts(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    status = jsr.run("wait", "train", "-o", "json").exited(0).document
    assert (status["kind"], status["state"], status["ready"], status["expected"]) == ("JobSetStatus", "Running", 2, 2)


def test_for_the_end_of_a_restart(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", STUBBORN, grace=4)))
    place.settled("train")
    restarting = jsr.start_restart("train", "--in-place")
    record = place.until_claimed("train")
    waited = jsr.run("wait", "train", "-o", "json").exited(0)
    assert "Restarting" in waited.stderr
    operation = waited.document["operation"]
    assert (operation["id"], operation["state"], operation["exitCode"]) == (record["id"], "finished", 0)
    restarting.wait().exited(0)


def test_for_a_jobset_that_is_over(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=exits(0, after=1)))))
    place.until_jobset("train", lambda found: found.get("status", {}).get("terminalState") == "Completed", "its end")
    assert "completed" in jsr.run("wait", "train").exited(5).stderr


def test_too_long(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", suspend=True))
    ended = jsr.run("wait", "train", "--timeout", "2s").exited(124)
    assert "Suspended, 0/2 Pods ready" in ended.stderr
    assert "jsr status train" in ended.stderr


def test_for_a_jobset_that_goes_away(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", suspend=True))
    waiting = jsr.start("wait", "train", "--timeout", "1m")
    waiting.until_said("Suspended")
    place.api.delete("jobsets", place.namespace, "train")
    waiting.wait().exited(6)
    assert "not found" in jsr.run("wait", "train").exited(1).stderr


def test_without_the_permission_to_watch(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.grant("onlooker")
    place.create(jobset("train", suspend=True))
    user = {"token": place.token("onlooker")}
    onlooker = Jsr(kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user), place.namespace, tmp_path)
    for words in (["wait", "train"], ["status", "train", "--watch"], ["status", "--watch"]):
        assert "is forbidden" in onlooker.run(*words, within=30).exited(1).stderr
