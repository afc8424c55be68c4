"""What a container's command does as PID 1: how long it runs, what it prints, which signals it handles.

Known commands, by the last part of the path:

* ``sleep N`` (seconds, ``m``, ``h``, ``d``, ``infinity``), ``true``, ``false``, ``pause``
* ``sh``, ``bash``, ``dash``, ``ash -c SCRIPT``: ``trap 'exit N' SIGNAL...``, ``while :`` and ``while true`` loops,
  ``sleep``, ``COMMAND &``, ``wait``, ``exit``, ``exec``, ``echo``, ``date``, ``:``, assignments, and ``;``, ``&&``,
  ``||`` between them, ``{ ...; }`` around them; the last command takes the shell's place where there is no trap
* in scripts and traps, ``touch F``, ``rm -f F``, and ``test -f F``, which decides how a script goes on (``files.py``);
  in loops nothing is done with files, and tests pass
* ``python...``: computes for ever and catches INT (exit 130); a ``-c`` program that names ``sleep`` does not compute
* ``torchrun`` and ``python -m torch.distributed...``: catches HUP, INT, QUIT and TERM (exit 1)

Any other command runs for ever, computes nothing and handles no signal; so does anything a script says that is not
listed here. An image's own entry point is not known either, but for the agent's (``agent.py``). In an init container,
which is there to end, what is not known is over after the profile's ``init`` seconds.
"""

from __future__ import annotations

import re
import shlex
import signal as signals
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf
from typing import NamedTuple

from jobset_restart.simulator.controllers.files import Act, act

SHELLS = frozenset({"sh", "bash", "dash", "ash"})
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SILENT = frozenset(
    {":", "true", "export", "set", "cd", "unset", "readonly", "umask", "mkdir", "touch", "rm", "test", "["}
)
_OWN = {int(signals.SIGINT), int(signals.SIGCHLD)}
"""Signals every shell catches for itself; they do not end it (SigCgt 10002)."""
KILLED = 137
_BRACES = ("{", "}")
_MOST_TESTS = 6
"""Further tests of one script pass: each makes two programs of what comes after it."""


class Step(NamedTuple):
    """A stretch of a program: ``held`` means a signal's handler has to wait for its end; ``line`` is printed first."""

    seconds: float = 0.0
    held: bool = False
    line: str | None = None
    child: bool = False
    """Whether a child process runs meanwhile."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process: ``steps``, then ``loop`` over and over, or ``then`` takes its place (exec), or it exits.

    ``code`` is the exit code, None the status of the last command. ``caught`` has the signals that have a handler, with
    the exit code each leads to (None: it goes on), and ``cleans`` what handlers do with files. ``busy`` is CPU seconds
    per second. With an ``act``, that is done after ``steps``; then comes ``then``, or ``otherwise`` if it failed.
    """

    name: str
    steps: tuple[Step, ...] = ()
    loop: tuple[Step, ...] = ()
    then: Program | None = None
    code: int | None = None
    caught: Mapping[int, int | None] = field(default_factory=dict)
    cleans: Mapping[int, tuple[Act, ...]] = field(default_factory=dict)
    busy: float = 0.0
    act: Act | None = None
    otherwise: Program | None = None
    known: bool = True
    """Whether what it does is known: else that it runs for ever is a guess."""

    def is_guess(self) -> bool:
        """Whether it or what comes after it is not known."""
        return not self.known or any(each.is_guess() for each in (self.then, self.otherwise) if each is not None)

    def runs(self) -> tuple[float, int, Program | None]:
        """After how many seconds it exits by itself or does something with files; the exit code, and who does it."""
        spent = sum(step.seconds for step in self.steps)
        if self.act or self.loop or not self.then:
            return (spent, 0, self) if self.act else (*self.ends(), None)
        left, code, doing = self.then.runs()
        return spent + left, code, doing

    def ends(self) -> tuple[float, int]:
        """After how many seconds it exits by itself (``inf``: never), and with which code, if all tests pass."""
        spent = sum(step.seconds for step in self.steps)
        if self.loop:
            return inf, 0
        if self.then:
            left, code = self.then.ends()
            return spent + left, code
        return spent, self.code or 0

    def at(self, elapsed: float) -> tuple[Program, Step, float]:
        """What PID 1 is after ``elapsed`` seconds, the step it is in, and the seconds left of that step."""
        for step in self.steps:
            if elapsed < step.seconds:
                return self, step, step.seconds - elapsed
            elapsed -= step.seconds
        if self.then:
            return self.then.at(elapsed)
        turn = sum(step.seconds for step in self.loop)
        if turn:
            elapsed = elapsed % turn if turn < inf else elapsed
            for step in self.loop:
                if elapsed < step.seconds:
                    return self, step, step.seconds - elapsed
                elapsed -= step.seconds
        return self, Step(), 0.0

    def mask(self) -> int:
        """SigCgt of /proc/1/status."""
        return sum(1 << (number - 1) for number in self.caught)

    def without_child(self, elapsed: float) -> Program | None:
        """What is left of it when its child processes are killed after ``elapsed`` seconds; None if it has no child."""
        for index, step in enumerate(self.steps):
            if elapsed < step.seconds:
                rest = self.steps[index + 1 :]
                last = not (rest or self.loop or self.then) and self.code is None
                return replace(self, steps=rest, code=KILLED if last else self.code) if step.child else None
            elapsed -= step.seconds
        if self.then:
            return self.then.without_child(elapsed)
        turn = sum(step.seconds for step in self.loop)
        elapsed = elapsed % turn if turn not in (0.0, inf) else elapsed
        for index, step in enumerate(self.loop):
            if elapsed < step.seconds:
                return replace(self, steps=self.loop[index + 1 :]) if step.child else None
            elapsed -= step.seconds
        return None

    def printed(self, elapsed: float, limit: int = 1000) -> list[tuple[float, str]]:
        """The lines printed in the first ``elapsed`` seconds, each with its second; the last ``limit`` of them."""
        lines: list[tuple[float, str]] = []
        spent = 0.0
        turn = sum(step.seconds for step in self.loop)
        rounds = int(elapsed // turn) + 1 if turn else 0
        for steps in (self.steps, *([self.loop] * min(rounds, limit))):
            for step in steps:
                if spent > elapsed:
                    return lines[-limit:]
                if step.line is not None:
                    lines.append((spent, step.line))
                spent += step.seconds
        if self.then:
            lines += [(spent + second, line) for second, line in self.then.printed(elapsed - spent, limit)]
        return lines[-limit:]


def number(name: str) -> int | None:
    """The number of a signal by name (``TERM``, ``SIGTERM``) or number, None where there is none."""
    try:
        found = (
            signals.Signals(int(name)) if name.isdigit() else signals.Signals["SIG" + name.upper().removeprefix("SIG")]
        )
    except (KeyError, ValueError):
        return None
    return int(found)


def seconds(text: str) -> float:
    """What ``sleep`` makes of its argument; something that is no time sleeps for ever."""
    if text in ("infinity", "inf"):
        return inf
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([smhd]?)", text)
    return float(found[1]) * _UNITS[found[2] or "s"] if found else inf


@lru_cache(maxsize=1024)
def program(words: tuple[str, ...]) -> Program:
    """The process that ``command`` and ``args`` together start."""
    if not words:
        return Program("app", (Step(inf),), known=False)
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "sleep" and rest:
        return Program("sleep", (Step(sum(map(seconds, rest)), held=True),))
    if name in ("true", "false"):
        return Program(name, code=int(name == "false"))
    if name == "busybox" and rest:
        return program(rest)
    if name in SHELLS and "-c" in rest[:-1]:
        return _Script(name, statements(rest[rest.index("-c") + 1]), dict.fromkeys(_OWN), {}).program()
    if name == "torchrun" or (name.startswith("python") and any("torch.distributed" in word for word in rest)):
        handled = (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM)
        return Program(name[:15], (Step(inf),), caught={int(each): 1 for each in handled})
    if name.startswith("python"):
        sleeps = "-c" in rest and any("sleep" in word for word in rest)
        return Program(name, (Step(inf),), caught={int(signals.SIGINT): 130}, busy=0.0 if sleeps else 1.0, known=False)
    return Program(name[:15], (Step(inf),), known=False)


class _Script:
    """One run through a shell script, written down as steps."""

    def __init__(
        self,
        shell: str,
        commands: Sequence[tuple[tuple[str, ...], str]],
        caught: Mapping[int, int | None],
        cleans: Mapping[int, tuple[Act, ...]],
        tests: int = 0,
        last: int = 0,
    ) -> None:
        self._shell = shell
        self._caught = dict(caught)
        self._cleans = dict(cleans)
        self._tests = tests
        self._steps: list[Step] = []
        self._loop: list[Step] = []
        self._then: Program | None = None
        self._act: Act | None = None
        self._otherwise: Program | None = None
        self._code: int | None = None
        self._last = last
        self._jobs = 0.0
        self._over = False
        self._known = True
        self._lines: list[str] = []
        self._run(commands, last=True)

    def program(self) -> Program:
        steps = tuple(self._steps)
        if self._lines:
            steps += tuple(Step(line=line) for line in self._lines)
        code = self._code if self._code is not None or not self._last else self._last
        return Program(
            self._shell,
            steps,
            tuple(self._loop),
            self._then,
            code,
            self._caught,
            self._cleans,
            act=self._act,
            otherwise=self._otherwise,
            known=self._known,
        )

    def _run(self, commands: Sequence[tuple[tuple[str, ...], str]], *, last: bool) -> None:
        """Run ``commands``; ``last`` says that nothing comes after them in the script."""
        position = 0
        while position < len(commands) and not self._over:
            words, separator = commands[position]
            position += 1
            if words[:1] == ("while",):
                end = _done(commands, position)
                self._while(words[1:], commands[position:end])
                position = end + 1
            elif last and (doing := act(words)):
                self._do(doing, separator, commands[position:])
            elif words[0] not in _BRACES:
                self._command(words, separator == "&", last and position == len(commands))
            position += _skipped(separator, self._last, commands[position:])

    def _do(self, doing: Act, separator: str, rest: Sequence[tuple[tuple[str, ...], str]]) -> None:
        """What comes after an act is another program, or two where a test decides."""
        self._flush()
        tests = self._tests + (doing.verb == "test")
        results = (0, 1) if doing.verb == "test" and tests <= _MOST_TESTS else (0,)
        branches = [
            _Script(
                self._shell, rest[_skipped(separator, last, rest) :], self._caught, self._cleans, tests, last
            ).program()
            for last in results
        ]
        self._act, self._then, self._over = doing, branches[0], True
        self._otherwise = branches[-1]

    def _while(self, condition: tuple[str, ...], body: Sequence[tuple[tuple[str, ...], str]]) -> None:
        if condition not in ((":",), ("true",)):
            self._known = False
            self._step(inf, held=True, child=True)
            return
        before, self._steps = self._steps, []
        self._run(body, last=False)
        self._flush()
        if self._over:
            self._steps = before + self._steps
            return
        turn = sum(step.seconds for step in self._steps)
        self._loop, self._steps = (self._steps if turn else [Step(inf)]), before
        self._over = True

    def _command(self, words: tuple[str, ...], background: bool, last: bool) -> None:
        name, rest = words[0], words[1:]
        self._last = 0
        if name == "exit":
            self._code, self._over = int(rest[0]) if rest and rest[0].isdigit() else 0, True
        elif name == "trap" and rest:
            self._trap(rest[0], rest[1:])
        elif name == "wait":
            self._step(self._jobs, child=self._jobs > 0)
            self._jobs = 0.0
        elif name in ("echo", "printf", "date"):
            self._lines.append("%date%" if name == "date" else " ".join(word for word in rest if word != "-e"))
        elif name == "false":
            self._last = 1
        elif name == "exec" and rest:
            self._then, self._over = program(rest), True
        elif name not in _SILENT and not re.match(r"\w+=", name):
            self._external(words, background, last)

    def _external(self, words: tuple[str, ...], background: bool, last: bool) -> None:
        """Start a program; the last one of a script without traps takes the shell's place (EV_EXIT in ash and dash)."""
        if background:
            self._jobs = max(self._jobs, program(words).ends()[0])
        elif last and self._caught.keys() == _OWN:
            self._flush()
            self._then, self._over = program(words), True
        else:
            started = program(words)
            spent, self._last = started.ends()
            self._known = self._known and not started.is_guess()
            self._step(spent, held=True, child=True)

    def _trap(self, action: str, names: Sequence[str]) -> None:
        found = re.search(r"\bexit(?:\s+(\d+))?", action)
        for name in names:
            value = number(name)
            if value is not None and action not in ("", "-"):
                self._caught[value] = int(found[1] or 0) if found else None
                self._cleans[value] = tuple(doing for words, _ in statements(action) if (doing := act(words)))
            elif value is not None:
                self._caught.pop(value, None)

    def _step(self, spent: float, *, held: bool = False, child: bool = False) -> None:
        self._flush()
        self._steps.append(Step(spent, held, None, child))

    def _flush(self) -> None:
        self._steps += [Step(line=line) for line in self._lines]
        self._lines.clear()


def statements(text: str) -> list[tuple[tuple[str, ...], str]]:
    """The simple commands of a script, each with what separates it from the next (``;``, ``&``, ``&&``, ``||``)."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    found: list[tuple[tuple[str, ...], str]] = []
    words: list[str] = []
    try:
        tokens = list(lexer)
    except ValueError:
        return [(("unreadable",), ";")]
    for token in [*tokens, ";"]:
        if not token.strip(";&|\n"):
            if words:
                found.append((tuple(words), token.strip("\n;") or ";"))
            words = []
        elif token in _BRACES[:1] and not words:
            found.append(((token,), ";"))
        elif token not in ("do", "then") or words:
            words.append(token)
    return found


def _skipped(separator: str, last: int, rest: Sequence[tuple[tuple[str, ...], str]]) -> int:
    """How many commands are not run after one with status ``last``: those up to the end of a ``{`` count as one."""
    if separator not in ("&&", "||") or (separator == "&&") == (last == 0):
        return 0
    depth = 0
    for index, (words, _) in enumerate(rest):
        depth += (words[0] == "{") - (words[0] == "}")
        if not depth:
            return index + 1
    return len(rest)


def _done(commands: Sequence[tuple[tuple[str, ...], str]], position: int) -> int:
    """The index of the ``done`` that closes the loop whose body begins at ``position``."""
    depth = 1
    for index in range(position, len(commands)):
        first = commands[index][0][0]
        depth += (first in ("while", "for", "until")) - (first == "done")
        if not depth:
            return index
    return len(commands)
