"""The one retry policy: pure delays, and every verb that follows it."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cluster import HttpCluster, connect
from jobset_restart.cluster.retry import FIRST_DELAY, MOST_DELAY, Backoff, retried
from jobset_restart.errors import AccessError, Forbidden, JsrError, Overloaded, Unauthorized, Unreachable
from jobset_restart.objects import Pod
from jobset_restart.writes import Exec, Write, pod_path
from tests.apiserver import exec_answer, failing, json_answer, kubeconfig, serving

POD = pod_path("ns", "p")
PODS = "/api/v1/namespaces/ns/pods"
DONE = exec_answer("v5.channel.k8s.io", b'\x03{"status":"Success"}')


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=40), st.none() | st.floats(0, 100))
def test_delays_double_up_to_the_most_and_never_come_before_what_was_asked(
    fractions: list[float], asked: float | None
) -> None:
    numbers = iter(fractions)
    backoff = Backoff(lambda: next(numbers))
    for n, fraction in enumerate(fractions):
        delay = backoff.after(Overloaded("busy", retry_after=asked))
        assert delay is not None
        own = min(FIRST_DELAY * 2.0**n, MOST_DELAY) * (0.5 + fraction)
        assert delay == pytest.approx((asked or 0.0) + own)
        assert delay >= (asked or 0.0)


def test_what_passes_is_data_not_words() -> None:
    backoff = Backoff()
    passing: list[JsrError] = [
        Unreachable("no connection to https://certificates.corp: TLS-prod is no URL"),
        Overloaded("x"),
    ]
    final: list[JsrError] = [Unreachable("x", passing=False), Forbidden("x"), Unauthorized("x"), AccessError("x")]
    assert all(backoff.after(error) is not None for error in passing)
    assert all(backoff.after(error) is None for error in final)


def test_an_error_that_is_worth_a_few_tries_gets_those() -> None:
    refused = Unauthorized("x")
    refused.passing, refused.tries = True, 2
    backoff = Backoff()
    assert [backoff.after(refused) is None for _ in range(3)] == [False, False, True]
    backoff.forget()
    assert backoff.after(refused) is not None


def test_nothing_is_tried_again_beyond_its_time() -> None:
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        raise Overloaded("busy", retry_after=3600.0)

    async def main() -> None:
        with pytest.raises(Overloaded):
            await retried(attempt, seconds=30.0)

    asyncio.run(main())
    assert tries == 1


Verb = Callable[[HttpCluster], Awaitable[Any]]

VERBS: dict[str, tuple[str, str, Verb]] = {
    "get": ("GET", POD, lambda c: c.get(POD, Pod)),
    "list": ("GET", PODS, lambda c: c.list(PODS, Pod)),
    "patch": ("PATCH", POD, lambda c: c.send(Write(verb="patch", path=POD))),
    "delete": ("DELETE", POD, lambda c: c.send(Write(verb="delete", path=POD))),
    "create": ("POST", PODS, lambda c: c.send(Write(verb="create", path=PODS))),
    "exec": ("GET", f"{POD}/exec", lambda c: c.execute(Exec(path=POD, container="c", command=("x",)))),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_retry_of_every_verb_waits_for_what_the_server_asked(tmp_path: pathlib.Path, verb: str) -> None:
    method, path, call = VERBS[verb]

    async def main() -> None:
        async with serving() as server:
            busy = failing(429, "TooManyRequests", headers={"Retry-After": "1"})
            server.on(method, path, busy, DONE if verb == "exec" else json_answer({"metadata": {}, "items": []}))
            async with await connect(kubeconfig(tmp_path / "config", server.url)) as cluster:
                delays: list[float] = []
                cluster.on_retry = lambda request, reason, delay: delays.append(delay)
                await call(cluster)
                assert len(delays) == 1
                assert delays[0] >= 1.0

    asyncio.run(main())
