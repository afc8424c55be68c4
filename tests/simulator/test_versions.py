"""Older Kubernetes: what becomes of restart rules, and what a restart in place of a JobSet does without them."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.simulator.options import VersionName
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.versions import VERSIONS
from jobset_restart.simulator.world import World
from tests.e2e.manifests import handles_term

RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"


def native(**worker: Any) -> Obj:
    env = [
        {
            "name": "JOBSET_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['jobset.sigs.k8s.io/jobset-name']"}},
        },
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    probe = {"httpGet": {"path": "/barrier-is-down", "port": 8081}, "failureThreshold": 600, "periodSeconds": 1}
    agent: Obj = {"name": "agent", "image": "docker.io/library/agent:1", "restartPolicy": "Always"}
    agent |= {"restartPolicyRules": [RULE], "env": env, "startupProbe": probe}
    main = {"name": "worker", "image": "busybox:1.36", "command": handles_term(), **worker}
    pod = {"restartPolicy": "Never", "initContainers": [agent], "containers": [main]}
    job = {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 2**31 - 1}
    template = {"spec": {**job, "podReplacementPolicy": "Failed", "template": {"spec": pod}}}
    policy = {"maxRestarts": 100, "restartStrategy": "InPlaceRestart"}
    spec = {"failurePolicy": policy, "replicatedJobs": [{"name": "w", "replicas": 1, "template": template}]}
    return {"metadata": {"name": "native", "namespace": "default"}, "spec": spec}


def cluster(kubernetes: str, jobset: Obj) -> World:
    world = World(nodes=2, kubernetes=kubernetes)
    world.store.create("jobsets", jobset, world.now)
    world.run_until(world.now + 20)
    return world


def restart_counts(world: World) -> list[tuple[int, int]]:
    """(agent, worker) of every Pod."""
    both = [
        (pod["status"]["initContainerStatuses"], pod["status"]["containerStatuses"]) for pod in world.store.list("pods")
    ]
    return [(agent[0]["restartCount"], worker[0]["restartCount"]) for agent, worker in both]


def refusals(world: World) -> str:
    return "\n".join(each["message"] for each in world.store.all("events") if each["reason"] == "JobCreationFailed")


@pytest.mark.parametrize(("kubernetes", "counts"), [("1.33", (1, 0)), ("1.36", (1, 1)), ("1.37", (1, 1))])
def test_a_native_restart_restarts_the_agents_only_where_rules_are_dropped(
    kubernetes: str, counts: tuple[int, int]
) -> None:
    world = cluster(kubernetes, native())
    jobset = world.store.get("jobsets", "default", "native")
    assert jobset["status"]["currentInPlaceRestartAttempt"] == 0
    status = {**jobset["status"], "previousInPlaceRestartAttempt": 0}
    world.store.update("jobsets", {**jobset, "status": status}, world.now, subresource="status")
    world.run_until(world.now + 30)
    assert world.store.get("jobsets", "default", "native")["status"]["currentInPlaceRestartAttempt"] == 1
    assert {pod["metadata"]["annotations"][ATTEMPT] for pod in world.store.list("pods")} == {"1"}
    assert restart_counts(world) == [counts, counts]


def test_rules_stay_in_the_jobset_and_are_gone_from_job_and_pod() -> None:
    world = cluster("1.33", native())
    jobset, job = world.store.list("jobsets")[0]["spec"], world.store.list("jobs")[0]["spec"]
    templates = [jobset["replicatedJobs"][0]["template"]["spec"]["template"], job["template"]]
    specs = [each["spec"] for each in (*templates, world.store.list("pods")[0])]
    assert ["restartPolicyRules" in each["initContainers"][0] for each in specs] == [True, False, False]


@pytest.mark.parametrize(
    ("kubernetes", "worker", "words"),
    [
        (
            "1.33",
            {"restartPolicy": "Never"},
            ["spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"],
        ),
        (
            "1.35",
            {},
            [
                "spec.template.spec.initContainers[0].restartPolicyRules[0].action: Unsupported value: "
                '"RestartAllContainers": supported values: "Restart"',
                "restartPolicyRules are not allowed for init containers with restart policy Always",
            ],
        ),
    ],
)
def test_jobs_that_are_refused_are_told_of_in_an_event_only(kubernetes: str, worker: Obj, words: list[str]) -> None:
    world = cluster(kubernetes, native(**worker))
    assert (world.store.list("jobs"), world.store.list("pods")) == ([], [])
    assert not world.store.get("jobsets", "default", "native").get("status", {}).get("conditions")
    for each in words:
        assert each in refusals(world)


def test_1_35_keeps_rules_that_restart_one_container() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}}]
    world = World(nodes=1, kubernetes="1.35")
    container = {"name": "a", "image": "busybox", "restartPolicy": "Never", "restartPolicyRules": rules}
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = world.store.create("pods", {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}, world.now)
    assert pod["spec"]["containers"][0]["restartPolicyRules"] == rules


@pytest.mark.parametrize("kubernetes", VERSIONS)
def test_nodes_declare_what_their_version_can_do(kubernetes: str) -> None:
    (node,) = World(nodes=1, kubernetes=kubernetes).store.list("nodes")
    declared = node["status"].get("declaredFeatures")
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith(f"v{kubernetes}.")
    if kubernetes in ("1.33", "1.35"):
        assert declared is None
    else:
        assert "RestartAllContainersOnContainerExits" in declared


def test_the_command_line_knows_every_version() -> None:
    assert [each.value for each in VersionName] == list(VERSIONS)
