"""How a capture is taken: what can be had, within its bounds, and what could not be had with its reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from jobset_restart.capture.files import Writer
from jobset_restart.capture.reading import LOG_BYTES, Said
from jobset_restart.capture.taking import Bounds, Taking
from jobset_restart.cli.capturing import diagnosed
from jobset_restart.cluster.exec import ExecResult
from jobset_restart.cluster.protocol import Listing
from jobset_restart.errors import Forbidden, Invalid, JsrError, Unreachable
from jobset_restart.objects import Node, Pod
from jobset_restart.report.capture import CaptureReport
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.writes import Exec
from tests import build
from tests.hanging import LOADING, LOCKED, WAITING, dump, log, process
from tests.simulation.virtual import VirtualLoop
from tests.small_cluster import SmallCluster

LOOKED = f"=jsr 1\n{process()}{dump(1, WAITING)}=end\n"
SECRET = "hunter2-Zq7"


class Memory:
    """A place in memory; `room` is how many files fit."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.files: dict[str, bytes] = {}
        self.room = room

    def add(self, name: str, data: bytes) -> None:
        if len(self.files) >= self.room:
            raise OSError(28, "No space left on device")
        assert name not in self.files
        self.files[name] = data

    def take_back(self) -> str:
        return self.files.popitem()[0] if self.files else ""

    def close(self) -> None:
        pass


class Scene(SmallCluster):
    """A JobSet of some Pods, in virtual time. `logs` and `looks` are what is said by Pod, or by all (""): bytes or
    text, an error, None for no answer at all."""

    def __init__(
        self, pods: int = 4, looks: Mapping[str, Any] | None = None, logs: Mapping[str, Any] | None = None, **one: Any
    ) -> None:
        made = [build.pod(index, **(one if index == 0 else {})) for index in range(pods)]
        super().__init__(build.jobset(pods=pods), made)
        self.looks, self.logs = dict(looks or {}), dict(logs or {})
        self.nodes = {"node-0": build.node()}
        self.in_flight = self.most_in_flight = 0

    def now(self) -> float:
        return build.NOW + asyncio.get_running_loop().time()

    def seen(self) -> Snapshot:
        jobs = [build.job(self.jobset)]
        return take(JobSetWorkload(self.jobset), jobs, self.pods.values(), self.nodes, build.NOW, context="here")

    async def get(self, path: str, type: type[Any], **_: Any) -> Any:  # noqa: A002
        name = path.rpartition("/")[2]
        if "/pods/" in path:
            raw = msgspec.to_builtins(self.pods[name])
            raw["spec"]["containers"][0]["env"] = [{"name": "HF_TOKEN", "value": SECRET}]
            return raw
        if "/nodes/" in path:
            return msgspec.convert(msgspec.to_builtins(self.nodes[name]), type)
        return msgspec.convert({"metadata": {"name": name}}, type)

    async def list(self, path: str, item: type[Any], **asked: Any) -> Listing[Any]:
        if item is not Said or asked.get("field_selector"):
            return Listing([], "1")
        about = {"kind": "Pod", "name": "train-workers-0-0"}
        return Listing([msgspec.convert({"reason": "BackOff", "involvedObject": about}, Said)], "1")

    async def text(self, path: str, **asked: Any) -> bytes:
        pod, most, timeout = path.split("/")[-2], asked["most"], asked["timeout"]
        newest = int(self.now())
        advancing = log(self.now() - 1, [f"step {step}" for step in range(newest - 19, newest + 1)])
        said = self.logs.get(pod, self.logs.get("", advancing))
        if callable(said):
            said = said(asked["params"], most)
        if isinstance(said, JsrError):
            raise said
        if said is None:
            await asyncio.sleep(timeout)
            raise Unreachable("no answer in time")
        return bytes(said)

    async def execute(self, exec_: Exec, *, timeout: float = 30.0) -> ExecResult:  # noqa: ASYNC109
        said = self.looks.get(exec_.path.rpartition("/")[2], self.looks.get("", LOOKED))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.2 if said is not None else timeout)
        self.in_flight -= 1
        if isinstance(said, JsrError):
            raise said
        if said is None:
            raise Unreachable("no answer in time")
        return said if isinstance(said, ExecResult) else ExecResult(0, said, "")


def captured(
    scene: Scene, room: int = 1_000_000, after: float | None = None, most: int = 1 << 30, **bounds: Any
) -> tuple[CaptureReport, dict[str, bytes], float]:
    """What was captured, and in how many seconds. `after` so many somebody presses Ctrl-C."""
    place = Memory(room)

    async def run() -> tuple[CaptureReport, float]:
        loop = asyncio.get_running_loop()
        writer = Writer(place, most, hand=lambda job: job())
        seen = scene.seen()
        taking = Taking(scene, seen, writer, Bounds(**bounds), diagnosed(scene, seen))
        stop = asyncio.Event()
        if after is not None:
            loop.call_later(after, stop.set)
        began = loop.time()
        await taking.run(stop)
        seconds = loop.time() - began
        report = taking.report("/there", scene.now(), seconds)
        await writer.close("index.json", lambda: msgspec.json.encode(report))
        return taking.report("/there", scene.now(), seconds), seconds

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        report, seconds = runner.run(run())
    for slot in report.slots:
        assert set(slot.files) <= set(place.files)
    return report, place.files, seconds


def reasons(report: CaptureReport) -> dict[tuple[str, str], str]:
    whole = {("", each.what): each.reason for each in report.missing}
    return whole | {(slot.pod, each.what): each.reason for slot in report.slots for each in slot.missing}


def test_everything_that_there_is() -> None:
    report, files, seconds = captured(Scene())
    assert (report.complete, report.missing_count, report.cut_short, report.verdict) == (True, 0, "", "Healthy")
    assert (report.expected, len(report.slots)) == (4, 4)
    assert {"diagnosis.json", "diagnosis.txt", "index.json", "nodes/node-0.json", "objects/jobset-train.json"} <= set(
        files
    )
    pod = "pods/train-workers-0-0"
    assert report.slots[0].files == [
        f"{pod}/{each}" for each in ("pod.json", "events.json", "worker.log", "worker.stacks.txt")
    ]
    assert json.loads(files[f"{pod}/events.json"])[0]["reason"] == "BackOff"
    assert b"all_reduce" in files[f"{pod}/worker.stacks.txt"]
    assert seconds < 20


def test_no_value_of_the_environment_is_written_anywhere() -> None:
    _, files, _ = captured(Scene(looks={"": LOOKED + f"Process 1: python --token {SECRET}\n"}))
    assert not any(SECRET.encode() in data for data in files.values())
    assert b"HF_TOKEN" in files["pods/train-workers-0-1/pod.json"]


def test_logs_are_written_as_they_are() -> None:
    raw = b"2026-01-01T00:00:00.0Z \x1b]0;evil\x07\xff\xfe token=hunter2\r\n"
    _, files, _ = captured(Scene(logs={"train-workers-0-2": raw}))
    assert files["pods/train-workers-0-2/worker.log"] == raw


def test_a_log_of_a_gigabyte_ends_with_its_newest_line() -> None:
    def long(asked: Mapping[str, str], most: int) -> bytes:
        lines = min(int(asked["tailLines"]), 10_000)
        return b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(10_000 - lines, 10_000))[:most]

    report, files, _ = captured(Scene(logs={"": long}))
    kept = files["pods/train-workers-0-0/worker.log"]
    assert kept.splitlines()[-1].startswith(b"9999 ")
    assert LOG_BYTES / 3 < len(kept) < LOG_BYTES
    assert report.complete


def test_a_line_that_is_longer_than_all_of_it_is_said_to_be_cut() -> None:
    report, files, _ = captured(Scene(logs={"": lambda asked, most: bytes(most)}))
    assert len(files["pods/train-workers-0-0/worker.log"]) == LOG_BYTES
    assert "only its beginning" in report.slots[0].notes[0]


@pytest.mark.parametrize("what", ["log", "stacks"])
def test_what_is_forbidden_is_asked_for_once(what: str) -> None:
    said = {"": Forbidden("pods is forbidden")}
    report, files, _ = captured(Scene(64, logs=said) if what == "log" else Scene(64, looks=said), slots=64)
    found = reasons(report)
    assert {reason for (pod, missing), reason in found.items() if missing == what} == {
        "no permission: pods is forbidden"
    }
    assert sum(1 for pod, missing in found if missing == what) == 64
    assert {missing for _, missing in found} == {what}
    assert not report.complete
    assert "pods/train-workers-0-9/pod.json" in files


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ExecResult(127, "", ""), "there is no shell in the container"),
        (
            ExecResult(None, "", "", 'exec: "sh": executable file not found in $PATH'),
            "there is no shell in the container",
        ),
        (ExecResult(137, "", ""), "it ended while it was looked into"),
        (None, "no answer in time"),
        (Unreachable("gone"), "gone"),
    ],
)
def test_a_container_that_cannot_be_looked_into(answer: Any, said: str) -> None:
    report, _, seconds = captured(Scene(looks={"train-workers-0-1": answer}))
    assert list(reasons(report)) == [("train-workers-0-1", "stacks")]
    assert said in reasons(report)["train-workers-0-1", "stacks"]
    assert seconds < 30


def test_a_node_that_is_down_costs_seconds_and_no_more() -> None:
    scene = Scene(logs={"": None}, looks={"": None})
    scene.nodes = {"node-0": build.node(ready=False)}
    report, files, seconds = captured(scene)
    assert seconds < 28
    assert reasons(report)["train-workers-0-3", "stacks"] == "node node-0 does not answer"
    assert "pods/train-workers-0-3/pod.json" in files
    assert report.slots[0].odd == ["node node-0 is not Ready"]


@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_it_is_over_in_time_whatever_hangs(seconds: float) -> None:
    report, files, took = captured(Scene(400, looks={"": None}, logs={"": None}), slots=400, seconds=seconds)
    assert took <= seconds
    assert report.cut_short == f"the {seconds:g} s for it were over"
    assert len(report.slots) == 400
    assert all(each.reason for slot in report.slots for each in slot.missing)
    assert report.missing_count == sum(len(slot.missing) for slot in report.slots) + len(report.missing)
    assert "index.json" in files


def test_an_interrupt_ends_it_at_once() -> None:
    report, files, took = captured(Scene(looks={"": None}, logs={"": None}), after=1.0)
    assert (took, report.cut_short) == (1.0, "interrupted")
    assert "index.json" in files


def test_a_disk_that_fills_in_the_middle() -> None:
    report, files, _ = captured(Scene(), room=9)
    assert report.cut_short == "it cannot be written any more: No space left on device"
    assert (len(files), "index.json" in files) == (9, True)
    assert captured(Scene(), room=1)[0].captured == 0
    assert not report.complete
    missing = [each for slot in report.slots for each in slot.missing]
    assert report.cut_short in {each.reason for each in missing}


def test_there_is_a_most_in_all() -> None:
    report, _, _ = captured(Scene(16, logs={"": lambda asked, most: b"x\n" * 100_000}), most=1 << 20)
    assert report.cut_short == "the capture has reached its most, 1 MiB"
    assert 0 < report.bytes <= 1 << 20


def test_only_so_many_slots_and_so_many_at_once() -> None:
    scene = Scene(100)
    report, _, _ = captured(scene, slots=10, concurrency=3)
    assert (len(report.slots), report.expected, report.complete) == (10, 100, True)
    assert scene.most_in_flight <= 3


def test_a_sample_has_the_suspects_of_the_diagnosis() -> None:
    stuck = f"=jsr 1\n{process(kernel=LOCKED)}{dump(1, LOADING)}=end\n"
    old: Callable[..., bytes] = lambda *_: log(build.NOW - 300, [f"step {n}" for n in range(10)])  # noqa: E731
    scene = Scene(64, looks={"train-workers-0-41": stuck}, logs={"": old})
    report, _, _ = captured(scene, slots=4)
    assert report.slots[0].pod == "train-workers-0-41"
    assert report.slots[0].odd[0].startswith("suspected: ")


def test_the_log_before_is_had_where_there_was_one() -> None:
    crashed = [build.status(restarts=1, lastState={"terminated": {"exitCode": 1}})]

    def said(asked: Mapping[str, str], most: int) -> bytes:
        return b"before\n" if asked.get("previous") == "true" else b"now\n"

    _, files, _ = captured(Scene(logs={"": said}, statuses=crashed))
    assert files["pods/train-workers-0-0/worker.previous.log"] == b"before\n"
    report, _, _ = captured(Scene(logs={"": Invalid("previous terminated container not found")}, statuses=crashed))
    assert "not found" in reasons(report)["train-workers-0-0", "previous log"]


def test_a_namesake_of_another_uid_is_told() -> None:
    scene = Scene()
    seen = scene.seen()
    scene.seen = lambda: seen  # type: ignore[method-assign]
    scene.pods["train-workers-0-0"] = build.pod(0, uid="another")
    report, _, _ = captured(scene)
    assert "replaced by another Pod" in report.slots[0].notes[0]


def test_where_no_container_runs_there_is_no_diagnosis() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    scene = Scene(1, statuses=[build.status(state=ended, ready=False)], ready=False, phase="Failed")
    report, files, _ = captured(scene)
    assert "diagnosis.json" not in files
    assert "no container runs, so there is no diagnosis" in report.notes
    assert report.complete
    assert isinstance(scene.pods["train-workers-0-0"], Pod)
    assert isinstance(scene.nodes["node-0"], Node)


def test_a_diagnosis_that_could_not_be_decided_is_missing() -> None:
    report, files, _ = captured(Scene(looks={"": None}), seconds=2.0)
    assert "diagnosis.json" in files
    assert reasons(report)["", "diagnosis"] == "not enough was seen when 1.6 s were over"
    assert not report.complete
