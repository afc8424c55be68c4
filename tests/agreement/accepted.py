"""The differences that are accepted, from the file beside this one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("accepted.yaml")


@dataclass(frozen=True)
class Accepted:
    difference: str
    reason: str

    def covers(self, text: str) -> bool:
        pattern = ".*".join(map(re.escape, self.difference.split("*")))
        return re.fullmatch(pattern, text, re.DOTALL) is not None


def load(file: Path = FILE) -> list[Accepted]:
    """Raises TypeError for an entry without a difference or a reason."""
    return [Accepted(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8")) or ()]


def unused(accepted: Iterable[Accepted], texts: Iterable[str]) -> list[Accepted]:
    """Those that cover nothing any more."""
    texts = list(texts)
    return [entry for entry in accepted if not any(map(entry.covers, texts))]
