"""`jsr` on a terminal of its own, as a person sits at it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from tests.e2e.command import Jsr


class Terminal:
    """A run of `jsr` on a pseudo-terminal of 80x24; what is typed goes through its line discipline: Ctrl-C is a signal
    to the foreground process, Ctrl-D the end of input."""

    def __init__(self, jsr: Jsr, *args: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.args = args
        environment = jsr.environment(COLUMNS="", TERM="xterm", **environment)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("on_terminal.py")), *args, "-n", jsr.namespace],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""

    def until(self, *words: str, within: float = 60) -> str:
        """Everything shown so far, once all of these words are in it."""
        end = time.monotonic() + within
        while not all(word in self.screen for word in words):
            assert time.monotonic() < end, f"{words} not shown within {within:.0f} s:\n{self.screen}"
            assert self._read(end - time.monotonic()), f"over without {words}:\n{self.screen}"
        return self.screen

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def hang_up(self) -> None:
        """The terminal goes away, as when its window is closed."""
        os.close(self._master)

    def ended(self, within: float = 30) -> int:
        """The exit code. Fails if it does not end."""
        end = time.monotonic() + within
        while self._master_open() and time.monotonic() < end and self._read(end - time.monotonic()):
            pass
        try:
            return self._process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"still there after {within:.0f} s:\n{self.screen}") from None

    def _master_open(self) -> bool:
        try:
            os.fstat(self._master)
        except OSError:
            return False
        return True

    def _read(self, within: float) -> bool:
        """Takes in what is shown next. False at the end."""
        if not select.select([self._master], [], [], max(0.0, within))[0]:
            return True
        try:
            more = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.screen += more.decode(errors="replace")
        return bool(more)
