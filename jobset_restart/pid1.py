"""What PID 1 of a container is, and what makes it exit, from inside. Pure.

The kernel drops default-action signals that a process of the same PID namespace sends to PID 1 (pid_namespaces(7)):
without a handler neither TERM nor KILL does anything. So the means is chosen by what PID 1 is, and the command that
sends it looks again before it does.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Iterable

from msgspec import Struct

from jobset_restart.objects import Pod
from jobset_restart.writes import Exec, pod_path

NOT_CAUGHT = 97
REFUSALS = ((NOT_CAUGHT, "PID 1 does not handle the signal"),)
SURVIVED = 96
SURVIVALS = ((SURVIVED, "PID 1 survives whatever can be done from inside"),)
SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"})
STOP_SIGNALS = ("TERM", "QUIT", "USR1", "WINCH")
SYSTEMD_STOPS = 37
"""SIGRTMIN+3, by which systemd ends as PID 1 (systemd(1))."""
KILLS = 3
CLOCK_TICKS = 100
UTIME, STIME = 11, 12
"""Where user and system time stand in /proc/PID/stat after the name (proc_pid_stat(5): fields 14 and 15)."""

PROBE_COMMAND = (
    "sh",
    "-c",
    "cat /proc/1/status /proc/1/stat /proc/1/task/1/children; command -v prlimit || :",
)
"""Prints what the kernel tells of PID 1 (proc(5)), its children's PIDs, and the path of prlimit if there is one."""

MOST_TEXT = 64 * 1024
"""Characters of an answer that are looked at: the three files have about 2,000."""
NAME_LENGTH = 64
"""Characters of a name that are kept: the kernel has 15, and 63 of its own threads (proc_task_name)."""
_NAME = re.compile(r"^Name:\t(.*)$", re.MULTILINE)
_CAUGHT = re.compile(r"^SigCgt:\t([0-9a-f]{1,32})$", re.MULTILINE)
_STAT = re.compile(r"^1 \(", re.MULTILINE)
_TICKS = re.compile(r"\d{1,20}", re.ASCII)


class Probe(Struct, frozen=True, kw_only=True):
    """What was found in a container. `error` is set where it could not be looked into (no shell, exec refused).

    `caught` is the mask of signals PID 1 handles (SigCgt of /proc/1/status), `cpu` the seconds it has computed,
    `children` how many processes it has.
    """

    name: str = ""
    caught: int = 0
    cpu: float = 0.0
    children: int = 0
    prlimit: bool = False
    error: str = ""

    def catches(self, signal: str) -> bool:
        return bool(self.caught >> (number(signal) - 1) & 1)


class Means(Struct, frozen=True):
    """How PID 1 is made to exit: a signal it catches ("TERM"), "children" or "cpu"; and the exit code to expect."""

    how: str
    exit_code: int


def number(signal: str) -> int:
    """The number of a signal by name ("TERM", "SIGTERM") or number. Raises ValueError where there is none."""
    try:
        if signal.isascii() and signal.isdecimal():
            return int(signals.Signals(int(signal[:9])))
        return int(signals.Signals["SIG" + signal.upper().removeprefix("SIG")])
    except (KeyError, ValueError):
        raise ValueError(f"{signal!r} is not a signal") from None


def read_probe(stdout: str) -> Probe:
    """What the probe command printed: /proc/1/status, /proc/1/stat, /proc/1/task/1/children, and the path of prlimit.

    A process names itself as it likes: the name in `stat` ends with the last parenthesis. An answer in which
    something is missing becomes a Probe with an error.
    """
    status, _, rest = _parted(stdout[:MOST_TEXT])
    name, caught = _NAME.search(status), _CAUGHT.search(status)
    line, _, after = rest.rpartition(")")[2].partition("\n")
    ticks = line.split()[UTIME : STIME + 1]
    if name is None or caught is None or len(ticks) < 2 or not all(map(_TICKS.fullmatch, ticks)):
        return Probe(error="the container's shell does not tell what PID 1 is")
    words = after.split()
    return Probe(
        name=name[1][:NAME_LENGTH],
        caught=int(caught[1], 16),
        cpu=sum(map(int, ticks)) / CLOCK_TICKS,
        children=sum(1 for word in words if _TICKS.fullmatch(word)),
        prlimit=any(word.rpartition("/")[2] == "prlimit" for word in words),
    )


def _parted(text: str) -> tuple[str, str, str]:
    """The text before the line of `stat`, that line's beginning, and what follows it."""
    caught = _CAUGHT.search(text)
    found = _STAT.search(text, caught.end()) if caught else None
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def means(probe: Probe, wanted: str = "") -> Means | None:
    """The means that makes this PID 1 exit, None where there is none.

    A wanted signal is taken if it is caught. Else TERM, INT (Python catches it by default; a shell catches it too, but
    does not die of it), the death of a shell's children, then the kernel's own KILL through a CPU limit, which only a
    PID 1 that computes meets.
    """
    if probe.error:
        return None
    if wanted:
        return Means(wanted.upper().removeprefix("SIG"), 128 + number(wanted)) if probe.catches(wanted) else None
    shell = probe.name in SHELLS
    for name in ("TERM",) if shell else ("TERM", "INT"):
        if probe.catches(name):
            return Means(name, 128 + number(name))
    if shell and probe.children:
        return Means("children", 137)
    if probe.prlimit and probe.cpu > 1:
        return Means("cpu", 137)
    return None


def deaf(probe: Probe) -> bool:
    """Whether PID 1 does not even notice that it is told to stop: it catches neither TERM nor any other signal that
    images name in its place (STOPSIGNAL). Then a grace period is waited for in vain."""
    other = probe.caught >> (SYSTEMD_STOPS - 1) & 1
    return not probe.error and not other and not any(probe.catches(name) for name in STOP_SIGNALS)


def measures(probe: Probe) -> tuple[str, ...]:
    """All that may make this PID 1 end from inside, the mildest first: signals it catches, the death of everything else
    in the container, and the kernel's own KILL through a CPU limit, which meets a PID 1 that computes."""
    if probe.error:
        return ()
    signals_ = ("TERM",) if probe.name in SHELLS else ("TERM", "INT")
    found = [name for name in signals_ if probe.catches(name)]
    found += ["children"] if probe.children else []
    found += ["cpu"] if probe.prlimit and probe.cpu > 1 else []
    return tuple(found)


def force(chosen: Iterable[str]) -> tuple[str, ...]:
    """The command that takes these measures one after the other, a second apart. It ends with the container, or exits
    with SURVIVED. Killing the children is done again and again: a script goes on with its next command."""
    steps = []
    for measure in chosen:
        if measure == "children":
            steps += ["kill -9 -1", "sleep 1"] * KILLS
        elif measure == "cpu":
            steps += ["prlimit --pid 1 --cpu=1:1", "sleep 2"]
        else:
            steps += [f"kill -{number(measure)} 1", "sleep 1"]
    return ("sh", "-c", "; ".join([*steps, f"exit {SURVIVED}"]))


def command(chosen: Means, process: int = 1) -> tuple[str, ...]:
    """The command that applies the means to PID 1 (a test's: to another process). It exits with NOT_CAUGHT, having
    done nothing, where the signal is no longer caught.

    It is made of what every POSIX shell has built in. Whether a signal is caught stands in one hexadecimal digit of
    SigCgt, which a pattern of the shell can tell.
    """
    if chosen.how == "children":
        return ("sh", "-c", "kill -9 -1")
    if chosen.how == "cpu":
        return ("prlimit", "--pid", "1", "--cpu=1:1")
    place, bit = divmod(number(chosen.how) - 1, 4)
    digits = "".join(f"{digit:x}" for digit in range(16) if digit >> bit & 1)
    send = f"kill -{number(chosen.how)} {process}; exit"
    looked = f'while read -r l; do case "$l" in SigCgt:*[{digits}]{"?" * place}) {send};; esac; done'
    return ("sh", "-c", f"{looked} </proc/{process}/status; exit {NOT_CAUGHT}")


def probe(pod: Pod, container: str) -> Exec:
    """The exec that looks at PID 1 of the container."""
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    return Exec(path=path, container=container, command=PROBE_COMMAND)
