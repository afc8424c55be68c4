"""The cluster behind an API server: raw paths, typed objects.

Everything sent is safe to repeat (preconditions on UID and resourceVersion), so requests without an answer are tried
again, with jitter and bounded by a deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

import aiohttp
import msgspec

from jobset_restart.cluster import exec as exec_protocol
from jobset_restart.cluster.access import Access
from jobset_restart.cluster.answers import api_error, retriable, transport_error
from jobset_restart.cluster.exec import Channels, ExecResult
from jobset_restart.cluster.pace import Pace
from jobset_restart.cluster.protocol import EXEC_SECONDS, PAGE, ActionResult, Listing
from jobset_restart.cluster.session import CONNECT_SECONDS, FIRST_DELAY, MOST_DELAY, TRANSPORT_ERRORS, Session
from jobset_restart.cluster.watch import TIMEOUT_SECONDS, Expired, Stream, StreamFailed, WatchBatch
from jobset_restart.errors import (
    ApiError,
    Conflict,
    ExecFailed,
    Gone,
    JsrError,
    NotFound,
    Overloaded,
    Unauthorized,
)
from jobset_restart.objects import ObjectList, SelfSubjectAccessReview
from jobset_restart.triggers.signal import NOT_CAUGHT
from jobset_restart.writes import Action, Exec, Permission, Write

T = TypeVar("T")

WRITES_IN_FLIGHT = 64
EXECS_IN_FLIGHT = 128
"""Each is a TLS connection of its own with half a MB of buffers. One core opens some 550 a second, so even where an
exec takes 0.2 s more of them would only wait for the client."""
GATHERED_SECONDS = 0.05
GATHERED_BYTES = 64 * 1024
METHODS = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class HttpCluster(Session):
    """A connection to one API server: the `Cluster` over HTTP. Every method may raise the errors of
    jobset_restart.errors."""

    async def get(self, path: str, type: type[T], *, params: Mapping[str, str] | None = None) -> T:  # noqa: A002
        url = self._url(path, params or {})
        answer = await self._retried(lambda: self._once("GET", url), f"get {path}")
        assert answer is not None
        return _decoded(answer[0], type, path)

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
        decoder = msgspec.json.Decoder(ObjectList[item])  # type: ignore[valid-type]
        for last in (False, True):
            items: list[T] = []
            page = dict(params)
            try:
                while True:
                    found = _decode_with(decoder, await self._page(path, page), path)
                    items += found.items
                    if not found.metadata.continue_:
                        return Listing(items, found.metadata.resource_version)
                    page["continue"] = found.metadata.continue_
            except Gone:
                if last:
                    raise
        raise AssertionError

    async def _page(self, path: str, params: Mapping[str, str]) -> bytes:
        url = self._url(path, params)
        answer = await self._retried(lambda: self._once("GET", url), f"list {path}")
        assert answer is not None
        return answer[0]

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
        method = METHODS[write.verb]
        try:
            answer: tuple[bytes, Mapping[str, str]] | None = await self._once(method, url, data=data, kind=kind)
        except JsrError as error:
            if not retriable(error):
                raise
            self.on_retry(f"{write.verb} {write.path}", error.message, 0.0)

            def settled(later: JsrError) -> bool:
                return (write.verb == "delete" and isinstance(later, NotFound)) or (
                    write.verb == "create" and isinstance(later, Conflict) and later.reason == "AlreadyExists"
                )

            answer = await self._retried(
                lambda: self._once(method, url, data=data, kind=kind), f"{write.verb} {write.path}", deadline, settled
            )
        return None if type is None or answer is None else _decoded(answer[0], type, write.path)

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

    # ------------------------------------------------------------ many actions

    async def send_all(
        self,
        actions: Sequence[Action],
        on_done: Callable[[Action, ActionResult], None],
        *,
        concurrency: int | None = None,
        stop: asyncio.Event | None = None,
        deadline: float | None = None,
        dry_run: bool = False,
    ) -> None:
        """Sends the actions, many at once, actions on one slot in their order. `on_done` is told of each as it is
        answered. When `stop` is set, what is in flight completes and the rest is left unsent."""
        chains = deque(_by_slot(actions))
        default = EXECS_IN_FLIGHT if actions and isinstance(actions[0], Exec) else WRITES_IN_FLIGHT
        pace = Pace(concurrency or default)
        at_work = 0

        async def work() -> None:
            nonlocal at_work
            while chains and at_work <= pace.limit and not (stop and stop.is_set()):
                for action in chains.popleft():
                    if not await self._act(action, on_done, pace, deadline, dry_run) or (stop and stop.is_set()):
                        break
                put_to_work()
            at_work -= 1

        def put_to_work() -> None:
            nonlocal at_work
            for _ in range(min(pace.limit - at_work, len(chains))):
                at_work += 1
                workers.create_task(work())

        async with asyncio.TaskGroup() as workers:
            put_to_work()

    async def _act(
        self,
        action: Action,
        on_done: Callable[[Action, ActionResult], None],
        pace: Pace,
        deadline: float | None,
        dry_run: bool,
    ) -> bool:
        began = time.monotonic()
        error: JsrError | None = None
        try:
            if isinstance(action, Exec):
                _check(await self.execute(action), action)
            else:
                await self.send(action, dry_run=dry_run, deadline=deadline)
        except JsrError as failed:
            error = failed
        now = time.monotonic()
        pace.answered(now, now - began, overloaded=isinstance(error, Overloaded))
        on_done(action, ActionResult(error))
        return error is None or isinstance(error, NotFound)

    # ------------------------------------------------------------ exec

    async def execute(self, exec_: Exec, *, timeout: float = EXEC_SECONDS) -> ExecResult:  # noqa: ASYNC109
        """Runs a command in a container and waits for its end, at most `timeout` seconds.

        Raises ExecFailed where it could not be run, and what the transport raises.
        """
        assert self._session is not None
        url = self._url(f"{exec_.path}/exec", exec_protocol.query(exec_))
        channels = Channels()
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.ws_connect(
                    url,
                    protocols=exec_protocol.PROTOCOLS,
                    headers={**self._access.headers(), "Accept": "*/*"},
                    proxy=self._access.proxy or None,
                    max_msg_size=0,
                ) as socket,
            ):
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        channels.feed(message.data)
        except aiohttp.WSServerHandshakeError as error:
            raise _refused_exec(error, exec_) from None
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self.server) from None
        return channels.result()

    # ------------------------------------------------------------ watch

    async def watch(
        self, path: str, item: type[T], *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchBatch[T]]:
        """Every change from `resource_version` on, for as long as it is read from. A broken stream is taken up again
        where it ended; when that is too long ago, everything is listed anew and yielded as `relisted`.

        Raises Forbidden, Unauthorized and other refusals that will not pass.
        """
        stream = Stream(item, resource_version)
        lost_at: float | None = None
        failures = 0
        while True:
            reason = ""
            try:
                async for data in self._streamed(path, stream.resource_version, label_selector, field_selector):
                    if lost_at is not None:
                        yield WatchBatch(reconnected_after=time.monotonic() - lost_at)
                        lost_at, failures = None, 0
                    changes = stream.feed(data) if data else []
                    if changes:
                        yield WatchBatch(changes=changes)
            except (Expired, Gone, StreamFailed):
                listing = await self._listed_in_the_end(path, item, label_selector, field_selector)
                stream = Stream(item, listing.resource_version)
                yield WatchBatch(relisted=listing.items)
                continue
            except JsrError as error:
                if not retriable(error):
                    raise
                reason = error.message
            stream = Stream(item, stream.resource_version)
            if reason and lost_at is None:
                lost_at = time.monotonic()
                yield WatchBatch(disconnected=reason)
            if reason:
                failures += 1
                await asyncio.sleep(min(FIRST_DELAY * 2**failures, MOST_DELAY) * random.uniform(0.5, 1.5))  # noqa: S311

    async def _streamed(
        self, path: str, resource_version: str, label_selector: str, field_selector: str
    ) -> AsyncIterator[bytes]:
        """The bytes of one WATCH request, after an empty one that says it was accepted."""
        assert self._session is not None
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(TIMEOUT_SECONDS),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        url = self._url(path, {key: value for key, value in params.items() if value})
        if self._access.expired:
            await self._load_again(self._access.headers())
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=TIMEOUT_SECONDS + 30)
        headers = self._access.headers()
        try:
            async with self._session.get(
                url, headers=headers, proxy=self._access.proxy or None, timeout=limits, allow_redirects=False
            ) as response:
                if response.status >= 400:
                    error = api_error(response.status, await response.read(), f"watch {path}")
                    if isinstance(error, Unauthorized) and await self._load_again(headers):
                        return
                    raise error
                yield b""
                async for data in response.content.iter_any():
                    yield data
                    if len(data) < GATHERED_BYTES:
                        await _gather(response)
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self.server) from None

    async def _listed_in_the_end(
        self, path: str, item: type[T], label_selector: str, field_selector: str
    ) -> Listing[T]:
        while True:
            try:
                return await self.list(path, item, label_selector=label_selector, field_selector=field_selector)
            except JsrError as error:
                if not retriable(error):
                    raise
                await asyncio.sleep(MOST_DELAY * random.uniform(0.5, 1.0))  # noqa: S311


async def _gather(response: aiohttp.ClientResponse) -> None:
    """Reads nothing for a moment, so that what arrives in it is read at once: thousands of small events cost by the
    read, not by the byte. After large reads as well, it would hold a busy stream back."""
    transport = response.connection.transport if response.connection else None
    if transport is None or transport.is_closing():
        return
    transport.pause_reading()
    await asyncio.sleep(GATHERED_SECONDS)
    transport.resume_reading()


def _by_slot(actions: Sequence[Action]) -> list[list[Action]]:
    """Chains of actions: those on one slot in their order, the others each alone."""
    chains: dict[str, list[Action]] = {}
    for number, action in enumerate(actions):
        writes_in_order = isinstance(action, Write) and action.slot
        chains.setdefault(action.slot if writes_in_order else f"#{number}", []).append(action)
    return list(chains.values())


def _decoded(body: bytes, kind: type[T], path: str) -> T:
    return _decode_with(msgspec.json.Decoder(kind), body, path)


def _decode_with(decoder: msgspec.json.Decoder[T], body: bytes, path: str) -> T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ApiError(f"the answer to {path} is not what the Kubernetes API sends: {error}") from None


def _check(result: ExecResult, exec_: Exec) -> None:
    """Raises ExecFailed for a command that says it did nothing. A connection that ends with the container is no
    failure: that is what the command was for."""
    if result.exit_code is None and result.reason and not result.stdout:
        where = f"container {exec_.container} of {exec_.path.rpartition('/')[2]}"
        if "not found" in result.reason or "no such file" in result.reason:
            raise ExecFailed(f"{where}: {result.reason}")
    if result.exit_code in (NOT_CAUGHT, 126, 127):
        why = "PID 1 does not handle the signal" if result.exit_code == NOT_CAUGHT else "the command is not there"
        raise ExecFailed(f"container {exec_.container} of {exec_.path.rpartition('/')[2]}: {why}; nothing was done")


def _refused_exec(error: aiohttp.WSServerHandshakeError, exec_: Exec) -> JsrError:
    pod = exec_.path.rpartition("/")[2]
    if error.status in (401, 403, 404):
        words = {401: "the credentials were refused", 403: "no permission (create pods/exec)", 404: "it is gone"}
        refused = api_error(error.status, b"", f"exec in {pod}")
        refused.message = f"exec in Pod {pod}: {words[error.status]}"
        return refused
    return ExecFailed(
        f"exec in container {exec_.container} of Pod {pod} was refused with status {error.status}: "
        "the container may not be running, or its node not be reachable"
    )


async def connect(
    kubeconfig: str | None = None, context: str | None = None, impersonate: str | None = None
) -> HttpCluster:
    """The cluster that the kubeconfig, or the Pod's service account, names. Nothing is sent yet.

    Raises AccessError.
    """
    return HttpCluster(await asyncio.to_thread(Access, kubeconfig, context, impersonate))
