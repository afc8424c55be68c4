"""Where events go: a view, and records of them. What fails is dropped and said so once; it never stops a restart."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Protocol

import msgspec

from jobset_restart.errors import UsageError
from jobset_restart.events import Event, Noticed, decode, encode
from jobset_restart.progress import Progress
from jobset_restart.view.lines import LinesView

MOST_LINE = 16 << 20
"""Bytes of one event: the plan of 20,000 slots has about 3 MB."""


class View(Protocol):
    """Something that shows events as they come."""

    progress: Progress

    def __call__(self, event: Event) -> None: ...

    def tick(self, now: float) -> None: ...


class Record(Protocol):
    """Something that keeps events; `name` is what messages call it."""

    name: str

    def __call__(self, event: Event) -> None: ...


class EventFile:
    """Writes each event as a line of JSON, at once: it has to be there when the client is killed."""

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self.name, self._file = f"event file {path}", file

    def __call__(self, event: Event) -> None:
        self._file.write(encode(event) + b"\n")


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Sinks:
    """Gives events to the view and to the records, and the time to the view. A record that is None is not wanted.

    What fails is left out from then on. `give_up` is called when the view failed, to give the terminal back; lines
    take over from what was shown so far, and if they fail too, nothing is shown any more.
    """

    def __init__(
        self,
        view: View,
        records: Iterable[Record | None],
        now: Callable[[], float],
        give_up: Callable[[], object] = lambda: None,
        write: Callable[[str], None] = to_stderr,
    ) -> None:
        self.progress = view.progress
        self._view: View | None = view
        self._records = [record for record in records if record is not None]
        self._now, self._give_up, self._write = now, give_up, write

    def __call__(self, event: Event) -> None:
        for record in tuple(self._records):
            try:
                record(event)
            except Exception as error:  # whatever a sink does wrong must not stop a restart
                self._records.remove(record)
                self._notice(f"the {record.name} is left out from here on: {_words(error)}")
        if self._view is None:
            with contextlib.suppress(Exception):  # for the summary, as far as it goes
                self.progress.apply(event)
            return
        try:
            self._view(event)
        except Exception as error:
            self._view_failed(self._view, error)

    def tick(self, now: float) -> None:
        """Tells the view the time."""
        if self._view is not None:
            try:
                self._view.tick(now)
            except Exception as error:
                self._view_failed(self._view, error)

    def _view_failed(self, view: View, error: Exception) -> None:
        self._view = None
        with contextlib.suppress(Exception):
            self._give_up()
        if isinstance(view, LinesView):
            return self._notice(f"progress is not shown from here on: {_words(error)}")
        self._view = LinesView(self._write, view.progress)
        return self._notice(f"the live view failed, lines go on from here: {_words(error)}")

    def _notice(self, message: str) -> None:
        self(Noticed(time=self._now(), message=message))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


# ---------------------------------------------------------------- the event file


@contextlib.contextmanager
def event_file(path: str | None, *, append: bool = False) -> Iterator[EventFile | None]:
    """The file of --events: a new one, or with `append` one that holds events already. Raises UsageError for anything
    else that is there: nothing of the person's is overwritten, no link is followed, no pipe or device waited for."""
    if path is None:
        yield None
        return
    with open(_opened(path, append), "ab", buffering=0) as file:
        yield EventFile(path, file)


def check_event_file(path: str | None, *, append: bool) -> None:
    """Raises UsageError where `event_file` would, before anything is asked of the cluster. Changes nothing."""
    if path is not None and os.path.lexists(path):
        os.close(_opened(path, append))


def _opened(path: str, append: bool) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags if append else flags | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(
            f"--events {path}: the file already exists; nothing was changed",
            "choose another, remove it, or add to it with --events-append",
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--events {path} cannot be written: {why}; nothing was changed") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UsageError(f"--events {path} is not a regular file; nothing was changed")
    if not _holds_events(file):
        os.close(file)
        raise UsageError(f"--events {path} holds something other than events; nothing was changed")
    return file


def _holds_events(file: int) -> bool:
    """Whether the file is empty or begins with an event."""
    start = b""
    while len(start) < MOST_LINE and b"\n" not in start and (more := os.pread(file, 1 << 16, len(start))):
        start += more
    try:
        return not start or decode(start.split(b"\n")[0]) is not None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
