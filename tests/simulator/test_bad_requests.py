"""What is no request: bodies that cannot be read, and requests that never become whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jobset_restart.simulator import connections
from jobset_restart.simulator.server import Server
from jobset_restart.simulator.world import World

JSON, YAML = "application/json", "application/yaml"
Talk = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def talk(what: Talk) -> bytes:
    """What a server answered to one connection until its end."""

    async def run() -> bytes:
        server = Server(World(nodes=1))
        await server.start(tls=False)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            async with asyncio.timeout(30):
                return await what(server, reader, writer)
        finally:
            await server.stop()

    return asyncio.run(run())


def post(body: bytes, kind: str, length: int | None = None) -> bytes:
    async def send(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        token = server.kubeconfig()["users"][0]["user"]["token"]
        head = f"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        head += f"Connection: close\r\nContent-Type: {kind}\r\nContent-Length: {length or len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return await reader.read()

    return talk(send)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"metadata": {"name": "\xff"}}', JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":' * 100_000, JSON),
        (b"{", JSON),
        (b"metadata: {name: '\xff'}", YAML),
        (b"metadata: &a {name: *a}", YAML),
        (b"[" * 5_000, YAML),
        (b"x: !!timestamp 99999-99-99", YAML),
        (b"x: 2026-13-45", YAML),
        (b"? [a, b]\n: c", YAML),
    ],
)
def test_bodies_that_cannot_be_read_are_400(body: bytes, kind: str) -> None:
    assert post(body, kind).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("head", [b"", b"GET /api HTTP/1.1\r\n", b"GET /api HTTP/1.1\r\nHost: x\r\nAccept: "])
def test_a_request_whose_head_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)

    async def send(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(head)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert talk(send) == b""


def test_a_request_whose_body_never_ends_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobset_restart.simulator.server.HEAD_SECONDS", 0.1)
    assert post(b"{", JSON, length=100).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_comes_in_pieces_is_served() -> None:
    async def send(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for piece in (b"GET /healthz HT", b"TP/1.1\r\nHost: x\r\nConnection: close\r", b"\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.read()

    assert talk(send).startswith(b"HTTP/1.1 ")
