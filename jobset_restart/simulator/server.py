"""The embedded cluster's API server: HTTPS on loopback in front of a World."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

from aiohttp import web

from jobset_restart.simulator import discovery, routes
from jobset_restart.simulator.authentication import ADMIN, Authenticator
from jobset_restart.simulator.authorization import Attributes, User, bootstrap_policy, require
from jobset_restart.simulator.clock import Clock
from jobset_restart.simulator.connections import HEAD_SECONDS, Antechamber
from jobset_restart.simulator.encoding import JSON, Encoded, decode, encode, form_of, status_of
from jobset_restart.simulator.exec import execute
from jobset_restart.simulator.faults import Fault, Scheduled
from jobset_restart.simulator.logs import print_log
from jobset_restart.simulator.reading import Reader
from jobset_restart.simulator.reviews import review
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.world import World
from jobset_restart.simulator.writing import Writer

NAME = "jsr-simulator"
"""The cluster and the context of the kubeconfig."""
_BODY_LIMIT = 3 << 20
_log = logging.getLogger(__name__)


class Server:
    """Serves one World. Make it inside a running event loop; ``start`` it, ``stop`` it; nothing is left behind.

    ``speed`` is seconds of world time per second.
    """

    def __init__(self, world: World, *, speed: float = 1.0) -> None:
        self._world = world
        self._clock = Clock(world, speed)
        self._tokens = Authenticator(world.store, self._clock.now)
        encoded = Encoded()
        self._reader = Reader(world.store, self._clock, encoded, world.faults)
        self._writer = Writer(world.store, self._clock, encoded, self._tokens)
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._waiting: set[Antechamber] = set()
        self._context: ssl.SSLContext | None = None
        self._ca = ""
        self.url = ""
        self._turning: asyncio.Task[None] | None = None
        world.on_fault = self._turned
        for resource, obj in bootstrap_policy():
            world.store.create(resource, obj, world.now)

    async def start(self, port: int = 0, *, tls: bool = True) -> None:
        """Listen on 127.0.0.1 (port 0: any free one). Raises OSError if the port is taken."""
        if tls:
            from jobset_restart.simulator.certificates import serving_certificate

            self._context, self._ca = serving_certificate(self._clock.now())
        await self._listen(port)
        self._clock.wake()

    async def stop(self) -> None:
        self._reader.close()
        self._clock.stop()
        await self.withdraw()

    async def withdraw(self) -> None:
        """Refuse connections and cut those there are, as if the API server's process were killed. The World runs on."""
        runner, self._runner = self._runner, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for each in tuple(self._waiting):
            each.cut()
        if runner is not None:
            await runner.cleanup()

    async def listen_again(self) -> None:
        """The end of ``withdraw``: same port, same certificate. Raises OSError if the port has been taken since."""
        if self._runner is None:
            await self._listen(int(self.url.rpartition(":")[2]))

    @property
    def listening(self) -> bool:
        return self._runner is not None

    async def _listen(self, port: int) -> None:
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._dated)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Antechamber(cast("Callable[[], asyncio.Protocol]", runner.server), self._waiting),
                "127.0.0.1",
                port,
                ssl=self._context,
                backlog=1024,
                ssl_handshake_timeout=HEAD_SECONDS if self._context else None,
            )
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        address = self._listener.sockets[0].getsockname()
        self.url = f"{'https' if self._context else 'http'}://127.0.0.1:{address[1]}"

    def add_fault(self, fault: Fault) -> None:
        """Puts a fault on the clock, ``fault.at`` seconds from now."""
        self._clock.writing()
        self._world.add_fault(fault)

    def _turned(self, scheduled: Scheduled, begins: bool) -> None:
        """A fault begins or ends: that of the API server itself is carried out here."""
        if scheduled.fault.kind == "apiserver":
            turn = self.withdraw() if begins else self.listen_again()
            self._turning = asyncio.get_running_loop().create_task(turn)

    def power(self, node: str, on: bool) -> None:
        """Switch a node's machine off or on. Raises StoreError 404."""
        self._clock.writing()
        self._world.set_power(node, on)

    def kubeconfig(self) -> Obj:
        """A kubeconfig for ``admin``."""
        trusted = {"certificate-authority-data": base64.b64encode(self._ca.encode()).decode()} if self._ca else {}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": {"server": self.url, **trusted}}],
            "users": [{"name": ADMIN, "user": {"token": self._tokens.token}}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": ADMIN, "namespace": "default"}}],
            "current-context": NAME,
        }

    async def _dated(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Clients measure the cluster's clock by the Date header: it has to be the World's."""
        response.headers["Date"] = formatdate(self._clock.now(), usegmt=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except StoreError as error:
            refusal = error
        except web.HTTPRequestEntityTooLarge:
            refusal = StoreError(413, "RequestEntityTooLarge", f"limit is {_BODY_LIMIT} bytes")
        except RecursionError:
            refusal = StoreError(400, "BadRequest", "the object provided is nested too deeply")
        except Exception:
            _log.exception("%s %s", request.method, request.path_qs)
            refusal = StoreError(500, "InternalError", "the embedded cluster failed; its log says how")
        again = refusal.details.get("retryAfterSeconds")
        return _json(encode(status_of(refusal)), refusal.code, {"Retry-After": str(again)} if again else None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        who = self._tokens.user_of(request.headers)
        target = routes.target_of(request.path)
        if target is None:
            require(self._world.store, who, Attributes(request.method.lower(), path=request.path))
            return self._document(request)
        verb = routes.verb_of(request.method, target, request.query)
        require(self._world.store, who, target.attributes(verb))
        target.check()
        routes.allow(verb, target)
        fault = self._world.faults.request(target.named(verb), self._clock.now())
        if fault is not None:
            await self._suffer(fault, request)
        answer = await self._served(request, target, verb, who)
        if fault is not None and fault.fault.kind == "lost":
            _cut(request)
        return answer

    async def _suffer(self, fault: Scheduled, request: web.Request) -> None:
        """What a fault does before a request is carried out. Raises StoreError."""
        seconds = fault.fault.seconds
        match fault.fault.kind:
            case "unauthorized":
                raise StoreError(401, "Unauthorized", "Unauthorized")
            case "forbidden":
                raise StoreError(403, "Forbidden", f'"{request.path}" is forbidden: it is for now')
            case "throttled":
                words = "the server has received too many requests and has asked us to try again later"
                raise StoreError(429, "TooManyRequests", words, {"retryAfterSeconds": max(1, round(seconds))})
            case "error":
                raise StoreError(500, "InternalError", "Internal error occurred: etcdserver: request timed out")
            case "unavailable":
                raise StoreError(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            case "reset":
                _cut(request)
                raise StoreError(503, "ServiceUnavailable", "nobody hears this")
            case "hang":
                await self._clock.sleep(fault.ends - self._clock.now())
                raise StoreError(504, "Timeout", "the server was unable to return a response in the time allotted")
            case "slow":
                await self._clock.sleep(seconds)

    async def _served(self, request: web.Request, target: routes.Target, verb: str, who: User) -> web.StreamResponse:
        if target.subresource == "exec":
            require(self._world.store, who, target.attributes("create"))
            return await execute(request, target, self._world, self._clock)
        if target.subresource == "log":
            return await print_log(request, target, self._world, self._clock)
        if target.resource in discovery.REVIEWS:
            body, now = await self._body(request), self._clock.now()
            return _json(encode(review(self._world.store, who, target.resource, body, now)), 201)
        return await self._object(request, target, verb)

    async def _object(self, request: web.Request, target: routes.Target, verb: str) -> web.StreamResponse:
        query = request.query
        form = form_of(request.headers.get("Accept", ""), query.get("includeObject", ""))
        if verb == "get":
            return _json(self._reader.get(target, form))
        if verb == "list":
            return _json(self._reader.list(target, query, form))
        if verb == "watch":
            return await self._reader.watch(request, target, form)
        body = await self._body(request)
        content_type = request.headers.get("Content-Type", JSON)
        if verb == "create":
            status, answer = self._writer.create(target, body, query, form)
        elif verb == "update":
            status, answer = self._writer.update(target, body, query, form)
        elif verb == "patch":
            status, answer = self._writer.patch(target, body, content_type, query, form)
        elif verb == "delete":
            status, answer = self._writer.delete(target, body, query, form)
        else:
            status, answer = self._writer.delete_collection(target, body, query, form)
        return _json(answer, status)

    async def _body(self, request: web.Request) -> Any:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                content = await request.read()
        except TimeoutError:
            raise StoreError(408, "Timeout", f"the request's body was not there after {HEAD_SECONDS:g} s") from None
        return decode(content, request.headers.get("Content-Type", JSON)) if content else None

    def _document(self, request: web.Request) -> web.Response:
        """Everything that is no resource: discovery, OpenAPI, health."""
        path = request.path.rstrip("/") or "/"
        if request.method != "GET":
            raise routes.not_allowed()
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if path in ("/api", "/apis") and form_of(request.headers.get("Accept", "")).name == "discovery":
            kind = f"{JSON};g=apidiscovery.k8s.io;v=v2;as={discovery.AGGREGATED}"
            return web.Response(body=encode(discovery.aggregated(path == "/api")), headers={"Content-Type": kind})
        document = discovery.document(path, self._world.version)
        if document is None:
            return web.Response(text="404 page not found\n", status=404)
        return _json(encode(document))


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={"Content-Type": JSON, **(headers or {})})


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
