"""What `--fallback recreate` does where the plan let a restart in place through and the API server does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobset_restart.events import Claimed, Detached, Event, Finished, NextRound, Noticed, Planned
from jobset_restart.plan import Request
from jobset_restart.restart import Tenure
from tests.e2e import manifests as make
from tests.restart.stage import Stage, stage
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import Death, Ended, run

IN_PLACE = Request(strategy="in-place", fallback=True)
EVERY_POD = f"patch pods {NAMESPACE}/*"


def restart(stage: Stage, *options: str, death: Death | None = None) -> Ended:
    how = () if "--resume" in options else ("--in-place",)
    command = ("restart", NAME, "-n", NAMESPACE, "--yes", "-o", "json", *how, *options)
    return run(stage.cluster, *command, death=death)


def test_where_every_write_in_place_is_refused_it_recreates(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four, "--fallback", "recreate")
    assert ended.code == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["strategy"], result["trigger"]) == ("recreate", "suspend")
    assert result["outcomes"] == {"recreated": 4}
    assert "looking again to recreate, as --fallback recreate allows" in ended.stderr
    assert not before & {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    assert not four.suspended


def test_it_is_one_operation_with_one_claim_one_record_and_one_end(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    ended = restart(four, "--fallback", "recreate")
    kinds = (Planned, Claimed, NextRound, Finished)
    told = [type(event) for event in ended.events if isinstance(event, kinds)]
    assert told == [Planned, Claimed, NextRound, Finished]
    (second,) = (event for event in ended.events if isinstance(event, NextRound))
    assert (second.round, second.strategy, second.trigger, len(second.slots)) == (2, "recreate", "suspend", 4)
    assert "forbidden" in second.because
    record = four.record
    assert (record["trigger"], record["state"], record["exitCode"]) == ("suspend", "finished", 0)
    (over,) = record["rounds"]
    assert (over["trigger"], over["outcomes"]) == ("image", {"failed": 4})
    assert over["started"] <= over["ended"] <= record["started"]
    told_by_kubectl = [each for each in four.cluster.store.all("events") if each["source"].get("component") == "jsr"]
    assert [(each["type"], each["reason"]) for each in told_by_kubectl] == [
        ("Normal", "RestartStarted"),
        ("Warning", "RestartEscalated"),
        ("Normal", "Restarted"),
    ]
    began, escalated, end = (each["message"] for each in told_by_kubectl)
    assert began.startswith("in-place by image, operation ")
    assert began.endswith(": 4 slots")
    assert escalated.startswith("round 2, recreate by suspend, operation ")
    assert ": 4 slots; 4 slots never left" in escalated
    assert "in-place by image, then recreate by suspend, operation" in end
    assert ": 4 recreated; " in end


def test_one_document_tells_of_both_rounds(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    result = json.loads(restart(four, "--fallback", "recreate").stdout)
    rounds = [(r["round"], r["strategy"], r["trigger"], r["slots"], r["outcomes"]) for r in result["rounds"]]
    assert rounds == [(1, "in-place", "image", 4, {"failed": 4}), (2, "recreate", "suspend", 4, {"recreated": 4})]
    assert "never left" in result["rounds"][0]["reason"]
    assert {slot["round"] for slot in result["slots"]} == {2}
    assert all(slot["previousPod"] and slot["previousPod"] != slot["pod"] for slot in result["slots"])
    assert result["seconds"] >= sum(r["seconds"] for r in result["rounds"]) - 0.01
    assert result["writes"] == 2


def test_only_the_slots_that_were_asked_for_are_recreated(tmp_path: Path) -> None:
    jobset = make.jobset(
        NAME,
        make.replicated_job("driver", make.container(command=make.IGNORES_TERM), pods=1, grace=2),
        make.replicated_job("workers", make.container(command=make.IGNORES_TERM), pods=2, grace=2),
    )
    with stage(tmp_path, jobset) as both:
        both.fault("forbidden", target=f"patch pods {NAMESPACE}/*", lasts=600)
        before = {slot: seen.uid for slot, seen in both.witness.now().items()}
        pods = (word for pod in both.cluster.pods() for word in ("--pod", pod["metadata"]["name"]))
        workers = [word for word in pods if word == "--pod" or "-workers-" in word]
        workers = [word for name in workers if name != "--pod" for word in ("--pod", name)]
        ended = restart(both, "--fallback", "recreate", *workers)
        assert ended.code == 0, ended.stderr
        result = json.loads(ended.stdout)
        assert result["trigger"] == "jobs"
        after = {slot: seen.uid for slot, seen in both.witness.now().items()}
        assert [slot for slot in before if after[slot] == before[slot]] == ["driver/0/0"]
        assert [s["slot"] for s in result["slots"] if s["outcome"] == "recreated"] == ["workers/0/0", "workers/0/1"]


def test_both_rounds_have_one_deadline(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    four.fault("stuck", lasts=600)
    began = four.cluster.now()
    ended = restart(four, "--fallback", "recreate", "--timeout", "30s")
    assert ended.code == 124, ended.stderr
    assert four.cluster.now() - began < 45
    assert not four.suspended
    assert [r["round"] for r in json.loads(ended.stdout)["rounds"]] == [1, 2]


@pytest.mark.parametrize("at", [0.03, 0.06, 0.5, 1.5, 2.5])
def test_a_client_killed_in_the_second_round_is_carried_on_there(four: Stage, at: float) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    before = four.witness.now()
    killed = restart(four, "--fallback", "recreate", death=Death(kind="kill", at=at))
    record = four.record
    began_second = bool(record.get("rounds"))
    four.wait(40.0)
    ended = restart(four, "--resume", record["id"], "--fallback", "recreate")
    assert (killed.code, ended.code) == (None, 0), ended.stderr
    result = json.loads(ended.stdout)
    assert [(r["round"], r["trigger"]) for r in result["rounds"]] == [(1, "image"), (2, "suspend")]
    opened = next(event for event in ended.events if isinstance(event, Planned))
    assert opened.round == (2 if began_second else 1)
    assert all(seen.uid != before[slot].uid and seen.ready for slot, seen in four.witness.now().items())
    assert {len(created) for created in four.witness.created.values()} == {1}
    assert not four.suspended


def test_who_carries_on_has_to_allow_the_fallback_again(four: Stage) -> None:
    """Whoever may patch the JobSet may have written into the record that it is allowed."""
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    restart(four, "--fallback", "recreate", death=Death(kind="kill", at=0.03))
    record = four.record
    assert not record.get("rounds")
    four.wait(40.0)
    ended = restart(four, "--resume", record["id"])
    assert ended.code == 4, ended.stderr
    assert four.witness.suspended == []


@pytest.mark.parametrize("kind", [Noticed, NextRound])
def test_an_interrupt_between_the_rounds_sends_nothing_more(four: Stage, kind: type[Event]) -> None:
    """While the look is taken, and when the next round has just begun."""
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    tenures: list[Tenure] = []

    def interrupts(event: Event) -> None:
        if isinstance(event, kind):
            tenures[0].interrupt()

    came = four.restart(IN_PLACE, meanwhile=tenures.append, emit=interrupts)
    assert came.result.exit_code == 130
    assert "looking again" in came.of(Noticed)[0].message
    assert four.witness.suspended == []
    if kind is NextRound:
        assert (four.record["state"], len(four.record["rounds"])) == ("detached", 1)
        assert came.of(Detached)[0].not_triggered == 4


def test_a_jobset_that_is_deleted_between_the_rounds_is_noticed(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)

    def deletes(event: Event) -> None:
        if isinstance(event, Noticed) and "looking again" in event.message:
            four.cluster.somebody("deletes")

    came = four.restart(IN_PLACE, emit=deletes)
    assert came.result.exit_code == 6, came.result.reason
    assert "delete" in came.result.reason
    assert not came.of(NextRound)


def test_a_look_that_fails_leaves_the_first_result(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)

    def forbids(event: Event) -> None:
        if isinstance(event, Noticed) and "looking again" in event.message:
            four.fault("forbidden", target="list jobs *", lasts=600)

    came = four.restart(IN_PLACE, emit=forbids)
    assert came.result.exit_code == 4
    assert came.result.outcomes == {"failed": 4}
    assert any(event.message.startswith("the look failed: ") for event in came.of(Noticed))
    assert not came.result.rounds


def test_without_the_option_nothing_is_recreated(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four)
    assert ended.code == 4
    assert "never left" in ended.stderr
    assert before == {pod["metadata"]["uid"] for pod in four.cluster.pods()}


def test_where_some_were_restarted_the_rest_is_left_to_the_person(four: Stage) -> None:
    four.fault("forbidden", target=f"patch pods */{NAME}-workers-0-1-*", lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four, "--fallback", "recreate")
    assert ended.code == 4
    assert json.loads(ended.stdout)["outcomes"] == {"restarted": 3, "failed": 1}
    assert before == {pod["metadata"]["uid"] for pod in four.cluster.pods()}


def test_a_blocker_against_recreating_leaves_the_first_result(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    ended = restart(four, "--fallback", "recreate", "-c", "worker")
    assert ended.code == 4
    assert json.loads(ended.stdout)["trigger"] == "image"
    assert "JSR505" in ended.stderr
