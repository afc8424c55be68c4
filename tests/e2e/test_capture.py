"""`jsr capture`: the evidence of a workload, complete, without secrets, within bounds."""

from __future__ import annotations

import json
import os
import resource
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import kubeconfigs
from tests.e2e.command import Jsr
from tests.e2e.manifests import container, exits, handles_term, jobset, replicated_job
from tests.e2e.picture import (
    OPERATION,
    Picture,
    assert_nothing_changed,
    assert_recreated,
    assert_restarted_in_place,
    assert_same_jobset,
    assert_untouched,
)
from tests.e2e.place import Place

SECRET = "Zq7-hunter2"
ESCAPE = "\x1b[2J\x1b]0;evil\x07"
LOUD = ["sh", "-c", f"trap 'exit 143' TERM; while :; do echo 'said {ESCAPE}'; sleep 1 & wait $!; done"]


def talkative(**more: Any) -> dict[str, Any]:
    """A container with a secret in its environment and another among its arguments."""
    env = [
        {"name": "HF_TOKEN", "value": SECRET},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    return container(command=LOUD, args=["--api-key", SECRET], env=env, **more)


def files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with tarfile.open(path) as archive:
        found = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive if each.isfile()}
        return {name: file.read() for name, file in found.items() if file}


@pytest.mark.short
@pytest.mark.parametrize("name", ["evidence", "evidence.tar.gz"])
def test_capture_of_all_there_is(place: Place, jsr: Jsr, tmp_path: Path, name: str) -> None:
    place.create(jobset("train", replicated_job("driver", talkative(), pods=1), replicated_job("workers", talkative())))
    before = place.settled("train")
    ended = jsr.run("capture", "train", "--to", str(tmp_path / name), "-o", "json").exited(0)
    assert_untouched(before, place.picture("train"))
    assert_same_jobset(before, place.picture("train"))
    found = files(tmp_path / name)
    index = json.loads(found["index.json"])
    assert index == {**ended.document, "seconds": index["seconds"]}
    assert (index["complete"], index["expected"], len(index["slots"]), index["formatVersion"]) == (True, 3, 3, 1)
    pods = [pod["metadata"]["name"] for pod in place.pods("train")]
    assert sorted(slot["pod"] for slot in index["slots"]) == sorted(pods)
    for pod in pods:
        folder = f"pods/{pod}"
        assert f"said {ESCAPE}".encode() in found[f"{folder}/worker.log"]
        assert b"=process 1" in found[f"{folder}/worker.stacks.txt"]
        written = json.loads(found[f"{folder}/pod.json"])
        env = {each["name"]: each for each in written["spec"]["containers"][0]["env"]}
        assert env["HF_TOKEN"]["value"] == "[redacted]"
        assert env["POD"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        assert {event["involvedObject"]["name"] for event in json.loads(found[f"{folder}/events.json"])} <= {pod}
    assert json.loads(found["objects/jobset-train.json"])["metadata"]["name"] == "train"
    assert json.loads(found["diagnosis.json"])["kind"] == "Diagnosis"
    nodes = {pod.node for pod in before.pods.values()}
    assert {each for each in found if each.startswith("nodes/")} == {f"nodes/{node}.json" for node in nodes}
    assert not [each for each, data in found.items() if SECRET.encode() in data]
    for each in (tmp_path / name, *(tmp_path / name).rglob("*")):
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)


def test_what_crashed_comes_first_with_its_last_words(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    crashes = container(command=exits(3, after=1))
    place.create(
        jobset(
            "train",
            replicated_job("fine", container(command=handles_term()), pods=3),
            replicated_job("zcrash", crashes, pods=1, restart_policy="OnFailure", backoff_limit=100),
        )
    )
    place.until_pods("train", lambda pods: any(_restarts(pod) >= 2 for pod in pods), "a container that crashed twice")
    ended = jsr.run("capture", "train", "--to", str(tmp_path / "e"), "--capture-max", "2", "-o", "json")
    first, *others = ended.document["slots"]
    assert (first["slot"], len(others)) == ("zcrash/0/0", 1)
    assert any("was restarted" in text for text in first["odd"])
    had = {*first["files"]} | {each["what"] for each in first["missing"]}
    assert {f"pods/{first['pod']}/worker.previous.log", "previous log"} & had


def _restarts(pod: dict[str, Any]) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))


def test_without_permissions_it_has_what_it_may(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    place.settled("train")
    place.grant("reader")
    who = kubeconfigs.write(tmp_path, jsr.kubeconfig, user={"token": place.token("reader")})
    limited = Jsr(who, place.namespace, tmp_path)
    ended = limited.run("capture", "train", "--to", str(tmp_path / "e"), "-o", "json").exited(9)
    index = ended.document
    assert not index["complete"]
    reasons = {each["what"]: each["reason"] for slot in index["slots"] for each in slot["missing"]}
    assert {"log", "stacks"} <= set(reasons)
    assert "permission" in reasons["log"]
    assert all(any(name.endswith("pod.json") for name in slot["files"]) for slot in index["slots"])


def test_what_is_there_is_never_overwritten(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    (tmp_path / "mine.tar.gz").write_text("x")
    for name in ("mine", "mine.tar.gz", "no/such", "mine/file"):
        ended = jsr.run("capture", "train", "--to", str(tmp_path / name)).exited(2)
        assert "nothing was changed" in ended.stderr
    assert (tmp_path / "mine.tar.gz").read_text() == "x"


def test_ctrl_c_leaves_a_whole_archive(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", replicated_job(pods=2)))
    place.settled("train")
    path = tmp_path / "e.tar.gz"
    running = jsr.start("capture", "train", "--to", str(path), "-o", "json")
    while not (path.exists() and os.stat(path).st_size > 100):
        assert not running.over, str(running)
    running.interrupt()
    ended = running.wait()
    if ended.code:  # else it was through before the signal came
        assert (ended.code, ended.document["cutShort"]) == (130, "interrupted")
    assert json.loads(files(path)["index.json"])["kind"] == "Capture"


def test_a_selection(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers")))
    place.settled("train")
    run = jsr.run("capture", "train", "--replicated-job", "driver", "--to", str(tmp_path / "e"), "-o", "json")
    assert [slot["slot"] for slot in run.exited(0).document["slots"]] == ["driver/0/0"]
    assert (
        "did you mean" in jsr.run("capture", "train", "--group", "drivr", "--to", str(tmp_path / "f")).exited(2).stderr
    )
    assert not (tmp_path / "f").exists()


# ---------------------------------------------------------------- before a restart


@pytest.mark.short
@pytest.mark.parametrize("how", ["--in-place", "--recreate"])
def test_a_restart_leaves_the_evidence_of_what_it_ended(place: Place, jsr: Jsr, tmp_path: Path, how: str) -> None:
    place.create(jobset("train", replicated_job("workers", talkative())))
    before = place.settled("train")
    events, path = tmp_path / "events", tmp_path / "e"
    ended = jsr.restart("train", how, "--capture", str(path), "--events", str(events)).exited(0)
    told = ended.document["capture"]
    assert (told["path"], told["captured"], told["missing"], told["complete"]) == (str(path), 2, 0, True)
    found = files(path)
    for pod in before.pods.values():
        written = json.loads(found[f"pods/{pod.name}/pod.json"])
        assert written["metadata"]["uid"] == pod.uid
        assert {each["restartCount"] for each in written["status"]["containerStatuses"]} == {0}
    if how == "--in-place":
        assert_restarted_in_place(before, place.settled("train"))
    else:
        assert_recreated(before, place.settled("train"), same_jobs=True)
    names = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    assert names[:3] == ["capturing", "captured", "planned"]


def untouched(place: Place, before: Picture) -> None:
    assert_nothing_changed(before, place.picture("train"))
    assert OPERATION not in place.jobset("train")["metadata"].get("annotations", {})


def test_where_it_cannot_be_written_nothing_is_begun(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    (tmp_path / "e.tar.gz").write_text("mine")
    for name in ("e.tar.gz", "no/such", "e.zip"):
        for more in ([], ["--dry-run", "client"]):
            ended = jsr.restart("train", "--in-place", "--capture", str(tmp_path / name), *more).exited(2)
            assert "nothing was changed" in ended.stderr
    untouched(place, before)
    assert (tmp_path / "e.tar.gz").read_text() == "mine"


def test_a_dry_run_says_what_would_be_captured(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    path = str(tmp_path / "e")
    asked = ("train", "--in-place", "--capture", path, "--capture-max", "1", "--dry-run", "client")
    capture = jsr.restart(*asked).exited(0).document["capture"]
    assert (capture["path"], capture["slots"], capture["expected"], capture["seconds"]) == (path, 1, 2, 30.0)
    untouched(place, before)
    assert not os.path.lexists(path)


def test_ctrl_c_during_the_capture_changes_nothing(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """The diagnosis alone takes three seconds: it looks at the logs twice."""
    place.create(jobset("train"))
    before = place.settled("train")
    path = tmp_path / "e.tar.gz"
    running = jsr.start("restart", "train", "--in-place", "--yes", "--capture", str(path), "-o", "json")
    running.until_said("capturing the evidence")
    while not path.exists():
        assert not running.over, str(running)
    running.interrupt()
    ended = running.wait().exited(130)
    assert "nothing was changed" in ended.stderr
    untouched(place, before)
    assert json.loads(files(path)["index.json"])["cutShort"] == "interrupted"


def test_a_disk_that_fills_stops_no_restart(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", replicated_job(pods=4)))
    before = place.settled("train")
    path = tmp_path / "e.tar.gz"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, limits[1]))  # inherited: a stand-in for a disk that is full
    try:
        running = jsr.start("restart", "train", "--in-place", "--yes", "--capture", str(path), "-o", "json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    capture = running.wait().exited(0).document["capture"]
    assert not capture["complete"]
    assert capture["missing"] > 0
    assert capture["reason"].startswith("it cannot be written any more")
    assert_restarted_in_place(before, place.settled("train"))
    assert json.loads(files(path)["index.json"])["complete"] is False


def test_when_its_time_is_over_the_restart_goes_on(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """Two looks at the logs alone take three seconds."""
    place.create(jobset("train"))
    before = place.settled("train")
    asked = ("--in-place", "--capture", str(tmp_path / "e"), "--capture-timeout", "1s")
    capture = jsr.restart("train", *asked).exited(0).document["capture"]
    assert (capture["complete"], capture["missing"] > 0) == (False, True)
    assert_restarted_in_place(before, place.settled("train"))
