"""What `--escalate` does for slots that do not come back, rung by rung, on the embedded cluster in virtual time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobset_restart.events import NextRound, Noticed, Planned
from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make
from tests.restart.stage import Stage, stage
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import Death, Ended, run

IGNORES_TERM_WITH_CHILD = ["sh", "-c", "trap '' TERM; sleep 100000; exit 3"]
FOR_GOOD = 100_000.0


def workers(command: list[str] | None = None, *, backoff_limit: int = 6, grace: int = 2, jobs: int = 1) -> Obj:
    container = make.container(command=command or make.handles_term())
    fields: dict[str, Any] = {"backoff_limit": backoff_limit, "grace": grace, "jobs": jobs}
    return make.jobset(NAME, make.replicated_job("workers", container, pods=3, **fields))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Stage]:
    """Workers that end when they are told to, in a Job that can spare failures."""
    with stage(tmp_path, workers()) as found:
        yield found


def restart(stage: Stage, *options: str, death: Death | None = None) -> Ended:
    how = () if "--resume" in options or "--recreate" in options else ("--in-place",)
    command = ("restart", NAME, "-n", NAMESPACE, "--yes", "-o", "json", "--timeout", "20m", *how, *options)
    return run(stage.cluster, *command, death=death)


def rounds(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["rung"], each["trigger"]) for each in result["rounds"]]


def rungs(result: dict[str, Any]) -> dict[str, str]:
    return {row["slot"]: row["rung"] for row in result["slots"]}


def cannot_start(stage: Stage, slot: int = 1, lasts: float = 40.0) -> str:
    """For a while the Pod in this slot starts no container, nor does it end; the next Pod there does. Returns its
    name."""
    (name,) = (n for pod in stage.cluster.pods() if f"-workers-0-{slot}-" in (n := pod["metadata"]["name"]))
    stage.fault("stuck", target=f"{NAMESPACE}/{name}", lasts=lasts)
    return str(name)


# ---------------------------------------------------------------- force


def test_a_worker_that_ignores_term_is_forced_within_seconds(tmp_path: Path) -> None:
    """Its grace period is five minutes."""
    with stage(tmp_path, workers(IGNORES_TERM_WITH_CHILD, backoff_limit=0, grace=300)) as hung:
        before = hung.witness.now()
        ended = restart(hung, "--escalate", "force")
        assert ended.code == 0, ended.stderr
        assert ended.ended - ended.began < 30
        result = json.loads(ended.stdout)
        assert rounds(result) == [("", "image"), ("force", "force")]
        assert set(rungs(result).values()) == {"force"}
        assert result["outcomes"] == {"restarted": 3}
        assert all(seen.uid == before[slot].uid and seen.ready for slot, seen in hung.witness.now().items())
        (told,) = (event for event in ended.events if isinstance(event, NextRound))
        assert (told.rung, told.trigger, len(told.slots)) == ("force", "force", 3)
        assert "PID 1 does not handle TERM" in told.because
        assert [each.get("rung", "") for each in hung.record["rounds"]] == [""]
        assert hung.record["request"]["rung"] == "force"


def test_who_handles_term_has_the_whole_grace_period(tmp_path: Path) -> None:
    """It may be saving its work."""
    saves = ["sh", "-c", "trap 'sleep 40; exit 143' TERM; while :; do sleep 1 & wait $!; done"]
    with stage(tmp_path, workers(saves, grace=60)) as busy:
        result = json.loads(restart(busy, "--escalate", "workload").stdout)
        assert (result["exitCode"], result["rounds"]) == (0, [])
        assert set(rungs(result).values()) == {""}


def test_a_step_timeout_is_for_everybody(tmp_path: Path) -> None:
    with stage(tmp_path, workers(IGNORES_TERM_WITH_CHILD, grace=300)) as hung:
        ended = restart(hung, "--escalate", "force", "--step-timeout", "1m")
        (told,) = (event for event in ended.events if isinstance(event, NextRound))
        assert 60 <= told.time - ended.began < 70


def test_what_cannot_be_forced_is_said_and_has_its_grace_period(tmp_path: Path) -> None:
    """And costs no Pod: the kubelet will kill it then, and the Job would count a failure."""
    with stage(tmp_path, workers(make.IGNORES_TERM, grace=100)) as hung:
        ended = restart(hung, "--escalate", "pod")
        result = json.loads(ended.stdout)
        assert (ended.code, result["rounds"], result["outcomes"]) == (0, [], {"restarted": 3})
        assert [each["rung"] for each in result["passed"]] == ["force"]
        assert "JSR314" in result["passed"][0]["reason"]
        assert "--escalate force is skipped: " in ended.stderr


# ---------------------------------------------------------------- the other rungs


def test_only_the_slot_that_is_left_gets_a_new_pod(three: Stage) -> None:
    before = three.witness.now()
    stuck = cannot_start(three)
    ended = restart(three, "--escalate", "workload", "--step-timeout", "30s")
    assert ended.code == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert rounds(result) == [("", "image"), ("pod", "pods")]
    assert rungs(result) == {"workers/0/0": "", "workers/0/1": "pod", "workers/0/2": ""}
    assert {row["slot"]: row["round"] for row in result["slots"]} == {
        "workers/0/0": 1,
        "workers/0/1": 2,
        "workers/0/2": 1,
    }
    assert result["outcomes"] == {"restarted": 2, "recreated": 1}
    after = three.witness.now()
    assert [slot for slot in before if after[slot].uid != before[slot].uid] == ["workers/0/1"]
    assert next(row for row in result["slots"] if row["rung"])["previousPod"] == stuck


def test_a_rung_that_a_blocker_stands_against_is_skipped_and_said(tmp_path: Path) -> None:
    """One deleted Pod would fail this Job."""
    with stage(tmp_path, workers(backoff_limit=0)) as careful:
        cannot_start(careful)
        ended = restart(careful, "--escalate", "job", "--step-timeout", "30s")
        assert ended.code == 0, ended.stderr
        result = json.loads(ended.stdout)
        assert rounds(result) == [("", "image"), ("job", "jobs")]
        passed = {each["rung"]: each["reason"] for each in result["passed"]}
        assert "JSR202" in passed["pod"]
        said = [event.message for event in ended.events if isinstance(event, Noticed)]
        assert any(message.startswith("--escalate pod is skipped: ") and "JSR202" in message for message in said)
        assert careful.witness.counters() == careful.witness.counters_before


def test_the_job_rung_leaves_other_jobs_alone(tmp_path: Path) -> None:
    with stage(tmp_path, workers(backoff_limit=0, jobs=2)) as two:
        before = two.witness.now()
        cannot_start(two)
        result = json.loads(restart(two, "--escalate", "job", "--step-timeout", "30s").stdout)
        after = two.witness.now()
        renewed = {slot for slot in before if after[slot].uid != before[slot].uid}
        assert renewed == {"workers/0/0", "workers/0/1", "workers/0/2"}
        assert result["exitCode"] == 0


def test_the_last_rung_makes_everything_anew(tmp_path: Path) -> None:
    """A Job of its own cannot spare a failure, and has nothing between its Pods and itself."""
    job = make.job(NAME, make.container(), pods=3, backoff_limit=0)
    with stage(tmp_path, job) as alone:
        (name,) = (p["metadata"]["name"] for p in alone.cluster.pods() if f"{NAME}-1-" in p["metadata"]["name"])
        alone.fault("stuck", target=f"{NAMESPACE}/{name}", lasts=40.0)
        how = ("--in-place", "--escalate", "workload", "--step-timeout", "30s")
        command = ("restart", f"job/{NAME}", "-n", NAMESPACE, "--yes", "-o", "json", "--timeout", "20m", *how)
        ended = run(alone.cluster, *command)
        result = json.loads(ended.stdout)
        assert ended.code == 0, ended.stderr
        assert rounds(result)[-1][1] == "suspend"
        assert result["outcomes"] == {"recreated": 3}
        assert not alone.suspended


def test_it_goes_no_further_than_it_may(three: Stage) -> None:
    cannot_start(three, lasts=FOR_GOOD)
    before = three.witness.now()
    ended = restart(three, "--escalate", "force", "--step-timeout", "30s", "--timeout", "2m")
    result = json.loads(ended.stdout)
    assert (ended.code, result["outcomes"]) == (124, {"restarted": 2, "timed out": 1})
    assert {slot: seen.uid for slot, seen in three.witness.now().items()} == {s: v.uid for s, v in before.items()}


def test_without_the_option_nothing_follows(three: Stage) -> None:
    cannot_start(three, lasts=FOR_GOOD)
    ended = restart(three, "--timeout", "10m")
    result = json.loads(ended.stdout)
    assert (ended.code, result["rounds"], result["passed"]) == (124, [], [])


def test_an_image_that_cannot_be_pulled_needs_no_step_timeout(tmp_path: Path) -> None:
    container = make.container(command=make.handles_term(), imagePullPolicy="Always")
    manifest = make.jobset(
        NAME, make.replicated_job("workers", container, pods=2, backoff_limit=6, restart_policy="OnFailure")
    )
    with stage(tmp_path, manifest) as pulling:
        (name,) = (n for p in pulling.cluster.pods() if "-workers-0-1-" in (n := p["metadata"]["name"]))
        pulling.fault("pull-error", target=f"{NAMESPACE}/{name}", lasts=FOR_GOOD)
        ended = restart(pulling, "--escalate", "pod", "--canary", "0")
        result = json.loads(ended.stdout)
        assert ended.code == 0, ended.stderr
        assert rounds(result) == [("", "image"), ("pod", "pods")]
        assert ended.ended - ended.began < 120


def in_order() -> Obj:
    """The workers wait for the broker, which does not notice when it is told to stop."""
    hung, quick = make.container(command=IGNORES_TERM_WITH_CHILD), make.container()
    return make.jobset(
        NAME,
        make.replicated_job("broker", hung, pods=1, grace=300),
        make.replicated_job("workers", quick, pods=2),
        startupPolicy={"startupPolicyOrder": "InOrder"},
    )


def test_those_whose_turn_had_not_come_follow_when_the_others_are_back(tmp_path: Path) -> None:
    with stage(tmp_path, in_order()) as ordered:
        ended = restart(ordered, "--escalate", "force")
        result = json.loads(ended.stdout)
        assert ended.code == 0, ended.stderr
        assert rounds(result) == [("", "image"), ("force", "force"), ("", "image")]
        assert rungs(result) == {"broker/0/0": "force", "workers/0/0": "", "workers/0/1": ""}
        assert result["outcomes"] == {"restarted": 3}


# ---------------------------------------------------------------- before, and after a death


def test_the_plan_shows_what_each_rung_could_spend(three: Stage) -> None:
    command = ("restart", NAME, "-n", NAMESPACE, "-o", "json", "--dry-run", "client", "--in-place")
    plan = json.loads(run(three.cluster, *command, "--escalate", "workload").stdout)
    told = {each["rung"]: each for each in plan["escalation"]}
    assert list(told) == ["force", "pod", "job", "workload"]
    (budget,) = told["pod"]["budgets"]
    assert (told["pod"]["trigger"], budget["before"], budget["after"], budget["limit"]) == ("pods", 0, 3, 6)
    assert not told["pod"]["refused"]
    assert json.loads(run(three.cluster, *command).stdout)["escalation"] == []


def test_a_refusal_that_is_certain_is_shown_before(tmp_path: Path) -> None:
    with stage(tmp_path, workers(backoff_limit=0)) as careful:
        command = ("restart", NAME, "-n", NAMESPACE, "--dry-run", "client", "--in-place", "--escalate", "pod")
        assert "JSR202" in run(careful.cluster, *command).stdout


@pytest.mark.parametrize("at", [5.2, 5.3, 5.45, 5.6])
def test_a_client_killed_in_a_rung_is_carried_on_there(tmp_path: Path, at: float) -> None:
    with stage(tmp_path, workers(IGNORES_TERM_WITH_CHILD, backoff_limit=0, grace=300)) as hung:
        before = hung.witness.now()
        killed = restart(hung, "--escalate", "force", death=Death(kind="kill", at=at))
        record = hung.record
        hung.wait(40.0)
        ended = restart(hung, "--resume", record["id"], "--escalate", "force")
        assert (killed.code, ended.code) == (None, 0), ended.stderr
        assert json.loads(ended.stdout)["outcomes"] == {"restarted": 3}
        assert all(s.uid == before[slot].uid and s.ready for slot, s in hung.witness.now().items())
        opened = next(event for event in ended.events if isinstance(event, Planned))
        assert opened.round == len(record.get("rounds", ())) + 1


@pytest.mark.parametrize("at", [5.5, 5.7, 6.2])
def test_who_carries_on_knows_whose_turn_had_not_come(tmp_path: Path, at: float) -> None:
    with stage(tmp_path, in_order()) as ordered:
        before = ordered.witness.now()
        killed = restart(ordered, "--escalate", "force", death=Death(kind="kill", at=at))
        assert killed.code is None
        assert ordered.record["rounds"]
        ordered.wait(40.0)
        ended = restart(ordered, "--resume", ordered.record["id"], "--escalate", "force")
        assert ended.code == 0, ended.stderr
        after = ordered.witness.now()
        assert all(after[slot].containers != seen.containers for slot, seen in before.items())
        assert {len(ordered.witness.starts(seen.uid)) for seen in before.values()} == {1}


def test_who_carries_on_has_to_allow_it_again(three: Stage) -> None:
    """Whoever may patch the JobSet may have written into the record that it is allowed."""
    cannot_start(three, lasts=FOR_GOOD)
    restart(three, "--escalate", "pod", "--step-timeout", "30s", death=Death(kind="kill", at=10.0))
    three.wait(40.0)
    before = {slot: seen.uid for slot, seen in three.witness.now().items()}
    ended = restart(three, "--resume", three.record["id"], "--timeout", "3m")
    assert ended.code == 124
    assert {slot: seen.uid for slot, seen in three.witness.now().items()} == before


def test_a_client_killed_in_the_pod_rung_spends_no_second_failure(three: Stage) -> None:
    cannot_start(three)
    killed = restart(three, "--escalate", "pod", "--step-timeout", "30s", death=Death(kind="kill", at=36.0))
    assert killed.code is None
    assert three.record["trigger"] == "pods"
    three.wait(40.0)
    ended = restart(three, "--resume", three.record["id"], "--escalate", "pod", "--step-timeout", "60s")
    result = json.loads(ended.stdout)
    assert ended.code == 0, ended.stderr
    assert rounds(result) == [("", "image"), ("pod", "pods")]
    assert sum(three.witness.counters().values()) == 1


def test_it_needs_somebody_who_waits(three: Stage) -> None:
    assert restart(three, "--escalate", "pod", "--no-wait").code == 2
    assert restart(three, "--step-timeout", "30s").code == 2
