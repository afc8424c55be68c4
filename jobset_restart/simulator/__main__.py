"""`jsr sim`: the embedded cluster as a program, `python -m jobset_restart.simulator`."""

from __future__ import annotations

import errno
import gc
import os
import sys

GC_THRESHOLD = (100_000, 50, 100)
"""A cluster is a great many objects that all stay: looking through them again and again is what would cost."""


def main() -> None:
    """Runs the command line and exits with its code. A reader that closes our output early ends us quietly."""
    from jobset_restart.simulator.cli import run_command_line

    gc.set_threshold(*GC_THRESHOLD)
    try:
        code = run_command_line()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            print(f"error: the output could not be written: {error.strerror}", file=sys.stderr)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
