"""Programs of the package that are none of its rooms: this process becomes them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import jobset_restart


def become(module: str, arguments: list[str]) -> NoReturn:
    """Replaces this process by `python -m MODULE ARGUMENTS`, with the package that runs now.

    `-m` looks into the working directory first, where anybody may have left a module of any name: not unless the
    package itself is there.
    """
    package = Path(jobset_restart.__file__).resolve().parent.parent
    try:
        safe = [] if package == Path.cwd() else ["-P"]
    except FileNotFoundError:  # the working directory has been removed
        safe = ["-P"]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *safe, "-m", module, *arguments])  # noqa: S606 - no shell is wanted
