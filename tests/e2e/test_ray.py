"""RayClusters and RayJobs. The embedded cluster does not play them: these run on a real one that has the operator. Its
Pods run a plain program in place of Ray, so what Ray itself makes of a restart is not covered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.api import Answer, Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import container
from tests.e2e.picture import ready
from tests.e2e.place import Place

AS_WRITTEN = {"ray.io/overwrite-container-cmd": "true"}
"""Keeps the operator from putting `ray start` before the command."""


def spec() -> Object:
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    program = {**container(), "resources": resources}
    template = {"spec": {"terminationGracePeriodSeconds": 5, "containers": [program]}}
    counts = {"replicas": 2, "minReplicas": 2, "maxReplicas": 2}
    workers = {"groupName": "workers", "rayStartParams": {}, "template": template, **counts}
    head = {"rayStartParams": {}, "template": template}
    return {"rayVersion": "2.52.0", "headGroupSpec": head, "workerGroupSpecs": [workers]}


def create(place: Place, plural: str, kind: str, body: Object) -> None:
    """Creates the object, or skips where the cluster serves none of its kind."""
    metadata = {"name": "ray", "annotations": AS_WRITTEN}
    where = f"/apis/ray.io/v1/namespaces/{place.namespace}/{plural}"
    try:
        place.api.request("POST", where, {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata, "spec": body})
    except Answer as answer:
        if answer.status == 404:
            pytest.skip(f"the cluster serves no {kind}s")
        raise


def pods(place: Place) -> dict[str, Object]:
    """The head and two workers, once they are all Ready."""

    def all_there(found: dict[str, Object]) -> bool:
        return len(found) == 3 and all(map(ready, found.values()))

    selector = "ray.io/is-ray-node=yes"
    return place.api.until("pods", place.namespace, all_there, within=120, what="three Ready Pods", selector=selector)


def uids(found: dict[str, Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in found.values()}


def restarts(found: dict[str, Object]) -> dict[str, int]:
    return {
        pod["metadata"]["labels"]["ray.io/node-type"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in found.values()
    }


def restarted(jsr: Jsr, name: str, *options: str) -> dict[str, Any]:
    return jsr.restart(name, *options).exited(0).document


def test_in_place_recreated_as_a_whole_and_one_worker_group(place: Place, jsr: Jsr) -> None:
    create(place, "rayclusters", "RayCluster", spec())
    before = pods(place)
    ended = jsr.restart("raycluster/ray", "--in-place").exited(0)
    in_place = ended.document
    assert "step 2 of 2: workers" in ended.stderr
    assert (in_place["trigger"], in_place["outcomes"]) == ("image", {"restarted": 3})
    same = pods(place)
    assert (uids(same), restarts(same)) == (uids(before), {"head": 1, "worker": 1})
    whole = restarted(jsr, "ray/ray", "--recreate")
    assert (whole["trigger"], whole["writes"], whole["outcomes"]) == ("suspend", 2, {"recreated": 3})
    middle = pods(place)
    assert not uids(middle) & uids(before)
    group = restarted(jsr, "ray/ray", "--recreate", "--replicated-job", "workers")
    assert (group["trigger"], group["outcomes"]) == ("pods", {"recreated": 2, "unchanged": 1})
    assert len(uids(pods(place)) & uids(middle)) == 1


def test_a_ray_job_on_its_cluster(place: Place, jsr: Jsr) -> None:
    body = {"entrypoint": "python train.py", "submissionMode": "HTTPMode", "rayClusterSpec": spec()}
    create(place, "rayjobs", "RayJob", body)
    before = pods(place)
    done = jsr.restart("rayjob/ray", "--in-place").exited(0)
    assert "JSR702" in done.stderr
    assert (done.document["workloadKind"], done.document["outcomes"]) == ("RayJob", {"restarted": 3})
    assert uids(pods(place)) == uids(before)
