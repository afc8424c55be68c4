"""The cluster behind an API server: raw paths, typed objects.

Everything sent is safe to repeat (preconditions on UID and resourceVersion), so requests without an answer are tried
again, with jitter and bounded by a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import aiohttp
import msgspec

from jobset_restart.cluster import exec as exec_protocol
from jobset_restart.cluster import limits
from jobset_restart.cluster.access import Access, Headers
from jobset_restart.cluster.answers import TRANSPORT_ERRORS, api_error, transport_error
from jobset_restart.cluster.decoding import decode
from jobset_restart.cluster.exec import EXEC_SECONDS, Channels, ExecResult
from jobset_restart.cluster.follow import Follower
from jobset_restart.cluster.protocol import PAGE, Listing
from jobset_restart.cluster.sending import SendsAll
from jobset_restart.cluster.session import CONNECT_SECONDS, Connection, Session, beginning
from jobset_restart.cluster.watch import SILENCE_SECONDS, TIMEOUT_SECONDS, WatchBatch
from jobset_restart.errors import ApiError, Conflict, ExecFailed, Gone, JsrError, NotFound, Unreachable
from jobset_restart.objects import ObjectList, SelfSubjectAccessReview
from jobset_restart.writes import Exec, Permission, Write

T = TypeVar("T")

GATHERED_SECONDS = 0.05
GATHERED_BYTES = 64 * 1024
METHODS = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class HttpCluster(SendsAll, Session):
    """A connection to one API server: the `Cluster` over HTTP. Every method may raise the errors of
    jobset_restart.errors. `silence_seconds` is how long a watch may say nothing before it is taken up anew."""

    silence_seconds = SILENCE_SECONDS

    async def get(self, path: str, type: type[T], *, params: Mapping[str, str] | None = None) -> T:  # noqa: A002
        url = self._url(path, params or {})
        body = await self._retried(lambda: self._once("GET", url), f"get {path}")
        assert body is not None
        return decode(msgspec.json.Decoder(type), body, path)

    async def list(
        self,
        path: str,
        item: type[T],
        *,
        label_selector: str = "",
        field_selector: str = "",
        consistent: bool = True,
        limit: int = PAGE,
    ) -> Listing[T]:
        """Every object, page by page. `consistent` reads what is really there (an etcd quorum read); without it, what
        the API server has in its watch cache, in one page."""
        params = {"labelSelector": label_selector, "fieldSelector": field_selector}
        params |= {"limit": str(limit)} if consistent else {"resourceVersion": "0"}
        params = {key: value for key, value in params.items() if value}
        most = limits.PAGE_BYTES if consistent else limits.LIST_BYTES
        try:
            return await self._pages(path, item, params, most)
        except Gone:
            return await self._pages(path, item, params, most)

    async def _pages(self, path: str, item: type[T], params: Mapping[str, str], most: int) -> Listing[T]:
        decoder = msgspec.json.Decoder(ObjectList[item])  # type: ignore[valid-type]
        items: list[T] = []
        page, tokens, size = dict(params), {""}, 0
        for _ in range(limits.PAGES):
            url = self._url(path, page)
            body = await self._retried(lambda url=url: self._once("GET", url, most=most), f"list {path}")  # type: ignore[misc]
            assert body is not None
            size += len(body)
            if size > limits.LIST_BYTES:
                raise ApiError(f"the list of {path} is larger than {limits.LIST_BYTES // limits.MIB} MiB")
            found = decode(decoder, body, path)
            items += found.items
            token = found.metadata.continue_
            if not token:
                return Listing(items, found.metadata.resource_version)
            if token in tokens:
                raise ApiError(f"the list of {path} never ends: the API server gave the same continue token twice")
            if len(items) > limits.OBJECTS:
                raise ApiError(f"the list of {path} has more than {limits.OBJECTS:,} objects")
            tokens.add(token)
            page["continue"] = token
        raise ApiError(f"the list of {path} never ends: it has more than {limits.PAGES:,} pages")

    async def send(
        self,
        write: Write,
        *,
        dry_run: bool = False,
        type: type[T] | None = None,  # noqa: A002
        deadline: float | None = None,
    ) -> T | None:
        """Sends one write and returns the object it answers with, if a type is given; None also where an earlier try
        had deleted it already. `deadline` is seconds since the epoch."""
        params = {"fieldManager": "jsr"} if write.verb != "delete" else {}
        url = self._url(write.path, params | ({"dryRun": "All"} if dry_run else {}))
        body = write.sent_body()
        if write.verb == "delete" and dry_run:
            body = {**body, "dryRun": ["All"]}  # a DELETE with a body takes its options from there alone
        data = msgspec.json.encode(body)
        kind = write.content_type if write.verb == "patch" else "application/json"

        def settled(later: JsrError) -> bool:
            if write.verb == "delete":
                # A namesake of another UID: what was to be deleted is gone, and its controller has made a new one.
                namesake = isinstance(later, Conflict) and bool(write.uid) and not write.resource_version
                return namesake or isinstance(later, NotFound)
            return write.verb == "create" and isinstance(later, Conflict) and later.reason == "AlreadyExists"

        answer = await self._retried(
            lambda: self._once(METHODS[write.verb], url, data=data, kind=kind),
            f"{write.verb} {write.path}",
            deadline,
            settled,
        )
        return None if type is None or answer is None else decode(msgspec.json.Decoder(type), answer, write.path)

    async def allowed(self, permission: Permission, namespace: str, name: str = "") -> bool:
        """Whether this user has the permission in the namespace (SelfSubjectAccessReview)."""
        attributes = {
            "namespace": namespace,
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "subresource": permission.subresource,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        answer = await self.send(Write(verb="create", path=REVIEWS, body=body), type=SelfSubjectAccessReview)
        return answer is not None and answer.status.allowed

    async def text(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        most: int,
        timeout: float = EXEC_SECONDS,  # noqa: ASYNC109
    ) -> bytes:
        """The beginning of what is at `path`, at most `most` bytes and for at most `timeout` seconds."""
        url = self._url(path, params or {})

        def open_(connection: Connection, headers: Headers) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            headers["Accept"] = "text/plain, */*"
            return connection.session.get(url, headers=headers, proxy=self._proxy_url, allow_redirects=False)

        async def attempt() -> bytes:
            async with self._answered(open_, lambda response: self._check(response, f"get {path}")) as response:
                return await beginning(response, most)

        try:
            async with asyncio.timeout(timeout):
                return await self._retried(attempt, f"get {path}", self.now() + timeout) or b""
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self.server, self._access.proxy) from None

    # ------------------------------------------------------------ exec

    async def execute(self, exec_: Exec, *, timeout: float = EXEC_SECONDS) -> ExecResult:  # noqa: ASYNC109
        """Runs a command in a container and waits for its end, at most `timeout` seconds.

        While the command cannot have begun, it is tried again by the same policy as everything else. Raises ExecFailed
        where it could not be run, and what the transport raises once it may have been.
        """
        name = f"container {exec_.container} of {_pod(exec_)}"
        channels = Channels()
        refused: JsrError | None = None
        try:
            async with asyncio.timeout(timeout), contextlib.AsyncExitStack() as stack:

                async def shake_hands() -> aiohttp.ClientWebSocketResponse:
                    nonlocal refused
                    try:
                        return await stack.enter_async_context(self._shaken_hands(exec_))
                    except JsrError as error:
                        refused = error
                        raise

                socket = await self._retried(shake_hands, f"exec in {name}", self.now() + timeout)
                assert socket is not None
                refused = None
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        channels.feed(message.data)
                    elif message.type == aiohttp.WSMsgType.ERROR:
                        raise ExecFailed(f"{name}: what it sent is not an exec stream, or too much at once")
        except TRANSPORT_ERRORS as error:
            # Where the time ran out between two tries, what the server said says more than that it ran out.
            raise refused or transport_error(error, self.server, self._access.proxy) from None
        return channels.result()

    def _shaken_hands(self, exec_: Exec) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        url = self._url(f"{exec_.path}/exec", exec_protocol.query(exec_))

        def open_(
            connection: Connection, headers: Headers
        ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
            return connection.handshakes.ws_connect(
                url,
                protocols=exec_protocol.PROTOCOLS,
                headers=headers,
                proxy=self._proxy_url,
                max_msg_size=limits.FRAME_BYTES,
            )

        async def check(_: aiohttp.ClientWebSocketResponse) -> None: ...

        def explain(error: Exception) -> JsrError:
            return _refused_exec(error, exec_) or self._broken_exec(error)

        return self._answered(open_, check, explain)

    def _broken_exec(self, error: Exception) -> JsrError:
        """Only where there was no connection at all is it certain that nothing was done."""
        known = transport_error(error, self.server, self._access.proxy)
        never_connected = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if isinstance(known, Unreachable) and not never_connected:
            known.passing = False
        return known

    # ------------------------------------------------------------ watch

    def watch(
        self, path: str, item: type[T], *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchBatch[T]]:
        """Every change from `resource_version` on, for as long as it is read from. A broken stream is taken up again
        where it ended; when that is too long ago, everything is listed anew and yielded as `relisted`.

        Raises Forbidden, Unauthorized and other refusals that will not pass.
        """
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        selectors = {key: value for key, value in selectors.items() if value}
        return Follower(
            item,
            resource_version,
            lambda version: self._streamed(path, version, selectors),
            lambda: self.list(path, item, label_selector=label_selector, field_selector=field_selector),
        ).batches()

    async def _streamed(
        self, path: str, resource_version: str, selectors: Mapping[str, str]
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of one WATCH request, after an empty one that says it was accepted."""
        params = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(TIMEOUT_SECONDS), **selectors}
        url = self._url(path, params | ({"resourceVersion": resource_version} if resource_version else {}))
        limits_ = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)

        def open_(connection: Connection, headers: Headers) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            return connection.session.get(
                url, headers=headers, proxy=self._proxy_url, timeout=limits_, allow_redirects=False
            )

        try:
            async with self._answered(open_, lambda response: self._check(response, f"watch {path}")) as response:
                yield b""
                while data := await self._heard(response, path):
                    yield data
                    if len(data) < GATHERED_BYTES:
                        await _gather(response)
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self.server, self._access.proxy) from None

    async def _heard(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        """What came next, b"" at the end. The guard is on the reader: a connection that is closed under it, or a peer
        that is gone without a word, would leave it waiting for ever."""
        try:
            async with asyncio.timeout(self.silence_seconds):
                return await response.content.readany()
        except TimeoutError:
            raise Unreachable(f"the watch of {path} said nothing for {self.silence_seconds:.0f} s") from None


async def _gather(response: aiohttp.ClientResponse) -> None:
    """Reads nothing for a moment, so that what arrives in it is read at once: thousands of small events cost by the
    read, not by the byte. After large reads as well, it would hold a busy stream back."""
    transport = response.connection.transport if response.connection else None
    if transport is None or transport.is_closing():
        return
    transport.pause_reading()
    await asyncio.sleep(GATHERED_SECONDS)
    transport.resume_reading()


def _pod(exec_: Exec) -> str:
    return exec_.path.rpartition("/")[2]


def _refused_exec(error: Exception, exec_: Exec) -> JsrError | None:
    """The error of a handshake that the server answered otherwise; None where it did not answer."""
    if not isinstance(error, aiohttp.WSServerHandshakeError):
        return None
    words = {
        401: "the credentials were refused",
        403: "no permission (create pods/exec)",
        404: "it is gone",
        429: "the API server has too much to do",
        503: "the API server or the node has too much to do",
    }
    if error.status in words:
        retry_after = error.headers.get("Retry-After", "") if error.headers else ""
        refused = api_error(error.status, b"", f"exec in {_pod(exec_)}", retry_after)
        refused.message = f"exec in Pod {_pod(exec_)}: {words[error.status]}"
        return refused
    return ExecFailed(
        f"exec in container {exec_.container} of Pod {_pod(exec_)} was refused with status {error.status}: "
        "the container may not be running, or its node not be reachable"
    )


async def connect(
    kubeconfig: str | None = None, context: str | None = None, impersonate: str | None = None
) -> HttpCluster:
    """The cluster that the kubeconfig, or the Pod's service account, names. Nothing is sent yet.

    Raises AccessError.
    """
    access = Access(kubeconfig, context, impersonate)
    await access.load()
    return HttpCluster(access)
