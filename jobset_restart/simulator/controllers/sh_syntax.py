"""What scripts of ``sh`` are made of: tokens and commands, read before anything is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_OPERATOR = re.compile(r";;|&&|\|\||[;&|()<\n]|2?>(?:&1)?")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\}|(\?))", re.ASCII)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)
_PLAIN = re.compile(r"[^\s;&|()<>'\"\\$`*?\[#]+|[*?\[#]")
_CLOSING = frozenset({"do", "done", "then", "elif", "else", "fi", "esac", "}"})


class Unsupported(Exception):
    """The script says something that is not in the subset; the message says what."""


class Part(NamedTuple):
    """A piece of a word: text, or a variable's name; ``quoted`` keeps it from being split or a pattern."""

    text: str
    variable: bool
    quoted: bool


class Word(NamedTuple):
    parts: tuple[Part, ...]

    @property
    def plain(self) -> str:
        """The word if nothing in it is quoted or a variable, else ""."""
        return "" if any(each.quoted or each.variable for each in self.parts) else "".join(p.text for p in self.parts)


Token = Word | str
"""Operators are strings."""


class Simple(NamedTuple):
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    silent: frozenset[str]
    """The streams that go to /dev/null: ">", "2>"."""


class Loop(NamedTuple):
    condition: Commands
    body: Commands
    until: bool


class If(NamedTuple):
    branches: tuple[tuple[Commands, Commands], ...]
    otherwise: Commands


class Case(NamedTuple):
    word: Word
    items: tuple[tuple[tuple[Word, ...], Commands], ...]


class Node(NamedTuple):
    """A command, the file it reads, whether its status is turned round, and what separates it from the next."""

    command: Simple | Loop | If | Case | tuple[Node, ...]
    file: Word | None
    negated: bool
    separator: str


Commands = tuple[Node, ...]


def tokens(text: str) -> list[Token]:
    """The script's words and operators. Raises Unsupported."""
    found: list[Token] = []
    parts: list[Part] | None = None
    at = 0
    while at <= len(text):
        char = text[at : at + 1]
        operator = _OPERATOR.match(text, at)
        if operator and operator[0].startswith("2") and parts is not None:
            operator = None  # a word that ends in 2
        if not char or char in " \t\r" or operator:
            if parts is not None:
                found.append(Word(tuple(parts)))
            parts = None
            if operator:
                found.append(operator[0])
            at += len(operator[0]) if operator else 1
        elif char == "#" and parts is None:
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        else:
            parts = [] if parts is None else parts
            at = _piece(text, at, parts)
    return found


def _piece(text: str, at: int, parts: list[Part]) -> int:
    """Take one piece of a word; returns where the next begins."""
    char = text[at]
    if char == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise Unsupported("a quote that does not end")
        parts.append(Part(text[at + 1 : end], False, True))
        return end + 1
    if char == '"':
        return _quoted(text, at + 1, parts)
    if char == "\\":
        if text[at + 1 : at + 2] != "\n":
            parts.append(Part(text[at + 1 : at + 2], False, True))
        return at + 2
    if char in "$`":
        return _substituted(text, at, parts, quoted=False)
    plain = _PLAIN.match(text, at)
    assert plain is not None
    parts.append(Part(plain[0], False, False))
    return plain.end()


def _quoted(text: str, at: int, parts: list[Part]) -> int:
    parts.append(Part("", False, True))
    while at < len(text) and text[at] != '"':
        if text[at] in "$`":
            at = _substituted(text, at, parts, quoted=True)
        elif text[at] == "\\" and text[at + 1 : at + 2] in tuple('$`"\\'):
            parts.append(Part(text[at + 1], False, True))
            at += 2
        else:
            parts.append(Part(text[at], False, True))
            at += 1
    if at >= len(text):
        raise Unsupported("a quote that does not end")
    return at + 1


def _substituted(text: str, at: int, parts: list[Part], *, quoted: bool) -> int:
    found = _VARIABLE.match(text, at)
    if found:
        parts.append(Part(found[1] or found[2] or found[3], True, quoted))
        return found.end()
    if text[at] == "$" and not text[at + 1 : at + 2].strip():
        parts.append(Part("$", False, quoted))
        return at + 1
    raise Unsupported(f"the substitution {text[at : at + 20]!r}")


class Parser:
    """Reads commands from tokens, by recursive descent. Raises Unsupported."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens, self._at = found, 0

    def whole(self) -> Commands:
        commands = self._commands()
        if self._at < len(self._tokens):
            raise Unsupported(f"{self._shown()} where a command should begin")
        return commands

    def _next(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _plain(self) -> str:
        found = self._next()
        return found.plain if isinstance(found, Word) else ""

    def _shown(self) -> str:
        found = self._next()
        return repr(found if isinstance(found, str) else "".join(each.text for each in found.parts))

    def _take(self, *wanted: str) -> str:
        found = self._next()
        text = found if isinstance(found, str) else found.plain
        if text not in wanted:
            raise Unsupported(f"{self._shown()} where {wanted[0]!r} should be")
        self._at += 1
        return text

    def _word(self) -> Word:
        found = self._next()
        if not isinstance(found, Word):
            raise Unsupported(f"{self._shown()} where a word should be")
        self._at += 1
        return found

    def _lines(self) -> None:
        while self._next() in ("\n", ";") and self._at < len(self._tokens):
            self._at += 1

    def _commands(self) -> Commands:
        found: list[Node] = []
        self._lines()
        while isinstance(self._next(), Word) and self._plain() not in _CLOSING:
            command, file, negated = self._command()
            separator = self._take("&&", "||") if self._next() in ("&&", "||") else ";"
            ends = separator == ";" and self._next() not in ("\n", ";")
            found.append(Node(command, file, negated, separator))
            self._lines()
            if ends:
                break
        return tuple(found)

    def _command(self) -> tuple[Simple | Loop | If | Case | Commands, Word | None, bool]:
        negated = self._plain() == "!"
        self._at += negated
        word = self._plain()
        compound: dict[str, Callable[[], If | Loop | Case | Commands]] = {
            "{": self._group,
            "if": self._if,
            "while": self._loop,
            "until": self._loop,
            "case": self._case,
        }
        if word in ("for", "function", "select", "[["):
            raise Unsupported(f"{word!r}")
        if word not in compound:
            command, file = self._simple()
            return command, file, negated
        self._at += 1
        found = compound[word]()
        file = None
        while self._next() == "<":
            self._at += 1
            file = self._word()
        return found, file, negated

    def _group(self) -> Commands:
        commands = self._commands()
        self._take("}")
        return commands

    def _loop(self) -> Loop:
        until = self._tokens[self._at - 1] == Word((Part("until", False, False),))
        condition = self._commands()
        self._take("do")
        body = self._commands()
        self._take("done")
        return Loop(condition, body, until)

    def _if(self) -> If:
        branches: list[tuple[Commands, Commands]] = []
        otherwise: Commands = ()
        word = "elif"
        while word == "elif":
            condition = self._commands()
            self._take("then")
            branches.append((condition, self._commands()))
            word = self._take("fi", "elif", "else")
        if word == "else":
            otherwise = self._commands()
            self._take("fi")
        return If(tuple(branches), otherwise)

    def _case(self) -> Case:
        word, items = self._word(), list[tuple[tuple[Word, ...], Commands]]()
        self._take("in")
        self._lines()
        while self._plain() != "esac":
            if self._next() == "(":
                self._at += 1
            patterns = [self._word()]
            while self._next() == "|":
                self._at += 1
                patterns.append(self._word())
            self._take(")")
            items.append((tuple(patterns), self._commands()))
            if self._next() == ";;":
                self._at += 1
            self._lines()
        self._at += 1
        return Case(word, tuple(items))

    def _simple(self) -> tuple[Simple, Word | None]:
        assignments, words, silent = list[tuple[str, Word]](), list[Word](), set[str]()
        file: Word | None = None
        while True:
            found = self._next()
            if isinstance(found, Word):
                self._at += 1
                first = found.parts[0] if found.parts else Part("", False, True)
                name = None if words or first.quoted or first.variable else _ASSIGNMENT.match(first.text)
                if name:
                    rest = Part(first.text[name.end() :], False, False)
                    assignments.append((name[1], Word((rest, *found.parts[1:]))))
                else:
                    words.append(found)
            elif found == "<":
                self._at += 1
                file = self._word()
            elif found in (">", "2>"):
                self._at += 1
                if self._word().plain != "/dev/null":
                    raise Unsupported("output into a file")
                silent.add(str(found))
            elif found in ("|", "&", "(", ">&1", "2>&1"):
                raise Unsupported(repr(found))
            else:
                return Simple(tuple(assignments), tuple(words), frozenset(silent)), file
