"""A server that sends too much, without end, or what is no answer: a clear error that names the object, every time."""

from __future__ import annotations

import asyncio
import gzip
import pathlib
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cluster import HttpCluster, connect, limits
from jobset_restart.cluster.answers import BY_STATUS, api_error, clock_offset
from jobset_restart.cluster.exec import Channels
from jobset_restart.cluster.lists import each_readable
from jobset_restart.cluster.sending import SendsAll
from jobset_restart.cluster.watch import Expired, Stream, StreamFailed
from jobset_restart.errors import ApiError, ExecFailed, JsrError
from jobset_restart.objects import Pod
from jobset_restart.writes import Exec, Write, pod_path
from tests.apiserver import (
    ApiServer,
    bytes_answer,
    endless,
    exec_answer,
    failing,
    json_answer,
    kubeconfig,
    line,
    serving,
)

PODS = "/api/v1/namespaces/ns/pods"
POD = pod_path("ns", "p")
COMMAND = Exec(path=POD, container="c", command=("x",))
V5 = "v5.channel.k8s.io"

Scenario = Callable[[ApiServer, HttpCluster], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: pathlib.Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with serving() as server:
                cluster = await connect(kubeconfig(tmp_path / "config", server.url))
                async with cluster:
                    await scenario(server, cluster)

        asyncio.run(asyncio.wait_for(main(), 60))

    return run


async def refused(call: Coroutine[Any, Any, Any], *words: str) -> JsrError:
    with pytest.raises(JsrError) as caught:
        await call
    assert all(word in caught.value.message for word in words), caught.value.message
    assert len(caught.value.message) < limits.MESSAGE_CHARACTERS + 500
    return caught.value


# ---------------------------------------------------------------- size


def test_an_answer_that_grows_when_it_is_unpacked_is_not_read_to_its_end(play: Callable[[Scenario], None]) -> None:
    bomb = gzip.compress(b" " * 400 * limits.MIB)

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, bytes_answer(bomb, **{"Content-Encoding": "gzip"}))
        tracemalloc.start()
        await refused(cluster.get(POD, Pod), POD, "larger than 16 MiB")
        assert tracemalloc.get_traced_memory()[1] < 100 * limits.MIB
        tracemalloc.stop()

    play(scenario)


def test_an_answer_without_end_is_not_read_for_ever(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, endless(b" " * limits.MIB))
        await refused(cluster.get(POD, Pod), POD, "larger than 16 MiB")
        server.on("PATCH", POD, endless(b" " * limits.MIB))
        await refused(cluster.send(Write(verb="patch", path=POD)), POD, "larger than 16 MiB")

    play(scenario)


def test_of_several_lists_without_end_one_is_held_at_a_time(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIST_BYTES", 64 * limits.MIB)
    lists = [f"/api/v1/namespaces/ns{n}/pods" for n in range(4)]

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        for path in lists:
            server.on("GET", path, endless(b" " * limits.MIB))
        tracemalloc.start()
        calls = (refused(each_readable(cluster, path, Pod), path, "larger than 64 MiB") for path in lists)
        await asyncio.gather(*calls)
        assert tracemalloc.get_traced_memory()[1] < (64 + 4 * 16 + 40) * limits.MIB
        tracemalloc.stop()
        assert len(server.requests) == len(lists), "what is too large is not read again, object by object"

    play(scenario)


def test_a_list_in_pages_is_no_larger_than_one_in_one_piece(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIST_BYTES", 5 * limits.MIB)
    pages = 0

    async def page(request: web.Request) -> web.StreamResponse:
        nonlocal pages
        pages += 1
        body = {"metadata": {"continue": f"page {pages}"}, "items": [], "padding": "x" * limits.MIB}
        return await json_answer(body)(request)

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", PODS, page)
        await refused(cluster.list(PODS, Pod), PODS, "larger than 5 MiB")
        assert pages < 7

    play(scenario)


def test_an_error_without_end_is_one_line(play: Callable[[Scenario], None]) -> None:
    async def endless_error(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=403)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"<html>" * 10_000)
        except ConnectionError:
            return response

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, endless_error)
        await refused(cluster.get(POD, Pod))
        server.on("GET", POD, failing(403, "Forbidden", "x" * 50_000))
        await refused(cluster.get(POD, Pod))

    play(scenario)


def test_a_list_that_never_ends_is_given_up(play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGES", 20)
    monkeypatch.setattr(limits, "OBJECTS", 10)
    pages = 0

    def page(items: int, token: str) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            nonlocal pages
            pages += 1
            body = {"metadata": {"continue": token.format(pages)}, "items": [{"metadata": {"name": "p"}}] * items}
            return await json_answer(body)(request)

        return answer

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", PODS, page(0, "always the same"))
        await refused(cluster.list(PODS, Pod), PODS, "same continue token twice")
        server.on("GET", PODS, page(0, "another {}"))
        await refused(cluster.list(PODS, Pod), PODS, "more than 20 pages")
        server.on("GET", PODS, page(3, "another {}"))
        await refused(cluster.list(PODS, Pod), PODS, "more than 10 objects")

    play(scenario)


def test_an_exec_that_sends_too_much_is_ended(play: Callable[[Scenario], None]) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", f"{POD}/exec", exec_answer(V5, b"\x01" + b"x" * (2 * limits.MIB)))
        await refused(cluster.execute(COMMAND), "container c of p")
        server.on("GET", f"{POD}/exec", exec_answer(V5, *[b"\x01" + b"x" * 500_000] * 20))
        await refused(cluster.execute(COMMAND), "printed more than 4 MiB")

    play(scenario)


def test_of_an_exec_s_output_the_beginning_is_kept() -> None:
    channels = Channels()
    for _ in range(6):
        channels.feed(b"\x01" + b"x" * 50_000)
    assert len(channels.result().stdout) == limits.EXEC_KEPT_BYTES


def test_a_line_of_a_watch_without_end_fails_the_stream() -> None:
    watched = Stream(Pod, "1")
    piece = b" " * limits.MIB
    for _ in range(limits.WATCH_LINE_BYTES // len(piece)):
        watched.feed(piece)
    with pytest.raises(StreamFailed, match="larger than"):
        watched.feed(piece)


# ---------------------------------------------------------------- what is no answer

NO_ANSWERS = {
    "nested without end": b"[" * 200_000,
    "an object nested without end": b'{"metadata":' * 200_000,
    "nested where nobody looks": b'{"metadata":{"name":"p"},"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "no UTF-8": b'{"metadata":{"name":"\xff\xfe"}}',
    "no UTF-8 where nobody looks": b'{"x":"\xff"}',
    "half": b'{"metadata":{"name":',
    "nothing": b"",
    "a number without end": b'{"metadata":{"generation":' + b"9" * 5000 + b"}}",
    "another type": b'{"metadata":{"name":{"a":1}}}',
    "HTML": b"<html></html>",
    "a lone surrogate": b'{"metadata":{"name":"\\ud800"}}',
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_kubernetes_object_is_an_error_that_names_it(play: Callable[[Scenario], None], body: bytes) -> None:
    """Or it is one: what is not looked at may be anything."""

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, bytes_answer(body))
        try:
            await cluster.get(POD, Pod)
        except ApiError as error:
            assert POD in error.message  # noqa: PT017

    play(scenario)


@pytest.mark.parametrize("code", [301, 302, 303, 304, 307, 308])
def test_a_redirect_is_no_success_and_is_not_followed(play: Callable[[Scenario], None], code: int) -> None:
    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        elsewhere = failing(code, "Moved", headers={"Location": f"{server.url}/elsewhere"})
        for method, path in (("GET", POD), ("PATCH", POD), ("DELETE", POD), ("GET", f"{POD}/exec")):
            server.on(method, path, elsewhere)
        for verb in ("patch", "delete"):
            error = await refused(cluster.send(Write(verb=verb, path=POD)), str(code))
            assert isinstance(error, ApiError)
        await refused(cluster.get(POD, Pod), str(code))
        await refused(cluster.execute(COMMAND), str(code))
        assert "/elsewhere" not in {request.path for request in server.requests}

    play(scenario)


# ---------------------------------------------------------------- the clock


def test_hours_of_skew_are_believed_years_are_an_error(play: Callable[[Scenario], None]) -> None:
    assert clock_offset("Fri, 27 Nov 2026 12:00:00 GMT", 1_795_780_800.0 - 7200, "s") == pytest.approx(7200.5)
    assert clock_offset("Fri, 27 Nov 2026 12:00:00 GMT", 1_795_780_800.0, "s") == 0.0

    async def scenario(server: ApiServer, cluster: HttpCluster) -> None:
        server.on("GET", POD, json_answer({"metadata": {}}, Date="Tue, 01 Jan 2999 00:00:00 GMT"))
        await refused(cluster.get(POD, Pod), "clock", "years ahead")
        server.on("GET", POD, failing(403, "Forbidden", headers={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}))
        await refused(cluster.get(POD, Pod), "clock", "years behind")

    play(scenario)


@given(st.text(max_size=40), st.floats(0, 4e9))
def test_any_date_is_a_small_offset_or_an_error(date: str, now: float) -> None:
    try:
        offset = clock_offset(date, now, "s")
    except ApiError:
        offset = 0.0
    assert abs(offset) <= limits.CLOCK_SECONDS


# ---------------------------------------------------------------- any bytes


@given(st.sampled_from([*sorted(BY_STATUS), 300, 302, 418]), st.binary(max_size=300), st.text(max_size=12))
def test_any_body_of_an_error_is_an_error(code: int, body: bytes, retry_after: str) -> None:
    error = api_error(code, body, "get /x", retry_after)
    assert error.status == code
    assert error.message
    assert error.retry_after is None or 0.0 <= error.retry_after <= limits.RETRY_AFTER_SECONDS


statuses = st.fixed_dictionaries(
    {},
    optional={
        "message": st.text(max_size=30) | st.integers() | st.none(),
        "reason": st.text(max_size=10),
        "code": st.integers(-1, 600),
        "details": st.fixed_dictionaries({}, optional={"retryAfterSeconds": st.integers()}),
    },
)


@given(st.sampled_from(sorted(BY_STATUS)), statuses)
def test_any_status_object_is_an_error(code: int, status: dict[str, Any]) -> None:
    error = api_error(code, msgspec.json.encode(status), "get /x")
    assert error.message
    assert error.retry_after is None or 0.0 < error.retry_after <= limits.RETRY_AFTER_SECONDS


events = st.one_of(
    st.binary(max_size=60).map(lambda data: data + b"\n"),
    st.builds(
        line,
        st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "OTHER"]),
        st.fixed_dictionaries(
            {},
            optional={
                "metadata": st.dictionaries(
                    st.sampled_from(["name", "resourceVersion", "labels", "ownerReferences"]),
                    st.text(max_size=5) | st.integers() | st.none(),
                    max_size=3,
                ),
                "code": st.integers(400, 500),
                "message": st.text(max_size=10),
            },
        ),
    ),
)


@given(st.lists(events, max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_any_stream_gives_events_or_ends_in_words(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    watched = Stream(Pod, "1")
    begin = 0
    try:
        for end in [*sorted(set(cuts)), len(data)]:
            watched.feed(data[begin:end])
            begin = max(begin, end)
    except (Expired, StreamFailed) as error:
        assert isinstance(str(error), str)  # noqa: PT017
    assert watched.resource_version


@given(st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\x03" + data), max_size=10))
def test_any_frames_are_a_result(frames: list[bytes]) -> None:
    channels = Channels()
    for frame in frames:
        channels.feed(frame)
    result = channels.result()
    assert result.exit_code is None or 0 <= result.exit_code <= 255


@pytest.mark.parametrize("digits", ["²", "٣", "9" * 5000, "-1", "256", "1.0", "", " 7"])
def test_an_exit_code_is_a_number_from_0_to_255(digits: str) -> None:
    channels = Channels()
    cause = {"reason": "ExitCode", "message": digits}
    channels.feed(b"\x03" + msgspec.json.encode({"status": "Failure", "details": {"causes": [cause]}}))
    assert channels.result().exit_code is None


# ---------------------------------------------------------------- sending over anything


def test_what_is_told_of_an_action_and_fails_is_raised_as_it_is() -> None:
    class Anything(SendsAll):
        async def send(self, write: Write, **_: Any) -> None:
            return None

        async def execute(self, exec_: Exec, *, timeout: float = 1.0) -> Any:  # noqa: ASYNC109
            raise ExecFailed("never")

    def on_done(action: Any, result: Any) -> None:
        raise KeyError(action.slot)

    async def main() -> None:
        writes = [Write(verb="patch", path=POD, slot=str(n)) for n in range(3)]
        with pytest.raises(KeyError):
            await Anything().send_all(writes, on_done)

    asyncio.run(main())
