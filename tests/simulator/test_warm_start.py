"""A cluster that begins with its JobSets running."""

from __future__ import annotations

import time
from typing import Any

from jobset_restart.simulator import manifests
from jobset_restart.simulator.running import AGE_SECONDS, Settings, build
from jobset_restart.simulator.store import seconds
from jobset_restart.simulator.world import World


def built(objects: list[dict[str, Any]], profile: str = "realtime") -> World:
    settings = Settings(objects=objects, nodes=None, profile=profile, speed=1.0, seed=0, port=0, warm=True)
    return build(settings)


def became_ready(world: World) -> list[float]:
    """When each Pod did; fails where one is not Ready."""
    found = []
    for pod in world.store.all("pods"):
        ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
        assert ready["status"] == "True"
        found.append(seconds(ready["lastTransitionTime"]))
    return found


def test_every_pod_is_ready_for_some_minutes_and_it_is_now() -> None:
    world = built(manifests.demo(8))
    times = became_ready(world)
    assert len(times) == 9
    assert abs(world.now - time.time()) < 5
    assert AGE_SECONDS / 2 < world.now - max(times) < AGE_SECONDS * 2


def test_a_job_that_nothing_stands_above_is_waited_for_too() -> None:
    container = {"name": "worker", "image": "docker.io/library/busybox:1.36", "command": ["sleep", "60"]}
    template = {"spec": {"restartPolicy": "Never", "serviceAccountName": "etl", "containers": [container]}}
    spec = {"parallelism": 3, "completions": 3, "completionMode": "Indexed", "template": template}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "etl"}, "spec": spec}
    world = built([job])
    assert len(became_ready(world)) == 3
    assert len(list(world.store.all("nodes"))) == 3


def test_a_program_that_would_be_over_by_now_still_runs() -> None:
    (jobset,) = manifests.demo(2)
    for job in jobset["spec"]["replicatedJobs"]:
        job["template"]["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "60"]
    assert len(became_ready(built([jobset]))) == 3
