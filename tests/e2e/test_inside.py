"""The examples that run inside the cluster: the CronJob, the Job, and what a Tekton task would run there.

They need an image with `jsr`. JSR_TEST_JSR_IMAGE names one; without it, nodes that have the files of this machine (a
test cluster on it) run the `jsr` that is tested, from its own Python, in the image that the other scenarios use.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import jobset_restart
from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import IMAGE
from tests.e2e.picture import assert_restarted_in_place
from tests.e2e.place import Place
from tests.e2e.test_examples import EXAMPLES, apply, documents

GIVEN = os.environ.get("JSR_TEST_JSR_IMAGE", "")
Fitted = Callable[[Object], Object]


def folders(programs: Path) -> list[str]:
    """What the `jsr` that is tested needs of this machine."""
    package = Path(jobset_restart.__file__).resolve().parents[1]
    own = [programs, package, Path(sys.prefix), Path(sys.base_prefix)]
    return [*dict.fromkeys(map(str, own)), *(each for each in ("/lib", "/lib64", "/usr/lib") if os.path.isdir(each))]


def on_this_machine(pod_spec: Object, programs: Path) -> Object:
    """The Pod with the image that every test cluster has, and `jsr` from this machine."""
    found = copy.deepcopy(pod_spec)
    mounts = [
        {"name": f"here-{number}", "mountPath": each, "readOnly": True} for number, each in enumerate(folders(programs))
    ]
    found["volumes"] = [
        *found.get("volumes", ()),
        *({"name": each["name"], "hostPath": {"path": each["mountPath"]}} for each in mounts),
    ]
    for each in found["containers"]:
        each["image"] = IMAGE
        each["volumeMounts"] = [*each.get("volumeMounts", ()), *mounts]
        each["env"] = [*each.get("env", ()), {"name": "PATH", "value": f"{programs}:/bin:/usr/bin"}]
        each["command"] = [word.replace("/usr/local/bin", str(programs)) for word in each["command"]]
    return found


@pytest.fixture
def fitted(place: Place, tmp_path: Path) -> Fitted:
    """Makes a Pod's spec one that can run here; skips where none can."""
    if GIVEN:
        return lambda spec: {**spec, "containers": [{**each, "image": GIVEN} for each in spec["containers"]]}
    if not os.environ.get("JSR_TEST_KUBECONFIG"):
        pytest.skip("the embedded cluster runs no containers")
    programs = tmp_path / "programs"
    programs.mkdir()
    package = Path(jobset_restart.__file__).resolve().parents[1]
    jsr = programs / "jsr"
    jsr.write_text(f'#!/bin/sh\nPYTHONPATH="{package}" exec "{sys.executable}" -B -m jobset_restart "$@"\n')
    shutil.copy(EXAMPLES / "recover.sh", programs)
    for each in (programs, *programs.iterdir()):
        each.chmod(0o755)
    probe = {"name": "probe", "image": "any", "command": ["jsr", "--version"]}
    spec = on_this_machine({"restartPolicy": "Never", "containers": [probe]}, programs)
    place.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec})
    end = time.monotonic() + 60
    while (phase := place.api.get("pods", place.namespace, "probe")["status"].get("phase")) != "Succeeded":
        if phase == "Failed" or time.monotonic() > end:
            pytest.skip("the nodes do not have this machine's files; JSR_TEST_JSR_IMAGE names an image with jsr")
        time.sleep(0.5)
    return lambda spec: on_this_machine(spec, programs)


def until_ended(place: Place, name: Callable[[str], bool]) -> Object:
    """The Job of that name, once it has ended."""
    jobs = place.api.until(
        "jobs",
        place.namespace,
        lambda found: any(name(each) and _end(job) for each, job in found.items()),
        within=200,
        what="the end of the Job",
    )
    return next(job for each, job in jobs.items() if name(each) and _end(job))


def _end(job: Object) -> str:
    found = job.get("status", {}).get("conditions", ())
    return next(
        (each["type"] for each in found if each["status"] == "True" and each["type"] in ("Complete", "Failed")), ""
    )


def test_the_cronjob_restarts_a_jobset(place: Place, jsr: Jsr, fitted: Fitted) -> None:
    apply(place, "rbac")
    apply(place, "never")
    before = place.settled("never")
    (cronjob,) = documents("cronjob.yaml")
    cronjob["spec"]["schedule"] = "* * * * *"
    template = cronjob["spec"]["jobTemplate"]["spec"]["template"]
    variables = {each["name"]: each for each in template["spec"]["containers"][0]["env"]}
    variables["JOBSET"]["value"] = "never"
    variables["PATIENCE"]["value"] = ""
    template["spec"] = fitted(template["spec"])
    path = f"/apis/batch/v1/namespaces/{place.namespace}/cronjobs"
    place.api.request("POST", path, cronjob)
    job = until_ended(place, lambda name: name.startswith("jsr-recover-"))
    place.api.request("DELETE", f"{path}/jsr-recover")
    assert _end(job) == "Complete", said(place, job)
    assert_restarted_in_place(before, place.settled("never"))
    newest = jsr.run("history", "never", "-o", "json").exited(0).document["items"][0]
    assert (newest["state"], newest["exitCode"]) == ("finished", 0)
    assert newest["asked"].startswith("--in-place")


def test_the_job_restarts_a_jobset(place: Place, jsr: Jsr, fitted: Fitted) -> None:
    apply(place, "rbac")
    apply(place, "never")
    before = place.settled("never")
    (job,) = documents("job.yaml")
    template = job["spec"]["template"]
    command = template["spec"]["containers"][0]["command"]
    command[command.index("llama")] = "never"
    template["spec"] = fitted(template["spec"])
    place.create(job)
    ended = until_ended(place, lambda name: name.startswith("jsr-restart-"))
    assert _end(ended) == "Complete", said(place, ended)
    assert_restarted_in_place(before, place.settled("never"))


def said(place: Place, job: Object) -> str:
    """What the Pods of the Job say of themselves."""
    pods = place.api.list("pods", place.namespace, f"batch.kubernetes.io/job-name={job['metadata']['name']}")["items"]
    return "\n".join(str(pod["status"].get("containerStatuses")) for pod in pods)


# ---------------------------------------------------------------- the files


def pod_spec_of(name: str) -> dict[str, Any]:
    (manifest,) = documents(name)
    spec = manifest["spec"]
    found: dict[str, Any] = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]
    return found


@pytest.mark.parametrize("name", ["cronjob.yaml", "job.yaml"])
def test_they_run_with_the_rights_of_rbac_and_without_any_other(name: str) -> None:
    spec = pod_spec_of(name)
    accounts = {each["metadata"]["name"] for each in documents("rbac.yaml") if each["kind"] == "ServiceAccount"}
    assert spec["serviceAccountName"] in accounts
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert spec["securityContext"]["runAsNonRoot"]


def test_the_tekton_task_runs_a_restart_and_tells_its_exit_code(tmp_path: Path) -> None:
    task = yaml.safe_load((EXAMPLES / "tekton-task.yaml").read_text(encoding="utf-8"))
    (step,) = task["spec"]["steps"]
    shell, flag, script, name = step["command"]
    for result in task["spec"]["results"]:
        script = script.replace(f"$(results.{result['name']}.path)", str(tmp_path / result["name"]))
    assert "$(" not in script, "what somebody typed in must not become part of a script"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jsr").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\nexit 3\n')
    (programs / "jsr").chmod(0o700)
    done = subprocess.run(
        [shell, flag, script, name, "llama", "--in-place"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        timeout=30,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 3
    assert (tmp_path / "exit-code").read_text() == "3"
    assert (tmp_path / "said").read_text().startswith("restart llama --in-place --yes")
