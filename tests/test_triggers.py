"""Triggers: which requests they would send, as data."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.case import Trigger
from jobset_restart.containers import mark_of
from jobset_restart.earlier import Earlier
from jobset_restart.pid1 import Means, Probe, means, number
from jobset_restart.stages import Drawn
from jobset_restart.triggers.deletion import pods
from jobset_restart.triggers.image import Forms, fresh, image, parse, plain, running_digest, takes_tag_and_digest
from jobset_restart.triggers.jobs import jobs
from jobset_restart.triggers.native import native
from jobset_restart.triggers.registry import BY_NAME, TRIGGERS
from jobset_restart.triggers.release import release
from jobset_restart.triggers.suspend import suspend
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.jobset import JobSetWorkload
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
        ("[::1]:5000/app:v1", "[::1]:5000/app", "v1", ""),
        (f"app:v1@{D}", "app", "v1", D),
        (f"app@{D}", "app", "", D),
        (f"app@sha512:{'a' * 128}", "app", "", f"sha512:{'a' * 128}"),
    ],
)
def test_image_references_are_taken_apart(text: str, repository: str, tag: str, digest: str) -> None:
    reference = parse(text)
    assert reference is not None
    assert (reference.repository, reference.tag, reference.digest) == (repository, tag, digest)
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "App",
        "app:",
        "app:" + "t" * 129,
        "app@sha256:abc",
        f"app@sha256:{'D' * 64}",
        f"app@md5:{'d' * 32}",
        f"app@{D}x",
        f"@{D}",
        f"app@evil.example/x@{D}",
        f"app {D}",
        "a" * 5000,
        "-" * 5000,
    ],
)
def test_what_is_no_image_reference_is_none(text: str) -> None:
    assert parse(text) is None


IMAGES = st.from_regex(r"\A([a-z]+(:[0-9]{2,4})?/)?[a-z]+(/[a-z]+)?(:[a-z0-9_][a-z0-9.-]{0,127})?\Z").flatmap(
    lambda text: st.sampled_from([text, f"{text}@{D}"])
)
OPERATIONS = st.text(alphabet="0123456789abcdef", min_size=8, max_size=8)


@given(IMAGES, st.lists(OPERATIONS, min_size=2, max_size=20, unique=True), st.booleans())
def test_every_operation_gives_a_reference_of_its_own_to_the_same_image(
    image_name: str, operations: list[str], known: bool
) -> None:
    """In any number of restarts, whether or not the Job's template is there, no reference comes back."""
    now, seen, template = image_name, {image_name}, image_name if known else ""
    for operation in operations:
        now = fresh(now, D, operation, template)
        assert now not in seen
        seen.add(now)
        reference, first = parse(now), parse(image_name)
        assert reference is not None
        assert first is not None
        assert (reference.repository, reference.digest) == (first.repository, D)
        assert operation in reference.tag
        assert reference.tag.startswith(first.tag[: 128 - len(operation) - 5])


@given(IMAGES, OPERATIONS)
def test_the_same_operation_gets_the_same_reference_again(image_name: str, operation: str) -> None:
    """Whoever carries an operation on sends what was sent before: a PATCH that changes nothing restarts nothing."""
    once = fresh(image_name, D, operation, image_name)
    assert fresh(once, D, operation, image_name) == once
    assert fresh(once, D, operation) == once


@given(st.text())
def test_a_reference_is_one_whatever_the_operation_is_called(operation: str) -> None:
    assert parse(fresh("host:5000/app:v1", D, operation)) is not None


def test_a_reader_still_knows_the_image_by_its_tag() -> None:
    assert fresh("app:1.36", D, "0a1b2c3d") == f"app:1.36-jsr-0a1b2c3d@{D}"
    assert fresh(f"app:1.36-jsr-0a1b2c3d@{D}", D, "99999999", "app:1.36") == f"app:1.36-jsr-99999999@{D}"
    assert fresh(f"app@{D}", D, "0a1b2c3d", f"app@{D}") == f"app:jsr-0a1b2c3d@{D}"
    assert plain("app:1.36", D) == f"app@{D}"


@pytest.mark.parametrize(
    ("spec", "image_id", "known"),
    [
        ("docker.io/library/app:1", f"docker.io/library/app@{D}", True),
        ("docker.io/library/app:1", f"docker-pullable://app@{D}", True),
        ("docker.io/app:1", f"docker.io/library/app@{D}", True),
        ("index.docker.io/library/app:1", f"docker.io/library/app@{D}", True),
        ("index.docker.io/app:1", f"docker.io/library/app@{D}", True),
        ("app", f"docker.io/library/app@{D}", True),
        ("team/app", f"docker.io/team/app@{D}", True),
        ("docker.io/team/app", f"docker.io/library/app@{D}", False),
        ("localhost/app:1", f"localhost/app@{D}", True),
        ("host:5000/app:1", f"host:5000/app@{D}", True),
        ("host:5000/app:1", f"host:5001/app@{D}", False),
        ("docker.io/library/app:1", f"registry.example/mirror/app@{D}", False),
        ("docker.io/library/app:1", D, False),
        ("docker.io/library/app:1", "", False),
        ("docker.io/library/app:1", "docker.io/library/app@sha256:dddd", False),
        ("docker.io/library/app:1", f"docker.io/library/app@evil.example/x@{D}", False),
        ("docker.io/library/app:1", f"@{D}", False),
        ("docker.io/library/app:1", "docker.io/library/app@evil.example/x:1", False),
        (f"app@{D}", "", True),
        ("app@sha256:dddd", f"docker.io/library/app@{D}", False),
        ("app:1@evil.example/x", f"docker.io/library/app@{D}", False),
    ],
)
def test_a_digest_is_believed_only_for_the_repository_of_the_spec(spec: str, image_id: str, known: bool) -> None:
    pod = build.pod(0, containers=[build.container(image=spec)], statuses=[build.status(imageID=image_id)])
    found = running_digest(pod.spec.containers[0], pod.status.container_statuses[0])
    assert found == (D if known else "")


@given(st.text(), st.text())
def test_whatever_a_status_says_the_repository_of_the_spec_is_patched(name: str, image_id: str) -> None:
    pod = build.pod(0, containers=[build.container(image=name)], statuses=[build.status(imageID=image_id)])
    digest = running_digest(pod.spec.containers[0], pod.status.container_statuses[0])
    if digest:
        assert fresh(name, digest, "op").partition(":jsr-")[0] in name


@pytest.mark.parametrize(
    ("runtime", "takes"),
    [
        ("containerd://1.6.20", True),
        ("cri-o://1.31.0", False),
        ("cri-o://1.17.5", False),
        ("cri-o://1.31.1", None),
        ("cri-o://1.31.01", None),
        ("docker://24.0.7", None),
        ("cri-o://next", None),
        ("", None),
    ],
)
def test_which_runtimes_are_known_to_take_a_tag_beside_a_digest(runtime: str, takes: bool | None) -> None:
    assert takes_tag_and_digest(runtime) is takes


RUNS = {"running": {"startedAt": build.TIME}}


@pytest.mark.parametrize(
    ("image_name", "state", "mark", "known"),
    [
        ("app:1", RUNS, "", None),
        (f"app@{D}", RUNS, "", None),
        (f"app:1@{D}", RUNS, "", True),
        (f"app:1-jsr-op0@{D}", RUNS, '{"id":"op0","before":{"worker":0}}', True),
        (f"app:1-jsr-op0@{D}", RUNS, '{"id":"op0","before":{"worker":1}}', None),
        (f"app:1-jsr-op0@{D}", {"waiting": {"reason": "CreateContainerError"}}, "", False),
        (f"app:1-jsr-op0@{D}", {"waiting": {"reason": "CrashLoopBackOff"}}, "", None),
    ],
)
def test_what_runs_tells_whether_an_unknown_runtime_takes_the_form(
    image_name: str, state: dict[str, Any], mark: str, known: bool | None
) -> None:
    shows = build.pod(
        0,
        containers=[build.container(image=image_name)],
        statuses=[build.status(restarts=1, state=state)],
        annotations={"jobset-restart.io/operation": mark},
    )
    snapshot = build.snapshot(pods=[shows, build.pod(1)], nodes=[build.node(runtime="docker://24.0.7")])
    _, other = snapshot.slots.values()
    assert Forms(snapshot.slots.values()).known(other) is known


def test_a_runtime_that_refuses_a_tag_beside_a_digest_gets_none() -> None:
    snapshot = build.snapshot(nodes=[build.node(runtime="cri-o://1.31.0")])
    writes = image(snapshot.slots.values(), [], "op1", Forms(snapshot.slots.values()).of)
    assert {c["image"] for write in writes for c in write.body["spec"]["containers"]} == {f"docker.io/library/app@{D}"}


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
    assert permission(suspend(JobSetWorkload(build.jobset()), True)) == Permission(
        "patch", "jobset.x-k8s.io", "jobsets"
    )
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


# ---------------------------------------------------------------- what they are


def test_actions_are_counted_without_being_made() -> None:
    def make(name: str) -> Write:
        raise AssertionError(name)

    assert len(Drawn(["a", "b"], make)) == 2
    assert len(Drawn(["a", "b"], make)[1:]) == 1
    with pytest.raises(AssertionError, match="b"):
        Drawn(["a", "b"], make)[1]


def test_every_trigger_is_registered_once_under_the_name_that_people_type() -> None:
    assert tuple(trigger.name for trigger in TRIGGERS) == get_args(TriggerName)
    assert list(BY_NAME.values()) == list(TRIGGERS)


TIMES = ["2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z", "2026-01-01T01:00:01Z"]


@given(
    st.sampled_from(TRIGGERS),
    st.sampled_from(TIMES),
    st.sampled_from(TIMES),
    st.sampled_from(["", "op0", "op1"]),
    st.integers(0, 2),
    st.integers(0, 3),
)
def test_what_has_been_through_an_operation_is_not_triggered_by_it_again(
    trigger: Trigger, created: str, started: str, marked_by: str, restarts: int, attempt: int
) -> None:
    """Status says that the slot is back, a client that carries on sends nothing: one follows from the other."""
    annotations = {"jobset.sigs.k8s.io/in-place-restart-attempt": str(attempt)}
    if marked_by:
        annotations["jobset-restart.io/operation"] = json.dumps({"id": marked_by, "before": {"worker": 1}})
    status = build.status(restarts=restarts, state={"running": {"startedAt": started}})
    pod = build.pod(0, created=created, annotations=annotations, statuses=[status])
    snapshot = build.snapshot(build.jobset(pods=1), [pod])
    (state,) = snapshot.slots.values()
    earlier = Earlier(id="op1", began=build.NOW + 0.5, attempt=2)
    if trigger.through(pod, earlier):
        assert trigger.begun(state, earlier, snapshot)
    came = created >= TIMES[1]
    expected = {
        "native": attempt >= 2 and (came or started >= TIMES[1]),
        "image": came or (marked_by == "op1" and restarts > 1),
        "signal": came or started >= TIMES[1],
        "force": came or started >= TIMES[1],
    }
    assert trigger.through(pod, earlier) == expected.get(trigger.name, came)
