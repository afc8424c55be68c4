"""In place by image: containers of running Pods are started again whatever their restart policy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, exits, jobset, replicated_job
from tests.e2e.picture import (
    assert_nothing_counted,
    assert_restarted_in_place,
    assert_same_jobset,
    assert_untouched,
)
from tests.e2e.place import Place


@pytest.mark.short
def test_never_with_backoff_limit_0_twice_in_a_row(place: Place, jsr: Jsr) -> None:
    two = [container(), container("log", IGNORES_TERM)]
    place.create(jobset("train", replicated_job("workers", *two, jobs=2, pods=2, grace=1)))
    before = place.settled("train")
    images = {before.pods["workers/0/0"].containers["worker"].image}
    for number in (1, 2):
        result = jsr.restart("train", "--in-place").exited(0).document
        assert (result["strategy"], result["trigger"], result["exitCode"]) == ("in-place", "image", 0)
        assert result["outcomes"] == {"restarted": 4}
        assert result["writes"] == 4
        after = place.settled("train")
        assert_restarted_in_place(before, after)
        assert_same_jobset(before, after)
        images.add(after.pods["workers/0/0"].containers["worker"].image)
        assert len(images) == number + 1, "each restart needs another reference to the image"
        before = after
    status = jsr.status("train")
    assert (status["state"], status["ready"], status["expected"]) == ("Running", 4, 4)
    assert (status["restarts"], status["containerRestarts"]) == (0, 16)
    assert status["operation"]["state"] == "finished"
    assert status["operation"]["exitCode"] == 0


def test_any_number_of_times_in_any_rhythm(place: Place, jsr: Jsr) -> None:
    """The kubelet holds a container back whose reference was used before; a restartPolicy Never Pod then ends."""
    place.create(jobset("train", replicated_job("workers"), max_restarts=0))
    before = place.settled("train")
    images = {before.pods["workers/0/0"].containers["worker"].image}
    for number in range(1, 11):
        result = jsr.restart("train", "--in-place").exited(0).document
        assert result["outcomes"] == {"restarted": 2}
        after = place.settled("train")
        assert_restarted_in_place(before, after)
        assert_same_jobset(before, after)
        images.add(after.pods["workers/0/0"].containers["worker"].image)
        assert len(images) == number + 1
        before = after


@pytest.mark.skipif("JSR_TEST_IMAGE" in os.environ, reason="the image may be of another registry")
@pytest.mark.parametrize("name", ["busybox:1.36", "docker.io/busybox:1.36", "index.docker.io/library/busybox:1.36"])
def test_short_names_of_an_image(place: Place, jsr: Jsr, name: str) -> None:
    place.create(jobset("train", replicated_job("workers", container(image=name))))
    before = place.settled("train")
    assert jsr.restart("train", "--in-place").exited(0).document["trigger"] == "image"
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    repository = name.partition(":")[0]
    assert after.pods["workers/0/0"].containers["worker"].image.startswith(f"{repository}:1.36-jsr-")


@pytest.mark.short
def test_one_container_of_two(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(), container("log", IGNORES_TERM))))
    before = place.settled("train")
    jsr.restart("train", "--in-place", "-c", "worker").exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after, containers={"worker"})
    assert_same_jobset(before, after)


def test_container_that_does_not_exist(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    ended = jsr.restart("train", "--in-place", "-c", "wroker").exited(3)
    assert "hint: did you mean worker?" in ended.stderr
    after = place.picture("train")
    assert_untouched(before, after)


@pytest.mark.short
@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (["--replicated-job", "driver"], {"driver/0/0"}),
        (["--replicated-job", "workers", "--job-index", "1"], {"workers/1/0", "workers/1/1"}),
        (["-l", "batch.kubernetes.io/job-completion-index=1"], {"workers/0/1", "workers/1/1"}),
        (["--pod", "{workers/0/1}", "--pod", "{driver/0/0}"], {"workers/0/1", "driver/0/0"}),
        (["--node", "{node}"], None),
    ],
    ids=["replicated-job", "job-index", "label", "pods", "node"],
)
def test_part_of_a_jobset(place: Place, jsr: Jsr, selection: list[str], meant: set[str] | None) -> None:
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2, pods=2)))
    before = place.settled("train")
    node = before.pods["workers/0/0"].node
    if meant is None:
        meant = {slot for slot, pod in before.pods.items() if pod.node == node}
    names = {f"{{{slot}}}": pod.name for slot, pod in before.pods.items()} | {"{node}": node}
    result = jsr.restart("train", "--in-place", *(names.get(word, word) for word in selection)).exited(0).document
    after = place.settled("train")
    assert_restarted_in_place(before, after, slots=meant)
    assert_same_jobset(before, after)
    assert {slot["slot"] for slot in result["slots"] if slot["outcome"] == "restarted"} == meant
    assert {slot["slot"] for slot in result["slots"] if slot["outcome"] == "unchanged"} == before.pods.keys() - meant


def test_selection_that_takes_nothing(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    assert "JSR104" in jsr.restart("train", "--in-place", "-l", "no=such-label").exited(3).stderr
    mistyped = jsr.restart("train", "--in-place", "--replicated-job", "wokers").exited(3).stderr
    assert "JSR106" in mistyped
    assert "hint: did you mean workers?" in mistyped
    half = jsr.restart("train", "--in-place", "--pod", before.pods["workers/0/0"].name, "--pod", "nosuchpod").exited(3)
    assert "JSR106" in half.stderr
    assert "nosuchpod" in half.stderr
    malformed = jsr.restart("train", "--in-place", "-l", "a in (b").exited(2)
    assert "a in (b" in malformed.stderr
    assert_untouched(before, place.picture("train"))


def test_crash_looping_container_is_freed(place: Place, jsr: Jsr) -> None:
    loop = container("loop", exits(1, after=6))
    place.create(jobset("train", replicated_job("workers", loop, pods=1, restart_policy="OnFailure", backoff_limit=99)))
    place.until_pods("train", lambda pods: [*map(_fallen, pods)] == [2], "the second back-off, 20 s")
    before = place.picture("train")
    status = jsr.status("train")
    (slot,) = status["notReady"]
    assert (slot["slot"], slot["container"], slot["restarts"]) == ("workers/0/0", "loop", 2)
    assert "Error" in slot["reason"] or slot["reason"] == "CrashLoopBackOff"
    result = jsr.restart("train", "--in-place", "--min-ready-seconds", "0").exited(0).document
    after = place.picture("train")
    assert result["outcomes"] == {"restarted": 1}
    assert result["seconds"] < 6, "it did not wait for the back-off"
    old, new = before.pods["workers/0/0"], after.pods["workers/0/0"]
    assert new.uid == old.uid
    assert new.containers["loop"].id != old.containers["loop"].id
    assert new.containers["loop"].restarts == 3
    assert_nothing_counted(before, after)


def test_crash_looping_container_is_judged_over_time(place: Place, jsr: Jsr) -> None:
    """It is Ready for the seconds before it crashes again."""
    loop = container("loop", exits(1, after=6))
    place.create(jobset("train", replicated_job("workers", loop, pods=1, restart_policy="OnFailure", backoff_limit=99)))
    place.until_pods("train", lambda pods: [*map(_fallen, pods)] == [1], "the first back-off")
    plan = jsr.run("restart", "train", "--dry-run=client", "-o", "json").exited(0).document
    (note,) = (finding for finding in plan["findings"] if finding["id"] == "JSR212")
    assert "loop of workers/0/0 after 6 s" in note["summary"] or "after 7 s" in note["summary"]
    result = jsr.restart("train", "--in-place", "--timeout", "25s").exited(124).document
    assert result["outcomes"] == {"timed out": 1}


def _fallen(pod: Object) -> int:
    """The restarts of a Pod whose container is down, be it shown as terminated or in CrashLoopBackOff; else -1."""
    statuses = pod["status"].get("containerStatuses", ())
    return sum(-1 if "running" in status["state"] else status["restartCount"] for status in statuses)


def test_sent_and_not_waited_for(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=4)))
    before = place.settled("train")
    result = jsr.restart("train", "--in-place", "--no-wait").exited(0).document
    assert result["writes"] == 2
    assert result["seconds"] < 4, "it did not wait for the containers to stop"
    place.until_pods("train", lambda pods: all(_restarts(pod) == 1 for pod in pods), "the restart that was sent")
    assert_restarted_in_place(before, place.settled("train"))


def _restarts(pod: Object) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", ()))


def test_ready_for_some_seconds(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    result = jsr.restart("train", "--in-place", "--min-ready-seconds", "3").exited(0).document
    assert result["seconds"] >= 3
    assert_restarted_in_place(before, place.settled("train"))


def test_event_file_tells_the_whole_story(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    place.settled("train")
    file = tmp_path / "events.jsonl"
    jsr.restart("train", "--in-place", "--events", str(file)).exited(0)
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["planned", "claimed"]
    assert kinds[-1] == "finished"
    for slot in ("workers/0/0", "workers/0/1"):
        mine = [event["event"] for event in events if event.get("slot") == slot]
        assert mine[0] == "triggered", slot
        assert mine[-1] == "ready", slot
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    replayed = jsr.run("replay", str(file), "--speed", "1000", namespaced=False).exited(0)
    assert "train" in replayed.stdout + replayed.stderr
