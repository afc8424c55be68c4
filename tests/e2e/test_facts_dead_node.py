"""Facts of a node that died: what its Pods look like, what takes no effect on them, and the three ways out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e.api import Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import (
    JOB_TRACKING,
    condition,
    has_condition,
    leaving,
    pin_images,
    restarts,
    running,
    statuses,
    suspend,
    waiting,
    write_attempt,
)
from tests.e2e.manifests import jobset, native, replicated_job
from tests.e2e.picture import ATTEMPT, Picture, ready, slot_of
from tests.e2e.place import Place

pytestmark = pytest.mark.real_fault

OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
WAIT_AT_THE_BARRIER = 1800


def apart(name: str) -> Object:
    """Rather on another node than the other Pods of this JobSet."""
    selector = {"matchLabels": {"jobset.sigs.k8s.io/jobset-name": name}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    wish = {"weight": 100, "podAffinityTerm": term}
    return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def pair(name: str, policy: str, *, tolerated: int | None = None, backoff_limit: int = 0) -> Object:
    """A JobSet of two Pods, one on each node. They are to leave a dead node after so many seconds."""
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerated} for key in keys
    ]
    pod = apart(name) | ({} if tolerated is None else {"tolerations": tolerations})
    job = {"podReplacementPolicy": policy}
    return jobset(name, replicated_job(pods=2, backoff_limit=backoff_limit, job=job, pod=pod), max_restarts=0)


@contextlib.contextmanager
def dead(cluster: Cluster, place: Place, node: str, *jobsets: str) -> Iterator[None]:
    """Meanwhile the node is dead and the Pods it had are known to be unready; afterwards it is well."""
    try:
        cluster.command("JSR_TEST_BREAK_NODE", node)
        for name in jobsets:
            place.until_pods(
                name,
                lambda pods: not any(ready(pod) for pod in pods if pod["spec"].get("nodeName") == node),
                f"the Pods on {node} to be unready",
            )
        yield
    finally:
        cluster.command("JSR_TEST_MEND_NODE", node)
        taint(place, node, on=False)
        place.until_usable(node, within=120)


def taint(place: Place, node: str, *, on: bool) -> None:
    """Sets or removes the taint that says the node is out of service; the list is written whole, on what was read."""
    found = place.api.get("nodes", "", node)
    taints = [each for each in found["spec"].get("taints", ()) if each["key"] != OUT_OF_SERVICE["key"]]
    version = found["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints + [OUT_OF_SERVICE] * on}}
    place.api.patch("nodes", "", node, body)


def lost_slots(before: Picture, node: str, nodes: tuple[str, str]) -> set[str]:
    assert {pod.node for pod in before.pods.values()} == set(nodes)
    return {slot for slot, pod in before.pods.items() if pod.node == node}


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def until_only(place: Place, name: str, uid: str) -> None:
    """Waits until this Pod, on its way out, is all that is left of the JobSet's."""
    place.until_pods(name, lambda pods: uids(pods) == {uid} and leaving(pods[0]), f"the healthy Pods of {name} to go")


def counted(place: Place, job: str) -> int:
    """The failures this Job has counted."""
    failed: int = place.api.get("jobs", place.namespace, job)["status"].get("failed", 0)
    return failed


def test_its_pods_look_alive_and_suspend_goes_round_them(
    place: Place, cluster: Cluster, two_nodes: tuple[str, str]
) -> None:
    """Its Pods look as if they ran, and an image PATCH waits for the kubelet. Suspend gives the default policy new Pods
    beside the old ones; under podReplacementPolicy Failed a slot that is stuck gets none."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.create(pair("train", "TerminatingOrFailed"), pair("held", "Failed"))
    before, held = place.settled("train"), place.settled("held")
    healthy, gone = two_nodes
    (lost,), (stuck,) = lost_slots(before, gone, two_nodes), lost_slots(held, gone, two_nodes)
    old, old_held = before.pods[lost], held.pods[stuck]
    with dead(cluster, place, gone, "train", "held"):
        pod = place.api.get("pods", place.namespace, old.name)
        assert pod["status"]["phase"] == "Running"
        assert all(status["ready"] for status in statuses(pod).values())
        assert condition(pod, "Ready")["status"] == "False"
        assert not has_condition(place.api.get("nodes", "", gone), "Ready")

        for each in place.pods("train"):
            pin_images(place, each)
        place.until_pods("train", lambda pods: sum(restarts(pod)["worker"] for pod in pods) == 1, "the healthy restart")
        now = place.picture("train")
        assert now.pods[lost].containers["worker"].id == old.containers["worker"].id

        for name in ("train", "held"):
            suspend(place, name, True)
        until_only(place, "train", old.uid)
        until_only(place, "held", old_held.uid)
        for name in ("train", "held"):
            suspend(place, name, False)
        place.until_pods("train", lambda pods: sum(map(ready, pods)) == 2, "two new Pods beside the old one")
        place.until_pods("held", lambda pods: sum(map(ready, pods)) == 1, "the new Pod of the slot that is free")
        pods = {pod["metadata"]["uid"]: pod for pod in place.pods("train")}
        assert len(pods) == 3
        assert leaving(pods[old.uid])
        assert {pod["spec"]["nodeName"] for uid, pod in pods.items() if uid != old.uid} == {healthy}
        after = place.picture("train")
        assert (after.jobset.restarts, after.jobset.conditions & {"Failed"}) == (0, frozenset())
        assert {name: (job.uid, job.failed) for name, job in after.jobs.items()} == {
            name: (job.uid, 0) for name, job in before.jobs.items()
        }
        in_the_way = [pod for pod in place.pods("held") if slot_of(pod) == stuck]
        assert [(pod["metadata"]["uid"], leaving(pod)) for pod in in_the_way] == [(old_held.uid, True)]
    place.until_pods("train", lambda pods: len(pods) == 2 and all(map(ready, pods)), "the end of the old Pod", 120)
    place.settled("held")


def test_deletions_wait_for_the_kubelet_or_the_job(place: Place, cluster: Cluster, two_nodes: tuple[str, str]) -> None:
    """Under podReplacementPolicy Failed not even a forced deletion ends, for the Job's finalizer; deleting the Job too
    takes it off. Where a terminating Pod counts, it goes once it has. A Job deleted in the foreground waits for
    its Pod."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    names = ("held", "counted", "job")
    place.create(
        pair("held", "Failed"),
        pair("counted", "TerminatingOrFailed", backoff_limit=6),
        pair("job", "TerminatingOrFailed"),
    )
    before = {name: place.settled(name) for name in names}
    gone = two_nodes[1]
    lost = {name: before[name].pods[min(lost_slots(before[name], gone, two_nodes))] for name in names}
    with dead(cluster, place, gone, *names):
        for name in ("held", "counted"):
            place.api.delete("pods", place.namespace, lost[name].name)
        place.until_pods("counted", lambda pods: sum(map(ready, pods)) == 2, "the new Pod")
        for name in ("held", "counted"):
            place.api.delete("pods", place.namespace, lost[name].name, gracePeriodSeconds=0)
        place.until_pods("counted", lambda pods: lost["counted"].uid not in uids(pods), "the end of the old Pod")
        assert counted(place, "counted-workers-0") == 1

        place.api.delete("jobs", place.namespace, "job-workers-0", propagationPolicy="Foreground")
        until_only(place, "job", lost["job"].uid)
        job = place.api.get("jobs", place.namespace, "job-workers-0")
        assert (job["metadata"]["uid"], leaving(job)) == (before["job"].jobs["job-workers-0"].uid, True)

        pod = place.api.get("pods", place.namespace, lost["held"].name)
        assert (pod["metadata"]["uid"], leaving(pod)) == (lost["held"].uid, True)
        assert pod["metadata"]["finalizers"] == [JOB_TRACKING]
        assert (len(place.pods("held")), counted(place, "held-workers-0")) == (2, 0)
        place.api.delete("jobs", place.namespace, "held-workers-0", propagationPolicy="Foreground")
        place.until_pods("held", lambda pods: lost["held"].uid not in uids(pods), "the end of the Pod")
        after = place.settled("held")
        assert after.jobset.restarts == 0
        assert after.jobs["held-workers-0"].uid != before["held"].jobs["held-workers-0"].uid
    assert place.settled("job").jobs["job-workers-0"].uid != before["job"].jobs["job-workers-0"].uid


@pytest.mark.parametrize("way", ["out-of-service", "pods-status"])
def test_native_waits_at_the_barrier_until_the_pods_are_given_up(
    place: Place, cluster: Cluster, two_nodes: tuple[str, str], way: str
) -> None:
    """Every healthy Pod restarts and waits for the dead ones. Once those are Failed and gone, by the taint that tells
    the node is off or by hand, others take their place and the restart ends by itself."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.grant("agent")
    manifest = native("train", workers=3)
    for job in manifest["spec"]["replicatedJobs"]:
        template = job["template"]["spec"]["template"]
        template["spec"] = template["spec"] | apart("train")
        template["spec"]["initContainers"][0]["startupProbe"]["failureThreshold"] = WAIT_AT_THE_BARRIER
    place.create(manifest)
    before = place.settled("train")
    gone = next(node for node in two_nodes if node != before.pods["driver/0/0"].node)
    lost = lost_slots(before, gone, two_nodes)
    healthy = before.pods.keys() - lost
    with dead(cluster, place, gone, "train"):
        write_attempt(place, before.pods[min(healthy)].name, 1)

        def at_the_barrier(pods: list[Object]) -> bool:
            mine = [pod for pod in pods if slot_of(pod) in healthy]
            return all(
                running(pod, "agent")
                and waiting(pod) == "PodInitializing"
                and pod["metadata"]["annotations"][ATTEMPT] == "1"
                for pod in mine
            )

        place.until_pods("train", at_the_barrier, "the healthy Pods to wait at the barrier")
        blocked = place.picture("train")
        assert blocked.jobset.current_attempt == 0
        for slot in lost:
            assert blocked.pods[slot].containers == before.pods[slot].containers

        if way == "out-of-service":
            taint(place, gone, on=True)
        else:
            for slot in lost:
                name = before.pods[slot].name
                place.api.patch("pods", place.namespace, name, {"status": {"phase": "Failed"}}, "status")
                place.api.delete("pods", place.namespace, name, gracePeriodSeconds=0)
        old = {before.pods[slot].uid for slot in lost}
        place.until_pods("train", lambda pods: not {pod["metadata"]["uid"] for pod in pods} & old, "their end", 60)
        after = place.settled("train")
        for slot, pod in after.pods.items():
            assert pod.ready, slot
            assert pod.node != gone, slot
            assert (pod.uid != before.pods[slot].uid) == (slot in lost), slot
        assert after.jobset.current_attempt is not None
        assert after.jobset.current_attempt >= 1
        assert (after.jobset.restarts, after.jobset.conditions) == (0, before.jobset.conditions)
        assert sum(job.failed for job in after.jobs.values()) == len(lost)


def test_taint_manager_deletes_its_pods(place: Place, cluster: Cluster, two_nodes: tuple[str, str]) -> None:
    """After tolerationSeconds, here few. Where a terminating Pod counts, backoffLimit 0 fails the Job at once, and it
    cannot end while the Pod is there; under podReplacementPolicy Failed nothing happens."""
    cluster.needs("JSR_TEST_BREAK_NODE", "JSR_TEST_MEND_NODE")
    place.create(pair("train", "TerminatingOrFailed", tolerated=3), pair("held", "Failed", tolerated=3))
    before, held = place.settled("train"), place.settled("held")
    gone = two_nodes[1]
    (lost,), (stuck,) = lost_slots(before, gone, two_nodes), lost_slots(held, gone, two_nodes)
    with dead(cluster, place, gone, "train", "held"):
        for name in ("train", "held"):
            place.until_pods(name, lambda pods: any(map(leaving, pods)), "the deletion of its Pod")
        jobs = place.api.until(
            "jobs",
            place.namespace,
            lambda jobs: has_condition(jobs["train-workers-0"], "FailureTarget"),
            within=60,
            what="the Job to give up",
        )
        assert condition(jobs["train-workers-0"], "FailureTarget")["reason"] == "BackoffLimitExceeded"
        # The Pod that could go has gone, and still the Job has not ended.
        until_only(place, "train", before.pods[lost].uid)
        job = place.api.get("jobs", place.namespace, "train-workers-0")
        assert (job["status"]["failed"] >= 1, has_condition(job, "Failed")) == (True, False)
        assert not place.picture("held").jobs["held-workers-0"].conditions
        assert counted(place, "held-workers-0") == 0
        assert {pod["metadata"]["uid"]: leaving(pod) for pod in place.pods("held")} == {
            pod.uid: slot == stuck for slot, pod in held.pods.items()
        }
    place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end it could not come to before", 60)
