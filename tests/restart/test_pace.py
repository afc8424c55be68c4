"""Restarts of which so much is down at once: how many really are, what stops them, and who carries them on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobset_restart.events import Phase, Ready, Triggered
from jobset_restart.plan import Request
from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make
from tests.restart.stage import Stage, stage, workers
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import Death, Ended, run

LEASE_SECONDS = 31.0


def restart(stage: Stage, *options: str, death: Death | None = None) -> Ended:
    how = () if "--resume" in options else ("--in-place",)
    return run(stage.cluster, "restart", NAME, "-n", NAMESPACE, "--yes", "-o", "json", *how, *options, death=death)


def outcomes(ended: Ended) -> dict[str, int]:
    found: dict[str, int] = json.loads(ended.stdout)["outcomes"]
    return found


def pulled() -> Obj:
    """Four Pods that pull their image whenever they start, and stay where that fails."""
    part = make.container(command=make.handles_term(), imagePullPolicy="Always")
    policy: dict[str, Any] = {"restart_policy": "OnFailure", "backoff_limit": 100}
    return make.jobset(NAME, make.replicated_job("workers", part, pods=4, **policy))


@pytest.mark.parametrize(("most", "share"), [("1", 1), ("2", 2), ("50%", 2), ("99%", 3), ("9", 4)])
def test_no_more_are_down_than_was_asked_for(four: Stage, most: str, share: int) -> None:
    came = four.restart(Request(via="image", max_unavailable=most))
    assert came.result.exit_code == 0
    assert came.result.outcomes == {"restarted": 4}
    assert four.witness.most_down["slots"] == share
    went = [event.slot for event in came.of(Triggered)]
    assert sorted(went[:share]) == [f"workers/0/{index}" for index in range(share)]
    (phase,) = (event for event in came.of(Phase) if event.phase == "triggering")
    assert f"at most {share if most.endswith('%') else most} at once" in phase.reason


def test_the_next_goes_as_soon_as_one_is_back_not_when_all_are(tmp_path: Path) -> None:
    slow = make.jobset(
        NAME,
        make.replicated_job("driver", make.container(command=make.IGNORES_TERM), pods=1, grace=20),
        make.replicated_job("workers", make.container(command=make.handles_term()), pods=3),
    )
    with stage(tmp_path, slow) as found:
        came = found.restart(Request(via="image", max_unavailable="2", min_ready_seconds=0.0))
    ready = {event.slot: event.time for event in came.of(Ready)}
    assert max(ready[f"workers/0/{index}"] for index in range(3)) < ready["driver/0/0"]


def test_a_canary_whose_image_cannot_be_pulled_hurts_one_slot(tmp_path: Path) -> None:
    with stage(tmp_path, pulled()) as found:
        before = found.witness.now()
        found.fault("pull-error", lasts=600)
        ended = restart(found, "--canary", "1", "--max-unavailable", "2")
        after = found.witness.now()
    assert ended.code == 4, ended.stderr
    assert outcomes(ended) == {"failed": 1, "unchanged": 3}
    assert "3 others were not touched, for workers/0/0 did not come back" in ended.stderr
    assert [slot for slot in before if before[slot] != after[slot]] == ["workers/0/0"]


@pytest.mark.parametrize(("more", "hurt"), [((), 1), (("--keep-going",), 4)])
def test_a_pull_that_fails_stops_the_others_unless_they_keep_going(
    tmp_path: Path, more: tuple[str, ...], hurt: int
) -> None:
    with stage(tmp_path, pulled()) as found:
        found.fault("pull-error", lasts=600)
        options = ("--canary", "0", "--allow", "JSR302", "--max-unavailable", "1", "--timeout", "240s", *more)
        ended = restart(found, *options)
        assert sum(not pod.ready for pod in found.witness.now().values()) == hurt
    assert ended.code == (124 if more else 4), ended.stderr


def test_a_unit_goes_as_a_whole(tmp_path: Path) -> None:
    parts = make.replicated_job("workers", make.container(command=make.handles_term()), pods=2, jobs=3)
    with stage(tmp_path, make.jobset(NAME, parts)) as found:
        came = found.restart(Request(via="jobs", max_unavailable="1", canary=1))
        assert came.result.outcomes == {"recreated": 6}
        assert found.witness.most_down == {"slots": 2, "units": 1}


@pytest.mark.parametrize("step", [60, 90, 120, 160, 200, 260])
@pytest.mark.parametrize("kind", ["kill", "interrupt"])
def test_whoever_carries_on_goes_on_as_if_undisturbed(tmp_path: Path, kind: Any, step: int) -> None:
    with stage(tmp_path, workers(6, grace=3)) as found:
        first = restart(found, "--max-unavailable", "2", "--min-ready-seconds", "4", death=Death(kind=kind, step=step))
        assert first.struck
        assert found.record
        assert found.record["request"]["max_unavailable"] == "2"
        found.wait(LEASE_SECONDS)
        second = restart(found, "--resume", found.record["id"])
        assert second.code == 0, second.stderr
        assert outcomes(second) == {"restarted": 6}
        assert found.witness.most_down["slots"] == 2
        assert {name for pod in found.witness.before.values() for name in found.witness.starts(pod.uid).values()} == {1}


@pytest.mark.parametrize(("most", "warned"), [("1", True), ("4", False)])
def test_more_windows_than_there_is_time_for_are_said(four: Stage, most: str, *, warned: bool) -> None:
    options = ("--max-unavailable", most, "--min-ready-seconds", "100", "--timeout", "300s", "--dry-run", "client")
    ended = restart(four, *options)
    assert ended.code == 0, ended.stderr
    assert ("and --timeout gives it 5m" in ended.stderr) == warned, ended.stderr


def test_a_share_of_many_slots(tmp_path: Path) -> None:
    with stage(tmp_path, workers(60, grace=1), nodes=6) as found:
        came = found.restart(Request(via="image", max_unavailable="10%", min_ready_seconds=0.0))
        assert came.result.outcomes == {"restarted": 60}
        assert found.witness.most_down["slots"] == 6
