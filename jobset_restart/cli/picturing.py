"""The file of --report: it is taken when the restart begins, and written when that is over, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from jobset_restart.errors import JsrError, UsageError
from jobset_restart.events import Event
from jobset_restart.harmless import plain
from jobset_restart.view.timeline import Recording, drawing, page

FORMS = (".html", ".htm", ".svg")
UNFINISHED = "the restart that this report was to tell of is not over, or its client was killed"


class ReportFile:
    """Keeps what events tell until it is written."""

    def __init__(self, path: str) -> None:
        self.name, self.recording = f"report {path}", Recording()

    def __call__(self, event: Event) -> None:
        self.recording.apply(event)


def check_report_file(path: str | None) -> None:
    """Raises UsageError where no report could be written, before anything is asked of the cluster. Changes nothing."""
    if path is None:
        return
    _check_form(path)
    folder = os.path.dirname(path) or "."
    if os.path.lexists(path):
        raise _exists(path)
    if not os.path.isdir(folder):
        raise UsageError(f"--report {path} cannot be written: there is no folder {folder}; nothing was changed")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--report {path} cannot be written: {folder} is not writable; nothing was changed")


@contextlib.contextmanager
def report_file(path: str | None) -> Iterator[ReportFile | None]:
    """Takes the file, and writes into it at the end what was recorded by then. Raises UsageError where it cannot be
    had: nothing is overwritten, no link is followed. That it could not be written at the end is said on stderr."""
    if path is None:
        yield None
        return
    with _taken(path) as file:
        report = ReportFile(path)
        try:
            yield report
        except BaseException as error:
            report.recording.fault = error.message if isinstance(error, JsrError) else type(error).__name__
            raise
        finally:
            _fill(file, path, [report.recording])


def write_report(path: str, recordings: Sequence[Recording]) -> None:
    """Writes a new file that tells of these operations. Raises UsageError as `report_file` does."""
    _check_form(path)
    with _taken(path) as file:
        _fill(file, path, recordings)


def _check_form(path: str) -> None:
    if not path.lower().endswith(FORMS):
        raise UsageError(
            f"--report {path}: its name does not say in which form; nothing was changed",
            "a name that ends in .html is a page, one that ends in .svg a picture",
        )


def _exists(path: str) -> UsageError:
    return UsageError(f"--report {path}: the file already exists; nothing was changed", "choose another, or remove it")


@contextlib.contextmanager
def _taken(path: str) -> Iterator[int]:
    """A new file that says what it is until it is filled."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(path, flags, 0o666)
    except FileExistsError:
        raise _exists(path) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--report {path} cannot be written: {why}; nothing was changed") from None
    try:
        with contextlib.suppress(OSError):
            os.write(file, _placeholder(path))
        yield file
    finally:
        os.close(file)


def _placeholder(path: str) -> bytes:
    if path.lower().endswith(".svg"):
        text = f'<svg xmlns="http://www.w3.org/2000/svg" width="700" height="40"><text y="25">{UNFINISHED}</text></svg>'
    else:
        text = f"<!doctype html><title>Restart</title><p>{UNFINISHED}</p>"
    return text.encode()


def _fill(file: int, path: str, recordings: Sequence[Recording]) -> None:
    """Whatever goes wrong here must not change what came of the restart."""
    try:
        text = drawing(recordings) if path.lower().endswith(".svg") else page(recordings)
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        left = memoryview(text.encode())
        while left:
            left = left[os.write(file, left) :]
    except Exception as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        print(plain(f"warning: the report {path} could not be written: {why}"), file=sys.stderr)
