"""What a restart leaves for others to read, whatever comes of it: the metrics, and what a workflow is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e import manifests as make
from tests.restart.stage import Stage, stage
from tests.restart.test_fallback import EVERY_POD
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import Ended, run

GPU = "nvidia.com/gpu"


def restart(on: Stage, *options: str) -> Ended:
    ended = run(on.cluster, "restart", NAME, "-n", NAMESPACE, "--in-place", "--yes", "-o", "json", *options)
    assert not ended.crash, ended.stderr
    return ended


def value(file: Path, metric: str) -> float:
    (found,) = re.findall(rf"^jsr_restart_{metric}\{{[^}}]*\}} (\S+)$", file.read_text(), re.MULTILINE)
    return float(found)


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The summary of a step of GitHub Actions."""
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def test_metrics_of_a_restart_and_of_one_that_was_refused(four: Stage, tmp_path: Path) -> None:
    file = tmp_path / "jsr.prom"
    done = restart(four, "--metrics-file", str(file))
    result = json.loads(done.stdout)
    assert (value(file, "exit_code"), value(file, "success")) == (0, 1)
    assert value(file, "pod_down_seconds") == result["podSeconds"]
    assert 'phase="trigger_to_ready",quantile="0.9"' in file.read_text()
    first = value(file, "timestamp_seconds")
    refused = restart(four, "--node", "no-such-node", "--metrics-file", str(file))
    assert (refused.code, value(file, "exit_code")) == (3, 3)
    assert value(file, "timestamp_seconds") >= first
    assert "jsr_restart_slots" not in file.read_text()


def test_metrics_where_there_is_no_such_workload(four: Stage, tmp_path: Path) -> None:
    file = tmp_path / "jsr.prom"
    ended = run(four.cluster, "restart", "nobody", "-n", NAMESPACE, "--yes", "--metrics-file", str(file))
    assert (ended.code, value(file, "exit_code")) == (1, 1)
    assert 'name="nobody"' in file.read_text()


@pytest.mark.parametrize(
    "options",
    [["--metrics-file", "{folder}/none/x.prom"], ["--metrics-file", "{folder}"], ["--gpu-hour-price", "nan"]],
)
def test_bad_options_are_refused_before_anything_is_asked(four: Stage, tmp_path: Path, options: list[str]) -> None:
    ended = restart(four, *(each.format(folder=tmp_path) for each in options))
    assert ended.code == 2, ended.stderr
    assert four.record == {}


def test_a_dry_run_has_no_metrics(four: Stage, tmp_path: Path) -> None:
    ended = restart(four, "--dry-run=client", "--metrics-file", str(tmp_path / "x.prom"))
    assert (ended.code, list(tmp_path.glob("*.prom"))) == (2, [])


def test_gpus_that_are_down_are_counted_and_priced(tmp_path: Path) -> None:
    gpus = {"requests": {GPU: "8"}, "limits": {GPU: "8"}}
    container = make.container(command=make.IGNORES_TERM, resources=gpus)
    with stage(tmp_path, make.jobset(NAME, make.replicated_job("workers", container, pods=2, grace=2))) as two:
        plan = json.loads(restart(two, "--dry-run=client", "--gpu-hour-price", "3").stdout)
        assert plan["predictedResourceSeconds"][GPU] > 0
        assert plan["predictedGpuCost"] > 0
        ended = restart(two, "--gpu-hour-price", "3")
        result = json.loads(ended.stdout)
        assert result["resourceSeconds"] == {GPU: pytest.approx(8 * result["podSeconds"], abs=0.02)}
        assert result["gpuCost"] == pytest.approx(result["resourceSeconds"][GPU] / 1200, abs=0.001)
        shown = run(two.cluster, "history", NAME, "-n", NAMESPACE, "--gpu-hour-price", "3", "-o", "json").stdout
        (entry,) = json.loads(shown)["items"]
        assert (entry["resourceSeconds"], entry["gpuCost"]) == (result["resourceSeconds"], result["gpuCost"])
        table = run(two.cluster, "history", NAME, "-n", NAMESPACE, "-o", "wide").stdout
        assert re.search(rf"down: .*Pod-seconds; {GPU} \d+ s", table)


def test_a_workflow_gets_a_summary_and_stdout_stays_one_document(four: Stage, workflow: Path) -> None:
    done = restart(four)
    assert json.loads(done.stdout)["exitCode"] == 0
    assert "::error" not in done.stdout + done.stderr
    page = workflow.read_text()
    assert page.startswith("# before\n### JobSet default/train: restarted\n")
    assert "| workers/0/0 | restarted |" in page


def test_a_workflow_is_told_of_a_refusal_once(four: Stage, workflow: Path) -> None:
    refused = restart(four, "--node", "no-such-node")
    assert refused.code == 3
    json.loads(refused.stdout)
    assert re.search(r"^::error title=JSR\d+ JobSet default/train::", refused.stderr, re.MULTILINE)
    assert workflow.read_text().count("###") == 1
    blockers = [each for each in json.loads(refused.stdout)["findings"] if each["severity"] == "blocker"]
    assert refused.stderr.count("::error ") == len(blockers) > 0


def test_a_workflow_is_told_of_rounds_that_were_needed_and_of_failures(four: Stage, workflow: Path) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    assert "::warning title=JobSet default/train needed 2 rounds::" in restart(four, "--fallback", "recreate").stderr
    failed = restart(four)
    assert f"::error title=JobSet default/train%3A exit code {failed.code}::" in failed.stderr
    assert failed.code


def test_a_summary_that_cannot_be_written_is_said_and_changes_nothing(
    four: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    done = restart(four)
    assert done.code == 0
    assert "the summary could not be added" in done.stderr


def test_what_stands_in_the_way_of_the_file_at_the_end_is_said(four: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    four.loop.call_later(1.0, folder.rmdir)
    done = restart(four, "--metrics-file", str(folder / "x.prom"))
    assert done.code == 0
    assert "nothing was written" in done.stderr
