"""A shell, as far as it goes: a subset of POSIX sh (XCU 2) that is run as the standard says.

Simple commands with quotes, ``$name`` and ``${name}``; ``;``, newlines, ``&&``, ``||``, ``!``; ``{ }``, ``if``,
``while``, ``until`` and ``case``; ``< FILE`` on any of these; assignments, ``read``, ``exit``, ``command -v``. Anything
else (pipes, other redirections than to /dev/null, substitutions, arithmetic, functions, ``&``) raises Unsupported
before anything is run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from jobset_restart.simulator.controllers.sh_syntax import (
    Case,
    Commands,
    If,
    Loop,
    Node,
    Parser,
    Part,
    Simple,
    Unsupported,
    Word,
    tokens,
)

__all__ = ["Interpreter", "Output", "Unsupported"]
Output = tuple[str, str, int]
"""stdout, stderr, exit code."""
MOST_STEPS = 10_000
"""Commands that one script may run."""


class _Exit(Exception):
    pass


class Interpreter:
    """Runs scripts. ``run`` carries out a command; ``read`` gives a file's text, None if there is none; ``find`` the
    path of a program, None if there is none."""

    def __init__(
        self,
        run: Callable[[list[str]], Output],
        read: Callable[[str], str | None],
        find: Callable[[str], str | None],
        name: str = "sh",
    ) -> None:
        self._command, self._read, self._find, self._name = run, read, find, name
        self._variables: dict[str, str] = {}
        self._input: list[str] = []
        self._out: list[str] = []
        self._err: list[str] = []
        self._code = self._steps = 0

    def script(self, text: str) -> Output:
        """Raises Unsupported, and what ``run`` raises."""
        commands = Parser(tokens(text)).whole()
        with contextlib.suppress(_Exit):
            self._all(commands)
        return "".join(self._out), "".join(self._err), self._code

    def _all(self, commands: Commands) -> int:
        separator = ";"
        for node in commands:
            if separator == ";" or (separator == "&&") == (self._code == 0):
                self._node(node)
            separator = node.separator
        return self._code

    def _node(self, node: Node) -> None:
        before = self._input
        if node.file is not None:
            name = self._text(node.file)
            text = self._read(name)
            if text is None:
                self._err.append(f"{self._name}: can't open {name}: no such file\n")
                self._code = 1
                return
            self._input = text.splitlines()
        self._run(node.command)
        self._input = before
        if node.negated:
            self._code = int(self._code == 0)

    def _run(self, command: Simple | Loop | If | Case | Commands) -> None:
        if isinstance(command, Simple):
            self._simple(command)
        elif isinstance(command, Loop):
            code = 0
            while (self._all(command.condition) == 0) != command.until:
                code = self._all(command.body)
            self._code = code
        elif isinstance(command, If):
            for condition, body in command.branches:
                if self._all(condition) == 0:
                    self._all(body)
                    return
            self._code = 0
            self._all(command.otherwise)
        elif isinstance(command, Case):
            word = self._text(command.word)
            self._code = 0
            for patterns, body in command.items:
                if any(fnmatchcase(word, self._pattern(each)) for each in patterns):
                    self._all(body)
                    return
        else:
            self._all(command)

    def _simple(self, command: Simple) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Unsupported(f"more than {MOST_STEPS} commands in one script")
        words = [field for word in command.words for field in self._fields(word)]
        if not words:
            self._variables.update({name: self._text(value) for name, value in command.assignments})
            self._code = 0
            return
        if words[0] == "exit":
            self._code = int(words[1]) & 255 if words[1:] and words[1].isdecimal() else self._code
            raise _Exit
        if words[0] == "read":
            self._code = self._read_line([word for word in words[1:] if word != "-r"])
            return
        out, err, self._code = self._found(words) if words[:2] == ["command", "-v"] else self._command(words)
        self._out += [] if ">" in command.silent else [out]
        self._err += [] if "2>" in command.silent else [err]

    def _found(self, words: list[str]) -> Output:
        path = self._find(words[2]) if len(words) > 2 else None
        return ("", "", 127) if path is None else (f"{path}\n", "", 0)

    def _read_line(self, names: list[str]) -> int:
        line = self._input.pop(0) if self._input else None
        fields = (line or "").strip(" \t").split(None, max(len(names) - 1, 0))
        for index, name in enumerate(names):
            self._variables[name] = fields[index] if index < len(fields) else ""
        return int(line is None)

    def _value(self, part: Part) -> str:
        if not part.variable:
            return part.text
        return str(self._code) if part.text == "?" else self._variables.get(part.text, "")

    def _text(self, word: Word) -> str:
        return "".join(map(self._value, word.parts))

    def _pattern(self, word: Word) -> str:
        return "".join(
            re.sub(r"[*?\[]", r"[\g<0>]", self._value(part)) if part.quoted else self._value(part)
            for part in word.parts
        )

    def _fields(self, word: Word) -> list[str]:
        """The word expanded: what an unquoted variable holds is split at blanks."""
        fields, open_field = list[str](), False
        for part in word.parts:
            text = self._value(part)
            if not part.quoted and not part.variable and text in ("*", "?"):
                raise Unsupported("patterns of file names")
            pieces = text.split() if part.variable and not part.quoted else [text]
            for index, piece in enumerate(pieces):
                if open_field and index == 0:
                    fields[-1] += piece
                else:
                    fields.append(piece)
            open_field = open_field or bool(pieces)
        return fields
