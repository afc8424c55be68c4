"""A workload that is not there: what was meant instead, over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cluster import connect
from jobset_restart.cluster.missing import namesakes
from jobset_restart.cluster.resolve import resolve
from jobset_restart.errors import NotFound
from jobset_restart.workloads.kinds import JOB, JOBSET, TRAIN_JOB, VOLCANO_JOB, WORKLOAD_KINDS, WorkloadKind
from tests.apiserver import failing, json_answer, kubeconfig, serving


def missed(
    folder: Path, name: str, jobsets: list[str] | None, kinds: list[WorkloadKind], *, forbidden: bool = False
) -> NotFound:
    """What is said of a JobSet of this name where there are these JobSets (None: no such API) and a workload of that
    name of each of these kinds."""

    async def main() -> NotFound:
        async with serving() as server:
            if jobsets is not None:
                items: list[Any] = [{"metadata": {"name": known}} for known in jobsets]
                server.on("GET", JOBSET.collection("ns"), json_answer({"metadata": {}, "items": items}))
            if forbidden:
                server.on("GET", JOBSET.collection("ns"), failing(403, "Forbidden"))
                server.on("GET", TRAIN_JOB.path("ns", name), failing(403, "Forbidden"))
            for path in (JOB.collection("ns"), "/api/v1/namespaces/ns/pods"):
                server.on("GET", path, json_answer({"metadata": {}, "items": []}))
            for kind in kinds:
                server.on("GET", kind.path("ns", name), json_answer({"metadata": {"name": name}}))
            async with await connect(kubeconfig(folder / "config", server.url)) as cluster:
                with pytest.raises(NotFound) as raised:
                    await resolve(cluster, "ns", name)
                return raised.value

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_a_name_of_another_kind_is_said_to_be_one(tmp_path: Path) -> None:
    error = missed(tmp_path, "llama", ["llamas"], [TRAIN_JOB])
    assert error.message == "JobSet llama not found in namespace ns"
    assert error.hint == "there is a TrainJob llama: write trainjob/llama"


def test_of_two_kinds_both_are_told(tmp_path: Path) -> None:
    error = missed(tmp_path, "etl", [], [JOB, VOLCANO_JOB])
    assert error.hint == "there are a Job etl and a Job.batch.volcano.sh etl: write job/etl or vcjob/etl"


def test_a_kind_typed_as_a_name(tmp_path: Path) -> None:
    assert missed(tmp_path, "lws", ["train"], []).hint == "lws is what LeaderWorkerSets are called: write lws/NAME"


def test_near_names_else(tmp_path: Path) -> None:
    assert missed(tmp_path, "trian", ["serve", "train"], []).hint == "did you mean train?"
    assert "namespace ns has no JobSets" in missed(tmp_path, "trian", [], []).hint


def test_without_the_api_it_says_how_to_get_it_unless_another_kind_is_meant(tmp_path: Path) -> None:
    error = missed(tmp_path, "etl", None, [])
    assert "has no JobSet API (jobset.x-k8s.io/v1alpha2)" in error.message
    assert error.hint.startswith("install it: kubectl apply")
    assert missed(tmp_path, "etl", None, [JOB]).hint == "there is a Job etl: write job/etl"


def test_what_may_not_be_read_is_no_obstacle(tmp_path: Path) -> None:
    assert missed(tmp_path, "etl", None, [JOB], forbidden=True).hint == "there is a Job etl: write job/etl"
    assert missed(tmp_path, "etl", None, [], forbidden=True).status == 404


@given(st.lists(st.sampled_from(WORKLOAD_KINDS), unique=True))
def test_the_hint_names_each_kind_once_as_it_is_to_be_typed(kinds: list[WorkloadKind]) -> None:
    _, _, typed = namesakes("x", kinds).partition(": write ")
    assert typed == " or ".join(f"{kind.word}/x" for kind in kinds)
