"""How a cluster is started, in the foreground or the background, and ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jobset_restart.simulator import home as homes
from jobset_restart.simulator.errors import SimulatorError
from jobset_restart.simulator.home import Document

if TYPE_CHECKING:
    from jobset_restart.simulator.running import Settings

_STOP_SECONDS, _SILENT_SECONDS = 15.0, 3.0
"""How long the end may take where it was agreed to, and where the cluster does not answer."""
_LOG_LINES = 5


def foreground(home: Path | None, settings: Settings, ready: Callable[[Document], None], until_eof: bool) -> None:
    """Runs a cluster until a signal, or the end of standard input if asked for. Without ``home`` it gets a temporary
    directory. Calls ``ready`` with its status once it serves. Nothing is left behind. Raises SimulatorError."""
    from jobset_restart.simulator.running import run

    place = home or Path(tempfile.mkdtemp(prefix="jsr-sim-"))
    lock = homes.take(place)
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        homes.sign(place)
        run(place, settings, ready, until_eof=until_eof)
    except KeyboardInterrupt:
        raise SimulatorError("interrupted before it served", exit_code=130) from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        homes.leave(place, lock)
        if home is None:
            shutil.rmtree(place, ignore_errors=True)  # its clients may have used it for files of theirs


def background(home: Path, settings: Settings) -> Document:
    """Starts a cluster that outlives this process and the terminal; returns its status once it serves. Raises
    SimulatorError."""
    lock = homes.take(home)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _detached(home, lock, sender, settings)
    os.close(sender)
    os.close(lock)
    try:
        with os.fdopen(receiver, encoding="utf-8") as answers:
            text = answers.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        homes.wait_until_free(home, _STOP_SECONDS)
        raise SimulatorError("interrupted; nothing was started", exit_code=130) from None
    if not text:
        last = _log_end(home)
        homes.runs(home)
        raise SimulatorError("the embedded cluster died while it started", last)
    answer: Document = json.loads(text)
    if "error" in answer:
        homes.wait_until_free(home, _STOP_SECONDS)
        raise SimulatorError(answer["error"], answer["hint"], answer["exitCode"])
    return answer


def down(home: Path) -> int | None:
    """Ends the cluster that runs there, by force if it must be, and removes its files. Returns its process, None if
    there was none."""
    if not homes.runs(home):
        return None
    number, patience = homes.process(home), _STOP_SECONDS
    try:
        homes.ask(home, {"do": "stop"}, within=5.0)
    except SimulatorError:
        _signal(number, signal.SIGTERM)
        patience = _SILENT_SECONDS
    if not homes.wait_until_free(home, patience):
        _signal(number, signal.SIGKILL)
        if not homes.wait_until_free(home, _STOP_SECONDS):
            raise SimulatorError(f"the embedded cluster in {home} does not end (process {number or 'unknown'})")
    return number


def _signal(process: int | None, number: signal.Signals) -> None:
    """To a process that `homes.process` has told apart from any other of that number."""
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _detached(home: Path, lock: int, sender: int, settings: Settings) -> NoReturn:
    """The child's life: its own session, no terminal, one answer to the parent, and the end."""
    code, told = 1, False

    def tell(answer: Document) -> None:
        nonlocal told
        if not told:
            told = True
            with contextlib.suppress(OSError):
                os.write(sender, json.dumps(answer).encode())
            os.close(sender)

    try:
        from jobset_restart.simulator.running import run

        os.setsid()
        _redirect(home)
        os.chdir("/")
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        homes.sign(home)
        run(home, settings, tell)
        code = 0
    except SimulatorError as error:
        tell({"error": error.message, "hint": error.hint, "exitCode": error.exit_code})
    except BaseException as error:  # whatever it is, the parent waits for an answer
        logging.exception("the embedded cluster failed")
        at = traceback.extract_tb(error.__traceback__)[-1]
        what = f"the embedded cluster failed: {type(error).__name__}: {error}"
        tell({"error": what, "hint": f"a fault of its own, in {at.filename}, line {at.lineno}", "exitCode": 1})
    homes.leave(home, lock)
    sys.stderr.flush()
    os._exit(code)


def _redirect(home: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(home / homes.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)


def _log_end(home: Path) -> str:
    with contextlib.suppress(OSError):
        return "\n".join((home / homes.LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    return ""
