"""`python -m jobset_restart`, `jsr` and `kubectl jsr`."""

from __future__ import annotations

import gc
import os
import sys

GC_THRESHOLD = (100_000, 50, 100)
"""Thousands of Pods are all alive and hold no cycles: looking through them again and again is what would cost."""


def main() -> None:
    """Runs the command line and exits with its code. A reader that closes our output early ends us quietly."""
    from jobset_restart.cli import run

    gc.set_threshold(*GC_THRESHOLD)
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    gc.freeze()  # else the interpreter looks through every object once more before it ends
    sys.exit(code)


if __name__ == "__main__":
    main()
