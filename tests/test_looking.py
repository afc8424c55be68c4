"""Looking at many JobSets over HTTP, some of which cannot be read."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import pytest

from jobset_restart.cluster import connect
from jobset_restart.overview import Overview
from jobset_restart.report import JobSetReportList
from tests.apiserver import ApiServer, failing, json_answer, kubeconfig, serving

JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/jobsets"
JOBS = "/apis/batch/v1/jobs"
PODS = "/api/v1/pods"
EVENTS = "/api/v1/events"


def jobset(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"replicatedJobs": [{"name": "workers", "template": {"spec": {"parallelism": 1}}}]}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"}, "spec": spec, **fields}


def job(of: str, ready: Any = 1) -> dict[str, Any]:
    labels = {"jobset.sigs.k8s.io/jobset-name": of, "jobset.sigs.k8s.io/replicatedjob-name": "workers"}
    owner = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": of, "controller": True}
    owners = [{**owner, "uid": f"uid-{of}"}]
    meta = {"name": f"{of}-workers-0", "namespace": "ns", "labels": labels, "ownerReferences": owners}
    return {"metadata": meta, "status": {"ready": ready}}


def look(
    folder: pathlib.Path, *jobsets: Any, jobs: list[Any], pods: Any = None, events: Any = ()
) -> tuple[JobSetReportList, ApiServer]:
    async def main() -> tuple[JobSetReportList, ApiServer]:
        async with serving() as server:
            server.on("GET", JOBSETS, json_answer({"metadata": {}, "items": jobsets}))
            server.on("GET", JOBS, json_answer({"metadata": {}, "items": jobs}))
            server.on("GET", PODS, pods or json_answer({"metadata": {}, "items": []}))
            server.on("GET", EVENTS, json_answer({"metadata": {}, "items": list(events)}))
            async with await connect(kubeconfig(folder / "config", server.url)) as cluster:
                return await Overview(cluster, None).look(), server

    return asyncio.run(asyncio.wait_for(main(), 60))


BAD = [
    jobset("bad", status={"restarts": "many"}),
    jobset("bad", status=[]),
    {**jobset("bad"), "metadata": {"name": "bad", "namespace": "ns", "creationTimestamp": "yesterday"}},
]


@pytest.mark.parametrize("bad", BAD, ids=["number", "shape", "time"])
def test_one_jobset_that_cannot_be_read_does_not_hide_the_others(tmp_path: pathlib.Path, bad: Any) -> None:
    found, _ = look(tmp_path, jobset("a"), bad, jobset("z"), jobs=[job("a"), job("z")])
    assert [(row.name, row.state) for row in found.items] == [("a", "Running"), ("bad", "Unreadable"), ("z", "Running")]
    assert found.items[1].notes[0].startswith("cannot be read: ")
    assert (found.context, found.namespace) == ("test", "")


def test_an_object_that_is_none_at_all_has_a_row_too(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, jobset("a"), 7, {"metadata": "none"}, jobs=[job("a")])
    assert sorted((row.name, row.state) for row in found.items) == [
        ("-", "Unreadable"),
        ("-", "Unreadable"),
        ("a", "Running"),
    ]


def test_a_job_that_cannot_be_read_spoils_the_row_of_its_jobset_alone(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, jobset("a"), jobset("z"), jobs=[job("a", ready="all"), job("z")])
    assert [(row.name, row.state) for row in found.items] == [("a", "Unreadable"), ("z", "Running")]
    assert "Job a-workers-0" in found.items[0].notes[0]


def test_pods_are_read_only_of_those_that_are_not_all_ready(tmp_path: pathlib.Path) -> None:
    _, server = look(tmp_path, jobset("a"), jobset("z"), jobs=[job("a"), job("z")])
    assert server.seen("GET", PODS) == []
    found, server = look(tmp_path, jobset("a"), jobset("z"), jobs=[job("a", ready=0), job("z")])
    (asked,) = server.seen("GET", PODS)
    assert asked.query["labelSelector"] == "jobset.sigs.k8s.io/jobset-name in (a)"
    assert [row.state for row in found.items] == ["Starting", "Running"]


def test_what_could_not_be_created_is_told_in_a_list_too(tmp_path: pathlib.Path) -> None:
    meta = {"name": "e", "namespace": "ns"}
    refused = {"metadata": meta, "involvedObject": {"uid": "uid-a"}, "reason": "JobCreationFailed", "message": "no"}
    found, server = look(tmp_path, jobset("a"), jobset("z"), jobs=[job("z")], events=[refused])
    assert [row.state for row in found.items] == ["Degraded", "Running"]
    (asked,) = server.seen("GET", EVENTS)
    assert asked.query["fieldSelector"] == ("involvedObject.kind=JobSet,reason=JobCreationFailed,involvedObject.name=a")


def test_who_may_not_read_pods_is_not_told_what_only_they_tell(tmp_path: pathlib.Path) -> None:
    forbidden = failing(403, "Forbidden")
    found, _ = look(tmp_path, jobset("a"), jobs=[job("a", ready=0)], pods=forbidden)
    assert [row.state for row in found.items] == ["NotReady"]
