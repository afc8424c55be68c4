"""What a workload keeps of its restarts: on the embedded cluster in virtual time, as `jsr history` shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobset_restart import history
from jobset_restart.plan import Request, Selection
from tests.restart.stage import ANN, Stage, stage, workers
from tests.restart.test_fallback import EVERY_POD
from tests.simulation.cluster import NAME
from tests.simulation.program import Death, Ended, run

IN_PLACE = Request(strategy="in-place")


def jsr(stage: Stage, *words: str, death: Death | None = None) -> Ended:
    ended = run(stage.cluster, *words, death=death)
    assert not ended.crash, ended.stderr
    return ended


def shown(stage: Stage) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(jsr(stage, "history", NAME, "-o", "json").stdout)["items"]
    return items


def test_it_has_every_restart_the_newest_first_with_who_how_and_what_came_of_it(four: Stage) -> None:
    assert shown(four) == []
    four.restart(Request(strategy="in-place", containers=("worker",)), id="op1")
    four.restart(Request(strategy="recreate", selection=Selection(job_indexes=(0,))), id="op2", owner="bob@lab")
    second, first = shown(four)
    assert (first["operation"], first["owner"], first["asked"]) == ("op1", ANN, "--in-place -c worker")
    assert (first["trigger"], first["state"], first["exitCode"]) == ("image", "finished", 0)
    assert (first["outcomes"], first["slots"]) == ({"restarted": 4}, 4)
    assert (second["operation"], second["owner"], second["trigger"]) == ("op2", "bob@lab", "suspend")
    assert second["outcomes"] == {"recreated": 4}
    assert first["started"] < first["ended"] <= second["started"]


def test_pod_seconds_are_those_of_its_slots(four: Stage) -> None:
    result = four.restart(IN_PLACE).result
    took = [slot.seconds for slot in result.slots if slot.seconds is not None]
    assert len(took) == 4
    assert result.pod_seconds == pytest.approx(sum(took), abs=0.01)
    assert shown(four)[0]["podSeconds"] == result.pod_seconds


def test_budgets_that_were_spent_are_told(tmp_path: Path) -> None:
    with stage(tmp_path, workers(4, restart_policy="OnFailure", backoff_limit=100)) as found:
        result = found.restart(Request(strategy="in-place", via="image")).result
        spent = [(each.name, each.before, each.after) for each in result.budgets if each.before != each.after]
        assert spent
        told = [(each["name"], each.get("before", 0), each["after"]) for each in shown(found)[0]["budgets"]]
        assert told == spent


def test_an_operation_whose_client_died_is_told_of_as_such(four: Stage) -> None:
    died = run(four.cluster, "restart", NAME, "--in-place", "--yes", death=Death(kind="kill", at=1.0))
    assert died.code is None
    four.wait(60)
    (lapsed,) = shown(four)
    assert (lapsed["state"], lapsed.get("exitCode")) == ("lapsed", None)
    four.restart(IN_PLACE, id="op2")
    newest, before = shown(four)
    assert newest["operation"] == "op2"
    assert (before["operation"], before["state"]) == (lapsed["operation"], "lapsed")
    assert "lapsed" in jsr(four, "history", NAME).stdout


def test_rounds_and_what_was_allowed_are_told(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    jsr(four, "restart", NAME, "--in-place", "--fallback", "recreate", "--yes")
    (entry,) = shown(four)
    assert [each["trigger"] for each in entry["rounds"]] == ["image"]
    assert entry["trigger"] == "suspend"
    assert entry["asked"] == "--in-place --fallback recreate"
    table = jsr(four, "history", NAME, "-o", "wide").stdout
    assert "image, then suspend" in table
    assert "round 1, in-place by image: 4 failed" in table


def test_a_resumed_operation_is_one_entry(four: Stage) -> None:
    came = four.restart(
        IN_PLACE, meanwhile=lambda operation: four.loop.call_later(0.5, operation.interrupt), timeout=60.0
    )
    assert came.result.exit_code == 130
    (left,) = shown(four)
    assert left["state"] == "detached"
    jsr(four, "restart", NAME, "--yes", "--resume", "op1")
    (done,) = shown(four)
    assert (done["operation"], done["state"], done["exitCode"]) == ("op1", "finished", 0)
    assert done["podSeconds"] >= left["podSeconds"] > 0


def test_it_keeps_ten_and_the_one_that_ran_last(four: Stage) -> None:
    for number in range(14):
        four.restart(IN_PLACE, id=f"op{number}")
    assert [each["operation"] for each in shown(four)] == [f"op{number}" for number in range(13, 2, -1)]
    names = jsr(four, "history", NAME, "-o", "name").stdout.split()
    assert names[0] == "op13"
    workload = four.cluster.workload()
    assert workload is not None
    kept = [text for name, text in workload["metadata"]["annotations"].items() if name.startswith("jobset-restart.io/")]
    assert sum(map(len, kept)) <= history.MOST_BYTES
