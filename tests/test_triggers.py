"""Triggers: which requests they would send, as data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.triggers import jobs, mark_of, native, pods, release, suspend
from jobset_restart.triggers.image import image, parse, rotated, running_digest
from jobset_restart.triggers.signal import Means, Probe, command, means, number, read_probe
from jobset_restart.writes import Exec, Permission, Write, permission, pod_path
from tests import build

D = build.DIGEST


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("busybox", "busybox", "", ""),
        ("busybox:1.36", "busybox", "1.36", ""),
        ("host:5000/team/app", "host:5000/team/app", "", ""),
        ("host:5000/team/app:v1", "host:5000/team/app", "v1", ""),
        (f"app:v1@{D}", "app", "v1", D),
        (f"app@{D}", "app", "", D),
    ],
)
def test_image_references_are_taken_apart(text: str, repository: str, tag: str, digest: str) -> None:
    reference = parse(text)
    assert (reference.repository, reference.tag, reference.digest) == (repository, tag, digest)
    assert str(reference) == text


def test_references_rotate_and_the_tag_of_the_template_comes_back() -> None:
    first = rotated("app:1", D, "app:1")
    second = rotated(first, D, "app:1")
    third = rotated(second, D, "app:1")
    assert (first, second, third) == (f"app:1@{D}", f"app@{D}", f"app:1@{D}")


@given(st.from_regex(r"\A([a-z]+(:[0-9]{2,4})?/)?[a-z]+(/[a-z]+)?(:[a-z0-9.]+)?\Z"))
def test_every_rotation_changes_the_reference_and_pins_the_same_digest(image_name: str) -> None:
    seen = image_name
    for _ in range(4):
        other = rotated(seen, D, image_name)
        assert other != seen
        assert parse(other).digest == D
        assert parse(other).repository == parse(image_name).repository
        seen = other


@pytest.mark.parametrize(
    ("image_id", "known"),
    [
        (f"docker.io/library/app@{D}", True),
        (f"docker-pullable://app@{D}", True),
        (f"registry.example/mirror/app@{D}", False),
        (D, False),
        ("", False),
    ],
)
def test_a_digest_is_believed_only_for_the_repository_of_the_spec(image_id: str, known: bool) -> None:
    pod = build.pod(0, statuses=[build.status(imageID=image_id)])
    found = running_digest(pod.spec.containers[0], pod.status.container_statuses[0])
    assert found == (D if known else "")


def test_image_patches_only_the_containers_in_scope_and_marks_the_pod() -> None:
    both = [build.container("worker"), build.container("log")]
    pod = build.pod(0, containers=both, statuses=[build.status("worker", 2), build.status("log")])
    snapshot = build.snapshot(build.jobset(pods=1), [pod])
    (write,) = image(snapshot.slots.values(), ["log"], "op1")
    assert [c["name"] for c in write.body["spec"]["containers"]] == ["log"]
    assert write.uid == pod.metadata.uid
    mark = json.loads(write.body["metadata"]["annotations"]["jobset-restart.io/operation"])
    assert mark == {"id": "op1", "before": {"worker": 2, "log": 0}}
    assert write.sent_body()["metadata"]["uid"] == pod.metadata.uid


def test_native_is_one_write_that_declares_the_current_attempt_outdated() -> None:
    write = native(build.jobset(status={"currentInPlaceRestartAttempt": 4}))
    assert write.path.endswith("/jobsets/train/status")
    assert write.body == {"status": {"previousInPlaceRestartAttempt": 4}}


def test_deletions_name_the_uid_they_mean() -> None:
    snapshot = build.snapshot()
    for write in (*pods(snapshot.slots.values()), *jobs(snapshot.jobs)):
        assert write.sent_body()["preconditions"]["uid"] == write.uid != ""
    assert jobs(snapshot.jobs)[0].body["propagationPolicy"] == "Foreground"


def test_release_fails_the_pod_before_it_deletes_it() -> None:
    snapshot = build.snapshot(build.jobset(pods=1))
    status, delete = release(snapshot.slots.values())
    assert status.path.endswith("/status")
    assert status.body["status"]["phase"] == "Failed"
    assert delete.body["gracePeriodSeconds"] == 0
    assert status.slot == delete.slot == "workers/0/0"


def test_permissions_are_read_off_the_actions() -> None:
    pod = pod_path("ns", "p")
    assert permission(Exec(path=pod, container="c", command=("x",))) == Permission("create", "", "pods", "exec")
    assert permission(Write(verb="patch", path=f"{pod}/status")) == Permission("patch", "", "pods", "status")
    assert permission(suspend(build.jobset(), True)) == Permission("patch", "jobset.x-k8s.io", "jobsets")
    assert permission(jobs(build.snapshot().jobs)[0]) == Permission("delete", "batch", "jobs")


TERM, INT = 1 << 14, 1 << 1


@pytest.mark.parametrize(
    ("probe", "wanted", "chosen"),
    [
        (Probe(name="python", caught=TERM | INT), "", Means("TERM", 143)),
        (Probe(name="python", caught=INT), "", Means("INT", 130)),
        (Probe(name="sleep", caught=0), "", None),
        (Probe(name="sh", caught=0, children=1), "", Means("children", 137)),
        (Probe(name="sh", caught=INT, children=1), "", Means("children", 137)),
        (Probe(name="sh", caught=INT), "", None),
        (Probe(name="train", caught=0, cpu=5.0, prlimit=True), "", Means("cpu", 137)),
        (Probe(name="train", caught=0, cpu=0.5, prlimit=True), "", None),
        (Probe(name="train", caught=TERM), "HUP", None),
        (Probe(name="train", caught=1), "sighup", Means("HUP", 129)),
        (Probe(error="no shell"), "", None),
    ],
)
def test_the_means_is_what_pid_1_can_be_made_to_die_of(probe: Probe, wanted: str, chosen: Means | None) -> None:
    assert means(probe, wanted) == chosen


def test_the_command_looks_again_before_it_sends() -> None:
    script = command(Means("TERM", 143))[-1]
    assert "SigCgt" in script
    assert "exit 97" in script
    assert "kill -15 1" in script


def test_a_probe_is_read_and_anything_else_is_an_error() -> None:
    line = "noise\njsr-probe caught=0000000000014002 ticks=150 children=2 prlimit=1 name=my app\n"
    found = read_probe(line)
    assert (found.catches("TERM"), found.catches("HUP"), found.cpu, found.children) == (True, False, 1.5, 2)
    for text in ("", "jsr-probe caught=zz", "hello"):
        assert read_probe(text).error


@given(st.text())
def test_a_signal_name_is_known_or_said_to_be_none(name: str) -> None:
    try:
        found = number(name)
    except ValueError:
        found = 0
    assert 0 <= found < 65


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_a_mark_somebody_else_wrote_is_no_mark(value: Any) -> None:
    pod = build.pod(0, annotations={"jobset-restart.io/operation": json.dumps(value)})
    operation, before = mark_of(pod)
    assert isinstance(operation, str)
    assert all(isinstance(count, int) for count in before.values())
