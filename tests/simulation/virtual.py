"""An event loop whose clock jumps to what is due next, with a network of its own.

Nothing waits: when no callback is ready, the clock goes to the time of the next timer. Connections to 127.0.0.1 are
made within the process, byte for byte what a socket would carry, each chunk delayed by a latency drawn from the loop's
seed. So whole programs, aiohttp's client and server included, run in virtual time, and the same seed repeats a run.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import random
import selectors
from collections import deque
from collections.abc import Callable
from typing import Any

Factory = Callable[[], Any]
HOT = 200_000
"""Iterations without the clock moving, after which something is taken to run in circles."""


class StandsStill(Exception):
    """Nothing is due and nothing can happen any more, but somebody still waits; or things go round in circles."""


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: time passes instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StandsStill("somebody waits for what can never happen: no timer is set")
        self._loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`latency` gives the seconds the next chunk of bytes takes. Work for an executor is done at once."""

    def __init__(self, seed: int = 0) -> None:
        self._virtual = 0.0
        self._turns = 0
        super().__init__(_Jumping(self))
        self._random = random.Random(seed)
        self._servers: dict[int, Factory] = {}
        self._dialed: dict[Any, int] = {}
        self._ports = 20_000
        self._outside = contextvars.copy_context()
        self.pipes: list[Pipe] = []
        self.network_up = True
        self.signals: dict[int, Callable[[], Any]] = {}
        self.complaints: list[str] = []
        """What the loop would have logged: exceptions that nobody retrieved."""
        self.set_exception_handler(lambda _, about: self.complaints.append(str(about)))

    def time(self) -> float:
        return self._virtual

    def pass_time(self, seconds: float) -> None:
        if seconds > 0:
            self._virtual += seconds
            self._turns = 0
        self._turns += 1
        if self._turns > HOT:
            raise StandsStill(f"{HOT:,} turns of the loop and no time has passed")

    def latency(self) -> float:
        return self._random.uniform(0.0002, 0.004)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self.signals[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.signals.pop(sig, None) is not None

    # The network

    async def create_server(self, factory: Factory, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        if not port:
            self._ports += 1
            port = self._ports
        if port in self._servers:
            raise OSError(errno.EADDRINUSE, "address in use")
        self._servers[port] = factory
        return _Listening(self, port)

    def stop_listening(self, port: int) -> None:
        self._servers.pop(port, None)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        if not self.network_up or address[1] not in self._servers:
            await asyncio.sleep(self.latency())
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._dialed[sock] = address[1]

    async def create_connection(self, factory: Factory, *_: Any, sock: Any = None, **__: Any) -> Any:  # type: ignore[override]
        port = self._dialed.pop(sock)
        sock.close()
        await asyncio.sleep(self.latency())
        serve = self._servers.get(port)
        if serve is None or not self.network_up:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours, theirs = factory(), self._outside.run(serve)
        near, far = Pipe(self, ours, contextvars.copy_context()), Pipe(self, theirs, self._outside)
        near.other, far.other = far, near
        self.pipes += [near]
        self._outside.run(theirs.connection_made, far)
        ours.connection_made(near)
        return near, ours

    def cut_all(self) -> None:
        """Every connection breaks."""
        for pipe in list(self.pipes):
            pipe.abort()


class Pipe(asyncio.Transport):
    """One end of a connection."""

    other: Pipe

    def __init__(self, loop: VirtualLoop, protocol: Any, context: contextvars.Context) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._loop, self._protocol, self._context = loop, protocol, context
        self._waiting: deque[bytes | None] = deque()
        self._paused = self._closing = self._over = False
        self._arrives = 0.0

    def write(self, data: Any) -> None:
        if not (self._closing or self._over):
            self._send(bytes(data))

    def _send(self, data: bytes | None) -> None:
        self._arrives = max(self._arrives + 1e-7, self._loop.time() + self._loop.latency())
        self._loop.call_at(self._arrives, self.other.arrived, data, context=self.other._context)

    def arrived(self, data: bytes | None) -> None:
        if self._over:
            return
        if self._paused:
            self._waiting.append(data)
        elif data is not None:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()

    def write_eof(self) -> None:
        self._send(None)

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        while self._waiting and not self._paused:
            self.arrived(self._waiting.popleft())

    def is_reading(self) -> bool:
        return not self._paused

    def is_closing(self) -> bool:
        return self._closing or self._over

    def close(self) -> None:
        if not self.is_closing():
            self._closing = True
            self._send(None)
            self._loop.call_soon(self._end, None, context=self._context)

    def abort(self) -> None:
        self._lose(None)
        self.other._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def _lose(self, error: Exception | None) -> None:
        if not self._over:
            self._closing = True
            self._loop.call_soon(self._end, error, context=self._context)

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        if self in self._loop.pipes:
            self._loop.pipes.remove(self)
        self._protocol.connection_lost(error)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class _Listening:
    """What create_server answers with."""

    def __init__(self, loop: VirtualLoop, port: int) -> None:
        self._loop, self._port = loop, port
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def close(self) -> None:
        self._loop.stop_listening(self._port)

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return True
