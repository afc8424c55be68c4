"""What ``exec`` runs in a container.

Known programs: ``sh`` (``bash`` where the image has it; ``sh.py`` says how far it goes), ``echo``, ``true``, ``false``,
``sleep`` (which takes no time), ``cat`` of what the kernel tells of its processes (status, stat, children, wchan and
more), ``hostname``, ``env``, ``printenv``, ``ps``, ``id``, ``pwd``, ``date``, ``kill``, ``prlimit --pid 1 --cpu=N``,
``touch``, ``rm`` and ``test``, and ``py-spy dump`` where a training's image has it. Other well-known programs, and what
would do something to other processes, are refused in words (501); what nobody knows is not found (127). One script is
answered without being run (``training/look.py``).

Images called ``distroless``, ``scratch``, ``pause`` or ``in-place-restart-agent`` have no programs but their own.
Busybox and alpine have neither ``bash`` nor ``prlimit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

from jobset_restart.simulator.controllers.containers import Container
from jobset_restart.simulator.controllers.environment import environment, hostname
from jobset_restart.simulator.controllers.files import Act
from jobset_restart.simulator.controllers.images import last_part
from jobset_restart.simulator.controllers.programs import SHELLS, number
from jobset_restart.simulator.controllers.runtime import Runtime
from jobset_restart.simulator.controllers.sh import Interpreter, Output, Unsupported
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.training.look import MARK, answer
from jobset_restart.simulator.training.trainings import PYSPY

_BARE = frozenset({"scratch", "pause", "in-place-restart-agent"})
_SMALL = frozenset({"busybox", "alpine", "agent"})
_OTHERS = (
    "pkill killall killall5 nsenter reboot poweroff halt strace gdb timeout nohup ls tar cp mv mkdir grep sed "
    "awk head tail wc find top df du free mount which stat ln dd nc wget curl vi nvidia-smi python python3"
)
_ELSEWHERE = frozenset(_OTHERS.split())
_BUILTINS = frozenset({":", "[", "exit", "read", "command"})
"""What a shell has and no directory of programs need have."""


def has_bash(reference: str) -> bool:
    return last_part(reference) not in _SMALL


class Shell:
    """Runs one command in a container at ``now``; what it does to PID 1, it does through the runtime."""

    def __init__(self, runtime: Runtime, pod: Obj, spec: Obj, container: Container, now: float) -> None:
        self._runtime, self._pod, self._spec, self._container, self._now = runtime, pod, spec, container, now
        self._commands: dict[str, Callable[[tuple[str, ...]], Output]] = {
            "echo": lambda rest: (" ".join(word for word in rest if word != "-n") + "\n" * ("-n" not in rest), "", 0),
            "true": lambda _rest: ("", "", 0),
            ":": lambda _rest: ("", "", 0),
            "sleep": lambda _rest: ("", "", 0),
            "false": lambda _rest: ("", "", 1),
            "hostname": lambda _rest: (hostname(self._pod) + "\n", "", 0),
            "id": lambda _rest: ("uid=0(root) gid=0(root)\n", "", 0),
            "pwd": lambda _rest: ("/\n", "", 0),
            "date": lambda _rest: (date(self._now), "", 0),
            "env": self._env,
            "printenv": self._env,
            "cat": self._cat,
            "touch": lambda rest: self._files(rest, "touch"),
            "rm": self._files,
            "test": self._test,
            "[": self._test,
            "ps": self._ps,
            "kill": self._kill,
        }
        self._view = runtime.view(container, now)
        if self._has(PYSPY):
            self._commands["py-spy"] = self._py_spy
        if has_bash(container.reference):
            self._commands["prlimit"] = self._prlimit

    def run(self, command: list[str]) -> Output:
        """stdout, stderr and exit code. Raises StoreError: 500 as runc fails, 501 for what is not modelled."""
        name, rest = command[0].rpartition("/")[2], tuple(command[1:])
        bare = "distroless" in self._container.reference or last_part(self._container.reference) in _BARE
        if name in SHELLS and not bare and (name in ("sh", "ash") or has_bash(self._container.reference)):
            if len(rest) < 2 or rest[0] not in ("-c", "-ec", "-xc", "-lc"):
                raise _unknown(" ".join(command))
            return self._script(name, rest[1])
        if bare or not self._known(name):
            raise _not_found(command[0], self._container.id)
        return self._commands[name](rest)

    def _known(self, name: str) -> bool:
        if name in _ELSEWHERE:
            raise _unknown(name)
        return name in self._commands and name not in _BUILTINS

    def _script(self, shell: str, text: str) -> Output:
        if MARK in text:
            ahead = self._runtime.clock(str(self._pod["spec"].get("nodeName")), self._now)
            return answer(self._view, self._now + ahead, "py-spy" in self._commands), "", 0

        def simple(words: list[str]) -> Output:
            name = words[0].rpartition("/")[2]
            if words[0] in _BUILTINS or self._known(name):
                return self._commands[name](tuple(words[1:]))
            return "", f"{shell}: {words[0]}: not found\n", 127

        try:
            return Interpreter(simple, self._proc, self._path, shell).script(text)
        except Unsupported as error:
            raise _unknown(f"{error} in {text}") from None

    def _path(self, name: str) -> str | None:
        if name in _BUILTINS:
            return name
        return f"/usr/bin/{name}" if name in self._commands else None

    def _proc(self, path: str) -> str | None:
        """The text of a file, as far as there is any that is known."""
        if path.startswith(("/proc/", "/sys/")):
            return self._view.read(path)
        return hostname(self._pod) + "\n" if path == "/etc/hostname" else None

    def _cat(self, rest: tuple[str, ...]) -> Output:
        try:
            texts = [self._proc(path) for path in rest]
        except PermissionError as error:
            return "", f"cat: read error: {error}\n", 1
        if not texts or None in texts:
            raise _unknown(" ".join(("cat", *rest)))
        return "".join(text or "" for text in texts), "", 0

    def _files(self, rest: tuple[str, ...], verb: str = "rm") -> Output:
        paths = tuple(word for word in rest if word[:1] != "-")
        done = self._runtime.files.do(Act(verb, paths), self._container.mounts)
        self._runtime.trainings.touched(self._container.id, paths, verb == "touch", self._now)
        return "", "", int(not done)

    def _has(self, path: str) -> bool:
        return self._runtime.files.do(Act("test", (path,)), self._container.mounts)

    def _py_spy(self, rest: tuple[str, ...]) -> Output:
        if rest == ("--version",):
            return "py-spy 0.4.3\n", "", 0
        try:
            if rest[:1] != ("dump",):
                raise ValueError(" ".join(rest))
            return self._view.dump(rest[1:])
        except ValueError as error:
            raise _unknown(f"py-spy {error}") from None

    def _test(self, rest: tuple[str, ...]) -> Output:
        """``test`` of strings and files."""
        words = rest[:-1] if rest[-1:] == ("]",) else rest
        match words:
            case ("-f" | "-e", path):
                return "", "", int(self._proc(path) is None and not self._has(path))
            case ("-n" | "-z" as flag, text):
                return "", "", int((flag == "-z") == bool(text))
            case (left, "=" | "!=" as operator, right):
                return "", "", int((left == right) != (operator == "="))
            case (text,):
                return "", "", int(not text)
        raise _unknown(" ".join(("test", *words)))

    def _env(self, rest: tuple[str, ...]) -> Output:
        own = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": hostname(self._pod)}
        values = own | {"HOME": "/root"} | environment(self._spec, self._pod)
        if rest:
            return (values[rest[0]] + "\n", "", 0) if rest[0] in values else ("", "", 1)
        return "".join(f"{name}={value}\n" for name, value in values.items()), "", 0

    def _ps(self, _rest: tuple[str, ...]) -> Output:
        lines = ["PID   USER     TIME  COMMAND"]
        lines += [f"{each.pid:5} root      0:00 {each.main.comm}" for each in self._view.processes]
        return "\n".join([*lines, ""]), "", 0

    def _kill(self, rest: tuple[str, ...]) -> Output:
        words = list(rest)
        signal: int | None = 15
        if words[:1] == ["-s"] and len(words) > 1:
            signal, words = number(words[1]), words[2:]
        elif words and re.fullmatch(r"-\w+", words[0]) and len(words) > 1:
            signal, words = number(words[0][1:]), words[1:]
        if words[:1] == ["--"]:
            words = words[1:]
        if signal is None or not words:
            return "", "sh: bad signal name\n" if words else "sh: you need to specify whom to kill\n", 1
        failed = [word for word in words if not self._sent(signal, word)]
        return "", "".join(f"sh: can't kill pid {word}: No such process\n" for word in failed), int(bool(failed))

    def _sent(self, signal: int, whom: str) -> bool:
        """Whether there is such a process. Signals to all (-1) leave PID 1 and the sender out."""
        if whom == "1":
            self._runtime.signal(self._container, signal, self._now)
            return True
        if whom == "-1" and signal in (9, 15):
            return self._runtime.kill_children(self._container, self._now)
        return False

    def _prlimit(self, rest: tuple[str, ...]) -> Output:
        found = re.fullmatch(r"--pid[ =]1 --cpu=(\d+)(?::\d+)?", " ".join(rest))
        if not found:
            raise _unknown(" ".join(("prlimit", *rest)))
        self._runtime.limit_cpu(self._container, float(found[1]), self._now)
        return "", "", 0


def date(now: float) -> str:
    """What ``date`` prints."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%a %b %e %H:%M:%S UTC %Y\n")


def _unknown(what: str) -> StoreError:
    return StoreError(501, "NotImplemented", f"the embedded cluster's containers cannot run this: {what[:200]}")


def _not_found(name: str, container: str) -> StoreError:
    """containerd's answer, as kubelet and API server pass it on."""
    identity = sha256(f"{container}/{name}".encode()).hexdigest()
    why = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    process = f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{name}": {why}: unknown'
    exec_failed = f'failed to exec in container: failed to start exec "{identity}": {process}'
    what = f"error executing command in container: {exec_failed}"
    return StoreError(500, "InternalError", f"Internal error occurred: {what}", {"causes": [{"message": what}]})
