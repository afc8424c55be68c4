"""The Job controller: counting, back-off, indexes, suspend, and the facts about nodes that died.

There is no kubelet here: ``end`` and ``start`` write what it would.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from jobset_restart.simulator.controllers.garbage import GarbageController
from jobset_restart.simulator.controllers.job import JobController
from jobset_restart.simulator.patch import merge
from jobset_restart.simulator.profile import INSTANT, Profile
from jobset_restart.simulator.store import Obj, Objs, timestamp
from tests.simulator.stage import RUNNING, Stage, conditions

PROFILE = replace(INSTANT, job_sync=1.0)
TRACKING = "batch.kubernetes.io/job-tracking"


class Jobs(Stage):
    """One Job named train, three indexes at once unless told otherwise; its Pods are put on a node and started."""

    def __init__(self, profile: Profile = PROFILE, restart_policy: str = "Never", pods: int = 3, **spec: Any) -> None:
        super().__init__(JobController(profile), GarbageController(profile))
        template = {
            "spec": {"restartPolicy": restart_policy, "containers": [{"name": "worker", "image": "busybox:1.36"}]}
        }
        filled = {"parallelism": pods, "completions": pods, "completionMode": "Indexed", "template": template, **spec}
        body = {name: value for name, value in filled.items() if value is not None}
        self.store.create("jobs", {"metadata": {"name": "train", "namespace": "default"}, "spec": body}, self.now)
        self.run()
        self.start_all()

    def start_all(self) -> None:
        """Bind and start every Pod that is not."""
        for pod in self.pods():
            if not pod["spec"].get("nodeName"):
                self.store.update(
                    "pods", {**pod, "spec": {**pod["spec"], "nodeName": "node-0"}}, self.now, subresource="binding"
                )
                self.start(pod)
        self.run(2)

    @property
    def job(self) -> Obj:
        return self.store.get("jobs", "default", "train")

    def counts(self) -> dict[str, int]:
        status = self.job["status"]
        names = ("active", "ready", "terminating", "succeeded", "failed")
        return {name: status[name] for name in names if status.get(name)}

    def at(self, index: int) -> Obj:
        """The newest Pod of an index."""
        label = "batch.kubernetes.io/job-completion-index"
        found = [pod for pod in self.store.all("pods") if pod["metadata"]["labels"][label] == str(index)]
        return found[-1]

    def end(self, pod: Obj, code: int = 1) -> None:
        """Its container exits, and with it the Pod ends."""
        now = timestamp(self.now)
        terminated = {"exitCode": code, "finishedAt": now, "reason": "Error" if code else "Completed"}
        statuses = [{**RUNNING, "state": {"terminated": terminated}, "ready": False}]
        ready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        phase = "Failed" if code else "Succeeded"
        self.status(pod, phase=phase, conditions=[ready], containerStatuses=statuses)

    def stop_deleted(self) -> None:
        """The kubelet stops what is Terminating: the Pod has failed, then it goes."""
        for pod in self.pods():
            if "deletionTimestamp" in pod["metadata"]:
                self.end(pod, 137)
                self.store.delete("pods", "default", pod["metadata"]["name"], self.now, grace=0)

    def delete(self, pod: Obj, grace: int | None = None) -> None:
        self.store.delete("pods", "default", pod["metadata"]["name"], self.now, grace=grace)

    def patch(self, **spec: Any) -> None:
        self.store.update("jobs", merge(self.job, {"spec": spec}), self.now)

    def terminating(self) -> Objs:
        return [pod for pod in self.pods() if "deletionTimestamp" in pod["metadata"]]

    def alive(self) -> Objs:
        return [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]]

    def ended(self) -> tuple[str, str] | None:
        """(type, reason) of the final condition."""
        found = conditions(self.job)
        return next(((name, found[name]["reason"]) for name in ("Complete", "Failed") if name in found), None)


def test_pods_of_an_indexed_job() -> None:
    world = Jobs()
    pod = world.at(2)
    meta = pod["metadata"]
    assert meta["name"].startswith("train-2-")
    assert pod["spec"]["hostname"] == "train-2"
    assert meta["finalizers"] == [TRACKING]
    assert meta["annotations"]["batch.kubernetes.io/job-completion-index"] == "2"
    assert meta["labels"]["batch.kubernetes.io/controller-uid"] == world.job["metadata"]["uid"]
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    assert meta["ownerReferences"][0]["controller"] is True
    assert len(world.events("SuccessfulCreate")) == 3
    assert world.counts() == {"active": 3, "ready": 3}


def test_pods_that_merely_name_the_job_are_not_its_own() -> None:
    """Seen on a real cluster: no controller, no Pod of the Job; a controller without the Job's labels is taken away."""
    world = Jobs()
    like = world.at(0)
    owner = like["metadata"]["ownerReferences"][0]
    annotations = like["metadata"]["annotations"]
    for name, controller in (("helper", False), ("impostor", True)):
        meta = {"name": name, "namespace": "default", "annotations": annotations}
        meta |= {"ownerReferences": [{**owner, "controller": controller}]}
        spec = {"containers": [{"name": "main", "image": "busybox"}]}
        world.store.create("pods", {"metadata": meta, "spec": spec}, world.now)
    world.run(2)
    left = {name: world.store.get("pods", "default", name) for name in ("helper", "impostor")}
    assert left["helper"]["metadata"]["ownerReferences"] == [{**owner, "controller": False}]
    assert not left["impostor"]["metadata"].get("ownerReferences")
    assert world.counts() == {"active": 3, "ready": 3}
    assert "deletionTimestamp" not in like["metadata"]


def test_generated_names_are_cut_so_that_they_stay_labels() -> None:
    world = Jobs()
    name = "x" * 60
    spec = {"completions": 1, "completionMode": "Indexed", "template": world.job["spec"]["template"]}
    spec["template"] = {"spec": spec["template"]["spec"]}
    world.store.create("jobs", {"metadata": {"name": name, "namespace": "default"}, "spec": spec}, world.now)
    world.run()
    (pod,) = world.store.by_label("pods", "batch.kubernetes.io/job-name", name)
    assert pod["metadata"]["name"].startswith("x" * 55 + "-0-")
    assert len(pod["metadata"]["name"]) == 63


def test_completion() -> None:
    world = Jobs()
    for index in (0, 2):
        world.end(world.at(index), 0)
    world.run(2)
    assert world.job["status"]["completedIndexes"] == "0,2"
    assert world.counts() == {"active": 1, "ready": 1, "succeeded": 2}
    assert "finalizers" not in world.at(0)["metadata"]
    world.end(world.at(1), 0)
    world.run(2)
    assert world.job["status"]["completedIndexes"] == "0-2"
    assert world.ended() == ("Complete", "CompletionsReached")
    assert conditions(world.job)["SuccessCriteriaMet"]["message"] == "Reached expected number of succeeded pods"
    assert "completionTime" in world.job["status"]


def test_a_job_without_completions_is_done_when_one_pod_succeeds_and_the_others_end() -> None:
    world = Jobs(completions=None, completionMode=None)
    first, second, third = world.pods()
    world.end(first, 0)
    world.run(30)
    assert world.ended() is None
    assert len(world.alive()) == 3
    world.end(second, 1)
    world.end(third, 0)
    world.run(2)
    assert world.ended() == ("Complete", "CompletionsReached")
    assert world.counts() == {"succeeded": 2, "failed": 1}


def test_a_failed_pod_is_replaced_after_10_20_40_seconds() -> None:
    world = Jobs(backoffLimit=6)
    for wait in (10, 20, 40):
        failed = world.at(1)
        world.end(failed)
        world.run(wait - 1)
        assert world.at(1) == world.get_pod(failed["metadata"]["name"])
        world.run(2)
        assert world.at(1)["metadata"]["uid"] != failed["metadata"]["uid"]
        world.start_all()
    assert world.counts() == {"active": 3, "ready": 3, "failed": 3}


@pytest.mark.parametrize("others_ready", [True, False])
def test_nothing_is_counted_during_the_back_off_while_others_are_ready(others_ready: bool) -> None:
    """No Pod active but some Ready is a status the API refuses: "cannot set more ready pods than active"."""
    world = Jobs()
    for index in (1, 2) if not others_ready else ():
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp(world.now)}
        world.status(world.at(index), conditions=[unready])
    world.run(2)
    failed = world.at(0)["metadata"]["name"]
    world.end(world.at(0))
    world.run(8)
    held = "finalizers" in world.get_pod(failed)["metadata"]
    if others_ready:
        assert held
        assert world.counts() == {"active": 3, "ready": 3}
    else:
        assert not held
        assert world.counts() == {"failed": 1}
    world.run(3)
    assert "finalizers" not in world.get_pod(failed)["metadata"]
    assert world.counts() == {"active": 3, "failed": 1, **({"ready": 2} if others_ready else {})}


def test_a_success_ends_the_back_off() -> None:
    world = Jobs()
    world.end(world.at(0))
    world.run(1)
    world.end(world.at(1), 0)
    world.run(3)
    assert len(world.alive()) == 4  # one has failed, one has succeeded, two run


def test_more_failures_than_the_limit_fail_the_job_and_delete_its_pods() -> None:
    world = Jobs(backoffLimit=0)
    world.end(world.at(0))
    world.run(2)
    assert conditions(world.job)["FailureTarget"]["reason"] == "BackoffLimitExceeded"
    assert world.ended() is None
    assert len(world.terminating()) == 2
    assert world.counts() == {"failed": 3, "terminating": 2}
    assert not any("finalizers" in pod["metadata"] for pod in world.pods())
    assert len(world.events("SuccessfulDelete")) == 2
    world.stop_deleted()
    world.run(2)
    assert world.ended() == ("Failed", "BackoffLimitExceeded")
    assert world.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


# ---------------------------------------------------------------- facts.md, traps


@pytest.mark.parametrize(
    ("limit", "restarts", "fails"),
    [(6, (2, 2, 1), False), (6, (2, 2, 2), True), (0, (0, 0, 1), True), (0, (0, 0, 0), False), (1, (0, 1, 0), True)],
)
def test_trap_1_backoff_limit_sums_container_restarts_over_all_pods(
    limit: int, restarts: tuple[int, ...], fails: bool
) -> None:
    world = Jobs(restart_policy="OnFailure", backoffLimit=limit)
    for index, number in enumerate(restarts):
        world.status(world.at(index), containerStatuses=[{**RUNNING, "restartCount": number}])
    world.run(2)
    assert ("FailureTarget" in conditions(world.job)) is fails
    assert len(world.terminating()) == (3 if fails else 0)


def test_trap_1_is_not_one_for_pods_that_never_restart() -> None:
    world = Jobs(backoffLimit=0)
    world.status(world.at(0), containerStatuses=[{**RUNNING, "restartCount": 9}])
    world.run(2)
    assert "FailureTarget" not in conditions(world.job)


def test_trap_2_deleting_one_pod_fails_a_job_with_backoff_limit_0() -> None:
    world = Jobs(backoffLimit=0)
    world.delete(world.at(1))
    world.run(2)
    assert conditions(world.job)["FailureTarget"]["reason"] == "BackoffLimitExceeded"
    assert len(world.terminating()) == 3
    world.stop_deleted()
    world.run(2)
    assert world.ended() == ("Failed", "BackoffLimitExceeded")


def test_a_deleted_pod_counts_when_it_has_failed_where_only_failed_pods_are_replaced() -> None:
    world = Jobs(backoffLimit=6, podReplacementPolicy="Failed")
    world.delete(world.at(1))
    world.run(60)
    assert world.counts() == {"active": 2, "ready": 2, "terminating": 1}
    assert world.at(1)["metadata"]["finalizers"] == [TRACKING]
    world.stop_deleted()
    world.run(12)
    assert world.counts()["failed"] == 1
    assert len(world.alive()) == 3


def test_trap_3_deleting_a_job_in_the_foreground_deletes_its_pods_first() -> None:
    world = Jobs(backoffLimit=0)
    world.store.delete("jobs", "default", "train", world.now, propagation="Foreground")
    world.run(2)
    assert len(world.terminating()) == 3
    assert not any("finalizers" in pod["metadata"] for pod in world.pods())
    assert "FailureTarget" not in conditions(world.job)
    world.stop_deleted()
    world.run(2)
    assert world.pods() == []
    assert world.store.find("jobs", "default", "train") is None


def test_pods_of_a_job_that_is_gone_lose_their_finalizer() -> None:
    world = Jobs()
    world.store.delete("jobs", "default", "train", world.now, propagation="Orphan")
    world.run(2)
    assert len(world.alive()) == 3
    assert not any("finalizers" in pod["metadata"] for pod in world.pods())


# ---------------------------------------------------------------- suspend


def test_suspend_deletes_all_pods_and_counts_none() -> None:
    world = Jobs(backoffLimit=0)
    uid = world.job["metadata"]["uid"]
    world.patch(suspend=True)
    world.run(2)
    assert len(world.terminating()) == 3
    assert not any("finalizers" in pod["metadata"] for pod in world.pods())
    assert conditions(world.job)["Suspended"]["status"] == "True"
    assert "startTime" not in world.job["status"]
    assert world.counts() == {"terminating": 3}
    world.stop_deleted()
    world.run(2)
    assert world.counts() == {}
    world.patch(suspend=False)
    world.run(2)
    world.start_all()
    assert world.counts() == {"active": 3, "ready": 3}
    assert world.job["metadata"]["uid"] == uid
    suspended = conditions(world.job)["Suspended"]
    assert (suspended["status"], suspended["reason"], suspended["message"]) == ("False", "JobResumed", "Job resumed")
    assert (world.events("Suspended"), world.events("Resumed")) == (["Job suspended"], ["Job resumed"])


def test_trap_6_resuming_does_not_run_completed_indexes_again() -> None:
    world = Jobs()
    world.end(world.at(0), 0)
    world.run(2)
    world.patch(suspend=True)
    world.run(2)
    world.stop_deleted()
    world.patch(suspend=False)
    world.run(2)
    indexes = [pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in world.alive()]
    assert sorted(indexes) == ["0", "1", "2"]
    assert world.at(0)["status"]["phase"] == "Succeeded"
    assert world.counts()["active"] == 2


def test_a_job_created_suspended_has_no_pods() -> None:
    world = Jobs(suspend=True)
    assert world.pods() == []
    assert conditions(world.job)["Suspended"]["reason"] == "JobSuspended"
    assert world.job["status"].get("startTime") is None


# ---------------------------------------------------------------- a node that died: nobody stops its Pods


def test_dead_node_deleting_a_pod_there_hangs_where_only_failed_pods_are_replaced() -> None:
    """--force --grace-period=0 included: the finalizer stays until the Pod is Failed or Succeeded."""
    world = Jobs(podReplacementPolicy="Failed")
    world.delete(world.at(0), grace=0)
    world.run(3600)
    assert world.at(0)["metadata"]["finalizers"] == [TRACKING]
    assert world.counts() == {"active": 2, "ready": 2, "terminating": 1}
    lost = world.at(0)["metadata"]["name"]
    world.status(world.at(0), phase="Failed")
    world.run(2)
    assert lost not in [pod["metadata"]["name"] for pod in world.pods()]
    assert world.counts()["failed"] == 1
    assert len(world.alive()) == 3


def test_dead_node_an_evicted_pod_counts_at_once_and_the_job_never_finishes_while_it_is_there() -> None:
    world = Jobs(backoffLimit=0)
    world.delete(world.at(0))
    world.run(2)
    lost = world.at(0)["metadata"]["name"]
    for pod in world.terminating():
        if pod["metadata"]["name"] != lost:
            world.store.delete("pods", "default", pod["metadata"]["name"], world.now, grace=0)
    world.run(3600)
    assert conditions(world.job)["FailureTarget"]["reason"] == "BackoffLimitExceeded"
    assert world.ended() is None
    assert world.counts()["terminating"] == 1


@pytest.mark.parametrize(("policy", "slots"), [("TerminatingOrFailed", 3), ("Failed", 2)])
def test_dead_node_suspend_and_resume(policy: str, slots: int) -> None:
    """New Pods start beside the old one that stays Terminating; with Failed its slot gets no new one."""
    world = Jobs(backoffLimit=0, podReplacementPolicy=policy)
    lost = world.at(0)["metadata"]["name"]
    world.patch(suspend=True)
    world.run(2)
    for pod in world.terminating():
        if pod["metadata"]["name"] != lost:
            world.store.delete("pods", "default", pod["metadata"]["name"], world.now, grace=0)
    world.run(2)
    world.patch(suspend=False)
    world.run(30)
    world.start_all()
    assert [pod["metadata"]["name"] for pod in world.terminating()] == [lost]
    assert len(world.alive()) == slots
    assert world.counts() == {"active": slots, "ready": slots, "terminating": 1}


# ---------------------------------------------------------------- policies and limits


def test_pod_failure_policy() -> None:
    rules = [
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [13]}},
    ]
    world = Jobs(backoffLimit=0, podFailurePolicy={"rules": rules})
    world.end(world.at(0), 42)
    world.run(12)
    assert world.counts() == {"active": 3, "ready": 2}
    world.end(world.at(1), 13)
    name = world.at(1)["metadata"]["name"]
    world.run(2)
    target = conditions(world.job)["FailureTarget"]
    assert target["reason"] == "PodFailurePolicy"
    assert target["message"] == (
        f"Container worker for pod default/{name} failed with exit code 13 matching FailJob rule at index 1"
    )


def test_active_deadline() -> None:
    world = Jobs(activeDeadlineSeconds=60)
    world.run(57)
    assert "FailureTarget" not in conditions(world.job)
    world.run(2)
    assert conditions(world.job)["FailureTarget"]["reason"] == "DeadlineExceeded"


def test_the_deadline_is_kept_while_a_back_off_ends_later() -> None:
    world = Jobs(activeDeadlineSeconds=20, backoffLimit=6)
    for index in range(3):
        world.end(world.at(index))  # three failures: 40 s
    world.run(19)
    assert conditions(world.job)["FailureTarget"]["reason"] == "DeadlineExceeded"


def test_time_to_live_after_the_end() -> None:
    world = Jobs(ttlSecondsAfterFinished=30, pods=1)
    world.end(world.at(0), 0)
    world.run(29)
    assert world.ended() == ("Complete", "CompletionsReached")
    world.run(5)
    assert world.store.find("jobs", "default", "train") is None
    assert world.pods() == []


def test_lower_parallelism_deletes_the_highest_indexes_and_counts_none() -> None:
    world = Jobs(backoffLimit=0)
    world.patch(parallelism=1)
    world.run(2)
    indexes = [pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in world.alive()]
    assert indexes == ["0"]
    world.stop_deleted()
    world.run(2)
    assert world.counts() == {"active": 1, "ready": 1}


def test_more_than_500_failures_at_once_are_counted_in_turns() -> None:
    world = Jobs(backoffLimit=10_000, pods=1200)
    for pod in world.pods():
        world.end(pod)
    world.run(3)
    assert world.counts()["failed"] == 1200
    assert world.job["status"]["uncountedTerminatedPods"] == {}


def test_no_pods_are_created_where_the_namespace_goes() -> None:
    world = Jobs(backoffLimit=6)
    world.end(world.at(0))
    world.run(2)
    namespace = world.store.get("namespaces", "", "default")
    held = {**namespace["metadata"], "finalizers": ["example.com/hold"]}
    world.store.update("namespaces", {**namespace, "metadata": held}, world.now)
    job = world.job
    held = {**job["metadata"], "finalizers": ["example.com/hold"]}
    world.store.update("jobs", {**job, "metadata": held}, world.now)
    world.store.delete("namespaces", "", "default", world.now)
    world.run(60)
    assert world.alive() == [] or all(pod["status"]["phase"] == "Failed" for pod in world.alive())


def test_pods_of_a_job_that_is_gone_are_let_go_although_another_has_its_name() -> None:
    world = Jobs()
    old, spec = {pod["metadata"]["uid"] for pod in world.pods()}, world.job["spec"]
    world.store.delete("jobs", "default", "train", world.now)
    again = {name: spec[name] for name in ("parallelism", "completions", "completionMode")}
    again["template"] = {"spec": spec["template"]["spec"]}
    world.store.create("jobs", {"metadata": {"name": "train", "namespace": "default"}, "spec": again}, world.now)
    world.run(2)
    world.stop_deleted()
    world.run(2)
    assert len(world.pods()) == 3
    assert not old & {pod["metadata"]["uid"] for pod in world.pods()}


def test_pods_are_created_no_faster_than_the_rate() -> None:
    world = Jobs(replace(PROFILE, pod_creates_rate=50.0), pods=200)
    assert 50 <= len(world.pods()) <= 100  # after two seconds
    world.run(2.1)
    assert len(world.pods()) == 200


def test_a_thousand_pods_of_one_job_take_little_time() -> None:
    begin = time.process_time()
    world = Jobs(pods=1000)
    while len(world.pods()) < 1000:
        world.run(1)
    world.start_all()
    assert world.counts() == {"active": 1000, "ready": 1000}
    assert time.process_time() - begin < 2.5


def failures(pod: Obj) -> str:
    return str(pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"])


def test_each_index_backs_off_and_fails_by_itself() -> None:
    world = Jobs(backoffLimitPerIndex=1)
    assert world.job["spec"]["backoffLimit"] == 2**31 - 1
    world.end(world.at(0))
    world.run(9)
    assert (len(world.alive()), world.counts().get("failed")) == (3, None)  # the failed one waits for its successor
    world.run(3)
    world.start_all()
    assert (failures(world.at(0)), failures(world.at(1))) == ("1", "0")
    assert world.counts() == {"active": 3, "ready": 3, "failed": 1}
    world.end(world.at(0))
    world.run(60)
    assert world.job["status"]["failedIndexes"] == "0"
    assert world.counts() == {"active": 2, "ready": 2, "failed": 2}
    assert world.ended() is None
    for index in (1, 2):
        world.end(world.at(index), code=0)
    world.run(5)
    assert world.ended() == ("Failed", "FailedIndexes")


def test_more_failed_indexes_than_allowed_fail_the_job_at_once() -> None:
    world = Jobs(backoffLimitPerIndex=0, maxFailedIndexes=1)
    world.end(world.at(0))
    world.run(5)
    assert (world.ended(), world.job["status"]["failedIndexes"]) == (None, "0")
    world.end(world.at(1))
    world.run(5)
    world.stop_deleted()
    world.run(5)
    assert world.ended() == ("Failed", "MaxFailedIndexesExceeded")
    assert world.job["status"]["failedIndexes"] == "0,1"


def test_a_rule_can_fail_an_index_at_once() -> None:
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]
    world = Jobs(backoffLimitPerIndex=5, podFailurePolicy={"rules": rules})
    world.end(world.at(2), code=42)
    world.run(5)
    assert world.job["status"]["failedIndexes"] == "2"
    world.end(world.at(1), code=1)
    world.run(5)
    assert world.job["status"]["failedIndexes"] == "2"


def test_deleting_the_pod_of_an_index_counts_against_its_limit() -> None:
    world = Jobs(backoffLimitPerIndex=0)
    world.delete(world.at(1))
    world.run(5)
    assert world.job["status"]["failedIndexes"] == "1"
