"""Values of options that need more than a type."""

from __future__ import annotations

import os
import re

from jobset_restart.errors import UsageError

MOST_SECONDS = 366 * 86400.0
"""A year: longer than any restart, and far from where the arithmetic of times ends."""


def timeout_seconds(text: str, option: str = "--timeout") -> float:
    """Seconds of a duration that `option` was given, more than 0 and at most MOST_SECONDS. Raises UsageError."""
    from jobset_restart.rules import go_duration

    write = "write 90s, 10m or 1h30m"
    value: float | None = None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        value = float(text)
    elif re.fullmatch(r"([0-9]{1,12}(\.[0-9]{1,9})?[hms])+", text):
        value = go_duration(text)
    if value is None:
        raise UsageError(f"{option} {text!r} is not a duration", write)
    if value <= 0:
        raise UsageError(f"{option} {text!r} leaves no time at all", write)
    if value > MOST_SECONDS:
        raise UsageError(f"{option} {text!r} is more than a year", write)
    return value


def owner() -> str:
    """Who runs this, for others to read in the claim."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
