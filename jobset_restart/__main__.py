"""`python -m jobset_restart`, `jsr` and `kubectl jsr`."""

from __future__ import annotations

import errno
import gc
import os
import re
import sys

GC_THRESHOLD = (100_000, 50, 100)
"""Thousands of Pods are all alive and hold no cycles: looking through them again and again is what would cost."""


OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Runs the command line and exits with its code. A reader that closes our output early ends us quietly."""
    _open_standard_streams()
    _forget_impossible_sizes()
    from jobset_restart.cli import run

    gc.set_threshold(*GC_THRESHOLD)
    try:
        code = run()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, *OUTPUT_LOST):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            print(f"error: the output could not be written: {error.strerror}", file=sys.stderr)
        code = 1
    gc.freeze()  # else the interpreter looks through every object once more before it ends
    sys.exit(code)


def _open_standard_streams() -> None:
    """Where the caller closed one, the first socket would take its place and be written to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _forget_impossible_sizes() -> None:
    """COLUMNS and LINES that are no size of a terminal (0, -1, words) count as not set: what draws would take them."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch(r"[1-9][0-9]{0,4}", os.environ.get(name, "1")):
            del os.environ[name]


if __name__ == "__main__":
    main()
