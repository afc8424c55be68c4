"""From a name to a snapshot, over HTTP."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import msgspec
import pytest
from aiohttp import web

from jobset_restart.cluster import connect
from jobset_restart.cluster.resolve import resolve
from jobset_restart.errors import Invalid, UsageError
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads import kinds
from jobset_restart.workloads.kinds import POD, TRAIN_JOB, WorkloadKind
from tests import build, build_trainjob
from tests.apiserver import ApiServer, failing, json_answer, kubeconfig, serving

JOBSET = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/ns/jobsets/train"
JOBS = "/apis/batch/v1/namespaces/ns/jobs"
PODS = "/api/v1/namespaces/ns/pods"


def listed(version: str, *objects: Any) -> Any:
    return json_answer({"metadata": {"resourceVersion": version}, "items": [msgspec.to_builtins(o) for o in objects]})


def found(folder: pathlib.Path, pods: list[Any], *jobs: Any) -> tuple[Snapshot, ApiServer]:
    """The snapshot where the Jobs are listed like this, one answer after the other."""

    async def main() -> tuple[Snapshot, ApiServer]:
        async with serving() as server:
            server.on("GET", JOBSET, json_answer(msgspec.to_builtins(build.jobset())))
            server.on("GET", JOBS, *jobs)
            server.on("GET", PODS, listed("9", *pods))
            server.on("GET", "/api/v1/nodes/node-0", json_answer(msgspec.to_builtins(build.node())))
            async with await connect(kubeconfig(folder / "config", server.url)) as cluster:
                return await resolve(cluster, "ns", "train"), server

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_a_job_made_between_the_lists_of_jobs_and_pods_is_looked_for_again(tmp_path: pathlib.Path) -> None:
    pods = [build.pod(index, job_uid="new") for index in (0, 1)]
    old, new = build.job(build.jobset(), uid="old"), build.job(build.jobset(), uid="new")
    snapshot, _ = found(tmp_path, pods, listed("7", old), listed("8", new))
    seated = [state.pod.metadata.name for state in snapshot.slots.values() if state.pod]
    assert seated == [pod.metadata.name for pod in pods]
    assert not snapshot.strangers
    assert (snapshot.children_versions, snapshot.resource_version) == (("8",), "9")


@pytest.mark.parametrize("owners", [[], [{**build.OWNER, "uid": "x"}]], ids=["nobody", "another kind"])
def test_a_pod_that_names_no_job_costs_no_second_look(tmp_path: pathlib.Path, owners: list[Any]) -> None:
    pods = [build.pod(0), build.pod(1), build.pod(0, name="forged", owners=owners)]
    snapshot, server = found(tmp_path, pods, listed("7", build.job(build.jobset())))
    assert snapshot.strangers == ["Pod forged"]
    assert len(server.seen("GET", JOBS)) == 1


def test_why_a_trainjob_has_no_jobset_is_asked_of_its_events(tmp_path: pathlib.Path) -> None:
    async def main() -> tuple[Snapshot, ApiServer]:
        async with serving() as server:
            server.on("GET", TRAIN_JOB.path("ns", "train"), json_answer(msgspec.to_builtins(build_trainjob.trainjob())))
            for path in (JOBS, PODS):
                server.on("GET", path, listed("9"))
            refused = build.event("trainjob-uid", "TrainJobResourcesCreationFailed", "no such runtime")
            server.on("GET", "/api/v1/namespaces/ns/events", listed("9", refused))
            async with await connect(kubeconfig(tmp_path / "config", server.url)) as cluster:
                return await resolve(cluster, "ns", "train", TRAIN_JOB), server

    snapshot, server = asyncio.run(asyncio.wait_for(main(), 60))
    assert snapshot.workload.lacking == "JobSet train"
    assert snapshot.refusals["trainjob-uid"].message == "no such runtime"
    (asked,) = server.seen("GET", "/api/v1/namespaces/ns/events")
    assert asked.query["fieldSelector"] == (
        "involvedObject.kind=TrainJob,reason=TrainJobResourcesCreationFailed,involvedObject.name=train"
    )


@pytest.mark.parametrize(
    ("kind", "reason", "error"),
    [(kinds.JOBSET, "BadRequest", Invalid), (POD, "", Invalid), (POD, "BadRequest", UsageError)],
    ids=["no labels were typed", "not an answer of the API", "labels that are none"],
)
def test_a_bad_request_is_the_person_s_only_where_they_typed_it(
    tmp_path: pathlib.Path, kind: WorkloadKind, reason: str, error: type[Exception]
) -> None:
    async def plain(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text="Client sent an HTTP request to an HTTPS server.")

    answer = failing(400, reason) if reason else plain

    async def main() -> None:
        async with serving() as server:
            for path in (JOBSET, JOBS, PODS, "/apis/coordination.k8s.io/v1/namespaces/ns/leases"):
                server.on("GET", path, answer)
            async with await connect(kubeconfig(tmp_path / "config", server.url)) as cluster:
                with pytest.raises(error):
                    await resolve(cluster, "ns", "train", kind)

    asyncio.run(asyncio.wait_for(main(), 60))
