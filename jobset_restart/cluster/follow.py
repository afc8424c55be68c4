"""A watch that goes on: what to do when its stream ends, breaks, or says that too much was missed. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from jobset_restart.cluster.protocol import Listing
from jobset_restart.cluster.retry import MOST_DELAY, Backoff
from jobset_restart.cluster.watch import Expired, Stream, StreamFailed, WatchBatch
from jobset_restart.errors import Gone, JsrError, Unreachable

T = TypeVar("T")

SHORT_SECONDS = 1.0
"""A stream that ends sooner, without a word, has failed."""
BROKEN_MOST_DELAY = 15.0
"""The longest pause between two streams that the server ends with an error (client-go's reflector goes to 30 s)."""


class Follower(Generic[T]):
    """One watch. `streamed(version)` gives the bytes of one stream, an empty piece first when it was accepted;
    `listed()` everything there is."""

    def __init__(
        self,
        item: type[T],
        resource_version: str,
        streamed: Callable[[str], AsyncGenerator[bytes, None]],
        listed: Callable[[], Awaitable[Listing[T]]],
    ) -> None:
        self._item, self._streamed, self._listed = item, streamed, listed
        self._stream = Stream(item, resource_version)
        self._backoff = Backoff()
        self._lost_at: float | None = None
        self._expired_before = False

    async def batches(self) -> AsyncIterator[WatchBatch[T]]:
        """Changes, for ever. Raises what will not pass."""
        loop = asyncio.get_running_loop()
        while True:
            began, version = loop.time(), self._stream.resource_version
            failure: JsrError | None = None
            relist = False
            try:
                async with aclosing(self._streamed(version)) as pieces:
                    async for piece in pieces:
                        for batch in self._taken(piece):
                            yield batch
            except (JsrError, Expired, StreamFailed) as error:
                failure, relist = self._judged(error)
            else:
                if self._stream.resource_version == version and loop.time() - began < SHORT_SECONDS:
                    failure = Unreachable("the watch ended as soon as it began")
            self._stream = Stream(self._item, self._stream.resource_version)
            if failure is not None:
                async for batch in self._paused(failure, BROKEN_MOST_DELAY if relist else MOST_DELAY):
                    yield batch
            if relist:
                async for batch in self._relisted():
                    yield batch

    def _judged(self, error: JsrError | Expired | StreamFailed) -> tuple[JsrError | None, bool]:
        """The failure to tell of, if it is one, and whether everything has to be listed anew. That a version is too old
        is no failure, unless it happens again before anything new was seen."""
        if isinstance(error, Expired | Gone):
            again, self._expired_before = self._expired_before, True
            return (Unreachable(f"the watch had to begin anew again: {error}") if again else None), True
        if isinstance(error, StreamFailed):
            return Unreachable(f"the watch failed: {error}"), True
        return error, False

    def _taken(self, piece: bytes) -> list[WatchBatch[T]]:
        batches: list[WatchBatch[T]] = []
        if self._lost_at is not None:
            lost, self._lost_at = self._lost_at, None
            batches.append(WatchBatch(reconnected_after=asyncio.get_running_loop().time() - lost))
        version = self._stream.resource_version
        changes = self._stream.feed(piece) if piece else []
        if self._stream.resource_version != version:
            self._backoff.forget()
            self._expired_before = False
        if changes:
            batches.append(WatchBatch(changes=changes))
        return batches

    async def _paused(self, failure: JsrError, most: float) -> AsyncIterator[WatchBatch[T]]:
        """Tells of the failure, once, and waits. Raises it where it will not pass."""
        delay = self._backoff.after(failure, most=most)
        if delay is None:
            raise failure
        if self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
            yield WatchBatch(disconnected=failure.message)
        await asyncio.sleep(delay)

    async def _relisted(self) -> AsyncIterator[WatchBatch[T]]:
        """Everything, as soon as it can be had."""
        while True:
            try:
                listing = await self._listed()
            except JsrError as error:
                async for batch in self._paused(error, MOST_DELAY):
                    yield batch
                continue
            self._stream = Stream(self._item, listing.resource_version)
            yield WatchBatch(relisted=listing.items, relisted_at=listing.resource_version)
            return
