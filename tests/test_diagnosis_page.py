"""What a diagnosis looks like: as a page, as a document, and with which exit code."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from jobset_restart.cli.diagnosing import commands, finished
from jobset_restart.diagnose.judge import judge
from jobset_restart.diagnose.logs import read_tail
from jobset_restart.diagnose.observation import Observation
from jobset_restart.diagnose.processes import Look
from jobset_restart.report.diagnosis import DiagnosisReport, diagnosis_report
from jobset_restart.view.diagnosis import show_diagnosis
from jobset_restart.view.document import render
from tests import build
from tests.hanging import NOW, loading, log, observation, steps, waiting
from tests.picture import DIAGNOSIS, diagnosis


def report(seen: Observation, cut_short: str = "") -> DiagnosisReport:
    return diagnosis_report(
        judge(seen),
        seen,
        name="train",
        namespace="ns",
        context="test",
        now=NOW,
        seconds=4.2,
        clocks={"node-1": 5.1, "node-2": 0.4},
        commands=lambda slot: [f"jsr restart train --pod {slot}"],
        cut_short=cut_short,
    )


def page(found: DiagnosisReport, *, wide: bool = False) -> str:
    out = io.StringIO()
    show_diagnosis(Console(file=out, width=300), found, wide=wide)
    return out.getvalue()


def hung(culprit: int = 5) -> Observation:
    return observation(look_of=lambda n: loading() if n == culprit else waiting())


def test_a_hang() -> None:
    found = report(hung())
    assert (found.verdict, found.exit_code, found.suspected, found.looked) == ("Suspects", 7, 1, 8)
    assert found.reason == "standing still for 300 s at step 109: 1 of 8 Pods is suspected"
    assert found.clocks == {"node-1": 5.1}
    text = page(found)
    assert "ns/train (context test): standing still for 300 s" in text
    assert "train-5 on node-2, slot workers/0/5" in text
    assert "jsr restart train --pod workers/0/5" in text
    assert "node-1 by +5 s" in text
    assert "Condition.wait (threading.py) < load_batch (train.py)" in text


def test_a_hang_as_a_document_and_as_names() -> None:
    found = report(hung())
    document = json.loads(render(found, "json"))
    assert document["kind"] == "Diagnosis"
    assert document["suspects"][0]["signals"][0]["id"] == "DX201"
    assert document["groups"][0] == {
        "stack": ["all_reduce (train.py)", "train (train.py)", "<module> (train.py)"],
        "waiting": True,
        "pods": 7,
        "examples": ["train-0", "train-1", "train-2"],
    }
    assert render(found, "name") == "pod/train-5"
    assert "kind: Diagnosis" in render(found, "yaml")


def test_a_healthy_one() -> None:
    seen = observation(tail_of=lambda _: steps(NOW - 0.2), look_of=lambda _: None)
    for each in seen.slots.values():
        each.before, each.look_error = steps(NOW - 3.2, last=106), ""
    found = report(seen)
    assert (found.verdict, found.exit_code, found.standing_since) == ("Healthy", 0, "")
    assert found.reason == "healthy: it advances, step 109"


def test_the_picture_in_the_documentation_is_what_is_printed_today() -> None:
    assert diagnosis() == DIAGNOSIS.read_text(encoding="utf-8"), "python -m tests.picture draws it anew"


@pytest.mark.parametrize(("wait", "words"), [(0.0, ""), (8.0, ": the newest line is 300 s old, which may be usual; ")])
def test_a_look_that_was_too_short_says_when_to_look_again(wait: float, words: str) -> None:
    found = finished(report(hung(), "--timeout 6s passed"), "--timeout 6s passed", decided=False, wait=wait)
    end = "look again in 8 s" if wait else ""
    assert found.reason == f"not enough was seen to tell whether it stands still{words}{end}"


def test_all_alike() -> None:
    found = report(observation(look_of=lambda _: loading()))
    assert (found.verdict, found.exit_code) == ("NoSuspects", 8)
    assert found.reason == (
        "standing still for 300 s at step 109, no suspects: "
        "8 of 8 Pods stand at the same place: what they share is at fault"
    )
    assert render(found, "name") == ""


@pytest.mark.parametrize(
    ("cut_short", "decided", "verdict", "code"),
    [
        ("", True, "Suspects", 7),
        ("interrupted", True, "Suspects", 130),
        ("interrupted", False, "Incomplete", 130),
        ("--timeout 6s passed", True, "Suspects", 7),
        ("--timeout 6s passed", False, "Incomplete", 124),
    ],
)
def test_a_look_that_was_cut_short_says_so(cut_short: str, decided: bool, verdict: str, code: int) -> None:
    found = finished(report(hung(), cut_short), cut_short, decided=decided)
    assert (found.verdict, found.exit_code, found.complete) == (verdict, code, not cut_short)
    assert bool(found.suspects) == decided
    assert cut_short in page(found)


def test_what_a_container_says_is_made_harmless() -> None:
    evil = Look(processes=[])
    seen = hung()
    slot = list(seen.slots)[5]
    look = seen.slots[slot].look
    assert look
    look.processes[0].threads[0].stack = ("\x1b[2Jevil\x07 (x.py)", "<module> (train.py)")
    seen.slots[slot].tail = read_tail(log(NOW - 300, ["step 1", "step 2", "\x1b]0;evil\x07 RuntimeError: x"]))
    seen.slots[next(iter(seen.slots))].look = evil
    assert "\x1b" not in page(report(seen), wide=True)
    assert "\x07" not in page(report(seen), wide=True)
    assert "\x1b" not in render(report(seen), "json")


def test_the_commands_are_those_the_plan_would_not_refuse() -> None:
    def offered(backoff_limit: int, **more: Any) -> list[str]:
        snapshot = build.snapshot(build.jobset(replicas=2, pods=4, backoff_limit=backoff_limit, **more))
        slot = next(iter(snapshot.slots))
        found = judge(hung())
        found.suspects[0].slot = slot
        return commands(snapshot, found, slot)

    start = "jsr restart train -n ns --context test"
    assert offered(100)[1] == f"{start} --recreate --node node-0"
    assert offered(100)[0] == f"{start} --in-place --pod train-workers-0-0"
    assert f"{start} --in-place --pod train-workers-0-0" not in offered(0, restart_policy="OnFailure")
