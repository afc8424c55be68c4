"""Two people and one JobSet."""

from __future__ import annotations

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.picture import assert_recreated, assert_restarted_in_place
from tests.e2e.place import Place


def test_second_restart_while_one_runs(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=8)))
    before = place.settled("train")
    first = jsr.start_restart("train", "--recreate")
    record = place.until_claimed("train")
    second = jsr.restart("train", "--in-place").exited(6)
    assert record["id"] in second.stderr
    assert record["owner"] in second.stderr
    assert "jsr status train" in second.stderr
    assert "nothing was changed" in second.stderr
    assert place.record("train")["id"] == record["id"]
    assert first.wait().exited(0).document["operation"] == record["id"]
    assert_recreated(before, place.settled("train"), same_jobs=True)


def test_two_restarts_at_the_same_moment(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=6)))
    before = place.settled("train")
    runs = [jsr.start_restart("train", "--in-place") for _ in range(2)]
    ended = sorted((run.wait() for run in runs), key=lambda each: each.code)
    assert [each.code for each in ended] == [0, 6], "\n".join(map(str, ended))
    assert_restarted_in_place(before, place.settled("train"))


@pytest.mark.short
def test_next_restart_after_one_is_free_to_go(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    first = jsr.restart("train", "--in-place").exited(0).document
    between = place.settled("train")
    second = jsr.restart("train", "--recreate").exited(0).document
    assert first["operation"] != second["operation"]
    assert place.record("train")["id"] == second["operation"]
    assert_restarted_in_place(before, between)
    assert_recreated(between, place.settled("train"), same_jobs=True)
