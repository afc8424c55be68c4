"""The JobSet controller, restarts in place excepted."""

from __future__ import annotations

import pytest

from jobset_restart.simulator.store import Obj, timestamp
from tests.simulator.jobset_stage import PREFIX, Cluster, policy, replicated_job
from tests.simulator.stage import START


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# Creating


def test_jobs_carry_the_jobsets_labels_as_labels_and_annotations(cluster: Cluster) -> None:
    cluster.create(
        "train",
        replicated_job("driver", pods=1, groupName="control"),
        replicated_job("workers", jobs=2),
        coordinator={"replicatedJob": "driver"},
    )
    job = cluster.jobs()["train-workers-1"]
    expected = {
        "jobset-name": "train",
        "jobset-uid": cluster.jobset()["metadata"]["uid"],
        "replicatedjob-name": "workers",
        "restart-attempt": "0",
        "replicatedjob-replicas": "2",
        "global-replicas": "3",
        "job-index": "1",
        "job-key": "f7cd59a344a70b9510e91bf1b6f8a70533d949ef",  # SHA-1 of default/train-workers-1
        "job-global-index": "2",
        "group-name": "default",
        "group-replicas": "2",
        "job-group-index": "1",
        "coordinator": "train-driver-0-0.train",
    }
    got = {key.removeprefix(PREFIX): value for key, value in job["metadata"]["annotations"].items()}
    assert got == expected
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert job["metadata"]["annotations"].items() <= labels.items()
    template = job["spec"]["template"]["metadata"]["annotations"]
    assert job["metadata"]["annotations"].items() <= template.items()
    assert job["spec"]["suspend"] is False
    assert job["spec"]["template"]["spec"]["subdomain"] == "train"
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "JobSet",
        "train",
        True,
        True,
    )


def test_headless_service_for_host_names_comes_back(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), network={"subdomain": "net", "publishNotReadyAddresses": False})
    spec = cluster.store.get("services", "default", "net")["spec"]
    assert (spec["clusterIP"], spec["selector"]) == ("None", {f"{PREFIX}jobset-name": "train"})
    assert spec["publishNotReadyAddresses"] is False
    cluster.store.delete("services", "default", "net", cluster.now)
    cluster.run()
    assert cluster.store.find("services", "default", "net")


def test_no_service_without_host_names(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), network={"enableDNSHostnames": False})
    assert cluster.store.count("services") == 0
    assert "subdomain" not in cluster.jobs()["train-workers-0"]["spec"]["template"]["spec"]


def test_status_counts_jobs_by_replicated_job_last_name_first(cluster: Cluster) -> None:
    cluster.create("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2))
    assert cluster.state()["restarts"] == 0
    assert [each["name"] for each in cluster.state()["replicatedJobsStatus"]] == ["workers", "driver"]
    assert (cluster.counts("workers")["active"], cluster.counts("workers")["ready"]) == (2, 0)
    cluster.ready("train-workers-0")
    assert cluster.counts("workers") == {
        "name": "workers",
        "ready": 1,
        "succeeded": 0,
        "failed": 0,
        "active": 2,
        "suspended": 0,
    }


def test_restart_policy_always_is_refused_when_the_job_is_created(cluster: Cluster) -> None:
    """Trap 5: the JobSet is taken, its Jobs are not."""
    bad = replicated_job()
    bad["template"]["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    cluster.create("train", bad)
    cluster.run(2.0)
    assert not cluster.jobs()
    assert "status" not in cluster.jobset()
    (event,) = (each for each in cluster.store.all("events") if each["reason"] == "JobCreationFailed")
    assert event["message"] == (
        'job "train-workers-0" creation failed with error: Job.batch "train-workers-0" is invalid: '
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    )
    assert event["series"]["count"] == 2
    assert 8 <= cluster.controller.looks <= 11, "retries come later and later"


def test_managed_by_another_controller_is_left_alone(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), managedBy="kueue.x-k8s.io/multikueue")
    assert not cluster.jobs()
    assert not cluster.state()


def test_exclusive_placement_by_node_selector(cluster: Cluster) -> None:
    annotations = {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "rack",
        "alpha.jobset.sigs.k8s.io/node-selector": "true",
    }
    one = replicated_job()
    one["template"]["metadata"] = {"annotations": annotations}
    cluster.create("train", one)
    spec = cluster.jobs()["train-workers-0"]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"alpha.jobset.sigs.k8s.io/namespaced-job": "default_train-workers-0"}
    assert spec["tolerations"][0]["key"] == "alpha.jobset.sigs.k8s.io/no-schedule"


# Order


def test_in_order_startup_waits_for_ready(cluster: Cluster) -> None:
    order = {"startupPolicyOrder": "InOrder"}
    cluster.create("train", replicated_job("driver", pods=1), replicated_job("workers"), startupPolicy=order)
    assert set(cluster.jobs()) == {"train-driver-0"}
    assert cluster.conditions() == {"StartupPolicyInProgress": ("True", "InOrderStartupPolicyInProgress")}
    cluster.ready("train-driver-0")
    assert set(cluster.jobs()) == {"train-driver-0", "train-workers-0"}
    cluster.ready("train-workers-0")
    assert cluster.conditions() == {
        "StartupPolicyInProgress": ("False", "InOrderStartupPolicyInProgress"),
        "StartupPolicyCompleted": ("True", "InOrderStartupPolicyCompleted"),
    }


def test_in_order_resume_goes_one_after_the_other(cluster: Cluster) -> None:
    order = {"startupPolicyOrder": "InOrder"}
    cluster.create("train", replicated_job("driver", pods=1), replicated_job("workers"), startupPolicy=order)
    cluster.ready("train-driver-0")
    cluster.ready("train-workers-0")
    cluster.suspend(True)
    assert cluster.conditions()["StartupPolicyCompleted"][0] == "True"
    for pod in cluster.pods_of():
        cluster.store.delete("pods", "default", pod["metadata"]["name"], cluster.now, grace=0)
    cluster.suspend(False)
    assert [job["spec"]["suspend"] for job in cluster.jobs().values()] == [False, True]
    assert cluster.conditions()["StartupPolicyCompleted"][0] == "False"
    assert cluster.conditions()["Suspended"][0] == "True", "until the last one goes"
    cluster.ready("train-driver-0")
    assert [job["spec"]["suspend"] for job in cluster.jobs().values()] == [False, False]
    cluster.ready("train-workers-0")
    assert cluster.conditions()["Suspended"] == ("False", "ResumeJobs")


@pytest.mark.parametrize("status", ["Ready", "Complete"])
def test_depends_on_holds_back_a_replicated_job(cluster: Cluster, status: str) -> None:
    needs = [{"name": "data", "status": status}]
    cluster.create("train", replicated_job("data", pods=1), replicated_job("workers", dependsOn=needs))
    assert set(cluster.jobs()) == {"train-data-0"}
    cluster.ready("train-data-0")
    assert ("train-workers-0" in cluster.jobs()) == (status == "Ready")
    cluster.end("train-data-0", "Succeeded")
    assert "train-workers-0" in cluster.jobs()


# Suspending


def test_suspend_keeps_the_jobs_and_costs_nothing(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(jobs=2), failurePolicy=policy())
    cluster.ready()
    before = {name: job["metadata"]["uid"] for name, job in cluster.jobs().items()}
    cluster.suspend(True)
    assert cluster.conditions() == {"Suspended": ("True", "SuspendedJobs")}
    assert cluster.counts("workers")["suspended"] == 2
    for pod in cluster.pods_of():
        cluster.store.delete("pods", "default", pod["metadata"]["name"], cluster.now, grace=0)
    cluster.suspend(False)
    cluster.ready()
    assert {name: job["metadata"]["uid"] for name, job in cluster.jobs().items()} == before
    assert len(cluster.pods_of()) == 4
    assert all("failed" not in job["status"] for job in cluster.jobs().values())
    assert cluster.conditions() == {"Suspended": ("False", "ResumeJobs")}
    assert cluster.state()["restarts"] == 0
    assert cluster.told() == [("Normal", "SuspendedJobs"), ("Normal", "ResumeJobs")]


def test_created_suspended(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), suspend=True)
    job = cluster.jobs()["train-workers-0"]
    assert (job["spec"]["suspend"], job["metadata"]["generation"]) == (True, 1), "from the start"
    assert not cluster.pods_of()
    assert cluster.conditions() == {"Suspended": ("True", "SuspendedJobs")}


def test_what_changed_while_suspended_reaches_the_jobs(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), suspend=True)
    jobset = cluster.jobset()
    one = replicated_job() | {"groupName": "default"}
    pod = {"nodeSelector": {"pool": "a"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    template = one["template"]["spec"]["template"]
    template["spec"] |= pod
    template["metadata"] = {"labels": {"queue": "q"}}
    one["template"]["spec"]["completionMode"] = "Indexed"
    cluster.store.update("jobsets", {**jobset, "spec": {**jobset["spec"], "replicatedJobs": [one]}}, cluster.now)
    cluster.suspend(False)
    made = cluster.jobs()["train-workers-0"]["spec"]["template"]
    assert made["spec"]["nodeSelector"] == {"pool": "a"}
    assert [each["key"] for each in made["spec"]["tolerations"]] == ["gpu"]
    assert made["metadata"]["labels"]["queue"] == "q"
    assert made["metadata"]["labels"][f"{PREFIX}jobset-name"] == "train"


# Failing and restarting


def test_deleting_child_jobs_recreates_them_and_costs_nothing(cluster: Cluster) -> None:
    """Trap 3."""
    cluster.create("train", replicated_job(), failurePolicy=policy())
    cluster.ready()
    uid = cluster.jobs()["train-workers-0"]["metadata"]["uid"]
    cluster.store.delete("jobs", "default", "train-workers-0", cluster.now, propagation="Foreground")
    cluster.run()
    assert cluster.jobs()["train-workers-0"]["metadata"]["uid"] == uid, "its Pods go first"
    cluster.collect()
    cluster.ready()
    job = cluster.jobs()["train-workers-0"]
    assert job["metadata"]["uid"] != uid
    assert job["metadata"]["labels"][f"{PREFIX}restart-attempt"] == "0"
    assert cluster.state()["restarts"] == 0
    assert not cluster.conditions()


def test_failed_job_recreates_all_jobs(cluster: Cluster) -> None:
    cluster.create("train", replicated_job("a", pods=1), replicated_job("b"), failurePolicy=policy(1))
    cluster.ready()
    cluster.end("train-a-0")
    assert (cluster.state()["restarts"], cluster.state()["restartsCountTowardsMax"]) == (1, 1)
    assert cluster.conditions() == {"RestartingJobSet": ("True", "DefaultFailurePolicy")}
    assert all("deletionTimestamp" in job["metadata"] for job in cluster.jobs().values())
    assert cluster.counts("a")["failed"] == 0, "Jobs of an earlier run do not count"
    cluster.collect()
    assert {job["metadata"]["labels"][f"{PREFIX}restart-attempt"] for job in cluster.jobs().values()} == {"1"}
    cluster.ready()
    assert cluster.conditions() == {"RestartingJobSet": ("False", "JobsReady")}
    cluster.end("train-a-0")
    assert cluster.conditions()["Failed"] == ("True", "ReachedMaxRestarts")
    assert cluster.conditions()["RestartingJobSet"] == ("False", "JobSetFailed")
    assert cluster.state()["terminalState"] == "Failed"
    assert cluster.counts("a")["failed"] == 1
    cluster.collect()
    assert set(cluster.jobs()) == {"train-a-0"}, "what still ran is deleted, what failed stays"
    assert cluster.told() == [
        ("Warning", "DefaultFailurePolicy"),
        ("Warning", "RestartJobSetFailurePolicyAction"),
        ("Normal", "JobsReady"),
        ("Warning", "ReachedMaxRestarts"),
        ("Normal", "JobSetFailed"),
    ]


@pytest.mark.parametrize(("strategy", "early"), [("Recreate", True), ("BlockingRecreate", False)])
def test_blocking_recreate_waits_for_the_last_old_job(cluster: Cluster, strategy: str, early: bool) -> None:
    cluster.create("train", replicated_job("a", pods=1), replicated_job("b"), failurePolicy=policy(1, strategy))
    cluster.ready()
    cluster.end("train-a-0")
    old = cluster.jobs()["train-a-0"]
    cluster.store.update("jobs", {**old, "metadata": old["metadata"] | {"finalizers": []}}, cluster.now)
    cluster.run()
    assert ("train-a-0" in cluster.jobs()) is early
    cluster.collect()
    assert set(cluster.jobs()) == {"train-a-0", "train-b-0"}


def test_no_failure_policy_fails_the_jobset(cluster: Cluster) -> None:
    cluster.create("train", replicated_job())
    cluster.ready()
    cluster.end("train-workers-0")
    (failed,) = (each for each in cluster.state()["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "FailedJobs"
    message = "jobset failed due to one or more job failures (first failed job: train-workers-0)"
    assert failed["message"] == message


@pytest.mark.parametrize(
    ("rule", "restarts", "counted", "failed"),
    [
        ({"action": "FailJobSet"}, 0, 0, True),
        ({"action": "RestartJobSetAndIgnoreMaxRestarts"}, 1, 0, False),
        ({"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}, 1, 1, False),
        ({"action": "FailJobSet", "onJobFailureReasons": ["BackoffLimitExceeded"]}, 0, 0, True),
        ({"action": "FailJobSet", "targetReplicatedJobs": ["b"]}, 1, 1, False),
        ({"action": "FailJobSet", "onJobFailureMessagePatterns": ["(", "backoff .*"]}, 0, 0, True),
    ],
)
def test_rules_choose_the_action(cluster: Cluster, rule: Obj, restarts: int, counted: int, failed: bool) -> None:
    fp = policy(1, rules=[rule])
    cluster.create("train", replicated_job("a"), replicated_job("b"), failurePolicy=fp)
    cluster.ready()
    cluster.end("train-a-0")
    status = cluster.state()
    assert (status["restarts"], status.get("restartsCountTowardsMax", 0)) == (restarts, counted)
    assert ("Failed" in cluster.conditions()) is failed
    if not failed and not counted:
        assert cluster.conditions()["RestartingJobSet"] == ("True", "FailurePolicy_failurePolicyRule0")


# Succeeding


@pytest.mark.parametrize(
    ("success", "ended"),
    [
        ({"operator": "All"}, False),
        ({"operator": "Any"}, True),
        ({"operator": "All", "targetReplicatedJobs": ["a"]}, True),
        ({"operator": "Any", "targetReplicatedJobs": ["b"]}, False),
    ],
)
def test_success_policy(cluster: Cluster, success: Obj, ended: bool) -> None:
    cluster.create("train", replicated_job("a", pods=1), replicated_job("b"), successPolicy=success)
    cluster.ready()
    cluster.end("train-a-0", "Succeeded")
    assert cluster.counts("a")["succeeded"] == 1
    assert ("Completed" in cluster.conditions()) is ended
    assert cluster.state().get("terminalState", "") == ("Completed" if ended else "")
    assert ("deletionTimestamp" in cluster.jobs()["train-b-0"]["metadata"]) is ended


def test_finished_jobset_goes_after_its_time_to_live(cluster: Cluster) -> None:
    cluster.create("train", replicated_job(), ttlSecondsAfterFinished=5)
    cluster.end("train-workers-0", "Succeeded")
    assert cluster.conditions()["Completed"] == ("True", "AllJobsCompleted")
    cluster.run(4.0)
    assert "deletionTimestamp" not in cluster.jobset()["metadata"]
    cluster.run(2.0)
    assert cluster.jobset()["metadata"]["deletionTimestamp"] == timestamp(START + 5)


def test_jobset_being_deleted_is_left_alone(cluster: Cluster) -> None:
    cluster.create("train", replicated_job())
    cluster.store.delete("jobsets", "default", "train", cluster.now, propagation="Foreground")
    cluster.store.delete("jobs", "default", "train-workers-0", cluster.now)
    cluster.run()
    assert not cluster.jobs()


def test_another_jobset_of_the_same_name_waits_for_the_old_jobs(cluster: Cluster) -> None:
    cluster.create("train", replicated_job())
    cluster.store.delete("jobsets", "default", "train", cluster.now)
    cluster.create("train", replicated_job())
    assert ("Warning", "JobCreationFailed") in cluster.told()
    cluster.store.delete("jobs", "default", "train-workers-0", cluster.now)
    cluster.run(2.0)
    (owner,) = cluster.jobs()["train-workers-0"]["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.jobset()["metadata"]["uid"]
