"""The topmost owner is what is restarted: from a name to the object that stands above it, over HTTP."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobset_restart import claim
from jobset_restart.cluster import connect
from jobset_restart.cluster.above import MOST_LEVELS
from jobset_restart.errors import Superseded, UsageError
from jobset_restart.objects import JobSet
from jobset_restart.plan import Plan, Request, Selection
from jobset_restart.restart.planning import Asked, planned
from jobset_restart.workloads.kinds import JOB, JOBSET, RAY_CLUSTER, RAY_JOB, TRAIN_JOB, WorkloadKind
from tests import build, build_ray
from tests import build_trainjob as trainer
from tests.apiserver import Answer, ApiServer, failing, json_answer, kubeconfig, serving

TRAINJOB_PATH, JOBSET_PATH = TRAIN_JOB.path("ns", "train"), JOBSET.path("ns", "train")
JOBS, PODS = JOB.collection("ns"), "/api/v1/namespaces/ns/pods"
OWNED = trainer.jobset()


def one(thing: Any) -> Answer:
    return json_answer(msgspec.to_builtins(thing))


def many(*things: Any) -> Answer:
    return json_answer({"metadata": {"resourceVersion": "9"}, "items": [msgspec.to_builtins(t) for t in things]})


def plan_of(
    folder: Path,
    answers: dict[str, Answer],
    jobset: JobSet = OWNED,
    *,
    name: str = "train",
    kind: WorkloadKind = JOBSET,
    **request: Any,
) -> tuple[Plan, ApiServer]:
    """The plan for what is named so, where the API server answers so; and the server."""

    async def main() -> tuple[Plan, ApiServer]:
        async with serving() as server:
            server.on("GET", JOBSET_PATH, one(jobset))
            replicas = range(jobset.spec.replicated_jobs[0].replicas)
            server.on("GET", JOBS, many(*(build.job(jobset, index) for index in replicas)))
            server.on("GET", PODS, many(*(build.pod(i, job=job) for job in replicas for i in (0, 1))))
            server.on("GET", "/api/v1/nodes/node-0", one(build.node()))
            for path, answer in answers.items():
                server.on("GET", path, answer)
            async with await connect(kubeconfig(folder / "config", server.url)) as cluster:
                asked = Asked(namespace="ns", name=name, kind=kind, request=Request(**request))
                return await planned(cluster, asked), server

    return asyncio.run(asyncio.wait_for(main(), 60))


def said(plan: Plan) -> str:
    return "; ".join(finding.summary for finding in plan.findings if finding.id == "JSR510")


def test_the_jobset_of_a_trainjob_is_restarted_through_the_trainjob(tmp_path: Path) -> None:
    plan, _ = plan_of(tmp_path, {TRAINJOB_PATH: one(trainer.trainjob())}, strategy="recreate")
    assert plan.snapshot.workload.title == "TrainJob train"
    assert said(plan) == "JobSet train belongs to TrainJob train, which is what is meant here"
    assert plan.trigger_name == "suspend"
    assert {action.path for action in plan.actions} == {TRAINJOB_PATH}
    assert len(plan.scope) == 2


def test_a_trainjob_by_its_own_name_says_nothing_of_that(tmp_path: Path) -> None:
    plan, server = plan_of(tmp_path, {TRAINJOB_PATH: one(trainer.trainjob())}, kind=TRAIN_JOB)
    assert (plan.snapshot.workload.title, said(plan), len(plan.scope)) == ("TrainJob train", "", 2)
    assert len(server.seen("GET", TRAINJOB_PATH)) == 1


def test_a_jobset_without_an_owner_costs_no_request_more(tmp_path: Path) -> None:
    plan, server = plan_of(tmp_path, {}, build.jobset())
    read = [request.path for request in server.requests if request.method == "GET"]
    assert sorted(read) == sorted([JOBSET_PATH, JOBS, PODS, "/api/v1/nodes/node-0"])
    assert (plan.snapshot.workload.title, said(plan)) == ("JobSet train", "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failing(403, "Forbidden"), "may not be read"),
        (failing(404, "NotFound"), "is not there any more"),
        (one(trainer.trainjob(uid="another")), "was replaced by another of this name"),
    ],
)
def test_an_owner_that_cannot_be_had_is_told_and_the_jobset_restarted_as_before(
    tmp_path: Path, answer: Answer, expected: str
) -> None:
    plan, _ = plan_of(tmp_path, {TRAINJOB_PATH: answer}, strategy="recreate")
    assert (plan.snapshot.workload.title, plan.trigger_name) == ("JobSet train", "jobs")
    assert said(plan).startswith(f"TrainJob train owns JobSet train and {expected}")
    assert "JSR502" in plan.reason


def test_an_owner_that_is_not_made_of_it_is_not_restarted_for_it(tmp_path: Path) -> None:
    """Anybody may write another's name and UID into the ownerReferences of his own JobSet."""
    mine = trainer.jobset(metadata={"name": "mine"})
    selected = {JOBSET.path("ns", "mine"): one(mine), TRAINJOB_PATH: one(trainer.trainjob())}
    for theirs in (one(trainer.jobset(metadata={"uid": "theirs"})), failing(404, "NotFound")):
        plan, _ = plan_of(tmp_path, {**selected, JOBSET_PATH: theirs}, mine, name="mine", via="image")
        assert plan.snapshot.workload.title == "JobSet mine"
        assert said(plan) == "TrainJob train is named as owner of JobSet mine: it is not made of it"


def test_an_owner_of_no_known_kind_is_named(tmp_path: Path) -> None:
    owner = {"apiVersion": "example.com/v1", "kind": "TrainJob", "name": "t", "uid": "u", "controller": True}
    plan, server = plan_of(tmp_path, {}, build.jobset(metadata={"ownerReferences": [owner]}), via="image")
    assert plan.snapshot.workload.title == "JobSet train"
    assert said(plan) == "TrainJob t owns JobSet train, and how that reacts is not known"
    assert not plan.refused
    assert not [request for request in server.requests if "trainjobs" in request.path]


def test_a_pod_that_owns_it_is_an_owner_like_any_other(tmp_path: Path) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "launcher", "uid": "u", "controller": True}
    plan, _ = plan_of(tmp_path, {}, build.jobset(metadata={"ownerReferences": [owner]}), via="image")
    assert said(plan) == "Pod launcher owns JobSet train, and how that reacts is not known"


def test_an_owner_that_does_not_manage_it_is_none(tmp_path: Path) -> None:
    jobset = build.jobset(metadata={"ownerReferences": [{**trainer.OWNER, "controller": False}]})
    plan, server = plan_of(tmp_path, {}, jobset, via="image")
    assert (said(plan), server.seen("GET", TRAINJOB_PATH)) == ("", [])


def test_what_owns_the_trainjob_is_named_too(tmp_path: Path) -> None:
    owner = {"apiVersion": "example.com/v1", "kind": "Sweep", "name": "s", "uid": "u", "controller": True}
    answers = {TRAINJOB_PATH: one(trainer.trainjob(ownerReferences=[owner]))}
    plan, _ = plan_of(tmp_path, answers)
    assert plan.snapshot.workload.title == "TrainJob train"
    assert "Sweep s owns TrainJob train, and how that reacts is not known" in said(plan)


def test_a_chain_that_leads_round_in_a_circle_ends(tmp_path: Path) -> None:
    jobset = build.jobset(metadata={"ownerReferences": [{**build.OWNER, "uid": "jobset-uid"}]})
    plan, server = plan_of(tmp_path, {}, jobset, via="image")
    assert plan.snapshot.workload.title == "JobSet train"
    assert "not made of it" in said(plan)
    assert len(server.seen("GET", JOBSET_PATH)) <= MOST_LEVELS + 2


def test_a_client_that_cannot_see_the_trainjob_may_hold_its_jobset(tmp_path: Path) -> None:
    now = claim.timestamp(time.time())
    record = claim.Record(id="op9", owner="ann", trigger="jobs", started=now, heartbeat=now)
    held = trainer.jobset(annotations=claim.written(record))
    with pytest.raises(Superseded, match="JobSet train is being restarted by ann"):
        plan_of(tmp_path, {TRAINJOB_PATH: one(trainer.trainjob())}, held, kind=TRAIN_JOB)


def test_the_ray_cluster_of_a_ray_job_is_restarted_through_the_ray_job(tmp_path: Path) -> None:
    owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "train", "uid": "rayjob-uid", "controller": True}
    pods = [build_ray.HEAD, build_ray.FIRST, build_ray.SECOND]
    answers = {
        RAY_CLUSTER.path("ns", "ray"): one(build_ray.cluster(metadata={"ownerReferences": [owner]})),
        RAY_JOB.path("ns", "train"): one(build_ray.job()),
        PODS: many(*pods),
    }
    plan, _ = plan_of(tmp_path, answers, name="ray", kind=RAY_CLUSTER, via="image")
    assert plan.snapshot.workload.title == "RayJob train"
    assert said(plan) == "RayCluster ray belongs to RayJob train, which is what is meant here"
    assert len(plan.scope) == 3


# ---------------------------------------------------------------- a Job of something larger


@pytest.mark.parametrize("owned", [True, False], ids=["of a TrainJob", "of a JobSet"])
def test_of_a_job_its_own_slots_are_restarted_through_what_it_belongs_to(tmp_path: Path, owned: bool) -> None:
    jobset = trainer.jobset(replicas=2) if owned else build.jobset(replicas=2)
    whole = "TrainJob train" if owned else "JobSet train"
    answers = {f"{JOBS}/train-workers-1": one(build.job(jobset, 1)), TRAINJOB_PATH: one(trainer.trainjob())}
    plan, _ = plan_of(tmp_path, answers, jobset, name="train-workers-1", kind=JOB, via="image")
    assert plan.snapshot.workload.title == whole
    assert {str(each.state.slot) for each in plan.scope} == {"workers/1/0", "workers/1/1"}
    assert said(plan) == f"Job train-workers-1 belongs to {whole}: of that, workers/1 is meant here"


def test_a_job_is_not_selected_among_jobs_again(tmp_path: Path) -> None:
    jobset = build.jobset(replicas=2)
    answers = {f"{JOBS}/train-workers-1": one(build.job(jobset, 1))}
    with pytest.raises(UsageError, match="one Job already"):
        plan_of(
            tmp_path,
            answers,
            jobset,
            name="train-workers-1",
            kind=JOB,
            selection=Selection(job_indexes=(0,)),
        )
