"""Every workload of a namespace, a line each, over HTTP: only what the server serves, and only at the top."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import structs

from jobset_restart import status
from jobset_restart.cluster import connect
from jobset_restart.errors import Forbidden, NotFound
from jobset_restart.overview import Overview
from jobset_restart.report import JobSetReport, JobSetReportList
from jobset_restart.workloads.kinds import (
    JOB,
    JOBSET,
    LEADER_WORKER_SET,
    RAY_CLUSTER,
    RAY_JOB,
    TRAIN_JOB,
    WorkloadKind,
)
from jobset_restart.workloads.registry import READERS
from tests import build, build_lws, build_ray, build_trainjob
from tests.apiserver import Answer, ApiServer, failing, json_answer, kubeconfig, serving
from tests.test_looking import job, jobset

NAMESPACE = "ns"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
LWS = LEADER_WORKER_SET.collection(NAMESPACE)
FORBIDDEN = failing(403, "Forbidden", "you may not")


def listed(*objects: Any) -> Answer:
    plain = [each if isinstance(each, dict) else msgspec.to_builtins(each) for each in objects]
    return json_answer({"metadata": {}, "items": plain})


def groups(*kinds: WorkloadKind, **others: str) -> Answer:
    """GET /apis where these kinds are served, and other groups in some version."""
    served = {kind.group: kind.version for kind in kinds} | others
    items = [{"name": name, "versions": [{"version": version}]} for name, version in served.items()]
    return json_answer({"groups": items})


def look(
    folder: pathlib.Path, answers: dict[str, Answer], only: WorkloadKind | None = None, times: int = 1
) -> tuple[JobSetReportList, ApiServer]:
    """What is found, and the server that was asked. Lists that are not among the answers are empty."""

    async def main() -> tuple[JobSetReportList, ApiServer]:
        async with serving() as server:
            for reader in READERS.values():
                server.on("GET", reader.kind.collection(NAMESPACE), listed())
            for path in (JOB.collection(NAMESPACE), PODS, SETS, EVENTS):
                server.on("GET", path, listed())
            for path, answer in answers.items():
                server.on("GET", path, answer)
            async with await connect(kubeconfig(folder / "config", server.url)) as cluster:
                overview = Overview(cluster, NAMESPACE, only)
                for _ in range(times):
                    found = await overview.look()
                return found, server

    return asyncio.run(asyncio.wait_for(main(), 60))


def pods_of_lws() -> list[Any]:
    return [build_lws.pod(group, worker) for group in (0, 1) for worker in (0, 1, 2)]


def with_lws(*jobsets: Any, pods: Answer | None = None) -> dict[str, Answer]:
    return {
        "/apis": groups(JOBSET, LEADER_WORKER_SET),
        JOBSET.collection(NAMESPACE): listed(*jobsets),
        JOB.collection(NAMESPACE): listed(*(job(each["metadata"]["name"]) for each in jobsets)),
        LWS: listed(build_lws.lws()),
        SETS: listed(*build_lws.sets()),
        PODS: pods or listed(*pods_of_lws()),
    }


def lines(found: JobSetReportList) -> list[tuple[str, str, str, str]]:
    return [(row.workload_kind, row.name, f"{row.ready}/{row.expected}", row.state) for row in found.items]


def test_each_workload_has_a_line_of_its_own_kind(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, with_lws(jobset("a")))
    assert lines(found) == [("JobSet", "a", "1/1", "Running"), ("LeaderWorkerSet", "serving", "6/6", "Running")]
    assert found.items[1].workload_group == "leaderworkerset.x-k8s.io"
    assert found.notes == []


def test_one_kind_alone(tmp_path: pathlib.Path) -> None:
    found, server = look(tmp_path, with_lws(jobset("a")), LEADER_WORKER_SET)
    assert [row.name for row in found.items] == ["serving"]
    assert not server.seen("GET", JOBSET.collection(NAMESPACE))


def test_what_a_workload_that_is_shown_manages_is_not_shown_beside_it(tmp_path: pathlib.Path) -> None:
    inner = jobset("inner")
    inner["metadata"]["ownerReferences"] = build_lws.owned("LeaderWorkerSet", "lws-uid")
    found, _ = look(tmp_path, with_lws(jobset("a"), inner))
    assert [row.name for row in found.items] == ["a", "serving"]
    found, _ = look(tmp_path, with_lws(jobset("a"), inner), JOBSET)  # asked for by kind they are all there
    assert [row.name for row in found.items] == ["a", "inner"]
    hidden = {**with_lws(jobset("a"), inner), LWS: FORBIDDEN}
    assert [row.name for row in look(tmp_path, hidden)[0].items] == ["a", "inner"]


def test_of_very_many_some_are_looked_at_and_the_others_counted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobset_restart.overview.MOST_LOOKS", 1)
    other = build_lws.lws()
    other = structs.replace(other, metadata=structs.replace(other.metadata, name="other", uid="other"))
    found, _ = look(tmp_path, {**with_lws(), LWS: listed(build_lws.lws(), other)})
    assert [(row.name, row.state) for row in found.items] == [("other", "NotReady"), ("serving", "Running")]
    assert found.notes == ["1 more were not looked at: `jsr status KIND/NAME` looks at one"]


def test_watching_shows_what_changes_in_any_kind(tmp_path: pathlib.Path) -> None:
    """The LeaderWorkerSets change, the JobSets do not, and RayClusters are not served."""
    more = msgspec.json.encode({"type": "MODIFIED", "object": msgspec.to_builtins(build_lws.lws())}) + b"\n"

    async def main() -> list[list[str]]:
        async with serving() as server:
            for path, answer in {EVENTS: listed(), **with_lws(jobset("a"))}.items():
                server.on("GET", path, answer)
            server.on("GET", JOBSET.collection(NAMESPACE), when_watched(listed(jobset("a")), b""))
            server.on("GET", LWS, when_watched(listed(build_lws.lws()), more))
            async with await connect(kubeconfig(tmp_path / "config", server.url)) as cluster:
                looks = []
                async with contextlib.aclosing(status.each_change(cluster, NAMESPACE)) as reports:
                    async for report in reports:
                        assert isinstance(report, JobSetReportList)
                        looks.append([row.name for row in report.items])
                        if len(looks) == 2:
                            return looks
                return looks

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [["a", "serving"]] * 2


def when_watched(otherwise: Answer, line: bytes) -> Answer:
    """The list, and to a watch this line, after which nothing more happens."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return await otherwise(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line)
        await asyncio.sleep(30)
        return response

    return answer


def test_jobs_are_shown_but_for_those_that_a_workload_runs_its_pods_by(tmp_path: pathlib.Path) -> None:
    def own(name: str, *owners: Any) -> dict[str, Any]:
        meta = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "ownerReferences": list(owners)}
        return {"metadata": meta, "spec": {"parallelism": 2, "completions": 2}, "status": {"ready": 2, "active": 2}}

    ray = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "r", "uid": "r", "controller": True}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "c", "controller": True}
    jobs = [job("a"), own("etl"), own("nightly", cron), own("submitter", ray)]
    answers = {
        "/apis": groups(JOB, JOBSET),
        JOBSET.collection(NAMESPACE): listed(jobset("a")),
        JOB.collection(NAMESPACE): listed(*jobs),
    }
    found, server = look(tmp_path, answers)
    assert lines(found) == [
        ("JobSet", "a", "1/1", "Running"),
        ("Job", "etl", "2/2", "Running"),
        ("Job", "nightly", "2/2", "Running"),
    ]
    assert len(server.seen("GET", JOB.collection(NAMESPACE))) == 1
    assert not server.seen("GET", PODS)
    assert [row.name for row in look(tmp_path, answers, JOB)[0].items] == ["etl", "nightly"]


def test_a_workload_made_of_another_is_shown_with_its_pods_in_its_place(tmp_path: pathlib.Path) -> None:
    owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "train", "uid": "rayjob-uid", "controller": True}
    inner = build_ray.cluster(metadata={"ownerReferences": [owner]})
    gone = build_ray.job("Complete", "gone")
    gone = structs.replace(gone, metadata=structs.replace(gone.metadata, name="gone", uid="gone"))
    answers = {
        "/apis": groups(JOBSET, RAY_CLUSTER),
        RAY_CLUSTER.collection(NAMESPACE): listed(inner),
        RAY_JOB.collection(NAMESPACE): listed(build_ray.job(), gone),
        RAY_CLUSTER.path(NAMESPACE, "ray"): json_answer(msgspec.to_builtins(inner)),
        PODS: listed(build_ray.HEAD, build_ray.FIRST, build_ray.SECOND),
    }
    found, _ = look(tmp_path, answers)
    assert lines(found) == [("RayJob", "gone", "0/0", "Completed"), ("RayJob", "train", "3/3", "Running")]
    only, _ = look(tmp_path, answers, RAY_CLUSTER)
    assert lines(only) == [("RayCluster", "ray", "3/3", "Running")]
    may_not = {**answers, RAY_CLUSTER.collection(NAMESPACE): FORBIDDEN, RAY_CLUSTER.path(NAMESPACE, "ray"): FORBIDDEN}
    found, _ = look(tmp_path, may_not)
    assert [(row.name, row.state) for row in found.items] == [("gone", "Completed"), ("train", "Unreadable")]


def test_only_what_is_served_is_asked_for_and_that_is_asked_once(tmp_path: pathlib.Path) -> None:
    answers = {"/apis": groups(JOBSET), JOBSET.collection(NAMESPACE): listed(jobset("a"))}
    found, server = look(tmp_path, answers, times=3)
    assert [row.name for row in found.items] == ["a"]
    assert not server.seen("GET", LWS)
    assert len(server.seen("GET", "/apis")) == 1


def test_a_server_that_does_not_tell_is_asked_for_everything(tmp_path: pathlib.Path) -> None:
    for apis in (FORBIDDEN, failing(404, "NotFound")):
        found, _ = look(tmp_path, {**with_lws(jobset("a")), "/apis": apis})
        assert [row.name for row in found.items] == ["a", "serving"]


def test_what_may_not_be_listed_is_named(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, {**with_lws(jobset("a")), LWS: FORBIDDEN})
    assert [row.name for row in found.items] == ["a"]
    (note,) = found.notes
    assert "permission" in note
    assert LEADER_WORKER_SET.resource in note
    for only in (None, LEADER_WORKER_SET):
        with pytest.raises(Forbidden):
            look(tmp_path, {**with_lws(), LWS: FORBIDDEN, JOBSET.collection(NAMESPACE): FORBIDDEN}, only)


def test_pods_that_may_not_be_read_leave_their_workload_undecided(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, with_lws(jobset("a"), pods=FORBIDDEN))
    assert lines(found) == [("JobSet", "a", "1/1", "Running"), ("LeaderWorkerSet", "serving", "0/6", "NotReady")]


def test_a_workload_that_cannot_be_read_has_a_line_of_its_kind(tmp_path: pathlib.Path) -> None:
    bad = {"metadata": {"name": "bad", "namespace": "ns"}, "spec": {"replicas": "many"}}
    found, _ = look(tmp_path, {**with_lws(), LWS: listed(build_lws.lws(), bad)})
    assert lines(found) == [
        ("LeaderWorkerSet", "bad", "0/0", "Unreadable"),
        ("LeaderWorkerSet", "serving", "6/6", "Running"),
    ]


def test_a_missing_api_is_named_where_it_was_asked_for(tmp_path: pathlib.Path) -> None:
    nothing = failing(404, "NotFound")
    with pytest.raises(NotFound, match="has no LeaderWorkerSet API") as raised:
        look(tmp_path, {"/apis": groups(JOBSET), LWS: nothing}, LEADER_WORKER_SET)
    assert raised.value.hint.startswith("install it: kubectl apply")


def test_another_version_of_an_api_is_told_apart_from_none(tmp_path: pathlib.Path) -> None:
    answers = {"/apis": groups(JOBSET, **{"leaderworkerset.x-k8s.io": "v1alpha1"}), LWS: failing(404, "NotFound")}
    with pytest.raises(NotFound, match=r"serves leaderworkerset.x-k8s.io as v1alpha1 only; jsr knows .*/v1"):
        look(tmp_path, answers, LEADER_WORKER_SET)


def test_without_jobsets_the_others_are_there(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, {**with_lws(), "/apis": groups(LEADER_WORKER_SET)})
    assert [row.name for row in found.items] == ["serving"]


def test_where_there_is_nothing_at_all_jobsets_api_is_missed(tmp_path: pathlib.Path) -> None:
    nothing = failing(404, "NotFound")
    with pytest.raises(NotFound, match="has no JobSet API"):
        look(tmp_path, {"/apis": nothing, **{r.kind.collection(NAMESPACE): nothing for r in READERS.values()}})


# ---------------------------------------------------------------- TrainJobs


def with_trainjob(*jobsets: Any, **answers: Answer) -> dict[str, Answer]:
    jobs = [build.job(each) for each in jobsets]
    for each in jobs:
        each.metadata.labels.jobset_name = "train"
    return {
        "/apis": groups(JOBSET, TRAIN_JOB),
        TRAIN_JOB.collection(NAMESPACE): listed(build_trainjob.trainjob()),
        JOBSET.collection(NAMESPACE): listed(*jobsets),
        JOB.collection(NAMESPACE): listed(*jobs),
        PODS: listed(*(build.pod(index) for _ in jobsets for index in (0, 1))),
    } | answers


def test_a_trainjob_stands_for_its_jobset(tmp_path: pathlib.Path) -> None:
    found, _ = look(tmp_path, with_trainjob(build_trainjob.jobset()))
    (line,) = found.items
    assert (line.workload_kind, line.name, line.state, line.ready) == ("TrainJob", "train", "Running", 2)


def test_a_trainjob_that_has_no_jobset_yet_is_starting(tmp_path: pathlib.Path) -> None:
    (line,) = look(tmp_path, with_trainjob())[0].items
    assert (line.workload_kind, line.state, line.expected) == ("TrainJob", "Starting", 0)


def test_a_trainjob_whose_jobset_may_not_be_read_says_so(tmp_path: pathlib.Path) -> None:
    hidden = {JOBSET.collection(NAMESPACE): FORBIDDEN, JOBSET.path(NAMESPACE, "train"): FORBIDDEN}
    found, _ = look(tmp_path, with_trainjob() | hidden)
    assert [(line.state, line.notes) for line in found.items] == [("Unreadable", ["cannot be read: you may not"])]


def test_watching_a_jobset_shows_what_changes_in_the_trainjob_it_belongs_to(tmp_path: pathlib.Path) -> None:
    """The end of a restart is written on the TrainJob, and nothing else changes with it."""
    owned, trainjob = build_trainjob.jobset(), build_trainjob.trainjob()
    more = msgspec.json.encode({"type": "MODIFIED", "object": msgspec.to_builtins(trainjob)}) + b"\n"

    async def main() -> list[tuple[str, str]]:
        async with serving() as server:
            for path, answer in {EVENTS: listed(), **with_trainjob(owned)}.items():
                server.on("GET", path, answer)
            for kind, found in ((JOBSET, owned), (TRAIN_JOB, trainjob)):
                line = more if kind is TRAIN_JOB else b""
                server.on("GET", kind.path(NAMESPACE, "train"), json_answer(msgspec.to_builtins(found)))
                server.on("GET", kind.collection(NAMESPACE), when_watched(listed(found), line))
            server.on("GET", PODS, when_watched(listed(*(build.pod(index) for index in (0, 1))), b""))
            server.on("GET", "/api/v1/nodes/node-0", json_answer(msgspec.to_builtins(build.node())))
            async with await connect(kubeconfig(tmp_path / "config", server.url)) as cluster:
                looks = []
                async with contextlib.aclosing(status.each_change(cluster, NAMESPACE, "train", JOBSET)) as reports:
                    async for report in reports:
                        assert isinstance(report, JobSetReport)
                        looks.append((report.workload_kind, report.name))
                        if len(looks) == 2:
                            return looks
                return looks

    assert asyncio.run(asyncio.wait_for(main(), 20)) == [("TrainJob", "train")] * 2
