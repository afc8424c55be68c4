"""What a Pod's annotation says about the training that its containers stand for.

The embedded cluster cannot run programs. A Pod whose annotation ``simulator.jobset-restart.io/training`` holds a JSON
object takes part in a training with all others of its JobSet that have it; any other cluster ignores the annotation.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from jobset_restart.simulator.training.frameworks import FRAMEWORKS
from jobset_restart.simulator.training.lines import FORMATS, WHO

ANNOTATION = "simulator.jobset-restart.io/training"


_CHOICES: Mapping[str, Collection[object]] = {
    "framework": FRAMEWORKS,
    "log": FORMATS,
    "who": WHO,
    "cgroup": (1, 2),
    "pyspy": ("yes", "no", "denied"),
}
_NUMBERS = {"ranks": 1, "step": 1e-3, "jitter": 0.0, "every": 1, "stages": 1, "seed": 0, "chatter": 0.0}
"""The least of each; whole ones where that is."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """``ranks`` is the number of Pods that step together. ``step`` is seconds a step takes, ``jitter`` the part of
    that by which ranks differ, ``every`` how many steps apart lines are, ``who`` prints them.

    ``stages`` is the depth of a pipeline: neighbours in it wait in other calls. ``hang`` names a file that makes its
    rank stop as soon as it is there, as it is asked for in each step. ``seed`` decides names, depth of stacks and
    versions. ``pyspy`` says whether the image has py-spy, or the kernel denies it. ``cgroup`` is the version that
    containers see. ``chatter`` is the seconds between lines that have nothing to do with steps, 0 for none.

    Raises ValueError for what makes no sense.
    """

    ranks: int
    framework: str = "torch-gloo"
    log: str = "plain"
    who: str = "all"
    step: float = 1.0
    jitter: float = 0.02
    every: int = 1
    stages: int = 1
    hang: str = ""
    seed: int = 0
    pyspy: str = "yes"
    cgroup: int = 2
    chatter: float = 0.0
    container: str = ""
    """The container that trains: the Pod's first, if it is not said."""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: there are {', '.join(map(str, known))}")
        for name, least in (
            ("ranks", 1),
            ("step", 1e-3),
            ("jitter", 0.0),
            ("every", 1),
            ("stages", 1),
            ("seed", 0),
            ("chatter", 0.0),
        ):
            value = getattr(self, name)
            if not _is_number(value, whole=isinstance(least, int)) or value < least:
                raise ValueError(f"{name} is no number of {least} or more: {value!r}")
        for name in ("hang", "container"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is no text: {getattr(self, name)!r}")


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


_FIELDS = frozenset(each.name for each in fields(Training))


@lru_cache(maxsize=256)
def read(text: str) -> Training:
    """The training of an annotation. Raises ValueError, with what is wrong."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(document, Mapping) or "ranks" not in document:
        raise ValueError('it is no JSON object with "ranks"')
    if strange := sorted(map(str, document.keys() - _FIELDS)):
        raise ValueError(f"unknown fields: {', '.join(strange)}; known are {', '.join(sorted(_FIELDS))}")
    return Training(**document)
