"""The file of metrics: what Prometheus reads there, and how it gets there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from jobset_restart.cli.accounting import check_metrics_file, write_metrics
from jobset_restart.errors import UsageError
from jobset_restart.events import Budget
from jobset_restart.progress import Quantiles
from jobset_restart.report import ResultReport, RoundReport, SlotResultReport
from jobset_restart.view.metrics import Attempt, metrics


def result(name: str = "train", **fields: object) -> ResultReport:
    return ResultReport(jobset=name, namespace="ns", exit_code=0, **fields)  # type: ignore[arg-type]


def attempt(of: ResultReport | None = None, name: str = "train", code: int = 0) -> Attempt:
    return Attempt(kind="JobSet", namespace="ns", name=name, exit_code=code, time=1767225600.5, result=of)


def read(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    assert text.endswith("\n")
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_all_there_is_to_tell_of_a_restart() -> None:
    of = result(
        operation="op1",
        strategy="in-place",
        trigger="image",
        seconds=12.5,
        writes=4,
        outcomes={"restarted": 3, "failed": 1},
        pod_seconds=40,
        resource_seconds={"nvidia.com/gpu": 320.0},
        gpu_cost=0.22,
        budgets=[Budget(name="Job backoffLimit workers-0", limit=6, before=1, after=3)],
        rounds=[RoundReport(round=1, strategy="in-place", trigger="image", seconds=9, outcomes={"failed": 1})],
        slots=[SlotResultReport(slot="workers/0/0", outcome="restarted", rung="pod")],
    )
    told = Attempt(
        kind="JobSet",
        namespace="ns",
        name="train",
        exit_code=4,
        time=1767225600.5,
        result=of,
        phases={"trigger to ready": Quantiles(3, 1.0, 2.0, 3.0)},
    )
    found = read(metrics(told))
    about = {"kind": "JobSet", "namespace": "ns", "name": "train"}
    assert found["jsr_restart_exit_code"] == [(about, 4)]
    assert found["jsr_restart_success"] == [(about, 0)]
    assert found["jsr_restart_timestamp_seconds"] == [(about, 1767225600.5)]
    assert found["jsr_restart_duration_seconds"] == [(about, 12.5)]
    assert ({**about, "outcome": "failed"}, 1) in found["jsr_restart_slots"]
    assert found["jsr_restart_resource_down_seconds"] == [({**about, "resource": "nvidia.com/gpu"}, 320)]
    assert found["jsr_restart_gpu_cost"] == [(about, 0.22)]
    assert found["jsr_restart_rung_slots"] == [({**about, "rung": "pod"}, 1)]
    assert found["jsr_restart_budget_used"][0][1] == 3
    assert [value for _, value in found["jsr_restart_phase_seconds"]] == [1, 2, 3]
    assert found["jsr_restart_round_slots"][0][0]["round"] == "1"


def test_what_was_refused_has_a_code_and_a_time_and_nothing_else() -> None:
    found = read(metrics(attempt(code=3)))
    assert sorted(found) == ["jsr_restart_exit_code", "jsr_restart_success", "jsr_restart_timestamp_seconds"]


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers(0, 2**53), max_size=4), st.floats(0, 1e300))
def test_whatever_names_are_they_are_read_as_they_are(
    name: str, reason: str, outcomes: dict[str, int], seconds: float
) -> None:
    found = read(metrics(attempt(result(outcomes=outcomes, trigger=reason, seconds=seconds), name)))
    assert found["jsr_restart_exit_code"][0][0]["name"] == name
    assert found["jsr_restart_duration_seconds"][0][1] == seconds
    assert {labels["outcome"]: value for labels, value in found.get("jsr_restart_slots", [])} == outcomes


def test_the_file_is_whole_readable_for_all_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "jsr.prom"
    before = os.umask(0o077)
    try:
        for code in (0, 3):
            check_metrics_file(str(path))
            write_metrics(str(path), metrics(attempt(code=code)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert read(path.read_text())["jsr_restart_exit_code"][0][1] == 3
    assert [each.name for each in tmp_path.iterdir()] == ["jsr.prom"]


@pytest.mark.parametrize("what", ["folder", "no folder", "link", "pipe", "notes"])
def test_what_cannot_be_written_or_is_somebody_elses_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.prom"
    if what == "folder":
        path.mkdir()
    elif what == "no folder":
        path = tmp_path / "none" / "x.prom"
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("my notes\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="nothing was changed"):
        check_metrics_file(str(path))
    assert sorted(tmp_path.rglob("*")) == before
