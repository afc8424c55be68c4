"""How much is tried, repeatably: the same in every run, unless JSR_FUZZ_EXAMPLES asks for more."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")
TIMES = int(os.environ.get("JSR_FUZZ_EXAMPLES") or 1)
"""So many times as much as in CI: JSR_FUZZ_EXAMPLES=20."""
NOT_TIMED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def fuzz(examples: int) -> settings:
    """Settings of hypothesis for so many examples, drawn from the test's name."""
    return settings(
        derandomize=True, database=None, deadline=None, max_examples=examples * TIMES, suppress_health_check=NOT_TIMED
    )


def some(values: Sequence[T], number: int, seed: str) -> list[T]:
    """So many of the values, all where there are no more; the same for the same seed."""
    number = min(len(values), number * TIMES)
    return random.Random(seed).sample(values, number)
