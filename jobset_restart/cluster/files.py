"""Reading files that somebody else names: no more bytes than a limit, and never waiting without end."""

from __future__ import annotations

import os
import select

from jobset_restart.errors import AccessError

PIPE_SECONDS = 10.0
"""How long the other end of a pipe (`--kubeconfig <(...)`) may take."""

Signature = tuple[int, int, int]


def read(path: str, most: int, what: str) -> bytes:
    """The content of `path`, at most `most` bytes. Raises AccessError naming it as `what`, FileNotFoundError where
    there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = _all(descriptor, most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "this is not a file name"
        raise AccessError(f"{what} {path} cannot be read: {why}") from None
    if len(content) > most:
        raise AccessError(f"{what} {path} is larger than {_size(most)}: this is another file")
    return content


def _all(descriptor: int, most: int) -> bytes:
    content = b""
    while len(content) <= most:
        try:
            data = os.read(descriptor, min(most + 1 - len(content), 1 << 20))
        except BlockingIOError:
            if not select.select([descriptor], [], [], PIPE_SECONDS)[0]:
                raise OSError(0, f"nothing came within {PIPE_SECONDS:.0f} s") from None
            continue
        if not data:
            break
        content += data
    return content


def signature(path: str) -> Signature | None:
    """Differs when the file was written or replaced (a mounted Secret is a symbolic link to another folder)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _size(count: int) -> str:
    return f"{count // (1024 * 1024)} MiB" if count >= 1024 * 1024 else f"{count // 1024} KiB"
