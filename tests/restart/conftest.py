"""The stage that operations are tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.restart.stage import Stage, stage


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Stage]:
    """A JobSet of four workers that need 2 s to stop."""
    with stage(tmp_path) as found:
        yield found
