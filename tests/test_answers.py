"""What each answer of the API server means for the slots its action was for."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.cluster.protocol import ActionResult
from jobset_restart.errors import ExecFailed, Forbidden, JsrError, NotFound, Unreachable
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Request, make
from jobset_restart.restart.answers import Answers
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from tests import build

TERM_CAUGHT = Evidence(probes={("workers", "worker"): Probe(name="python", caught=1 << 14)})
NOW = build.NOW


class Asked:
    """A restart by this trigger, all of it sent and not answered."""

    def __init__(self, via: Any, snapshot: Snapshot | None = None, **request: Any) -> None:
        jobset = build.jobset(replicas=2, backoff_limit=100, restart_policy="OnFailure")
        self.plan = make(snapshot or build.snapshot(jobset), Request(via=via, **request), "op1", TERM_CAUGHT)
        self.tracker = Tracker(self.plan, NOW)
        self.told: list[Any] = []
        self.answers = Answers(self.plan, self.tracker, lambda: NOW, self.told.extend)

    def answered(self, error: JsrError | None, number: int = 0, stage: int = 0) -> None:
        chosen = self.plan.stages[stage]
        self.answers.answered(chosen, chosen.actions[number], ActionResult(error))

    def states(self) -> list[str]:
        return [track.state for track in self.tracker.slots.values()]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "triggered"),
        (Unreachable("the connection was cut"), "triggered"),
        (ExecFailed("no such container"), "waiting"),
        (Forbidden("exec is not allowed"), "failed"),
    ],
    ids=["done", "cut", "refused by the container", "refused by the server"],
)
def test_an_exec_that_fails_may_have_done_its_work(error: JsrError | None, state: str) -> None:
    asked = Asked("signal", canary=0)
    asked.answered(error)
    assert asked.states() == [state, "waiting", "waiting", "waiting"]
    assert asked.answers.writes == 0


@pytest.mark.parametrize(
    ("error", "states"),
    [
        (None, ["triggered", "triggered", "waiting", "waiting"]),
        (NotFound("the Job is gone"), ["triggered", "triggered", "waiting", "waiting"]),
        (Forbidden("not allowed"), ["failed", "failed", "waiting", "waiting"]),
    ],
    ids=["deleted", "gone", "refused"],
)
def test_a_job_s_answer_is_for_its_own_slots(error: JsrError | None, states: list[str]) -> None:
    asked = Asked("jobs")
    asked.answered(error)
    assert (asked.states(), asked.answers.refused) == (states, None)


@pytest.mark.parametrize(
    ("error", "state"), [(None, "triggered"), (NotFound("gone"), "waiting"), (Forbidden("no"), "failed")]
)
def test_a_pod_that_is_gone_before_it_is_deleted_is_what_was_wanted(error: JsrError | None, state: str) -> None:
    asked = Asked("pods")
    asked.answered(error, number=1)
    assert asked.states() == ["waiting", state, "waiting", "waiting"]


def test_the_first_refusal_of_a_write_for_the_whole_jobset_is_kept() -> None:
    asked = Asked("native", build.native())
    first = Forbidden("the first")
    asked.answered(first)
    asked.answered(Forbidden("the second"))
    assert (asked.answers.refused, asked.states(), asked.told) == (first, ["waiting", "waiting"], [])
    asked.answered(None)
    assert (asked.states(), asked.answers.writes) == (["triggered", "triggered"], 1)


def test_an_answer_for_a_slot_that_is_not_in_the_plan_is_nobody_s() -> None:
    asked = Asked("image")
    stage = asked.plan.stages[0]
    other = structs.replace(stage.actions[0], slot="workers/7/7")
    asked.answers.answered(stage, other, ActionResult(Forbidden("no")))
    assert asked.told == []
