"""One aiohttp session with one SSLContext: a request, its answer, and when to try again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Self, TypeVar

import aiohttp
import tenacity
from yarl import URL

from jobset_restart.cluster.access import Access
from jobset_restart.cluster.answers import api_error, retriable, transport_error
from jobset_restart.errors import ApiError, JsrError

R = TypeVar("R")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 30.0
FIRST_PATIENCE_SECONDS = 3.0
FIRST_DELAY = 0.1
MOST_DELAY = 2.0
TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)


class Session:
    """The way to one API server; an async context manager.

    `on_retry(request, reason, delay)` is told of every request that is tried again after `delay` seconds.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._reload = asyncio.Lock()
        self._reached = False
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
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.ssl or False, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            auto_decompress=True,
            headers={"Accept": "application/json", "User-Agent": "jsr"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _once(
        self, method: str, url: URL, *, data: bytes | None = None, kind: str = "application/json"
    ) -> tuple[bytes, Mapping[str, str]]:
        """One request and its answer's body. Raises ApiError or Unreachable; reloads refused credentials once."""
        if self._access.expired:
            await self._load_again(self._access.headers())
        for last in (False, True):
            headers = self._access.headers()
            try:
                status, body, answer = await self._exchange(method, url, data, {**headers, "Content-Type": kind})
            except TRANSPORT_ERRORS as error:
                raise transport_error(error, self.server) from None
            if status < 400:
                return body, answer
            if status != 401 or last or not await self._load_again(headers):
                raise api_error(status, body, f"{method} {url.path}", answer.get("Retry-After", ""))
        raise AssertionError

    async def _exchange(
        self, method: str, url: URL, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        assert self._session is not None
        async with self._session.request(
            method, url, data=data, headers=headers, proxy=self._access.proxy or None, allow_redirects=False
        ) as response:
            body = await response.read()
            if not self._reached:
                self._reached = True
                self._set_clock(response.headers.get("Date", ""))
            return response.status, body, response.headers

    def _set_clock(self, date: str) -> None:
        """The header has whole seconds: the middle of the second is the best guess, and small differences are none."""
        try:
            offset = parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
        except (ValueError, TypeError):
            return
        self._clock_offset = offset if abs(offset) > 1.0 else 0.0

    async def _load_again(self, used: dict[str, str]) -> bool:
        """Reads the credentials anew unless somebody else just did. Returns whether they are others than those used."""
        async with self._reload:
            if self._access.headers() == used:
                old = self._access.ssl
                await asyncio.to_thread(self._access.load)
                if self._session is not None and old is not self._access.ssl:
                    retired, self._session = self._session, None
                    self._open()
                    asyncio.get_running_loop().call_later(ANSWER_SECONDS, _close_soon, retired)
            return self._access.headers() != used

    def _url(self, path: str, params: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> URL:
        return (
            URL(self.server + path, encoded=True).with_query(params)
            if params
            else URL(self.server + path, encoded=True)
        )

    async def _retried(
        self,
        attempt: Callable[[], Awaitable[R]],
        request: str,
        deadline: float | None = None,
        settled: Callable[[JsrError], bool] = lambda error: False,
    ) -> R | None:
        """Repeats `attempt` while it fails in a way that may pass. `settled(error)` tells errors that mean
        an earlier try went through: then the answer is None."""
        patience = PATIENCE_SECONDS if self._reached else FIRST_PATIENCE_SECONDS
        stop = min(deadline if deadline is not None else self.now() + patience, self.now() + 600)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, ApiError) else None
            backoff = min(FIRST_DELAY * 2 ** (state.attempt_number - 1), MOST_DELAY)
            return asked if asked is not None else backoff * random.uniform(0.5, 1.5)  # noqa: S311

        def told(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.on_retry(request, getattr(error, "message", str(error)), state.upcoming_sleep)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, JsrError) and retriable(e)),
            wait=wait,
            stop=lambda state: self.now() + state.upcoming_sleep > stop,
            before_sleep=told,
            reraise=True,
        )
        async for step in retrying:
            with step:
                try:
                    return await attempt()
                except JsrError as error:
                    if settled(error):
                        return None
                    raise
        raise AssertionError


def _say_nothing(request: str, reason: str, delay: float) -> None:
    pass


def _close_soon(session: aiohttp.ClientSession) -> None:
    """Closes a retired session; its requests have ended or timed out by now."""
    with contextlib.suppress(RuntimeError):
        task = asyncio.get_running_loop().create_task(session.close())
        task.add_done_callback(lambda _: None)
