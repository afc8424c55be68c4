"""A small API server over real HTTP, HTTPS and WebSockets that does wrong what it is told to do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import yaml
from aiohttp import WSMsgType, web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def until(reached: Callable[[], bool]) -> None:
    """Waits for what nothing tells of; whoever calls it bounds the time."""
    while not reached():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def status(code: int, reason: str, message: str = "", **details: Any) -> web.Response:
    """A meta/v1 Status as an answer."""
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message or reason}
    return web.json_response({**body, "details": details} if details else body, status=code)


def line(kind: str, obj: dict[str, Any]) -> bytes:
    """One event of a watch."""
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


class ApiServer:
    """`answers` are used up one by one for each request whose method and path match, the last again and again.
    `connections` are those that requests came by."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.connections: list[asyncio.BaseTransport] = []
        self.bodies: list[Any] = []
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.url = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def seen(self, method: str, path: str) -> list[web.Request]:
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.transport is not None and request.transport not in self.connections:
            self.connections.append(request.transport)
        text = await request.text() if request.method != "GET" else ""
        self.bodies.append(json.loads(text) if text else None)
        known = self.answers.get((request.method, request.path))
        if not known:
            return status(404, "NotFound", f"nothing at {request.path}")
        answer = known.pop(0) if len(known) > 1 else known[0]
        return await answer(request)


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """A server on a free port of loopback, for as long as the block runs."""
    server = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def json_answer(body: Any, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, headers=headers)

    return answer


def failing(code: int, reason: str, message: str = "", headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        response = status(code, reason, message)
        response.headers.update(headers or {})
        return response

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()


def stream(*chunks: bytes, then: str = "end") -> Answer:
    """A chunked answer: the chunks, then its end, a reset ("reset"), or silence until the client leaves ("hang")."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "reset" and request.transport:
            request.transport.abort()
        elif then == "hang":
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await asyncio.Event().wait()
        return response

    return answer


def exec_answer(protocol: str, *frames: bytes) -> Answer:
    """Speaks one version of the exec protocol and sends these frames."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=(protocol,))
        await socket.prepare(request)
        for frame in frames:
            await socket.send_bytes(frame)
        await socket.close()
        async for message in socket:
            if message.type == WSMsgType.CLOSE:
                break
        return socket

    return answer


def bytes_answer(body: bytes, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": "application/json", **headers})

    return answer


def endless(piece: bytes, **headers: str) -> Answer:
    """A body that never ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(piece)
        return response

    return answer


def service_account(folder: pathlib.Path, url: str, authority: str, token: str = "pod-token") -> dict[str, str]:
    """What a Pod finds, in `folder`; returns the environment that names it."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "namespace").write_text("from-the-pod\n")
    (folder / "ca.crt").write_bytes(pathlib.Path(authority).read_bytes())
    host, port = url.removeprefix("https://").split(":")
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "JSR_SERVICE_ACCOUNT_DIR": str(folder),
        "KUBECONFIG": "",
        "HOME": str(folder),
    }


def kubeconfig(
    path: pathlib.Path,
    server: str,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
) -> str:
    """Writes a kubeconfig with one context called "test" and returns its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def certificates(folder: pathlib.Path, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, str]:
    """A server context for `name` and the path of the authority to trust."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    alternative = f"IP:{name}" if name[0].isdigit() else f"DNS:{name}"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", f"subjectAltName={alternative}"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)
