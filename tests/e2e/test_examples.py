"""What is in examples/: the JobSets restart as they say, with the rights of rbac.yaml, and the CI job tells the truth.

The manifests are applied as they are, but for images that a test cluster does not have.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import jobset_restart
from tests.e2e import kubeconfigs
from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import AGENT_IMAGE, IMAGE, container, exits, jobset, replicated_job
from tests.e2e.picture import (
    Picture,
    assert_nothing_changed,
    assert_recreated,
    assert_restarted_in_place,
    conditions,
    rounds_between,
)
from tests.e2e.place import Place

EXAMPLES = Path(__file__).parents[2] / "examples"
JOBSETS = ("native", "never", "onfailure", "pytorch")
STEPS = "trap 'exit 1' TERM; while :; do touch /tmp/step; sleep 1 & wait $!; done"
SWAPPED: dict[str, dict[str, Any]] = {
    "build": {"command": ["sh", "-c", "exit 0"]},  # the agent's image has it built in
    "agent": {"image": AGENT_IMAGE, "command": None},
    "trainer": {"command": ["sh", "-c", STEPS]},
}
"""What a container is given besides the test image, by its name; None takes a field away."""


def documents(name: str) -> list[Object]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def pod_specs(manifest: Object) -> list[Object]:
    return [job["template"]["spec"]["template"]["spec"] for job in manifest["spec"]["replicatedJobs"]]


def containers(manifest: Object) -> list[Object]:
    return [each for spec in pod_specs(manifest) for each in (*spec.get("initContainers", ()), *spec["containers"])]


def runnable(manifest: Object) -> Object:
    """The same with images that are there."""
    manifest = copy.deepcopy(manifest)
    for each in containers(manifest):
        changed = {**each, "image": IMAGE, **SWAPPED.get(each["name"], {})}
        each.clear()
        each.update({key: value for key, value in changed.items() if value is not None})
    return manifest


def apply(place: Place, name: str) -> None:
    for manifest in documents(f"{name}.yaml"):
        if manifest["kind"] == "ConfigMap":
            place.api.request("POST", f"/api/v1/namespaces/{place.namespace}/configmaps", manifest)
        elif manifest["kind"] == "JobSet":
            place.create(runnable(manifest))
        elif manifest["kind"] != "ClusterRole":  # not of this namespace alone
            place.create(manifest)


def as_account(account: str, place: Place, jsr: Jsr, folder: Path) -> Jsr:
    """`jsr` with a token of this ServiceAccount and nothing else."""
    user = {"token": place.token(account)}
    return Jsr(kubeconfigs.write(folder, jsr.kubeconfig, user=user), place.namespace, folder)


# ---------------------------------------------------------------- the JobSets and the rights


def in_place(before: Picture, after: Picture) -> None:
    assert_restarted_in_place(before, after)
    assert after.jobset.restarts == before.jobset.restarts
    assert after.jobs == before.jobs


def natively(before: Picture, after: Picture) -> None:
    assert rounds_between(before, after) == 1
    in_place(before, after)


def same_jobs(before: Picture, after: Picture) -> None:
    assert_recreated(before, after, same_jobs=True)


def other_jobs(before: Picture, after: Picture) -> None:
    assert_recreated(before, after, same_jobs=False)


def other_pods(before: Picture, after: Picture) -> None:
    """Deleted Pods: the Job counts a failure each."""
    assert {pod.uid for pod in before.pods.values()}.isdisjoint(pod.uid for pod in after.pods.values())
    assert [job.failed for job in after.jobs.values()] == [len(before.pods)]
    assert after.jobset.restarts == 0


@pytest.mark.parametrize(
    ("name", "words", "trigger", "assert_outcome"),
    [
        ("native", "--in-place", "native", natively),
        ("never", "--in-place", "image", in_place),
        ("onfailure", "--in-place", "image", in_place),
        ("pytorch", "--in-place", "image", in_place),
        ("onfailure", "--via signal", "signal", in_place),
        ("never", "--recreate", "suspend", same_jobs),
        ("never", "--via jobs", "jobs", other_jobs),
        ("onfailure", "--via pods", "pods", other_pods),
    ],
    ids=["native", "never", "onfailure", "pytorch", "signal", "suspend", "jobs", "pods"],
)
def test_restarts_with_the_restarters_rights(
    place: Place, jsr: Jsr, tmp_path: Path, name: str, words: str, trigger: str, assert_outcome: Any
) -> None:
    apply(place, "rbac")
    apply(place, name)
    before = place.settled(name)
    restarter = as_account("jsr-restarter", place, jsr, tmp_path)
    result = restarter.restart(name, *words.split()).exited(0).document
    assert result["trigger"] == trigger
    after = place.settled(name)
    assert_outcome(before, after)
    reasons = {event["reason"] for event in place.api.list("events", place.namespace)["items"]}
    assert "Restarted" in reasons, "the Event is left out without a word where the permission is missing"


def test_viewer_looks_and_waits_but_does_not_restart(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    apply(place, "rbac")
    apply(place, "never")
    before = place.settled("never")
    viewer = as_account("jsr-viewer", place, jsr, tmp_path)
    assert viewer.status("never")["state"] == "Running"
    assert "never" in viewer.run("status").exited(0).stdout
    assert "did you mean never" in viewer.run("status", "nevr").exited(1).stderr
    viewer.run("wait", "never").exited(0)
    for watched in (["status", "never", "--watch"], ["status", "--watch"]):
        watching = viewer.start(*watched)
        watching.until_printed("never")
        watching.interrupt()
        watching.wait().exited(130)
    for words in (["--in-place"], ["--via", "jobs"]):
        assert "JSR601" in viewer.restart("never", *words).exited(3).stderr
    assert_nothing_changed(before, place.picture("never"))


# ---------------------------------------------------------------- the CI job


@dataclass(frozen=True)
class Recovery:
    """Runs recover.sh and the workflow's summary as a runner does: in a folder of its own, `jsr` on the path."""

    jsr: Jsr
    folder: Path

    def run(self, jobset_name: str, **more: str) -> subprocess.CompletedProcess[str]:
        variables = {"NAMESPACE": self.jsr.namespace, "JOBSET": jobset_name, **self._runner(), **more}
        self._summary.unlink(missing_ok=True)
        return self._run(["sh", str(EXAMPLES / "recover.sh")], **variables)

    def summary(self) -> str:
        script = next(step["run"] for step in steps() if step.get("name") == "Summary")
        done = self._run(["bash", "-e", "-c", script], **self._runner())
        assert done.returncode == 0, done.stderr
        return self._summary.read_text(encoding="utf-8")

    @property
    def _summary(self) -> Path:
        return self.folder / "summary.md"

    def _runner(self) -> dict[str, str]:
        return {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(self._summary)}

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        return found

    def _run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        for name, words in (("jsr", "-m jobset_restart"), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
            program.chmod(0o700)
        environment = self.jsr.environment(
            PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(Path(jobset_restart.__file__).parents[1]), **more
        )
        return subprocess.run(
            command, cwd=self.folder, env=environment, timeout=120, capture_output=True, text=True, check=False
        )


@pytest.fixture
def recovery(jsr: Jsr, tmp_path: Path) -> Recovery:
    folder = tmp_path / "runner"
    folder.mkdir()
    return Recovery(jsr, folder)


def test_recovery_of_a_jobset_that_can_be_restarted(place: Place, recovery: Recovery) -> None:
    apply(place, "never")
    before = place.settled("never")
    patient = recovery.run("never", PATIENCE="30s")
    assert patient.returncode == 0, patient.stderr
    assert_nothing_changed(before, place.picture("never"))
    assert "No restart" in recovery.summary()
    done = recovery.run("never")
    assert done.returncode == 0, done.stderr
    assert "never is well" in done.stderr
    in_place(before, place.settled("never"))
    assert recovery.result()["outcomes"] == {"restarted": 4}
    assert (recovery.folder / "events.jsonl").read_text(encoding="utf-8").count("\n") > 4
    summary = recovery.summary()
    assert "in-place by image" in summary
    assert "| workers/0/0 | restarted | never-workers-0-0-" in summary


def test_recovery_that_is_refused_needs_a_person(place: Place, recovery: Recovery) -> None:
    place.create(jobset("train", suspend=True))
    place.until_jobset("train", counted_suspended, "the last word about it")
    place.api.until(
        "jobs",
        place.namespace,
        lambda jobs: all("Suspended" in conditions(job) for job in jobs.values()),
        within=30,
        what="the last word about its Job",
    )
    before = place.picture("train")
    done = recovery.run("train")
    assert done.returncode == 3, done.stderr
    assert "result.json says why" in done.stderr
    assert recovery.result()["refused"]
    assert "JSR102" in recovery.summary()
    assert recovery.run("train", PATIENCE="1s").returncode == 0, "on a schedule, a suspended JobSet is left alone"
    assert_nothing_changed(before, place.picture("train"))


def counted_suspended(found: Object) -> bool:
    jobs = found.get("status", {}).get("replicatedJobsStatus", ())
    return "Suspended" in conditions(found) and [job.get("suspended") for job in jobs] == [1]


@pytest.mark.parametrize(("exit_code", "expected", "end"), [(0, 0, "Completed"), (1, 5, "Failed")])
def test_recovery_of_a_jobset_that_is_over(
    place: Place, recovery: Recovery, exit_code: int, expected: int, end: str
) -> None:
    over = replicated_job("workers", container(command=exits(exit_code, after=1)))
    place.create(jobset("train", over, max_restarts=0))
    place.until_jobset("train", lambda found: found.get("status", {}).get("terminalState") == end, "its end")
    done = recovery.run("train", PATIENCE="1m")
    assert done.returncode == expected, done.stderr
    assert f"train has {end.lower()}" in done.stderr


def test_recovery_where_there_is_nothing(place: Place, recovery: Recovery) -> None:
    done = recovery.run("train")
    assert done.returncode == 1
    assert f"not found in namespace {place.namespace}" in done.stderr


# ---------------------------------------------------------------- the files


def steps() -> list[dict[str, Any]]:
    (workflow,) = documents("github-actions.yaml")
    found: list[dict[str, Any]] = workflow["jobs"]["recover"]["steps"]
    return found


def test_workflow_is_sound(tmp_path: Path) -> None:
    (workflow,) = documents("github-actions.yaml")
    on: Any = True  # what YAML 1.1 makes of the word
    assert {"schedule", "workflow_dispatch"} <= workflow[on].keys()
    scripts = [step["run"] for step in steps() if "run" in step]
    assert "sh examples/recover.sh" in scripts
    for number, script in enumerate(scripts):
        assert "${{" not in script, "what somebody typed in must not become part of a script"
        file = tmp_path / f"{number}.sh"
        file.write_text(script, encoding="utf-8")
        check("bash", "-n", str(file))
    (upload,) = (step["with"] for step in steps() if "upload-artifact" in step.get("uses", ""))
    assert upload["path"].split() == ["events.jsonl", "result.json"]


def test_recovery_script_is_posix_shell() -> None:
    script = EXAMPLES / "recover.sh"
    assert os.access(script, os.X_OK)
    check("sh", "-n", str(script))
    if shutil.which("shellcheck"):
        check("shellcheck", str(script))


def check(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", JOBSETS)
def test_images_are_public_and_pinned(name: str) -> None:
    (manifest,) = (each for each in documents(f"{name}.yaml") if each["kind"] == "JobSet")
    assert manifest["metadata"]["name"] == name
    for each in containers(manifest):
        assert re.fullmatch(r"docker\.io/[a-z]+/[a-z]+:\d[\w.-]+", each["image"])


def test_training_script_is_python() -> None:
    (config,) = (each for each in documents("pytorch.yaml") if each["kind"] == "ConfigMap")
    ast.parse(config["data"]["train.py"])


def test_backoff_limit_leaves_the_room_it_says() -> None:
    (manifest,) = documents("onfailure.yaml")
    (job,) = (each["template"]["spec"] for each in manifest["spec"]["replicatedJobs"])
    assert job["backoffLimit"] == 10 * job["parallelism"] * len(containers(manifest)) + 1
