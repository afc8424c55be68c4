"""A folder or an archive that a capture is written to: nothing that is there is overwritten, nobody else may read it,
and it is whole at any moment.

Writing has a thread of its own: a disk that is slow, or does not answer, holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import os
import queue
import stat
import tarfile
import threading
import time
from collections.abc import Callable
from typing import Protocol

from jobset_restart.capture.paths import ARCHIVES, MISTAKEN, is_archive, is_safe, safe
from jobset_restart.errors import UsageError

TOTAL_BYTES = 256 << 20
"""A whole capture before compression. 5,000 Pods with 50 KB each fit; a thousand full logs do not."""
LEAST_FREE = 8 << 20
"""A disk with less room takes no capture."""
CLOSING_SECONDS = 5.0
MOST_TAKEN_BACK = 200
LEVEL = 1
"""Of compression: logs shrink to a tenth at any, and this costs least."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_END = gzip.compress(bytes(1024), LEVEL, mtime=0)
"""The end of an archive (POSIX, pax: two blocks of zeros), as a gzip member of its own."""


class Place(Protocol):
    """Where files are put, by a path below it. Every method may raise OSError."""

    def add(self, name: str, data: bytes) -> None:
        """Adds a file, whole or not at all."""

    def take_back(self) -> str:
        """Removes the file that was added last and returns its name, "" where there is none."""

    def close(self) -> None: ...


# ---------------------------------------------------------------- before anything is done


def check(path: str, option: str) -> None:
    """Raises UsageError where `opened` would, as far as that can be seen. Changes nothing."""
    try:
        _check(path, option)
    except (OSError, ValueError) as error:
        raise _refused(path, option, _why(error)) from None


def _check(path: str, option: str) -> None:
    if "\0" in path:
        raise ValueError("it is no name of a file")
    if os.path.lexists(path):
        if is_archive(path):
            raise _refused(path, option, "the file already exists", "choose another, or remove it")
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise _refused(path, option, "it exists and is no folder", "name a folder, or FILE.tar.gz")
        with os.scandir(path) as found:
            if next(found, None) is not None:
                raise _refused(path, option, "the folder is not empty", "choose another: nothing is overwritten")
        parent = path
    else:
        if path.lower().endswith(MISTAKEN) and not is_archive(path):
            raise _refused(path, option, "it is neither a folder nor FILE.tar.gz", "name a folder, or FILE.tar.gz")
        parent = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(parent):
            raise _refused(path, option, f"there is no folder {parent}", f"mkdir -p {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _refused(path, option, f"{parent} may not be written to")
    free = os.statvfs(parent)
    if free.f_bavail * free.f_frsize < LEAST_FREE:
        raise _refused(path, option, f"less than {LEAST_FREE >> 20} MiB are free there")


def opened(path: str, option: str) -> Place:
    """The folder or archive of this name, new and empty. Raises UsageError where it cannot be."""
    check(path, option)
    try:
        return Archive(path) if is_archive(path) else Folder(path)
    except (OSError, ValueError) as error:
        raise _refused(path, option, _why(error)) from None


def _refused(path: str, option: str, why: str, hint: str = "") -> UsageError:
    return UsageError(f"{option} {path}: {why}; nothing was changed", hint)


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


# ---------------------------------------------------------------- folder and archive


class Folder:
    """A folder, opened once: whoever renames it meanwhile, or puts links into it, changes nothing of where files go."""

    def __init__(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._folders: set[str] = set()
        self._added: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        assert is_safe(name), name
        folder = self._within(name.split("/")[:-1])
        file = name.rpartition("/")[2]
        try:
            self._put(folder, file, data)
        finally:
            if folder != self._root:
                os.close(folder)
        self._added.append(name)

    def _put(self, folder: int, file: str, data: bytes) -> None:
        descriptor = os.open(file, _NEW, 0o600, dir_fd=folder)
        try:
            _write(descriptor, data)
        except OSError:
            os.unlink(file, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)

    def _within(self, parts: list[str]) -> int:
        """The folder of these names, made where it is not there."""
        here, below = self._root, ""
        for part in parts:
            below = f"{below}/{part}"
            try:
                if below not in self._folders:
                    os.mkdir(part, 0o700, dir_fd=here)
                    self._folders.add(below)
                next_ = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=here)
            finally:
                if here != self._root:
                    os.close(here)
            here = next_
        return here

    def take_back(self) -> str:
        if not self._added:
            return ""
        os.unlink(self._added[-1], dir_fd=self._root)
        return self._added.pop()

    def close(self) -> None:
        os.close(self._root)


class Archive:
    """A .tar.gz. Each file is a gzip member of its own (RFC 1952: members follow each other), and so is the end, which
    the next file replaces: the archive is whole after every file, whatever becomes of this process. All of it is in a
    folder of the archive's name."""

    def __init__(self, path: str) -> None:
        name = os.path.basename(path)
        ending = next(each for each in ARCHIVES if name.lower().endswith(each))
        self._within = safe(name[: -len(ending)] or "capture")
        self._file = os.open(path, _NEW, 0o600)
        self._end = 0
        self._added: list[tuple[str, int]] = []
        try:
            self._finish()
        except OSError:
            os.unlink(path)
            raise

    def add(self, name: str, data: bytes) -> None:
        assert is_safe(name), name
        entry = tarfile.TarInfo(f"{self._within}/{name}")
        entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
        raw = io.BytesIO()
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=LEVEL, mtime=0) as packed:
            packed.write(entry.tobuf(tarfile.PAX_FORMAT))
            packed.write(data)
            packed.write(bytes(-len(data) % tarfile.BLOCKSIZE))
        start = self._end
        try:
            _write(self._file, raw.getbuffer(), start)
            self._end = start + raw.tell()
            self._finish()
        except OSError:
            self._back_to(start)
            raise
        self._added.append((name, start))

    def _finish(self) -> None:
        _write(self._file, _END, self._end)

    def _back_to(self, start: int) -> None:
        self._end = start
        os.ftruncate(self._file, start + len(_END))
        self._finish()

    def take_back(self) -> str:
        if not self._added:
            return ""
        name, start = self._added.pop()
        self._back_to(start)
        return name

    def close(self) -> None:
        os.close(self._file)


def _write(file: int, data: bytes | memoryview, at: int | None = None) -> None:
    """Writes everything: at the end, or at this offset."""
    left = memoryview(data)
    while left:
        done = os.write(file, left) if at is None else os.pwrite(file, left, at)
        left = left[done:]
        at = None if at is None else at + done


# ---------------------------------------------------------------- writing beside everything else


class CannotWrite(Exception):
    """The file was not written, and no other will be: `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Job = Callable[[], None]


class Writer:
    """Writes files in a thread of its own, or where `hand` takes them. `written` has the bytes of each that is there,
    before compression; `failed` why nothing more can be written, "" while it can."""

    def __init__(self, place: Place, most: int = TOTAL_BYTES, hand: Callable[[Job], None] | None = None) -> None:
        self._place, self._most = place, most
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._hand = hand or self._jobs.put
        self.written: dict[str, int] = {}
        self.bytes = 0
        self.failed = ""
        self._closing = False
        if hand is None:
            # A daemon: one that waits for a disk for ever must not keep the process.
            threading.Thread(target=self._work, daemon=True, name="capture").start()

    async def write(self, name: str, data: bytes) -> None:
        """Returns when the file is there. Raises CannotWrite."""
        await self._done(lambda: self._add(name, data))

    async def close(self, name: str, last: Callable[[], bytes], within: float = CLOSING_SECONDS) -> bool:
        """Writes a last file, made when all others are there, and ends. Where there is no room for it, what was
        written last gives way. Returns whether that was done within so many seconds."""
        self._closing = True
        try:
            async with asyncio.timeout(within):
                await self._done(lambda: self._finish(name, last))
        except TimeoutError:
            self.failed = self.failed or f"the disk did not answer within {within:g} s"
        except CannotWrite as error:
            self.failed = error.reason
        self._jobs.put(None)
        return name in self.written

    async def _done(self, do: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if not done.done():
                done.set_result(None) if error is None else done.set_exception(error)

        def job() -> None:
            error: Exception | None = None
            try:
                do()
            except Exception as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(settle, error)

        self._hand(job)
        await done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _add(self, name: str, data: bytes) -> None:
        if self.failed or self._closing:
            raise CannotWrite(self.failed or "the capture had ended")
        if self.bytes + len(data) > self._most:
            self.failed = f"the capture has reached its most, {self._most >> 20} MiB"
            raise CannotWrite(self.failed)
        try:
            self._place.add(name, data)
        except OSError as error:
            self.failed = f"it cannot be written any more: {_why(error)}"
            raise CannotWrite(self.failed) from None
        self.written[name] = len(data)
        self.bytes += len(data)

    def _finish(self, name: str, last: Callable[[], bytes]) -> None:
        try:
            for _ in range(MOST_TAKEN_BACK):
                data = last()
                try:
                    self._place.add(name, data)
                except OSError as error:
                    self.failed = self.failed or f"it cannot be written any more: {_why(error)}"
                    if not self._take_back():
                        raise CannotWrite(self.failed) from None
                else:
                    self.written[name] = len(data)
                    return
        finally:
            with contextlib.suppress(OSError):
                self._place.close()

    def _take_back(self) -> bool:
        try:
            gone = self._place.take_back()
        except OSError:
            return False
        self.bytes -= self.written.pop(gone, 0)
        return bool(gone)
