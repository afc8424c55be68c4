"""The loop whose clock jumps, and its network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.simulation.virtual import StandsStill, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(1)
    yield loop
    loop.close()


def test_hours_pass_in_no_time_and_in_order(loop: VirtualLoop) -> None:
    woke: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woke.append((name, loop.time()))

    async def both() -> None:
        await asyncio.gather(sleeper("late", 7200.0), sleeper("early", 60.0))

    before = time.process_time()
    loop.run_until_complete(both())
    assert [(name, round(at, 3)) for name, at in woke] == [("early", 60.0), ("late", 7200.0)]
    assert time.process_time() - before < 60.0


def test_a_wait_for_nothing_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(StandsStill):
        loop.run_until_complete(asyncio.wait_for(loop.create_future(), None))


def test_going_round_in_circles_is_told(loop: VirtualLoop) -> None:
    async def circles() -> None:
        for _ in range(10**9):
            await asyncio.sleep(0)

    with pytest.raises(StandsStill):
        loop.run_until_complete(circles())


class _Collects(asyncio.Protocol):
    def __init__(self) -> None:
        self.received, self.lost = b"", list[Exception | None]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


def _connected(loop: VirtualLoop) -> tuple[_Collects, _Collects]:
    import socket

    servers: list[_Collects] = []

    def serve() -> _Collects:
        servers.append(_Collects())
        return servers[-1]

    async def connect() -> _Collects:
        listening = await loop.create_server(serve, "127.0.0.1", 0)
        sock = socket.socket()
        await loop.sock_connect(sock, listening.sockets[0].getsockname())
        _, client = await loop.create_connection(_Collects, sock=sock)
        assert isinstance(client, _Collects)
        return client

    client = loop.run_until_complete(connect())
    return client, servers[0]


def test_bytes_arrive_later_in_order_and_all_of_them(loop: VirtualLoop) -> None:
    client, server = _connected(loop)
    began = loop.time()
    assert isinstance(client.transport, asyncio.WriteTransport)
    for number in range(100):
        client.transport.write(b"%d " % number)
    client.transport.close()
    assert server.received == b""
    loop.run_until_complete(asyncio.sleep(1.0))
    assert server.received == b"".join(b"%d " % number for number in range(100))
    assert began < loop.time()
    assert (client.lost, server.lost) == ([None], [None])


def test_an_aborted_connection_is_a_reset_for_the_other_side(loop: VirtualLoop) -> None:
    client, server = _connected(loop)
    assert isinstance(server.transport, asyncio.WriteTransport)
    server.transport.abort()
    loop.run_until_complete(asyncio.sleep(1.0))
    assert isinstance(client.lost[0], ConnectionResetError)
    assert server.lost == [None]


def test_nobody_listens(loop: VirtualLoop) -> None:
    with pytest.raises(ConnectionRefusedError):
        loop.run_until_complete(loop.sock_connect(None, ("127.0.0.1", 1)))
