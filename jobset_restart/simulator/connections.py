"""A connection before its first request: who does not get its head out in time is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

HEAD_SECONDS = 20.0
"""How long a client may take for the head of its first request, and for a body."""
_MOST_HEAD = 128 * 1024
_END = b"\r\n\r\n"


class Antechamber(asyncio.Protocol):
    """Reads until the head is there, then hands connection and bytes over to a protocol made by ``serve``."""

    def __init__(self, serve: Callable[[], asyncio.Protocol], waiting: set[Antechamber]) -> None:
        self._serve, self._waiting = serve, waiting
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.cut)
        self._waiting.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if _END not in self._received and len(self._received) <= _MOST_HEAD:
            return
        assert self._transport is not None
        self.connection_lost(None)
        protocol = self._serve()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(self._received))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def cut(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()
