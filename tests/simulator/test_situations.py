"""Whole JobSets in situations that have cost real ones their work: here they end as on a real cluster."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.simulator.controllers.images import parse
from jobset_restart.simulator.profile import INSTANT, PUBLISHED, REALTIME, Profile
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.world import World

IMAGE = "docker.io/library/busybox:1.36"
JOBSET = "jobset.sigs.k8s.io/jobset-name"
HOST = {"volumes": [{"name": "shared", "hostPath": {"path": "/shared"}}]}
MOUNT = [{"name": "shared", "mountPath": "/s"}]


def container(script: str, name: str = "a", **more: Any) -> Obj:
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def ends_on_term(code: int = 0) -> Obj:
    return container(f"trap 'exit {code}' TERM; while :; do date; sleep 1 & wait $!; done")


def replicated_job(name: str, *containers: Obj, pod: Obj | None = None, **job: Any) -> Obj:
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": list(containers), **(pod or {})}
    whole = {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 0, **job}
    return {"name": name, "template": {"spec": {**whole, "template": {"spec": spec}}}}


class Cluster(World):
    """A small cluster with one JobSet."""

    def __init__(
        self,
        *replicated_jobs: Obj,
        profile: Profile = REALTIME,
        owners: bool = False,
        meta: Obj | None = None,
        **spec: Any,
    ) -> None:
        super().__init__(nodes=2, profile=profile, seed=1, owners=owners)
        meta = {"name": "train", "namespace": "default", **(meta or {})}
        jobset = {"metadata": meta, "spec": {"replicatedJobs": list(replicated_jobs), **spec}}
        self.store.create("jobsets", jobset, self.now)

    def wait(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    def change(self, resource: str, obj: Obj, **spec: Any) -> None:
        self.store.update(resource, {**obj, "spec": {**obj["spec"], **spec}}, self.now)

    def pods(self, phase: str = "Running") -> list[Obj]:
        return [each for each in self.store.list("pods") if each["status"]["phase"] == phase]

    def restart_by_image(self, tag: str, job: str = "") -> None:
        """Another reference of the image that is running, for all running Pods (of one ReplicatedJob)."""
        for pod in self.pods():
            if job not in ("", pod["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"]):
                continue
            known = parse(IMAGE)
            assert known is not None
            reference = f"{known.repository}{tag and ':' + tag}@{known.digest}"
            self.change("pods", pod, containers=[{**each, "image": reference} for each in pod["spec"]["containers"]])

    def ended(self) -> list[str]:
        conditions = (self.store.get("jobsets", "default", "train").get("status") or {}).get("conditions") or ()
        return [each["type"] for each in conditions if each["type"] in ("Completed", "Failed")]

    def restarts(self) -> list[int]:
        return [each["restartCount"] for pod in self.pods() for each in pod["status"]["containerStatuses"]]

    def ready(self) -> int:
        conditions = [each for pod in self.pods() for each in pod["status"]["conditions"]]
        return sum((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def test_coming_back_to_an_image_reference_ends_the_jobset_as_completed() -> None:
    cluster = Cluster(replicated_job("w", ends_on_term()))
    cluster.wait(20)
    for count, tag in enumerate(("1.36", "", "1.36"), 1):
        cluster.restart_by_image(tag)
        cluster.wait(3)
        assert cluster.restarts() == [count, count]
    cluster.restart_by_image("")
    cluster.wait(10)
    assert cluster.ended() == ["Completed"]


def test_a_reference_that_is_new_each_time_never_waits() -> None:
    cluster = Cluster(replicated_job("w", ends_on_term()))
    cluster.wait(20)
    for count in range(1, 7):
        cluster.restart_by_image(f"op-{count}")
        cluster.wait(3)
        assert cluster.restarts() == [count, count]
    assert cluster.ended() == []


def test_a_failed_pod_that_was_replaced_stays_beside_its_successor_and_through_a_suspension() -> None:
    cluster = Cluster(replicated_job("w", ends_on_term(code=3), backoffLimit=6))
    cluster.wait(20)
    victim = cluster.pods()[0]["metadata"]["name"]
    cluster.execute("default", victim, "a", ["sh", "-c", "kill -TERM 1"])
    cluster.wait(30)
    assert ([each["metadata"]["name"] for each in cluster.pods("Failed")], len(cluster.pods())) == ([victim], 2)
    cluster.change("jobsets", cluster.store.get("jobsets", "default", "train"), suspend=True)
    cluster.wait(20)
    assert [each["metadata"]["name"] for each in cluster.store.list("pods")] == [victim]


def test_the_second_wave_of_a_sweep_counts_its_restarts_against_the_limit() -> None:
    pod = {"restartPolicy": "OnFailure"}
    cluster = Cluster(replicated_job("w", container("sleep 20"), pod=pod, completions=4, backoffLimit=2))
    cluster.wait(30)
    index = "batch.kubernetes.io/job-completion-index"
    assert [each["metadata"]["labels"][index] for each in cluster.pods()] == ["2", "3"]
    cluster.restart_by_image("again")
    cluster.wait(10)
    assert cluster.ended() == ["Failed"]


BROKER = "rm -f /s/up; trap 'rm -f /s/up; exit 0' TERM; sleep 4; touch /s/up; while :; do sleep 1 & wait $!; done"
NODE = "sleep 1; test -f /s/up || { echo no broker; exit 1; }; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"


@pytest.mark.parametrize(("steps", "ended"), [(("",), ["Failed"]), (("broker", "node"), [])])
def test_workers_that_need_their_broker_survive_only_in_order(steps: tuple[str, ...], ended: list[str]) -> None:
    pod = {**HOST, "nodeSelector": {"kubernetes.io/hostname": "node-0"}}
    probe = {"exec": {"command": ["test", "-f", "/s/up"]}, "periodSeconds": 1}
    broker = container(BROKER, volumeMounts=MOUNT, readinessProbe=probe)
    cluster = Cluster(
        replicated_job("broker", broker, pod=pod, parallelism=1, completions=1),
        replicated_job("node", container(NODE, volumeMounts=MOUNT), pod=pod),
        startupPolicy={"startupPolicyOrder": "InOrder"},
        failurePolicy={"maxRestarts": 0},
    )
    cluster.wait(5)
    assert (len(cluster.pods()), cluster.ready()) == (1, 0)
    cluster.wait(10)
    assert (len(cluster.pods()), cluster.ready()) == (3, 3)
    for job in steps:
        cluster.restart_by_image("again", job)
        cluster.wait(8)
    assert cluster.ended() == ended
    assert cluster.restarts() == ([1, 1, 1] if not ended else [])


def test_a_container_that_completed_keeps_its_pod_from_being_ready() -> None:
    init = [container("sleep 1", "fetch"), {**ends_on_term(), "name": "proxy", "restartPolicy": "Always"}]
    notify = container("sleep 2", "notify")
    cluster = Cluster(replicated_job("w", ends_on_term(), notify, pod={"initContainers": init}))
    cluster.wait(20)
    assert (len(cluster.pods()), cluster.ready()) == (2, 0)
    for pod in cluster.pods():
        assert [each["ready"] for each in pod["status"]["containerStatuses"]] == [True, False]


@pytest.mark.parametrize(
    "spec",
    [
        "busybox:1.36",
        "docker.io/busybox:1.36",
        "index.docker.io/library/busybox:1.36",
        "docker.io/library/busybox:1.36",
    ],
)
def test_image_ids_name_the_whole_repository_whatever_the_spec_says(spec: str) -> None:
    cluster = Cluster(replicated_job("w", {**ends_on_term(), "image": spec}))
    cluster.wait(20)
    known = parse(IMAGE)
    assert known is not None
    ids = {pod["status"]["containerStatuses"][0]["imageID"] for pod in cluster.pods()}
    assert ids == {f"docker.io/library/busybox@{known.digest}"}


@pytest.mark.parametrize("target", ["*", "docker.io", "docker.io/library/busybox"])
@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 143, "Failed"), ("Never", 0, "Succeeded"), ("OnFailure", 143, "Running")]
)
def test_a_registry_that_is_away_and_pull_policy_always(target: str, policy: str, code: int, phase: str) -> None:
    worker = {**ends_on_term(code), "imagePullPolicy": "Always"}
    cluster = Cluster(replicated_job("w", worker, pod={"restartPolicy": policy}, backoffLimit=6))
    cluster.wait(20)
    cluster.set_registry(target, answers=False)
    cluster.restart_by_image("again")
    cluster.wait(15)
    assert len(cluster.pods(phase)) == 2
    if phase == "Running":
        waiting = [pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] for pod in cluster.pods()]
        assert set(waiting) <= {"ImagePullBackOff", "ErrImagePull"}
        cluster.set_registry(target, answers=True)
        cluster.wait(60)
        assert (cluster.ready(), cluster.restarts()) == (2, [1, 1])


def test_a_registry_that_one_node_cannot_reach() -> None:
    cluster = Cluster(
        replicated_job(
            "w", {**ends_on_term(143), "imagePullPolicy": "Always"}, pod={"restartPolicy": "OnFailure"}, backoffLimit=6
        )
    )
    cluster.wait(20)
    cluster.set_registry("node-0", answers=False)
    cluster.restart_by_image("again")
    cluster.wait(15)
    assert {pod["spec"]["nodeName"]: pod["status"]["containerStatuses"][0]["ready"] for pod in cluster.pods()} == {
        "node-0": False,
        "node-1": True,
    }


def test_a_quota_that_shrank_keeps_pods_from_coming_back() -> None:
    cluster = Cluster(replicated_job("w", ends_on_term(3), parallelism=3, completions=3))
    cluster.load(
        [{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "10"}}}]
    )
    cluster.wait(20)
    assert cluster.ready() == 3
    quota = cluster.store.get("resourcequotas", "default", "q")
    assert quota["status"] == {"hard": {"pods": "10"}, "used": {"pods": "3"}}
    cluster.change("resourcequotas", quota, hard={"pods": "1"})
    for suspend in (True, False):
        cluster.change("jobsets", cluster.store.get("jobsets", "default", "train"), suspend=suspend)
        cluster.wait(20)
    assert cluster.ready() == 1
    told = [each for each in cluster.store.all("events") if each["reason"] == "FailedCreate"]
    assert {(each["involvedObject"]["kind"], each["involvedObject"]["name"]) for each in told} == {("Job", "train-w-0")}
    (words,) = {each["message"].partition(" is forbidden: ")[2] for each in told}
    assert words == "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    assert told[0]["message"].startswith('Error creating: pods "train-w-0-')
    job = cluster.store.get("jobs", "default", "train-w-0")["status"]
    assert (job["active"], job.get("failed", 0)) == (1, 0)
    cluster.change("resourcequotas", cluster.store.get("resourcequotas", "default", "q"), hard={"pods": "3"})
    cluster.wait(60)
    assert cluster.ready() == 3


TRAIN_JOB = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "name": "t",
    "uid": "u",
    "controller": True,
}


@pytest.mark.parametrize("profile", [REALTIME, INSTANT, PUBLISHED], ids=lambda each: each.name)
@pytest.mark.parametrize("meta", [{"labels": {"kueue.x-k8s.io/queue-name": "q"}}, {"ownerReferences": [TRAIN_JOB]}])
def test_an_owner_takes_a_suspension_back_before_anybody_says_suspended(profile: Profile, meta: Obj) -> None:
    cluster = Cluster(replicated_job("w", ends_on_term(143)), profile=profile, owners=True, meta=meta)
    cluster.wait(60)
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    said: list[tuple[str, str]] = []
    cluster.store.subscribe(
        lambda resource, change, obj, old: said.extend(
            (each["type"], each["status"])
            for each in (obj.get("status") or {}).get("conditions") or ()
            if resource == "jobsets"
        )
    )
    cluster.change("jobsets", cluster.store.get("jobsets", "default", "train"), suspend=True)
    cluster.wait(0.2)
    assert cluster.store.get("jobsets", "default", "train")["spec"]["suspend"] is False
    cluster.wait(60)
    assert ("Suspended", "True") not in said
    assert not before & {pod["metadata"]["uid"] for pod in cluster.pods()}
    assert (cluster.ready(), cluster.ended()) == (2, [])


def test_nobody_resumes_where_there_is_no_owner() -> None:
    cluster = Cluster(replicated_job("w", ends_on_term()), owners=True)
    cluster.wait(20)
    cluster.change("jobsets", cluster.store.get("jobsets", "default", "train"), suspend=True)
    cluster.wait(20)
    assert cluster.pods() == []
