"""The transport against a server that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cluster import HttpCluster, connect
from jobset_restart.cluster.pace import LEAST, Pace
from jobset_restart.cluster.retry import FIRST_DELAY
from jobset_restart.cluster.watch import Stream, WatchBatch
from jobset_restart.errors import (
    Conflict,
    ExecFailed,
    Forbidden,
    Invalid,
    JsrError,
    NotFound,
    Overloaded,
)
from jobset_restart.objects import Pod
from jobset_restart.writes import Action, Exec, Permission, Write, pod_path
from tests.apiserver import (
    ApiServer,
    exec_answer,
    failing,
    json_answer,
    kubeconfig,
    line,
    reset,
    serving,
    stream,
)

PODS = "/api/v1/namespaces/ns/pods"
POD = pod_path("ns", "p")

Scenario = Callable[[ApiServer, HttpCluster], Coroutine[Any, Any, None]]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listing(*pods: dict[str, Any], version: int = 1, more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(pods)}


@pytest.fixture
def play(tmp_path: pathlib.Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a server and a connection to it."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with serving() as server:
                config = kubeconfig(tmp_path / "config", server.url)
                async with await connect(config) as cluster:
                    await scenario(server, cluster)

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


def patch() -> Write:
    return Write(verb="patch", path=POD, body={"metadata": {"annotations": {"a": "b"}}}, uid="uid-p")


# ---------------------------------------------------------------- requests


def test_a_list_is_read_page_by_page_and_begins_again_when_its_token_expires(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on(
            "GET",
            PODS,
            json_answer(listing(pod("a", 1), more="t1")),
            failing(410, "Expired"),
            json_answer(listing(pod("a", 1), more="t2")),
            json_answer(listing(pod("b", 2), version=9)),
        )
        found = await cluster.list(PODS, Pod, label_selector="x=y")
        assert ([p.metadata.name for p in found.items], found.resource_version) == (["a", "b"], "9")
        assert [r.query.get("continue", "") for r in server.requests] == ["", "t1", "", "t2"]
        assert all(r.query["labelSelector"] == "x=y" and r.query["limit"] for r in server.requests)

    play(scenario)


def test_requests_without_an_answer_are_tried_again_and_it_is_said(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        told: list[str] = []
        server.on("GET", POD, json_answer(pod("p", 1)))
        await cluster.get(POD, Pod)
        cluster.on_retry = lambda request, reason, delay: told.append(reason)
        server.on("PATCH", POD, reset, failing(503, "ServiceUnavailable"), json_answer(pod("p", 2)))
        found = await cluster.send(patch(), type=Pod)
        assert found
        assert found.metadata.resource_version == "2"
        assert len(server.seen("PATCH", POD)) == 3
        assert len(told) == 2

    play(scenario)


def test_retry_after_is_honoured(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        delays: list[float] = []
        cluster.on_retry = lambda request, reason, delay: delays.append(delay)
        answers = (failing(429, "TooManyRequests", headers={"Retry-After": "1"}), json_answer(pod("p", 1)))
        server.on("GET", POD, *answers)
        await cluster.get(POD, Pod)
        assert 1.0 <= delays[0] <= 1.0 + 2 * FIRST_DELAY

    play(scenario)


def test_refusals_are_not_tried_again_and_keep_the_server_s_words(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        for code, kind in ((403, Forbidden), (404, NotFound), (409, Conflict), (422, Invalid)):
            server.on("PATCH", POD, failing(code, "Reason", f"words of {code}"))
            before = len(server.requests)
            with pytest.raises(kind, match=f"words of {code}"):
                await cluster.send(patch())
            assert len(server.requests) == before + 1

    play(scenario)


def test_the_deadline_bounds_retries(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("PATCH", POD, failing(503, "ServiceUnavailable"))
        with pytest.raises(Overloaded):
            await cluster.send(patch(), deadline=cluster.now() + 0.5)

    play(scenario)


def test_a_delete_whose_answer_was_lost_is_done_when_the_object_is_gone(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("DELETE", POD, reset, reset, failing(404, "NotFound"))  # aiohttp repeats the first by itself
        await cluster.send(Write(verb="delete", path=POD, uid="uid-p"))
        assert server.bodies[0] == {"preconditions": {"uid": "uid-p"}}
        server.on("DELETE", POD, failing(404, "NotFound"))
        with pytest.raises(NotFound):
            await cluster.send(Write(verb="delete", path=POD, uid="uid-p"))

    play(scenario)


def test_dry_run_and_preconditions_are_sent(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("PATCH", POD, json_answer(pod("p", 1)))
        await cluster.send(patch(), dry_run=True)
        request = server.requests[0]
        assert request.query["dryRun"] == "All"
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        assert server.bodies[0]["metadata"] == {"annotations": {"a": "b"}, "uid": "uid-p"}
        server.on("DELETE", POD, json_answer({}))
        await cluster.send(Write(verb="delete", path=POD), dry_run=True)
        assert server.bodies[1]["dryRun"] == ["All"]

    play(scenario)


def test_what_is_no_kubernetes_answer_is_said_plainly(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, json_answer(["hello"]))
        with pytest.raises(JsrError, match="not what the Kubernetes API sends"):
            await cluster.get(POD, Pod)

    play(scenario)


def test_many_actions_all_report_and_a_stop_leaves_the_rest_unsent(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        writes = [Write(verb="patch", path=pod_path("ns", f"p{n}"), slot=str(n)) for n in range(50)]
        for n in range(50):
            server.on(
                "PATCH", pod_path("ns", f"p{n}"), failing(404, "NotFound") if n == 7 else json_answer(pod("x", 1))
            )
        failed: list[str] = []
        done: list[Action] = []
        stop = asyncio.Event()

        await cluster.send_all(writes, lambda a, r: failed.append(a.slot) if r.error else done.append(a), concurrency=8)
        assert (len(done), failed) == (49, ["7"])
        stopped: list[Action] = []

        def stop_soon(action: Action, _: Any) -> None:
            stopped.append(action)
            if len(stopped) == 10:
                stop.set()

        await cluster.send_all(writes, stop_soon, concurrency=4, stop=stop)
        assert 10 <= len(stopped) < 20

    play(scenario)


def test_every_action_is_answered_for_however_few_may_be_in_flight(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        writes = [Write(verb="patch", path=pod_path("ns", f"p{n}"), slot=str(n)) for n in range(40)]
        for n in range(40):
            overloaded = failing(503, "ServiceUnavailable")
            server.on("PATCH", pod_path("ns", f"p{n}"), overloaded if n < 20 else json_answer(pod("x", 1)))
        failed: list[str] = []
        done: list[str] = []
        await cluster.send_all(
            writes,
            lambda action, result: (failed if result.error else done).append(action.slot),
            concurrency=16,
            deadline=cluster.now() + 0.5,
        )
        assert (sorted(map(int, failed)), sorted(map(int, done))) == ([*range(20)], [*range(20, 40)])

    play(scenario)


def test_actions_on_one_slot_keep_their_order(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        first = Write(verb="patch", path=f"{POD}/status", slot="s")
        second = Write(verb="delete", path=POD, slot="s")
        server.on("PATCH", f"{POD}/status", failing(403, "Forbidden"))
        server.on("DELETE", POD, json_answer(pod("p", 1)))
        await cluster.send_all([first, second], lambda action, result: None)
        assert [r.method for r in server.requests] == ["PATCH"]

    play(scenario)


def test_access_reviews_ask_about_the_permission(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        server.on("POST", path, json_answer({"status": {"allowed": True}}), json_answer({"status": {"allowed": False}}))
        assert await cluster.allowed(Permission("create", "", "pods", "exec"), "ns")
        assert not await cluster.allowed(Permission("patch", "jobset.x-k8s.io", "jobsets"), "ns")
        asked = server.bodies[0]["spec"]["resourceAttributes"]
        assert asked == {"namespace": "ns", "verb": "create", "resource": "pods", "subresource": "exec"}

    play(scenario)


# ---------------------------------------------------------------- watch


async def batches(cluster: HttpCluster, count: int) -> list[WatchBatch[Pod]]:
    found: list[WatchBatch[Pod]] = []
    async for batch in cluster.watch(PODS, Pod, resource_version="1"):
        found.append(batch)
        if len(found) == count:
            break
    return found


def watched_from(server: ApiServer) -> list[str]:
    return [r.query["resourceVersion"] for r in server.requests if r.query.get("watch")]


def test_a_watch_that_ends_goes_on_from_the_last_version_bookmarks_included(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on(
            "GET",
            PODS,
            stream(line("ADDED", pod("a", 2)), line("BOOKMARK", {"metadata": {"resourceVersion": "5"}})),
            stream(line("MODIFIED", pod("a", 6))[:20], line("MODIFIED", pod("a", 6))[20:], then="hang"),
        )
        found = await batches(cluster, 2)
        assert [(kind, p.metadata.resource_version) for b in found for kind, p in b.changes] == [
            ("ADDED", "2"),
            ("MODIFIED", "6"),
        ]
        assert watched_from(server) == ["1", "5"]

    play(scenario)


@pytest.mark.parametrize(
    "gone",
    [failing(410, "Expired"), stream(line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))],
    ids=["as a status", "in the stream"],
)
def test_a_version_that_is_too_old_leads_to_a_list(play: Callable[[Scenario], None], gone: Any) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on(
            "GET",
            PODS,
            gone,
            json_answer(listing(pod("b", 7), version=8)),
            stream(line("MODIFIED", pod("b", 9)), then="hang"),
        )
        relisted, changed = await batches(cluster, 2)
        assert relisted.relisted is not None
        assert [p.metadata.name for p in relisted.relisted] == ["b"]
        assert changed.changes[0][1].metadata.resource_version == "9"
        assert watched_from(server) == ["1", "8"]

    play(scenario)


def test_a_reset_is_told_and_survived(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on(
            "GET",
            PODS,
            stream(line("ADDED", pod("a", 2)), then="reset"),
            reset,
            stream(line("DELETED", pod("a", 3)), then="hang"),
        )
        found = await batches(cluster, 4)
        assert found[0].changes
        assert found[1].disconnected
        assert found[2].reconnected_after is not None
        assert found[3].changes[0][0] == "DELETED"
        assert watched_from(server) == ["1", "2", "2"]

    play(scenario)


def test_a_watch_that_is_forbidden_ends_with_that(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", PODS, failing(403, "Forbidden", "no watch for you"))
        with pytest.raises(Forbidden, match="no watch for you"):
            await batches(cluster, 1)

    play(scenario)


@given(st.lists(st.integers(1, 400), max_size=12))
def test_events_are_found_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    data = b"".join(line("MODIFIED", pod(f"p{n}", n + 2)) for n in range(6))
    whole = Stream(Pod, "1")
    names: list[str] = []
    begin = 0
    for end in [*sorted(set(cuts)), len(data)]:
        names += [p.metadata.name for _, p in whole.feed(data[begin:end])]
        begin = max(begin, end)
    assert names == [f"p{n}" for n in range(6)]
    assert whole.resource_version == "7"


# ---------------------------------------------------------------- exec

SUCCESS = b'\x03{"status":"Success"}'
FAILURE = (
    b'\x03{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_exec_speaks_both_protocols(play: Callable[[Scenario], None], protocol: str) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", f"{POD}/exec", exec_answer(protocol, b"\x01", b"\x01out", b"\x02err", SUCCESS))
        result = await cluster.execute(Exec(path=POD, container="c", command=("sh", "-c", "echo 1 & 2")))
        assert (result.exit_code, result.stdout, result.stderr) == (0, "out", "err")
        assert server.requests[0].query.getall("command") == ["sh", "-c", "echo 1 & 2"]

    play(scenario)


def test_exec_tells_the_exit_code_and_the_lack_of_one(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        command = Exec(path=POD, container="c", command=("x",))
        server.on("GET", f"{POD}/exec", exec_answer("v5.channel.k8s.io", FAILURE))
        assert (await cluster.execute(command)).exit_code == 3
        server.on("GET", f"{POD}/exec", exec_answer("v5.channel.k8s.io", b"\x01half"))
        assert (await cluster.execute(command)).exit_code is None

    play(scenario)


@pytest.mark.parametrize(("code", "kind"), [(403, Forbidden), (404, NotFound), (500, ExecFailed)])
def test_an_exec_that_is_refused_names_the_pod(
    play: Callable[[Scenario], None], code: int, kind: type[JsrError]
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", f"{POD}/exec", failing(code, "Reason"))
        with pytest.raises(kind, match="Pod p"):
            await cluster.execute(Exec(path=POD, container="c", command=("x",)))

    play(scenario)


# ---------------------------------------------------------------- pace


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300), st.integers(1, 300))
def test_pace_stays_between_its_bounds(answers: list[tuple[float, bool]], most: int) -> None:
    pace, now = Pace(most), 0.0
    for seconds, overloaded in answers:
        now += seconds
        pace.answered(now, seconds, overloaded=overloaded)
        assert min(LEAST, most) <= pace.limit <= most


def test_pace_halves_under_load_and_grows_back() -> None:
    pace = Pace(64)
    pace.answered(10, 0.1, overloaded=True)
    pace.answered(10.1, 0.1, overloaded=True)
    assert pace.limit == 32
    for n in range(5000):
        pace.answered(20 + n, 0.1, overloaded=False)
    assert pace.limit == 64
