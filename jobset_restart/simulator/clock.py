"""Wall time drives the World: what is due is done when it is due, with one timer and no polling."""

from __future__ import annotations

import asyncio
import time

from jobset_restart.simulator.world import World

SLICE = 200
"""Reconciles between two looks at the network."""


class Clock:
    """Maps wall time to world time, ``speed`` seconds of it per second, and runs the World along.

    Made inside a running event loop, which every change to the World has to come from.
    """

    def __init__(self, world: World, speed: float = 1.0) -> None:
        self._world, self._speed = world, speed
        self._loop = asyncio.get_running_loop()
        self._origin, self._start = self._loop.time(), world.now
        self._timer: asyncio.Handle | None = None

    def now(self) -> float:
        """World time, seconds since the epoch."""
        return self._start + (self._loop.time() - self._origin) * self._speed

    def writing(self) -> float:
        """The time of a write. Brings the World's idea of now up to date, and has it look at the result soon."""
        self._world.run_until(self.now(), limit=0)
        self.wake()
        return max(self._world.now, self.now())

    def wake(self) -> None:
        """Run what is due once the current callback is over; many writes in a row are looked at together."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_soon(self._run)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def wall(self, span: float) -> float:
        """Seconds of wall time that ``span`` seconds of world time take."""
        return span / self._speed

    async def sleep(self, span: float) -> None:
        """Wait for ``span`` seconds of world time."""
        await asyncio.sleep(span / self._speed)

    def _run(self) -> None:
        now = self.now()
        due = self._world.run_until(now, limit=SLICE)
        if due is None:
            self._timer = None
        elif due <= now:
            self._timer = self._loop.call_soon(self._run)
        else:
            self._timer = self._loop.call_at(self._origin + (due - self._start) / self._speed, self._run)


def wall_time() -> float:
    """Where a World starts: seconds since the epoch."""
    return time.time()
