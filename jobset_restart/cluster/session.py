"""The way to one API server: a request, its answer, and credentials that are always fresh."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from jobset_restart.cluster import limits
from jobset_restart.cluster.access import Access, Headers
from jobset_restart.cluster.answers import (
    TRANSPORT_ERRORS,
    api_error,
    certificate_refused,
    clock_offset,
    transport_error,
)
from jobset_restart.cluster.retry import retried
from jobset_restart.errors import AccessError, ApiError, JsrError, Unauthorized

R = TypeVar("R")
A = TypeVar("A")
Opening = Callable[["Connection", Headers], AbstractAsyncContextManager[A]]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 30.0
FIRST_PATIENCE_SECONDS = 3.0
MOST_PATIENCE_SECONDS = 600.0
REFUSED_TRIES = 3
GOOD_REFUSED_TRIES = 6
"""How often credentials that were refused are tried again though they are still the same: the API server's own
authentication may be away for a moment. Those that were accepted before are given some 5 seconds."""


class Connection:
    """What one set of certificates connects by, and how many requests and streams use it.

    `session` is for requests. `handshakes` is for WebSockets: it refuses redirects, and sends a command only once,
    where the library would repeat every GET that got no answer.
    """

    def __init__(self, access: Access) -> None:
        self.ssl = access.ssl
        self.users = 0
        self.retired = False
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        tracing.on_connection_create_start.append(_once_only)
        pool = aiohttp.TCPConnector(limit=0, ssl=access.ssl or False, ttl_dns_cache=60)
        single = aiohttp.TCPConnector(limit=0, ssl=access.ssl or False, ttl_dns_cache=60, force_close=True)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        jar = aiohttp.DummyCookieJar()
        headers = {"User-Agent": "jsr"}
        self.session = aiohttp.ClientSession(
            connector=pool, timeout=timeout, headers={"Accept": "application/json", **headers}, cookie_jar=jar
        )
        self.handshakes = aiohttp.ClientSession(
            connector=single, timeout=timeout, headers=headers, cookie_jar=jar, trace_configs=[tracing]
        )

    async def close(self) -> None:
        await self.handshakes.close()
        await self.session.close()

    async def close_if_done_with(self) -> None:
        if self.retired and not self.users:
            await self.close()


class Session:
    """The way to one API server; an async context manager.

    `on_retry(request, reason, delay)` is told of every request that is tried again after `delay` seconds.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._connections: list[Connection] = []
        self._reading = asyncio.Lock()
        self._large = asyncio.Lock()
        """Held while a large answer is read."""
        self._not_again_before = 0.0
        self._unreadable = ""
        self._reached = self._accepted = False
        self._clock_offset = 0.0
        self.on_retry: Callable[[str, str, float], None] = _say_nothing

    @property
    def context(self) -> str:
        return self._access.context

    @property
    def namespace(self) -> str:
        return self._access.namespace

    @property
    def server(self) -> str:
        return self._access.server

    @property
    def user(self) -> str:
        return self._access.user

    def now(self) -> float:
        """Seconds since the epoch by the API server's clock, as told by the Date header of its answers."""
        return time.time() + self._clock_offset

    async def __aenter__(self) -> Self:
        self._connections.append(Connection(self._access))
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            await connection.close()

    # ------------------------------------------------------------ credentials

    async def _freshen(self) -> None:
        """Reads what is stale. Where that fails, the old credentials are used on: the server decides."""
        if self._access.stale:
            async with self._reading:
                if self._access.stale:
                    await self._load(refused=False)

    async def _load_again(self, used: Headers, connected: Connection) -> bool:
        """Reads refused credentials anew, unless somebody else just did. Returns whether they are others now."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._is(used, connected) and now >= self._not_again_before:
                await self._load(refused=True)
                if self._is(used, connected):
                    self._not_again_before = now + self._access.reload_seconds
            return not self._is(used, connected)

    def _is(self, used: Headers, connected: Connection) -> bool:
        return self._access.headers() == used and self._connections[-1] is connected

    async def _load(self, *, refused: bool) -> None:
        try:
            await self._access.load(refused=refused)
            self._unreadable = ""
        except AccessError as error:
            self._unreadable = error.message
        connection = self._connections[-1]
        if connection.ssl is not self._access.ssl:
            self._connections.append(Connection(self._access))
            connection.retired = True
            await connection.close_if_done_with()
            self._connections = [each for each in self._connections if not each.session.closed]

    # ------------------------------------------------------------ requests

    @contextlib.asynccontextmanager
    async def _answered(
        self,
        open_: Opening[A],
        check: Callable[[A], Awaitable[None]],
        explain: Callable[[Exception], JsrError] | None = None,
    ) -> AsyncIterator[A]:
        """What `open_(connection, headers)` opens, with fresh credentials, which are read again once where they are
        refused or the certificate is not trusted. Requests, watches and execs all come this way. A connection that
        other certificates replaced meanwhile is closed when its last user has left.

        `check` raises what an answer means, `explain` turns the library's exceptions into errors.
        """
        await self._freshen()
        for last in (False, True):
            headers, connection = self._access.headers(), self._connections[-1]
            connection.users += 1
            try:
                async with contextlib.AsyncExitStack() as stack:
                    try:
                        answer = await stack.enter_async_context(open_(connection, headers.copy()))
                        await check(answer)
                    except (Unauthorized, *TRANSPORT_ERRORS) as error:
                        known = self._known(error, explain)
                        again = certificate_refused(error) or isinstance(known, Unauthorized)
                        if last or not again or not await self._load_again(headers, connection):
                            raise (self._still_refused(known) if isinstance(known, Unauthorized) else known) from None
                        continue
                    self._accepted = True
                    yield answer
                    return
            finally:
                connection.users -= 1
                await connection.close_if_done_with()

    def _known(self, error: Exception, explain: Callable[[Exception], JsrError] | None) -> JsrError:
        if isinstance(error, JsrError):
            return error
        return explain(error) if explain else transport_error(error, self.server, self._access.proxy)

    def _still_refused(self, error: Unauthorized) -> Unauthorized:
        error.passing = True
        error.tries = GOOD_REFUSED_TRIES if self._accepted else REFUSED_TRIES
        if self._unreadable:
            error.hint = f"and they could not be read again: {self._unreadable}"
        return error

    async def _once(
        self,
        method: str,
        url: URL,
        *,
        data: bytes | None = None,
        kind: str = "application/json",
        most: int = limits.OBJECT_BYTES,
    ) -> bytes | bytearray:
        """One request and its answer's body, at most `most` bytes. Raises ApiError or Unreachable."""
        request = f"{method.lower()} {url.path}"

        def open_(connection: Connection, headers: Headers) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            headers["Content-Type"] = kind
            return connection.session.request(
                method, url, data=data, headers=headers, proxy=self._proxy_url, allow_redirects=False
            )

        try:
            async with self._answered(open_, lambda response: self._check(response, request)) as response:
                return await _body(response, most, request, self._large)
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self.server, self._access.proxy) from None

    @property
    def _proxy_url(self) -> str | None:
        return self._access.proxy.url if self._access.proxy else None

    async def _check(self, response: aiohttp.ClientResponse, request: str) -> None:
        """Raises the error of every answer but success, and of a clock that cannot be."""
        if not self._reached:
            self._clock_offset = clock_offset(response.headers.get("Date", ""), time.time(), self.server)
            self._reached = True
        if response.status >= 300:
            said = self._access.hide((await _said(response)).decode(errors="replace")).encode()
            raise api_error(response.status, said, request, response.headers.get("Retry-After", ""))

    def _url(self, path: str, params: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> URL:
        url = URL(self.server + path, encoded=True)
        return url.with_query(params) if params else url

    async def _retried(
        self,
        attempt: Callable[[], Awaitable[R]],
        request: str,
        deadline: float | None = None,
        settled: Callable[[JsrError], bool] = lambda _error: False,
    ) -> R | None:
        """Repeats `attempt` by the one policy (retry.retried) until `deadline` (seconds since the epoch), or for as
        long as patience lasts."""
        patience = PATIENCE_SECONDS if self._reached else FIRST_PATIENCE_SECONDS
        seconds = patience if deadline is None else min(deadline - self.now(), MOST_PATIENCE_SECONDS)
        return await retried(
            attempt,
            seconds=seconds,
            told=lambda error, delay: self.on_retry(request, error.message, delay),
            settled=settled,
        )


async def _body(response: aiohttp.ClientResponse, most: int, request: str, large: asyncio.Lock) -> bytes | bytearray:
    """The whole body after inflation; one that is large is read while no other is. Raises ApiError where it is larger
    than `most` bytes."""
    body = bytearray()
    async with contextlib.AsyncExitStack() as alone:
        waits = True
        async for data in response.content.iter_any():
            if len(body) + len(data) > most:
                response.close()
                body.clear()  # the traceback keeps this frame
                raise ApiError(
                    f"the answer to {request} is larger than {most // limits.MIB} MiB: it was not read further"
                )
            body += data
            if waits and len(body) > limits.AT_ONCE_BYTES:
                waits = False
                await alone.enter_async_context(large)
    return body


async def beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The first `most` bytes of a body. The rest is not read, and the connection is not used again."""
    kept = b""
    async for data in response.content.iter_any():
        kept += data
        if len(kept) > most:
            response.close()
            return kept[:most]
    return kept


async def _said(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of an error's body. One that is broken off says nothing."""
    with contextlib.suppress(*TRANSPORT_ERRORS):
        return await beginning(response, limits.ERROR_BYTES)
    return b""


async def _refuse_redirect(
    _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    """A WebSocket's handshake has no switch for it: credentials must not follow to another host."""
    params.response.close()
    raise api_error(params.response.status, b"", f"{params.method.lower()} {params.url.path}")


async def _once_only(
    _: aiohttp.ClientSession, request: SimpleNamespace, __: aiohttp.TraceConnectionCreateStartParams
) -> None:
    """`request` is the same object for as long as the library works on one request."""
    if getattr(request, "begun", False):
        raise aiohttp.ServerDisconnectedError
    request.begun = True


def _say_nothing(request: str, reason: str, delay: float) -> None:
    pass
