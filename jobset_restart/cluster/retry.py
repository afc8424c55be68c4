"""When something is tried again: one policy for every verb, for a watch, and for the handshake of an exec.

Knows errors, not HTTP, and measures time by the event loop's clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from jobset_restart.errors import JsrError

R = TypeVar("R")

FIRST_DELAY = 0.1
MOST_DELAY = 2.0

Told = Callable[[JsrError, float], None]


class Backoff:
    """How long to wait after each failure in a row. Pure but for the jitter: `fraction()` gives numbers in [0, 1)."""

    def __init__(self, fraction: Callable[[], float] = random.random) -> None:
        self._fraction = fraction
        self.forget()

    def forget(self) -> None:
        """It went well: the next failure is the first."""
        self._failures = 0
        self._counted = 0

    def after(self, error: JsrError, *, most: float = MOST_DELAY) -> float | None:
        """Seconds to wait before the next try; None where there is to be none.

        The delay doubles from FIRST_DELAY to `most`, times 0.5 to 1.5, so that many clients do not come back at once.
        What the server asked for (Retry-After) is the least; our own delay comes on top of it, for the same reason.
        """
        if not error.passing:
            return None
        if error.tries is not None:
            self._counted += 1
            if self._counted > error.tries:
                return None
        delay = min(FIRST_DELAY * 2.0 ** min(self._failures, 30), most) * (0.5 + self._fraction())
        self._failures += 1
        return delay + (error.retry_after or 0.0)


async def retried(
    attempt: Callable[[], Awaitable[R]],
    *,
    seconds: float,
    told: Told = lambda _error, _delay: None,
    settled: Callable[[JsrError], bool] = lambda _error: False,
) -> R | None:
    """Repeats `attempt` while it fails in a way that may pass and no more than `seconds` have gone by, waits included.
    What succeeds at once costs nothing more: thousands of requests do.

    `told(error, delay)` hears of each failure before the wait. `settled(error)` tells, from the second try on, errors
    that mean an earlier try went through: then the answer is None. Raises the last error otherwise.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    try:
        return await attempt()
    except JsrError as error:
        first: JsrError | None = error
    backoff = Backoff()
    delay: float | None = None

    async def next_try() -> R:
        """The first failure counts as the first try of the library's."""
        nonlocal first
        if first is not None:
            failed, first = first, None
            raise failed
        return await attempt()

    def again(error: BaseException) -> bool:
        nonlocal delay
        delay = backoff.after(error) if isinstance(error, JsrError) else None
        return delay is not None

    def say(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, JsrError):
            told(error, state.upcoming_sleep)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(again),
        wait=lambda _: delay or 0.0,
        stop=lambda state: loop.time() + state.upcoming_sleep > end,
        before_sleep=say,
        reraise=True,
    )
    async for step in retrying:
        with step:
            try:
                return await next_try()
            except JsrError as error:
                if step.retry_state.attempt_number > 1 and settled(error):
                    return None
                raise
    raise AssertionError
