"""Facts of the native trigger: the JobSet's own controller and the agents in its Pods start all containers again."""

from __future__ import annotations

import copy
import time

import pytest

from tests.e2e.api import Answer, Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import (
    Exec,
    Seen,
    assert_in_order,
    condition,
    has_condition,
    last_exit,
    outdate_attempt,
    patch_images,
    pin_images,
    references,
    refusal,
    restarts,
    running,
    state,
    statuses,
    until_restarted,
    waiting,
    write_attempt,
)
from tests.e2e.manifests import IGNORES_TERM, container, native
from tests.e2e.picture import ATTEMPT, Picture, assert_restarted_in_place, attempts, ready, rounds_between
from tests.e2e.place import Place

DISABLE = "jobset.sigs.k8s.io/disable-in-place-restart"
NOWHERE = {"kubernetes.io/hostname": "no-such-node"}


def settled(place: Place, manifest: Object) -> Picture:
    """The JobSet of this manifest, all its Pods Ready and its agents in sync."""
    place.grant("agent")
    place.create(manifest)
    return place.settled("train")


def until_round(place: Place, before: Picture, rounds: int = 1) -> Picture:
    """Waits until the attempt has risen by so many; the picture when all has settled."""
    target = (before.jobset.current_attempt or 0) + rounds
    place.until_jobset(
        "train", lambda found: found["status"].get("currentInPlaceRestartAttempt", 0) >= target, f"attempt {target}"
    )
    return place.settled("train")


def each_pod(manifest: Object) -> list[Object]:
    """The Pod spec of each ReplicatedJob, to be changed."""
    templates = [job["template"]["spec"]["template"] for job in manifest["spec"]["replicatedJobs"]]
    for template in templates:
        template["spec"] = copy.deepcopy(template["spec"])  # the two share their containers
    return [template["spec"] for template in templates]


def test_one_patch_restarts_every_container_of_the_jobset(place: Place) -> None:
    """Current attempt + 1 on one Pod: all Pods stay, each container is another one, no count moves, all end in sync.
    It takes one round, or two where the agent of that very Pod is the last to come back. Then it alone need not come
    back twice, and what waits for its agent's barrier when the second round begins was not started in between."""
    before = settled(place, native("train", workers=3))
    write_attempt(place, before.pods["workers/0/1"].name, 1)
    after = until_round(place, before)
    rounds = rounds_between(before, after)
    assert rounds in (1, 2)
    assert_restarted_in_place(before, after, rounds=rounds, at_least=1)
    agents = {
        slot: pod.containers["agent"].restarts - before.pods[slot].containers["agent"].restarts
        for slot, pod in after.pods.items()
    }
    assert agents == {slot: 1 if slot == "workers/0/1" else rounds for slot in before.pods}
    assert after.jobs == before.jobs
    assert (after.jobset.previous_attempt, after.jobset.current_attempt) == (rounds - 1, rounds)
    assert {pod.attempt for pod in after.pods.values()} == {str(rounds)}
    assert (after.jobset.restarts, after.jobset.towards_max) == (0, 0)
    assert after.jobset.conditions == before.jobset.conditions


def test_jobset_status_goes_from_previous_to_current(place: Place) -> None:
    """An attempt declared outdated sends the agents out; current follows when all came back."""
    settled(place, native("train", workers=1))
    seen = Seen(lambda: outdate_attempt(place, 0))
    place.api.until(
        "jobsets",
        place.namespace,
        lambda found: seen.until(lambda _: attempts(found["train"]) == (0, 1))([*found.values()]),
        within=60,
        what="the attempt to be current",
    )
    story = [attempts(each) for each in seen.all]
    assert [pair for index, pair in enumerate(story) if pair not in story[:index]] == [(None, 0), (0, 0), (0, 1)]


def test_sequence_seen_of_each_pod(place: Place) -> None:
    """Running, AllContainersRestarting with the agent's exit 1, all containers gone with the counts up, Pending, the
    next attempt on the Pod, and Running and Ready again. The kubelet sends only the newest status, so a client may miss
    the second and the third."""
    before = settled(place, native("train", workers=2))
    seen = Seen(lambda: outdate_attempt(place, 0))

    def again(pods: list[Object]) -> bool:
        return all(ready(pod) and restarts(pod) == {"agent": 1, "worker": 1} for pod in pods)

    place.until_pods("train", seen.until(again), "all Pods to be Ready again")
    for pod in before.pods.values():
        versions = seen.of(pod.uid)
        assert_in_order(
            versions,
            running=lambda each: each["status"]["phase"] == "Running" and restarts(each)["worker"] == 0,
            pending=lambda each: each["status"]["phase"] == "Pending" and waiting(each) == "PodInitializing",
            barrier=lambda each: each["metadata"]["annotations"][ATTEMPT] == "1" and running(each, "agent"),
            running_again=lambda each: each["status"]["phase"] == "Running" and running(each),
            ready=ready,
        )
        steps = [step_of_restarting_all(each) for each in versions]
        assert steps == sorted(steps)
        assert condition(versions[-1], "AllContainersRestarting")["status"] == "False"


def step_of_restarting_all(pod: Object) -> int:
    """How far the restart of all containers is: 0 before it, 1 while they end, 2 when all are gone, 3 from then on."""
    if has_condition(pod, "AllContainersRestarting"):
        ended = state(pod, "agent").get("terminated")
        assert ended is None or ended["exitCode"] == 1
        return 1
    if restarts(pod) == {"agent": 0, "worker": 0}:
        return 0
    assert restarts(pod) == {"agent": 1, "worker": 1}
    return 2 if waiting(pod, "agent") == "RestartingAllContainers" else 3


def test_worker_that_exits_non_zero_restarts_the_whole_jobset(place: Place, cluster: Cluster) -> None:
    """By the rule on its exit code its Pod restarts, and by the attempt of that Pod's agent all the others."""
    run = Exec(cluster, place)
    before = settled(place, native("train", workers=2))
    run(before.pods["workers/0/1"].name, "sh", "-c", "kill -TERM 1")
    after = until_round(place, before)
    assert_restarted_in_place(before, after)
    assert after.jobs == before.jobs
    assert (after.jobset.restarts, after.jobset.current_attempt) == (0, 1)


def test_attempt_beyond_max_restarts_fails_the_jobset_for_good(place: Place) -> None:
    """Reason ReachedMaxRestarts, and the limit is immutable: nobody can lift it in time."""
    before = settled(place, native("train", workers=1, max_restarts=0))
    with pytest.raises(Answer) as refused:
        place.api.patch("jobsets", place.namespace, "train", {"spec": {"failurePolicy": {"maxRestarts": 9}}})
    assert refused.value.status == 422
    assert "failurePolicy" in str(refused.value)
    write_attempt(place, before.pods["workers/0/0"].name, 1)
    failed = place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    assert condition(failed, "Failed")["reason"] == "ReachedMaxRestarts"
    assert failed["status"]["terminalState"] == "Failed"


def test_container_restarts_beyond_max_restarts_fail_the_jobset(place: Place) -> None:
    """One restart of one container that is no attempt at all, here by its image, is enough where none is allowed."""
    settled(place, native("train", workers=1, max_restarts=0))
    pod = place.pods("train")[0]
    pin_images(place, pod, "worker")
    failed = place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    assert condition(failed, "Failed")["reason"] == "ReachedMaxRestarts"


def test_barrier_ends_with_the_agents_startup_probe(place: Place) -> None:
    """While one Pod is missing the others wait, until their probe has failed often enough: the agent is killed, and
    that restart counts."""
    manifest = native("train", workers=1, max_restarts=0)
    driver, workers = each_pod(manifest)
    workers["nodeSelector"] = NOWHERE
    driver["initContainers"][0]["startupProbe"]["failureThreshold"] = 4
    place.grant("agent")
    seen = Seen(lambda: place.create(manifest))
    place.until_pods(
        "train", seen.until(lambda pods: any(restarts(pod).get("agent") == 1 for pod in pods)), "the agent's restart"
    )
    failed = place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    assert condition(failed, "Failed")["reason"] == "ReachedMaxRestarts"
    assert failed["status"].get("currentInPlaceRestartAttempt") is None
    assert any(running(each, "agent") and waiting(each) == "PodInitializing" for each in seen.all)
    assert not any(running(each) for each in seen.all)


def test_no_hook_and_no_grace_period_but_init_containers_run_again(place: Place) -> None:
    """A hook of 15 s and a PID 1 that ignores TERM hold nothing up; containers that had completed run once more."""
    manifest = native("train", workers=1)
    for pod in each_pod(manifest):
        pod["terminationGracePeriodSeconds"] = 20
        pod["initContainers"].append(container("prepare", ["true"]))
        pod["containers"][0] |= {"command": IGNORES_TERM, "lifecycle": {"preStop": {"sleep": {"seconds": 15}}}}
    before = settled(place, manifest)
    began = time.monotonic()
    outdate_attempt(place, 0)
    after = until_round(place, before)
    assert time.monotonic() - began < 12
    assert_restarted_in_place(before, after)
    for pod in place.pods("train"):
        assert restarts(pod) == {"agent": 1, "prepare": 1, "worker": 1}
        assert state(pod, "prepare")["terminated"]["reason"] == "Completed"
        assert last_exit(pod)["exitCode"] == 137


def test_empty_dir_survives(place: Place, cluster: Cluster) -> None:
    """What a container wrote into the volume is there for the one after it."""
    run = Exec(cluster, place)
    manifest = native("train", workers=1)
    for pod in each_pod(manifest):
        pod["volumes"] = [{"name": "scratch", "emptyDir": {}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
    before = settled(place, manifest)
    name = before.pods["workers/0/0"].name
    for file in ("/scratch/kept", "/lost"):
        touched = run(name, "touch", file)
        if touched.status.get("reason") == "NotImplemented":
            pytest.skip(f"nothing can be written in this container: {touched.status['message']}")
        assert touched.code == 0
    outdate_attempt(place, 0)
    until_round(place, before)
    assert run(name, "test", "-e", "/scratch/kept").code == 0
    assert run(name, "test", "-e", "/lost").code == 1


def test_jobset_has_no_event_and_no_condition_of_it(place: Place) -> None:
    """Only Pod annotations, container statuses and the two attempts tell of a restart in place."""
    before = settled(place, native("train", workers=1))
    told = events_on(place, "train")
    conditions = place.jobset("train")["status"].get("conditions")
    outdate_attempt(place, 0)
    until_round(place, before)
    assert events_on(place, "train") == told
    assert place.jobset("train")["status"].get("conditions") == conditions


def events_on(place: Place, name: str) -> list[tuple[str, str]]:
    events = place.api.list("events", place.namespace)["items"]
    return sorted((e["reason"], e["message"]) for e in events if e["involvedObject"]["name"] == name)


def test_annotation_on_the_jobset_makes_agents_do_nothing(place: Place) -> None:
    """No barrier at the start, no attempt on the Pods, and an attempt from outside restarts nobody."""
    manifest = native("train", workers=1)
    manifest["metadata"]["annotations"] = {DISABLE: "true"}
    place.grant("agent")
    place.create(manifest)
    pods = place.until_pods("train", lambda pods: len(pods) == 2 and all(map(ready, pods)), "two Ready Pods")
    assert not any(ATTEMPT in pod["metadata"].get("annotations", {}) for pod in pods)
    assert attempts(place.jobset("train")) == (None, None)
    first, second = sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
    write_attempt(place, second["metadata"]["name"], 1)
    place.until_jobset("train", lambda found: attempts(found) == (0, None), "what would send the agents out")
    # Long after an agent would have gone, both Pods are restarted by other means: the counts show that once only.
    for pod in (first, second):
        patch_images(place, pod["metadata"]["name"], {"worker": references(pod)[0]})
    again = until_restarted(place, pods=2)
    assert [restarts(pod) for pod in again.values()] == [{"agent": 0, "worker": 1}] * 2
    assert all(statuses(pod)["agent"]["lastState"] == {} for pod in again.values())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backoffLimit", 6),
        ("podReplacementPolicy", "TerminatingOrFailed"),
        ("podReplacementPolicy", None),
        ("completions", 3),
    ],
    ids=["backoff-limit", "pod-replacement-policy", "no-pod-replacement-policy", "completions"],
)
def test_webhook_wants_fields_set(place: Place, field: str, value: object) -> None:
    """A JobSet that restarts in place is refused unless its Jobs leave every failure to the JobSet."""
    manifest = native("train", workers=2)
    manifest["spec"]["replicatedJobs"][1]["template"]["spec"][field] = value
    assert f"spec.replicatedJobs[1].template.spec.{field}: Invalid value" in refusal(place, manifest)
