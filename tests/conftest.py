"""How many tests run at once, and that none is judged by how long it takes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

for each in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(each) is signal.SIG_IGN:
        # Whoever runs the tests in the background of a script has these ignored, and so would every `jsr` that is
        # interrupted by a test. A handler of our own is none of a program that we start.
        signal.signal(each, signal.default_int_handler)

AT_ONCE_PER_CORE = 5
"""Scenarios mostly wait for what takes its time in a cluster."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Several for a whole folder of tests; none of their own for files and tests that are named, which are few."""
    named = config.option.file_or_dir
    if named and not any(Path(each).is_dir() for each in named):
        return 0
    return AT_ONCE_PER_CORE * (os.cpu_count() or 1)
