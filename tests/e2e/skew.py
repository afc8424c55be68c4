"""A way to the API server on which the clock of some Pods' node is off: in their logs, and in what commands in their
containers print as the time."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web
from kubernetes import config

_POD = re.compile(r"/pods/([^/]+)/(log|exec)$")
_STAMP = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d+)Z", re.MULTILINE)
_NOW = re.compile(rb"^now (\d+)$", re.MULTILINE)
_DROPPED = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "content-encoding", "accept-encoding"}
)


class Skew:
    """Serves on a loopback port, with the credentials of `kubeconfig`, for who uses the file `write` makes.

    The clock of `pods` is `seconds` ahead."""

    def __init__(self, kubeconfig: str, pods: set[str], seconds: int) -> None:
        client: Any = config.new_client_from_config(kubeconfig)
        settings = client.configuration
        self._server = str(settings.host)
        self._headers = {
            str(a["key"]): str(a["value"]) for a in settings.auth_settings().values() if a["in"] == "header"
        }
        self._tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            self._tls.load_cert_chain(settings.cert_file, settings.key_file)
        self._pods, self._seconds = pods, seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def write(self, file: Path) -> str:
        """A kubeconfig for it; returns the file's name."""
        name = "skewed"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": name, "user": {"token": "unused"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        }
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return str(file)

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls, limit=0))
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _DROPPED} | self._headers
        if not self._headers:
            headers.pop("Authorization", None)
        pod = _POD.search(request.path)
        shifted = bool(pod) and pod is not None and pod[1] in self._pods
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._exec(request, shifted)
        url = self._server + request.raw_path
        body = await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            text = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _DROPPED}
        return web.Response(status=answer.status, headers=kept, body=self._log(text) if shifted else text)

    async def _exec(self, request: web.Request, shifted: bool) -> web.StreamResponse:
        protocols = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        url = self._server.replace("http", "ws", 1) + request.raw_path
        try:
            far = await self._session.ws_connect(url, protocols=protocols, headers=self._headers)
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status, text=error.message)
        near = web.WebSocketResponse(protocols=[far.protocol or protocols[0]])
        await near.prepare(request)
        async for message in far:
            data = message.data
            await near.send_bytes(_NOW.sub(self._now, data) if shifted else data)
        await near.close()
        return near

    def _log(self, text: bytes) -> bytes:
        return _STAMP.sub(self._stamp, text)

    def _stamp(self, found: re.Match[bytes]) -> bytes:
        at = datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC) + timedelta(seconds=self._seconds)
        return at.strftime("%Y-%m-%dT%H:%M:%S.").encode() + found[2] + b"Z"

    def _now(self, found: re.Match[bytes]) -> bytes:
        return b"now %d" % (int(found[1]) + self._seconds)
