"""Credentials that change under a run, and connections that last: over real sockets."""

from __future__ import annotations

import asyncio
import base64
import pathlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from jobset_restart.cluster import HttpCluster, connect
from jobset_restart.cluster.client import GATHERED_SECONDS
from jobset_restart.cluster.retry import FIRST_DELAY
from jobset_restart.cluster.session import GOOD_REFUSED_TRIES, REFUSED_TRIES
from jobset_restart.errors import ExecFailed, Overloaded, Unauthorized, Unreachable
from jobset_restart.objects import Pod
from jobset_restart.writes import Exec, Write, pod_path
from tests.apiserver import (
    ApiServer,
    certificates,
    exec_answer,
    failing,
    json_answer,
    kubeconfig,
    line,
    reset,
    service_account,
    serving,
    stream,
    until,
)

PODS = "/api/v1/namespaces/ns/pods"
POD = pod_path("ns", "p")
SUCCESS = b'\x03{"status":"Success"}'
COMMAND = Exec(path=POD, container="c", command=("x",))

Scenario = Callable[[ApiServer, HttpCluster], Coroutine[Any, Any, None]]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}}


def sent(server: ApiServer) -> list[str]:
    return [request.headers.get("Authorization", "") for request in server.requests]


@pytest.fixture
def in_a_pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    """Runs a scenario over TLS, with a service account in tmp_path."""

    @asynccontextmanager
    async def connected() -> AsyncIterator[tuple[ApiServer, HttpCluster]]:
        tls, authority = certificates(tmp_path)
        async with serving(tls) as server:
            for name, value in service_account(tmp_path / "account", server.url, authority).items():
                monkeypatch.setenv(name, value)
            async with await connect() as cluster:
                yield server, cluster

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with connected() as (server, cluster):
                await scenario(server, cluster)

        asyncio.run(asyncio.wait_for(main(), 60))

    return run


@pytest.fixture
def with_token(tmp_path: pathlib.Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a token in a kubeconfig, tmp_path/config."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with serving() as server:
                config = kubeconfig(tmp_path / "config", server.url, {"token": "old-token"})
                async with await connect(config) as cluster:
                    await scenario(server, cluster)

        asyncio.run(asyncio.wait_for(main(), 60))

    return run


# ---------------------------------------------------------------- a Pod's service account


def test_requests_from_inside_a_pod_share_one_connection(in_a_pod: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, json_answer(pod("p", 1)))
        for _ in range(200):
            await cluster.get(POD, Pod)
        assert len(server.connections) == 1
        assert {*sent(server)} == {"Bearer pod-token"}

    in_a_pod(scenario)


def test_a_token_that_was_written_anew_is_sent_at_once_on_the_same_connection(
    in_a_pod: Callable[[Scenario], None], tmp_path: pathlib.Path
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, json_answer(pod("p", 1)))
        server.on("GET", f"{POD}/exec", exec_answer("v5.channel.k8s.io", SUCCESS))
        await cluster.get(POD, Pod)
        (tmp_path / "account" / "token").write_text("rotated-token")
        await cluster.get(POD, Pod)
        await cluster.execute(COMMAND)
        assert sent(server) == ["Bearer pod-token", "Bearer rotated-token", "Bearer rotated-token"]
        assert server.requests[0].transport is server.requests[1].transport

    in_a_pod(scenario)


def test_a_token_file_that_is_empty_for_a_moment_changes_nothing(
    in_a_pod: Callable[[Scenario], None], tmp_path: pathlib.Path
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, json_answer(pod("p", 1)))
        token = tmp_path / "account" / "token"
        token.write_text("")
        await cluster.get(POD, Pod)
        token.write_text("written-token")
        await cluster.get(POD, Pod)
        assert sent(server) == ["Bearer pod-token", "Bearer written-token"]

    in_a_pod(scenario)


def test_a_watch_lives_through_a_new_token_and_new_authorities(
    in_a_pod: Callable[[Scenario], None], tmp_path: pathlib.Path
) -> None:
    """Its connection is closed when it has ended, and not before."""

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        rotated = asyncio.Event()

        async def until_rotated(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(line("ADDED", pod("a", 2)))
            await rotated.wait()
            await response.write(line("MODIFIED", pod("a", 3)))
            return response

        server.on("GET", PODS, until_rotated, stream(line("DELETED", pod("a", 4)), then="hang"))
        server.on("GET", POD, json_answer(pod("p", 1)))
        account = tmp_path / "account"
        seen: list[str] = []
        async for batch in cluster.watch(PODS, Pod, resource_version="1"):
            assert not batch.disconnected
            seen += [kind for kind, _ in batch.changes]
            if seen == ["ADDED"] and not rotated.is_set():
                (account / "token").write_text("rotated-token")
                (account / "ca.crt").write_text((account / "ca.crt").read_text() + "\n# written anew\n")
                await cluster.get(POD, Pod)
                assert not server.connections[0].is_closing()
                rotated.set()
            if len(seen) == 3:
                break
        assert seen == ["ADDED", "MODIFIED", "DELETED"]
        assert sent(server) == ["Bearer pod-token", "Bearer rotated-token", "Bearer rotated-token"]
        assert len(server.connections) == 2
        async with asyncio.timeout(10):  # an idle connection would be closed after 15 s all the same
            await until(server.connections[0].is_closing)

    in_a_pod(scenario)


def test_authorities_that_were_replaced_are_read_before_the_server_is_called_a_stranger(
    tmp_path: pathlib.Path,
) -> None:
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    tls, right = certificates(tmp_path / "right")
    _, wrong = certificates(tmp_path / "wrong")
    right_data, wrong_data = (base64.b64encode(pathlib.Path(each).read_bytes()).decode() for each in (right, wrong))

    async def main() -> None:
        async with serving(tls) as server:
            server.on("GET", POD, json_answer(pod("p", 1)))
            path = tmp_path / "config"
            kubeconfig(path, server.url, cluster={"certificate-authority-data": wrong_data})
            async with await connect(str(path)) as cluster:
                kubeconfig(path, server.url, cluster={"certificate-authority-data": right_data})
                await cluster.get(POD, Pod)

    asyncio.run(main())


# ---------------------------------------------------------------- credentials that are refused


def test_refused_credentials_are_read_again(with_token: Callable[[Scenario], None], tmp_path: pathlib.Path) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, failing(401, "Unauthorized"), json_answer(pod("p", 1)))
        kubeconfig(tmp_path / "config", server.url, {"token": "new-token"})
        await cluster.get(POD, Pod)
        assert sent(server) == ["Bearer old-token", "Bearer new-token"]

    with_token(scenario)


def test_an_exec_and_a_watch_read_refused_credentials_again_too(
    with_token: Callable[[Scenario], None], tmp_path: pathlib.Path
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", f"{POD}/exec", failing(401, "Unauthorized"), exec_answer("v5.channel.k8s.io", SUCCESS))
        kubeconfig(tmp_path / "config", server.url, {"token": "new-token"})
        assert (await cluster.execute(COMMAND)).exit_code == 0
        kubeconfig(tmp_path / "config", server.url, {"token": "newer-token"})
        server.on("GET", PODS, failing(401, "Unauthorized"), stream(line("ADDED", pod("a", 2)), then="hang"))
        async for batch in cluster.watch(PODS, Pod, resource_version="1"):
            assert batch.changes
            break
        assert sent(server) == ["Bearer old-token", "Bearer new-token", "Bearer new-token", "Bearer newer-token"]

    with_token(scenario)


def test_good_credentials_that_are_refused_for_a_moment_are_tried_again(with_token: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        away = [failing(401, "Unauthorized")] * 2
        server.on("PATCH", POD, *away, json_answer(pod("p", 1)))
        server.on("GET", f"{POD}/exec", *away, exec_answer("v5.channel.k8s.io", SUCCESS))
        await cluster.send(Write(verb="patch", path=POD, body={}))
        assert (await cluster.execute(COMMAND)).exit_code == 0
        assert len(server.requests) == 6

    with_token(scenario)


def test_credentials_that_stay_refused_are_final_after_a_few_tries(with_token: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, failing(401, "Unauthorized", "no such token"))
        with pytest.raises(Unauthorized, match="no such token"):
            await cluster.get(POD, Pod)
        assert len(server.requests) == 1 + REFUSED_TRIES
        server.on("GET", POD, json_answer(pod("p", 1)), failing(401, "Unauthorized"))
        await cluster.get(POD, Pod)
        server.requests.clear()
        with pytest.raises(Unauthorized):
            await cluster.get(POD, Pod)
        assert len(server.requests) == 1 + GOOD_REFUSED_TRIES

    with_token(scenario)


def test_a_kubeconfig_that_turns_to_another_server_meanwhile_is_not_followed(
    with_token: Callable[[Scenario], None], tmp_path: pathlib.Path
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, failing(401, "Unauthorized"))
        kubeconfig(tmp_path / "config", "http://127.0.0.1:9", {"token": "new-token"})
        with pytest.raises(Unauthorized) as caught:
            await cluster.get(POD, Pod)
        assert "another server" in caught.value.hint
        assert {*sent(server)} == {"Bearer old-token"}

    with_token(scenario)


# ---------------------------------------------------------------- watches


def test_a_watch_that_stalls_is_taken_up_anew(with_token: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        cluster.silence_seconds = 0.2
        server.on(
            "GET",
            PODS,
            stream(line("ADDED", pod("a", 2)), then="hang"),
            stream(line("MODIFIED", pod("a", 3)), then="hang"),
        )
        told: list[Any] = []
        async for batch in cluster.watch(PODS, Pod, resource_version="1"):
            told.append(batch)
            if len(told) == 4:
                break
        assert told[0].changes[0][0] == "ADDED"
        assert "said nothing" in told[1].disconnected
        assert told[2].reconnected_after is not None
        assert told[3].changes[0][0] == "MODIFIED"
        assert [r.query["resourceVersion"] for r in server.requests] == ["1", "2"]

    with_token(scenario)


@pytest.mark.parametrize(
    "broken",
    [
        stream(line("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "no leader"})),
        stream(line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})),
        stream(),
        stream(b"}{\n"),
    ],
    ids=["an error", "too old again and again", "the end at once", "no event"],
)
def test_a_watch_that_fails_at_once_waits_longer_each_time_and_tells(
    with_token: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    pauses: list[float] = []
    at_once = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds != GATHERED_SECONDS:
            pauses.append(seconds)
        await at_once(0)

    async def answer(request: Any) -> Any:
        listed = json_answer({"metadata": {"resourceVersion": "5"}, "items": []})
        return await (broken if request.query.get("watch") else listed)(request)

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", PODS, answer)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        told = []
        async for batch in cluster.watch(PODS, Pod, resource_version="1"):
            told += [batch.disconnected] if batch.disconnected else []
            if len(pauses) >= 5:
                break
        monkeypatch.undo()
        assert all("watch" in reason for reason in told)
        assert len(told) >= 2
        assert all(pause >= FIRST_DELAY * 2**n * 0.5 for n, pause in enumerate(pauses[:5]))

    with_token(scenario)


# ---------------------------------------------------------------- the handshake of an exec


def test_an_exec_is_tried_again_while_the_server_has_too_much_to_do(with_token: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        delays: list[float] = []
        cluster.on_retry = lambda request, reason, delay: delays.append(delay)
        busy = failing(429, "TooManyRequests", headers={"Retry-After": "1"})
        server.on(
            "GET",
            f"{POD}/exec",
            busy,
            failing(503, "ServiceUnavailable"),
            exec_answer("v5.channel.k8s.io", SUCCESS),
        )
        assert (await cluster.execute(COMMAND)).exit_code == 0
        assert delays[0] >= 1.0
        server.on("GET", f"{POD}/exec", failing(503, "ServiceUnavailable"))
        with pytest.raises(Overloaded, match="Pod p"):
            await cluster.execute(COMMAND, timeout=2)

    with_token(scenario)


def test_an_exec_whose_time_runs_out_between_two_tries_says_what_was_answered(
    with_token: Callable[[Scenario], None],
) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

        server.on("GET", f"{POD}/exec", failing(503, "ServiceUnavailable"), never)
        with pytest.raises(Overloaded, match="Pod p"):
            await cluster.execute(COMMAND, timeout=2)

    with_token(scenario)


def test_an_exec_that_may_have_begun_is_not_tried_again(with_token: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", f"{POD}/exec", failing(500, "InternalError"))
        with pytest.raises(ExecFailed):
            await cluster.execute(COMMAND)
        server.on("GET", f"{POD}/exec", reset)
        with pytest.raises(Unreachable):
            await cluster.execute(COMMAND)
        assert len(server.requests) == 2

    with_token(scenario)
