"""The real `jsr`, run as a person or a script runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def account(args: tuple[str, ...], code: int | None, stdout: str, stderr: str) -> str:
    """A run as a failing test shows it; the code is None while it goes on."""
    return f"jsr {' '.join(args)}\nexit {code}\nstdout:\n{stdout}\nstderr:\n{stderr}"


@dataclass(frozen=True)
class Ended:
    """How a run ended. Whatever happened, it printed no traceback and nothing a terminal would obey."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.stderr, str(self)
        assert not CONTROL.search(self.stdout), repr(self)
        assert not CONTROL.search(self.stderr), repr(self)

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def exited(self, code: int) -> Ended:
        """Itself, having exited with this code."""
        assert self.code == code, str(self)
        return self

    def __str__(self) -> str:
        return account(self.args, self.code, self.stdout, self.stderr)


class Running:
    """A run under way."""

    def __init__(self, args: tuple[str, ...], environment: dict[str, str], folder: Path, number: int) -> None:
        self.args = args
        self._out, self._err = folder / f"{number}.stdout", folder / f"{number}.stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobset_restart", *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    def wait(self, within: float = 120) -> Ended:
        """Waits for its end; kills it and fails after `within` seconds."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {within:.0f} s\n{self._ended(-9)}") from None
        return self._ended(code)

    def __str__(self) -> str:
        return account(self.args, self._process.poll(), *self._texts("replace"))

    def _ended(self, code: int) -> Ended:
        return Ended(self.args, code, *self._texts("surrogateescape"))

    def _texts(self, errors: str) -> tuple[str, str]:
        """What it has printed on stdout and stderr."""
        return self._out.read_bytes().decode(errors=errors), self._err.read_bytes().decode(errors=errors)

    def until_printed(self, *words: str, within: float = 30) -> str:
        """What it has printed on stdout once all of these are in it."""
        return self._until(self._out, words, within)

    def until_said(self, *words: str, within: float = 30) -> str:
        """What it has printed on stderr once all of these are in it."""
        return self._until(self._err, words, within)

    def _until(self, file: Path, words: tuple[str, ...], within: float) -> str:
        """A file can be watched only by looking again."""
        end = time.monotonic() + within
        while True:
            text = file.read_text(encoding="utf-8")
            if all(word in text for word in words):
                return text
            assert time.monotonic() < end, f"{words} not printed within {within:.0f} s:\n{text}"
            time.sleep(0.1)

    @property
    def stdout(self) -> str:
        """What it has printed on stdout."""
        return self._texts("replace")[0]

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL: no last words."""
        self._process.kill()
        self._process.wait()


class Jsr:
    """Runs `jsr` in one namespace of one cluster, with a home directory of its own."""

    def __init__(self, kubeconfig: str, namespace: str, folder: Path) -> None:
        self.kubeconfig, self.namespace, self.folder = kubeconfig, namespace, folder
        self._runs: list[Running] = []

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the caller's but the path; a value of "" takes a variable away."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": self.kubeconfig,
            "COLUMNS": "200",
            "LANG": "C.UTF-8",
        }
        return {key: value for key, value in {**base, **more}.items() if value}

    def start(self, *args: str, namespaced: bool = True, **environment: str) -> Running:
        """Starts `jsr ARGS -n NAMESPACE`; capital keywords are environment variables."""
        where = ("-n", self.namespace) if namespaced else ()
        run = Running((*args, *where), self.environment(**environment), self.folder, len(self._runs))
        self._runs.append(run)
        return run

    def run(self, *args: str, within: float = 120, namespaced: bool = True, **environment: str) -> Ended:
        return self.start(*args, namespaced=namespaced, **environment).wait(within)

    def restart(self, name: str, *args: str, within: float = 120) -> Ended:
        """A restart that asks nothing and answers with a document."""
        return self.run("restart", name, *args, "--yes", "-o", "json", within=within)

    def start_restart(self, name: str, *args: str) -> Running:
        return self.start("restart", name, *args, "--yes", "-o", "json")

    def status(self, name: str, *args: str) -> dict[str, Any]:
        return self.run("status", name, *args, "-o", "json", within=30).exited(0).document

    def said(self) -> str:
        """Every run so far and what it printed."""
        return "\n\n".join(map(str, self._runs))

    def printed(self) -> list[tuple[tuple[str, ...], str]]:
        """Every run that is over: its arguments, and what it printed on stdout."""
        return [(run.args, run.stdout) for run in self._runs if run.over]

    def close(self) -> None:
        for run in self._runs:
            if not run.over:
                run.kill()
