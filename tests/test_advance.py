"""Back means that steps go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobset_restart.cli.advancing import stood_at, waited
from jobset_restart.cli.options import Progress
from jobset_restart.errors import UsageError
from jobset_restart.plan import Request
from jobset_restart.report import ResultReport
from jobset_restart.restart.planning import Asked
from tests import build
from tests.hanging import log
from tests.simulation.virtual import VirtualLoop
from tests.small_cluster import SmallCluster


class Training(SmallCluster):
    """A training that stood at step 40, is back, and prints a step a second from its checkpoint, 35, on."""

    goes_on = True

    def __init__(self) -> None:
        self.seen = build.snapshot(build.jobset(backoff_limit=100))
        super().__init__(build.jobset_of(self.seen), list(self.seen.pods()))

    def now(self) -> float:
        return build.NOW + asyncio.get_running_loop().time()

    async def list(self, path: str, item: type[Any], **more: Any) -> Any:
        found = await super().list(path, item, **more)
        return type(found)(found.items or (self.seen.jobs if path.endswith("/jobs") else []), found.resource_version)

    async def text(self, path: str, **_: Any) -> bytes:
        past = asyncio.get_running_loop().time() if self.goes_on else 0.0
        return log(self.now(), [f"step {int(35 + past)}"])


def outcome(training: Training, within: float = 600.0) -> ResultReport:
    asked = Asked(namespace="ns", name="train", request=Request())
    result = ResultReport(jobset="train", namespace="ns", exit_code=0, reason="every slot is back", seconds=4.0)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(waited(training, asked, result, 40, None, within))


def test_it_waits_for_a_step_beyond_the_one_it_stood_at(capsys: pytest.CaptureFixture[str]) -> None:
    result = outcome(Training())
    assert (result.exit_code, result.step_before, result.step_after) == (0, 40, 41)
    assert result.progress_seconds == pytest.approx(10.0, abs=1.5)
    assert "it is training again: step 41" in capsys.readouterr().err


def test_a_training_that_does_not_get_there_is_told_so() -> None:
    training = Training()
    training.goes_on = False
    result = outcome(training, 30.0)
    assert (result.exit_code, result.step_after) == (124, None)
    assert result.reason == "every slot is back, but no step beyond 40 came in 30 s"


def test_without_a_step_in_a_log_nothing_is_sent() -> None:
    training = Training()
    wanted = Progress(until_progress=True, step_pattern=r"epoch (\d+)")
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(stood_at(training, training.seen, Progress(until_progress=True))) == 35
        assert runner.run(stood_at(training, training.seen, Progress())) is None
        with pytest.raises(UsageError, match="nothing was changed"):
            runner.run(stood_at(training, training.seen, wanted))
    assert training.sent == []


@pytest.mark.parametrize(
    "given",
    [
        Progress(until_progress=True, step_pattern="("),
        Progress(until_progress=True, step_pattern=""),
        Progress(step_pattern="x"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: Progress) -> None:
    with pytest.raises(UsageError):
        given.check(wait=True)


def test_waiting_for_steps_needs_waiting() -> None:
    with pytest.raises(UsageError):
        Progress(until_progress=True).check(wait=False)
