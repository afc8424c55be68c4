"""The private directory of a running embedded cluster, and how one process finds another's.

It holds the kubeconfig, the socket it is controlled by, and its log. Whoever runs holds a lock on the directory
itself, which the kernel lets go of however the process ends: a directory that is not locked is a dead one's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from jobset_restart.simulator.errors import SimulatorError

KUBECONFIG, CONTROL, LOG, PROCESS = "kubeconfig", "control", "log", "process"
_FILES = (KUBECONFIG, CONTROL, LOG, PROCESS)
_ANSWER_SECONDS = 60.0
Document = dict[str, Any]


def default() -> Path:
    """Where `up` keeps its cluster: the user's state directory (XDG), or a directory of the user's in /tmp."""
    state = Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))
    there = next((each for each in (state, *state.parents) if each.exists()), state)
    if state.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return state / "jsr-sim"
    return Path(tempfile.gettempdir()) / f"jsr-sim-{os.getuid()}"


def command(home: Path, words: str) -> str:
    """The command line that does this with the cluster of this directory."""
    return f"jsr sim {words}" + ("" if home == default() else f" --home {shlex.quote(str(home))}")


def take(home: Path) -> int:
    """Makes the directory if need be and locks it; what a dead process left there goes. Returns the lock (a file
    descriptor, to be handed to `leave`). Raises SimulatorError where a cluster runs there, or it is not ours."""
    while True:
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise SimulatorError(f"{home} cannot be used as the cluster's directory: {error.strerror}") from None
        try:
            _check(home, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise _taken(home) from None
        except SimulatorError:
            os.close(lock)
            raise
        if _is(home, lock):
            _clear(home)
            return lock
        os.close(lock)  # whoever was there removed it between our opening and locking it


def leave(home: Path, lock: int) -> None:
    """Removes everything of a cluster's from its directory, the directory if it is empty then, and the lock."""
    if _is(home, lock):
        _clear(home)
        with contextlib.suppress(OSError):
            home.rmdir()
    os.close(lock)


def runs(home: Path) -> bool:
    """Whether a cluster runs there. What a dead one left is removed. Raises SimulatorError where it is not ours."""
    try:
        lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        _own(home, lock)
    except SimulatorError:
        os.close(lock)
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return True
    if (home / PROCESS).exists():
        leave(home, lock)
    else:
        os.close(lock)
    return False


def wait_until_free(home: Path, within: float) -> bool:
    """Waits until whoever runs there has ended, and removes what it left. Returns False if it takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, within)
    try:
        lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except FileNotFoundError:
        return True
    except TimeoutError:
        os.close(lock)
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    leave(home, lock)
    return True


def write_private(file: Path, text: str) -> None:
    """A file that only its owner may read, complete as soon as it is there."""
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(file)


def sign(home: Path) -> None:
    """This process writes down that it runs there."""
    write_private(home / PROCESS, f"{os.getpid()} {_started(os.getpid())}")


def process(home: Path) -> int | None:
    """The process that runs there, as it wrote down at its start. None where it is not told, or the number has become
    another process's."""
    try:
        number, _, started = (home / PROCESS).read_text(encoding="ascii").partition(" ")
        found = int(number)
    except (OSError, ValueError):
        return None
    return found if found > 1 and started == _started(found) else None


def _started(number: int) -> str:
    """When a process of ours began, in the kernel's words; "" where the system does not tell, or it is not ours."""
    try:
        if os.stat(f"/proc/{number}").st_uid != os.getuid():
            return ""
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]  # starttime, proc_pid_stat(5)


def ask(home: Path, request: Document, within: float = _ANSWER_SECONDS) -> Document:
    """Asks the cluster that runs there through its control socket. Raises SimulatorError where none runs or answers,
    or with what it answered."""
    if not runs(home):
        raise SimulatorError("no embedded cluster runs", f"`{command(home, 'up')}` starts one")
    # A socket's address has about 100 bytes: the directory's own name may be longer.
    with contextlib.chdir(home), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(within)
        try:
            connection.connect(CONTROL)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except OSError:
            line = b""
    if not line:
        raise SimulatorError(
            f"the embedded cluster (process {process(home) or 'unknown'}) is still starting, or does not answer",
            f"`{command(home, 'down')}` ends it whatever it does",
        )
    answer: Document = json.loads(line)
    if "error" in answer:
        raise SimulatorError(answer["error"])
    return answer


def _own(home: Path, lock: int) -> None:
    """What stands in the directory is believed only where nobody else could have written it."""
    found = os.fstat(lock)
    if found.st_uid != os.getuid():
        raise SimulatorError(f"{home} belongs to another user: it cannot be the cluster's directory")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SimulatorError(
            f"others may write to {home}: it cannot be the cluster's directory",
            f"if everything in it is yours, `chmod 700 {shlex.quote(str(home))}` makes it private",
        )


def _check(home: Path, lock: int) -> None:
    """Nobody else may own, read or have filled the directory that tokens are written to."""
    _own(home, lock)
    found = os.fstat(lock)
    strange = sorted(name for name in os.listdir(lock) if name.removesuffix(".part") not in _FILES)
    if strange:
        raise SimulatorError(
            f"{home} holds other files ({', '.join(strange[:3])}): it cannot be the cluster's directory",
            "name one that does not exist yet",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.fchmod(lock, 0o700)


def _is(home: Path, lock: int) -> bool:
    """Whether the directory of this name is still the one that is locked."""
    try:
        return os.path.samestat(os.stat(home), os.fstat(lock))
    except OSError:
        return False


def _clear(home: Path) -> None:
    for name in _FILES:
        (home / name).unlink(missing_ok=True)
        (home / f"{name}.part").unlink(missing_ok=True)


def _taken(home: Path) -> SimulatorError:
    number = process(home)
    return SimulatorError(
        f"an embedded cluster runs already{f' (process {number})' if number else ''}",
        f"export KUBECONFIG={home / KUBECONFIG}\n"
        f"`{command(home, 'status')}` says what runs, `{command(home, 'down')}` stops it",
    )
