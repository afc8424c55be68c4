"""How a diagnosis is fetched: in bounds, and with what can be had."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobset_restart.advance import newest_step
from jobset_restart.cluster.exec import ExecResult
from jobset_restart.diagnose.commands import LOOK
from jobset_restart.diagnose.judge import Diagnosis
from jobset_restart.diagnose.logs import step_pattern
from jobset_restart.diagnose.observation import Observation
from jobset_restart.diagnose.processes import read_look
from jobset_restart.errors import ExecFailed, Forbidden, JsrError, NotFound, Unreachable
from jobset_restart.gathering import SAMPLED, Gathering, Options, seen_of, silence
from jobset_restart.snapshot import HISTORY, OPERATION
from jobset_restart.writes import Exec, Permission
from tests import build
from tests.hanging import COMPUTING, LOADING, LOCKED, WAITING, dump, log, process
from tests.simulation.virtual import VirtualLoop
from tests.small_cluster import SmallCluster

CULPRIT = "train-workers-1-0"
LATE = 300.0


class Training(SmallCluster):
    """A training of four Pods that stands still; `answers` has what Pods say to the command, where it is not that they
    wait: an error, None for nothing at all. `denied` is the subresource that may not be used."""

    def __init__(self, answers: Mapping[str, Any] | None = None, denied: str = "") -> None:
        self.answers, self.denied = dict(answers or {}), denied
        self.seen = build.snapshot(build.jobset(replicas=2, pods=2, backoff_limit=100))
        super().__init__(build.jobset_of(self.seen), list(self.seen.pods()))
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0

    def now(self) -> float:
        return build.NOW + asyncio.get_running_loop().time()

    async def allowed(self, permission: Permission, namespace: str, name: str = "") -> bool:
        return permission.subresource != self.denied

    async def text(self, path: str, **_: Any) -> bytes:
        if self.denied == "log":
            raise Forbidden("no")
        return log(build.NOW - LATE, [f"step {n}" for n in range(10)])

    async def get(self, path: str, type: type[Any], **_: Any) -> Any:  # noqa: A002
        raise NotFound(f"{path} not found")

    async def execute(self, exec_: Exec, *, timeout: float = 30.0) -> ExecResult:  # noqa: ASYNC109
        pod = exec_.path.rpartition("/")[2]
        self.asked.append(pod)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.1)
        self.in_flight -= 1
        answer = self.answers.get(pod, said(WAITING))
        if isinstance(answer, JsrError):
            raise answer
        if answer is None:
            await asyncio.sleep(timeout)
            raise Unreachable("no answer in time")
        return answer if isinstance(answer, ExecResult) else ExecResult(0, answer, "")


def said(stack: tuple[str, ...]) -> str:
    kernel = LOCKED if stack == LOADING else ("hrtimer_nanosleep", "230")
    return f"=jsr 1\n{process(kernel=kernel)}{dump(1, stack)}=end\n"


def looked(training: Training, **options: Any) -> tuple[Observation, Diagnosis, float]:
    """What was seen, the verdict, and how many seconds it took."""
    found = Gathering(training, training.seen, Options(**options))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(found.run())
        taken = runner.get_loop().time()
    return found.observation, found.judged(), taken


def named(found: Diagnosis) -> list[str]:
    return [str(each.slot) for each in found.suspects]


def test_the_culprit_is_named_and_of_few_pods_all_are_looked_into_twice() -> None:
    training = Training({CULPRIT: said(LOADING)})
    seen, found, _ = looked(training)
    assert named(found) == ["workers/1/0"]
    assert seen.notes == []
    assert sorted(training.asked) == sorted([*training.pods, *training.pods])


def test_of_many_that_wait_only_a_few_are_looked_into_twice() -> None:
    class Large(Training):
        def __init__(self) -> None:
            super().__init__({CULPRIT: said(LOADING)})
            self.seen = build.snapshot(build.jobset(replicas=2, pods=400, backoff_limit=100))
            self.read = Counter[str]()

        async def text(self, path: str, **query: Any) -> bytes:
            self.read[path] += 1
            return await super().text(path, **query)

    training = Large()
    _, found, _ = looked(training)
    assert named(found) == ["workers/1/0"]
    assert len(training.asked) < 800 + 16
    assert training.asked.count(CULPRIT) == 2
    assert max(training.read.values()) > 1
    assert sum(training.read.values()) < 800 + 2 * SAMPLED


def test_where_one_of_the_sample_goes_on_all_logs_are_read_again() -> None:
    class Waking(Training):
        def __init__(self) -> None:
            super().__init__()
            self.seen = build.snapshot(build.jobset(replicas=2, pods=400, backoff_limit=100))

        async def text(self, path: str, **_: Any) -> bytes:
            late = self.now() > build.NOW + 2
            return log(self.now() if late else build.NOW - LATE, [f"step {n + late}" for n in range(10)])

    training = Waking()
    _, found, _ = looked(training)
    assert (found.verdict, training.asked) == ("Healthy", [])


def test_what_was_restarted_before_with_few_others_is_told() -> None:
    """By the history on the workload, and by the record of the last operation."""
    scopes = [["workers/1/0"], [], ["workers/0-1/0-1"]]
    past = [{"id": f"a{n}", "state": "finished", "scope": scope} for n, scope in enumerate(scopes)]
    record = {"id": "b", "state": "finished", "scope": ["workers/1/0"], "ended": build.TIME}
    notes = {HISTORY: json.dumps(past), OPERATION: json.dumps(record)}
    training = Training({CULPRIT: said(LOADING)})
    training.seen = build.snapshot(build.jobset(replicas=2, pods=2, backoff_limit=100, annotations=notes))
    _, found, _ = looked(training)
    assert [each.text for each in found.suspects[0].reasons if each.id == "DX501"] == [
        "2 earlier restarts were for it and few others"
    ]


def test_so_many_at_once_as_asked_for() -> None:
    training = Training()
    looked(training, concurrency=2)
    assert training.most_in_flight == 2


def test_what_advances_is_not_looked_into() -> None:
    class Advancing(Training):
        async def text(self, path: str, **_: Any) -> bytes:
            return log(self.now(), [f"step {int(self.now()) - n}" for n in range(10, 0, -1)])

    training = Advancing()
    _, found, _ = looked(training)
    assert (found.verdict, training.asked) == ("Healthy", [])
    looked(training, stacks=True)
    assert len(training.asked) == 4


def test_without_the_permission_to_look_into_containers_logs_have_to_tell() -> None:
    for training in (Training(denied="exec"), Training(dict.fromkeys(Training().pods, Forbidden("no exec")))):
        seen, found, _ = looked(training)
        assert found.verdict == "NoSuspects"
        assert any("no stacks" in note for note in seen.notes)
        assert len(training.asked) <= 4


def test_without_the_permission_to_read_logs_stacks_have_to_tell() -> None:
    seen, found, _ = looked(Training({CULPRIT: said(LOADING)}, denied="log"))
    assert named(found) == ["workers/1/0"]
    assert any("no permission to read logs" in note for note in seen.notes)


def test_stacks_can_be_left_out() -> None:
    training = Training({CULPRIT: said(LOADING)})
    seen, found, _ = looked(training, stacks=False)
    assert (found.verdict, training.asked) == ("NoSuspects", [])
    assert seen.notes == ["stacks were not looked at (--no-stacks)"]


def test_a_pod_that_does_not_answer_holds_nobody_up_for_long() -> None:
    _, found, taken = looked(Training({CULPRIT: None}))
    assert named(found) == ["workers/1/0"]
    assert {reason.id for reason in found.suspects[0].reasons} == {"DX203", "DX405"}
    assert taken < 15


NO_SHELL = ExecResult(None, "", "", 'exec: "sh": executable file not found in $PATH')
ENDED = ExecResult(None, "=jsr 1\n", "", "")


@pytest.mark.parametrize("answer", [NO_SHELL, ENDED, ExecResult(137, "", ""), NotFound("gone"), ExecFailed("refused")])
def test_a_container_that_cannot_be_looked_into_is_said_to_be_so(answer: Any) -> None:
    seen, found, _ = looked(Training({CULPRIT: answer}))
    culprit = next(each for each in seen.slots.values() if each.pod == CULPRIT)
    assert culprit.look_error
    assert named(found) == ["workers/1/0"]
    assert [reason.id for reason in found.suspects[0].reasons] == ["DX203"]


def test_an_image_without_a_shell_everywhere_is_nobody_s_fault() -> None:
    seen, found, _ = looked(Training(dict.fromkeys(Training().pods, NO_SHELL)))
    assert found.verdict == "NoSuspects"
    assert all(each.look_error for each in seen.slots.values())


def test_lines_that_fill_the_answer_are_asked_for_alone() -> None:
    class Long(Training):
        async def text(self, path: str, **asked: Any) -> bytes:
            lines = [f"step {n} {'x' * 100_000}" for n in range(int(asked["params"]["tailLines"]))]
            return log(build.NOW - LATE, lines)[: int(asked["params"]["limitBytes"])]

    seen, _, _ = looked(Long(), stacks=False)
    assert [each.tail.newest for each in seen.slots.values() if each.tail] == [pytest.approx(build.NOW - LATE)] * 4


def test_steps_behind_other_lines_are_looked_for() -> None:
    class Talkative(Training):
        async def text(self, path: str, **asked: Any) -> bytes:
            lines = [*(f"step {n}" for n in range(20)), *(f"gpu {n} C" for n in range(40))]
            return log(build.NOW, lines[-int(asked["params"]["tailLines"]) :], every=5.0)

    _, found, _ = looked(Talkative({CULPRIT: said(LOADING)}))
    assert found.progress.step == 19
    assert named(found) == ["workers/1/0"]


@pytest.mark.parametrize(
    ("ago", "every", "said"),
    [(1.0, 1.0, ""), (299.0, 1.0, ""), (301.0, 1.0, "step 9"), (600.0, 600.0, ""), (1300.0, 600.0, "step 9")],
)
def test_a_status_says_when_the_newest_step_is_old(ago: float, every: float, said: str) -> None:
    class Aging(Training):
        async def text(self, path: str, **_: Any) -> bytes:
            return log(self.now() - ago, [f"step {n}" for n in range(10)], every)

    training = Aging()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        notes = runner.run(silence(training, training.seen))
    assert [note[:6] for note in notes] == ([said] if said else [])
    assert all("jsr diagnose train -n ns --context test" in note for note in notes)


def test_a_status_says_nothing_of_logs_it_cannot_read() -> None:
    training = Training(denied="log")
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(silence(training, training.seen)) == []


def test_telemetry_without_a_step_does_not_hide_a_hang() -> None:
    """The rank that prints steps was restarted, and with it went its log."""

    class Talkative(Training):
        async def text(self, path: str, **_: Any) -> bytes:
            return log(self.now() // 15 * 15, [f"gpu {n} C" for n in range(10)], every=15.0)

    class Moving(Talkative):
        async def execute(self, exec_: Exec, *, timeout: float = 30.0) -> ExecResult:  # noqa: ASYNC109
            self.answers = dict.fromkeys(self.pods, said(COMPUTING if len(self.asked) // 4 % 2 else WAITING))
            return await super().execute(exec_, timeout=timeout)

    _, found, _ = looked(Talkative({CULPRIT: said(LOADING)}))
    assert named(found) == ["workers/1/0"]
    _, found, _ = looked(Talkative())
    assert (found.verdict, named(found)) == ("NoSuspects", [])
    _, found, _ = looked(Moving())
    assert found.verdict == "Healthy"


@pytest.mark.parametrize("behind", [0.0, 7.0])
def test_a_young_hang_is_told_as_one_whatever_the_clock_says(behind: float) -> None:
    """The clock of the node is behind, so the last line looks older than it is until the containers are asked."""

    class Young(Training):
        async def text(self, path: str, **_: Any) -> bytes:
            return log(build.NOW - 2 - behind, [f"step {n}" for n in range(10)])

        async def execute(self, exec_: Exec, **more: Any) -> ExecResult:
            answer = await super().execute(exec_, **more)
            clock = f"=jsr 1\nnow {int(self.now() - behind)}\n"
            return ExecResult(0, answer.stdout.replace("=jsr 1\n", clock), "")

    _, found, taken = looked(Young({CULPRIT: said(LOADING)}))
    assert named(found) == ["workers/1/0"]
    assert 20 < taken < 40


def test_the_newest_step_of_all_is_found() -> None:
    class Behind(Training):
        async def text(self, path: str, **asked: Any) -> bytes:
            last = 40 if CULPRIT in path else 39
            lines = [*(f"step {n}" for n in range(last)), *(f"gpu {n} C" for n in range(40))]
            return log(self.now(), lines[-int(asked["params"]["tailLines"]) :])

    training = Behind()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(newest_step(training, training.seen)) == 39
        assert runner.run(newest_step(training, training.seen, step_pattern(r"gpu (\d+) C"))) == 39
        assert runner.run(newest_step(Training(denied="log"), training.seen)) is None


def test_the_agent_is_not_the_container_that_is_looked_at() -> None:
    agent = {"name": "agent", "env": [{"name": "JOBSET_NAME"}, {"name": "POD_NAME"}]}
    pod = build.pod(0, containers=[agent, build.container()], statuses=[build.status()])
    state = next(iter(build.snapshot(build.jobset(pods=1), [pod]).slots.values()))
    assert seen_of(state).container == "worker"
    assert seen_of(state, "agent").state


# ---------------------------------------------------------------- the command itself


def shells() -> list[list[str]]:
    found = [shutil.which("dash"), shutil.which("bash")]
    busybox = shutil.which("busybox")
    return [[each] for each in found if each] + ([[busybox, "sh"]] if busybox else [])


@pytest.mark.parametrize("shell", shells(), ids=lambda words: Path(words[0]).name)
def test_the_command_reads_what_the_kernel_tells_in_every_shell(shell: list[str]) -> None:
    ran = subprocess.run([*shell, "-c", LOOK], capture_output=True, text=True, timeout=60, check=False)
    found = read_look(ran.stdout)
    assert ran.stderr == ""
    assert found.whole
    assert abs((found.clock or 0) - time.time()) < 30
    first = found.processes[0]
    assert (first.pid, first.state in "SRD") == (1, True)
    assert len(found.processes) <= 10


@pytest.mark.parametrize("shell", shells(), ids=lambda words: Path(words[0]).name)
def test_a_py_spy_that_hangs_is_stopped_and_leaves_nothing_behind(shell: list[str], tmp_path: Path) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text("#!/bin/sh\necho $$ > " + str(tmp_path / "pid") + "\nexec sleep 600\n")
    spy.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run([*shell, "-c", LOOK], capture_output=True, text=True, timeout=60, env=path, check=False)
    found = read_look(ran.stdout)
    assert found.whole
    assert found.py_spy
    assert found.processes[0].error == "py-spy did not end and was stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_command_writes_nothing_and_signals_nothing_but_its_own() -> None:
    assert set(re.findall(r"kill -\w+ \S+", LOOK)) == {"kill -0 $spy;", "kill -9 $spy;"}
    assert set(re.findall(r"[12]?>>?\s*\S+", LOOK)) == {">/dev/null", "2>/dev/null", "2>&1"}
    assert "|" not in re.sub(r"\|\||State:\|\S+|Name:\|\S+", "", LOOK)
