"""What the command in a container said of its processes: see `commands.LOOK`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from sys import intern

from msgspec import Struct, field

MOST_PROCESSES = 16
MOST_THREADS = 32
MOST_FRAMES = 64
USER_TIME, SYSTEM_TIME = 11, 12
"""Where utime and stime stand in /proc/PID/stat behind the name and its parenthesis (proc(5), fields 14 and 15)."""
TICKS = 100
"""They are counted in USER_HZ, which is 100 on every platform that Kubernetes runs on."""
SHARED_CHARACTERS = 8_192
"""Larger stacks are not kept for the next container that prints the same."""
MOST_WORDS = 200
"""Characters that are kept of a name, a frame or an error."""
_FRAME = re.compile(r"(?P<name>.*?) \((?P<file>[^()]*?)(?::\d+)?\)")
_THREAD = re.compile(r"Thread (?:0x)?[0-9A-Fa-f]+ \([^)]*\)(?:: \"(?P<name>.*)\")?")
_STAT = re.compile(r"(?P<pid>\d{1,10}) \((?P<name>.*)\) (?P<state>[A-Za-z])(?: |$)")
_ADDRESS = re.compile(r"0x[0-9A-Fa-f]+")
_DIGITS = re.compile(r"\d+", re.ASCII)

Stack = tuple[str, ...]
"""Frames as "load_batch (train.py)", the innermost first, without lines."""


class Thread(Struct, kw_only=True):
    """A thread as py-spy names it, and its stack."""

    name: str = ""
    stack: Stack = ()


class Process(Struct, kw_only=True):
    """`state` is the kernel's letter; `wchan` where the main thread sleeps in the kernel and `syscall` its number, ""
    where that may not be read; `cpu` the seconds it has computed; `stuck` the names of threads that cannot be
    interrupted (D). `threads` has the main thread first; `error` is what py-spy said instead."""

    pid: int = 0
    parent: int = 0
    name: str = ""
    state: str = ""
    wchan: str = ""
    syscall: str = ""
    cpu: float = 0.0
    stuck: list[str] = []
    threads: list[Thread] = []
    error: str = ""

    @property
    def stack(self) -> Stack:
        """The stack of the main thread."""
        return self.threads[0].stack if self.threads else ()


class Look(Struct, kw_only=True):
    """What was seen in one container. `clock` is its node's time (seconds since the epoch), `uptime` how long that runs
    (seconds), `py_spy` whether there is one, `whole` whether the answer came to its end."""

    clock: float | None = None
    uptime: float = 0.0
    cgroup: dict[str, int] = {}
    processes: list[Process] = field(default_factory=list)
    py_spy: bool = True
    more: bool = False
    whole: bool = False


def read_look(stdout: str) -> Look:
    """The answer of `commands.LOOK`. Whatever is missing or makes no sense is left out; a container can lie about
    itself only."""
    look = Look()
    found: dict[int, Process] = {}
    for title, body in _sections(stdout):
        word, _, rest = title.partition(" ")
        pid = _number(rest)
        if word == "jsr":
            _read_machine(body.split("\n"), look)
        elif word == "process" and pid and len(found) < MOST_PROCESSES:
            found[pid] = _read_process(pid, body.split("\n"))
        elif word == "py-spy" and pid in found:
            found[pid].threads, found[pid].error = _read_dump(body)
        elif word == "hangs" and pid in found:
            found[pid].threads, found[pid].error = [], "py-spy did not end and was stopped"
        look.py_spy = look.py_spy and title != "no py-spy"
        look.more = look.more or word == "more"
        look.whole = look.whole or word == "end"
    look.processes = list(found.values())
    return look


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """The title and the lines of each."""
    for section in f"\n{text}".split("\n="):
        title, _, body = section.partition("\n")
        yield title[:MOST_WORDS], body


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else 0


def _seconds(text: str) -> float:
    whole, _, part = text.partition(".")
    return _number(whole) + _number(part[:2]) / 100


def _read_machine(lines: list[str], look: Look) -> None:
    for line in lines[:100]:
        word, _, rest = line.partition(" ")
        if word == "now" and _number(rest):
            look.clock = float(_number(rest))
        elif word == "uptime":
            look.uptime = _seconds(rest.partition(" ")[0])
        elif word == "cgroup":
            name, _, value = rest.partition(" ")
            look.cgroup[intern(name[:MOST_WORDS])] = _number(value)


def _read_process(pid: int, lines: list[str]) -> Process:
    process = Process(pid=pid)
    for line in lines[:200]:
        word, _, rest = line[: 2 * MOST_WORDS].partition(" ")
        rest = rest.strip()
        if word == "Name:":
            process.name = intern(rest[:MOST_WORDS])
        elif word == "State:":
            process.state = intern(rest[:1])
        elif word == "PPid:":
            process.parent = _number(rest)
        elif word == "wchan":
            process.wchan = intern("" if rest == "0" else rest[:MOST_WORDS])
        elif word == "syscall":
            process.syscall = intern(rest.split(" ")[0][:MOST_WORDS])
        elif word == "stat":
            used = rest.rpartition(") ")[2].split(" ")[USER_TIME : SYSTEM_TIME + 1]
            process.cpu = sum(map(_number, used)) / TICKS
        elif word == "thread":
            _, _, stat = rest.partition(" ")
            found = _STAT.match(stat)
            if found and found["state"] == "D":
                process.stuck.append(intern(found["name"][:MOST_WORDS]))
    return process


def _read_dump(text: str) -> tuple[list[Thread], str]:
    """The threads of a dump by py-spy, the main one first, or what it said instead."""
    parts = f"\n{text}".split("\nThread ")
    threads: list[Thread] = []
    for part in parts[1 : 1 + MOST_THREADS]:
        head, _, rest = part.partition("\n")
        stack = _read_stack(rest) if len(rest) <= SHARED_CHARACTERS else _read_stack.__wrapped__(rest)
        if stack:
            found = _THREAD.match(f"Thread {head[:MOST_WORDS]}")
            threads.append(Thread(name=intern(found["name"] or "") if found else "", stack=stack))
    threads.sort(key=lambda thread: thread.name != "MainThread")
    if threads:
        return threads, ""
    said = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith(("Process ", "Python "))]
    return [], " ".join(said)[:MOST_WORDS] or "py-spy said nothing"


@lru_cache(maxsize=1024)
def _read_stack(text: str) -> Stack:
    """The frames of a thread. Thousands of ranks that stand at one place print the same."""
    frames = (line for line in text.split("\n") if line.startswith("    "))
    return tuple(_frame(line.strip()[:MOST_WORDS]) for line in islice(frames, MOST_FRAMES))


@lru_cache(maxsize=16_384)
def _frame(text: str) -> str:
    """ "load_batch (train.py:18)" without its line, which moves within a function while it works."""
    found = _FRAME.fullmatch(text)
    return intern(_ADDRESS.sub("0x", f"{found['name']} ({found['file']})" if found else text))


@lru_cache(maxsize=1024)
def alike(stack: Stack) -> Stack:
    """The stack as it is compared: ranks and other numbers in names do not tell two apart."""
    return tuple(map(_without_numbers, stack))


@lru_cache(maxsize=16_384)
def _without_numbers(frame: str) -> str:
    return intern(_DIGITS.sub("#", frame))
