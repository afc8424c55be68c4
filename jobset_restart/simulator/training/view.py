"""What ``cat /proc/...`` and ``py-spy dump`` show of the processes of a rank."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from jobset_restart.simulator.training.processes import Process, Thread

_PATH = re.compile(r"/proc/(\d+)/(?:task/(\d+)/)?(\w+)")
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk sleep",
    "T": "stopped",
    "Z": "zombie",
}
_CALLS = {
    "futex_do_wait": 202,
    "hrtimer_nanosleep": 230,
    "do_poll": 7,
    "ep_poll": 232,
    "do_wait": 61,
    "folio_wait_bit_common": 0,
    "rpc_wait_bit_killable": 0,
    "request_wait_answer": 262,
    "wait_woken": 45,
    "nv_ioctl_wait": 16,
}
"""System calls (x86_64) in which these kernel functions are waited in."""
FILES = ("children", "cmdline", "comm", "stat", "status", "syscall", "wchan")
TICKS = 100
BOOTED = 86_400
"""Seconds a machine has run when a container starts on it."""
DENIED = "Permission denied"
Output = tuple[str, str, int]


class View:
    """The processes of one container, and what the kernel lets others see of them. ``caught`` is SigCgt by process,
    ``age`` how many seconds ago PID 1 was started, ``cgroup`` the version that is mounted, ``throttled`` for how many
    seconds the CPU limit has held them back."""

    def __init__(
        self,
        found: Sequence[Process],
        *,
        age: float,
        caught: Mapping[int, int],
        denied: bool = False,
        cgroup: int = 2,
        throttled: float = 0.0,
    ) -> None:
        self._age, self._caught, self._denied, self._version = age, caught, denied, cgroup
        self._throttled = throttled
        self._processes = {each.pid: each for each in found}

    def paths(self) -> list[str]:
        """Every file there is of them."""
        found = ["/proc/uptime", *(f"/sys/fs/cgroup/{name}" for name in self._cgroups())]
        for process in self._processes.values():
            here = f"/proc/{process.pid}"
            found += [f"{here}/{name}" for name in FILES[1:]]
            for thread in process.threads:
                found += [f"{here}/task/{thread.tid}/{name}" for name in FILES if name != "cmdline"]
        return found

    @property
    def processes(self) -> Sequence[Process]:
        return tuple(self._processes.values())

    def read(self, path: str) -> str | None:
        """The text of a file; None where there is none. Raises PermissionError where the kernel does not let it."""
        if path.startswith("/sys/fs/cgroup/"):
            return self._cgroups().get(path.removeprefix("/sys/fs/cgroup/"))
        if path == "/proc/uptime":
            return f"{BOOTED + self._age:.2f} {2 * self._age:.2f}\n"
        found = _PATH.fullmatch(path)
        process = self._processes.get(int(found[1])) if found else None
        if found is None or process is None:
            return None
        tid = int(found[2] or process.pid)
        thread = next((each for each in process.threads if each.tid == tid), None)
        return None if thread is None else self._file(process, thread, found[3], bool(found[2]))

    def _file(self, process: Process, thread: Thread, name: str, of_task: bool) -> str | None:
        match name:
            case "comm":
                return f"{thread.comm}\n"
            case "cmdline":
                return "".join(f"{word}\0" for word in process.words)
            case "wchan":
                return "0" if self._denied else thread.wchan
            case "syscall":
                if self._denied:
                    raise PermissionError(DENIED)
                return _syscall(thread)
            case "stat":
                return _stat(process, thread)
            case "status":
                return self._status(process, thread)
            case "children" if of_task:
                mine = (each.pid for each in self._processes.values() if each.parent == process.pid)
                return "".join(f"{pid} " for pid in mine if thread is process.main)
        return None

    def _status(self, process: Process, thread: Thread) -> str:
        lines: dict[str, object] = {
            "Name": thread.comm,
            "Umask": "0022",
            "State": f"{thread.state} ({_STATES[thread.state]})",
            "Tgid": process.pid,
            "Ngid": 0,
            "Pid": thread.tid,
            "PPid": process.parent,
            "TracerPid": 0,
            "Uid": "0\t0\t0\t0",
            "Gid": "0\t0\t0\t0",
            "VmRSS": "   15532 kB",
            "Threads": len(process.threads),
        }
        lines |= dict.fromkeys(("SigPnd", "ShdPnd", "SigBlk", "SigIgn"), "0" * 16)
        lines["SigCgt"] = f"{self._caught.get(process.pid, 0):016x}"
        lines |= {"voluntary_ctxt_switches": int(process.cpu * 9), "nonvoluntary_ctxt_switches": int(process.cpu * 4)}
        return "".join(f"{key}:\t{value}\n" for key, value in lines.items())

    def _cgroups(self) -> dict[str, str]:
        used = sum(each.cpu for each in self._processes.values())
        quota = f"nr_periods {self._throttled and self._age * 10:.0f}\nnr_throttled {self._throttled * 10:.0f}\n"
        if self._version == 2:
            micro = int(used * 1e6)
            lines = f"usage_usec {micro}\nuser_usec {micro * 20 // 21}\nsystem_usec {micro // 21}\n"
            return {
                "cpu.stat": f"{lines}{quota}throttled_usec 0\n",
                "memory.current": "14241792\n",
                "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
            }
        return {
            "cpuacct/cpuacct.usage": f"{int(used * 1e9)}\n",
            "cpuacct/cpuacct.stat": f"user {int(used * TICKS)}\nsystem {int(used * TICKS) // 20}\n",
            "cpu/cpu.stat": f"{quota}throttled_time 0\n",
            "memory/memory.usage_in_bytes": "14241792\n",
            "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        }

    # py-spy

    def dump(self, words: Sequence[str]) -> Output:
        """``py-spy dump --pid PID [--nonblocking] [--json]``, as version 0.4 answers. Raises ValueError for what is
        not modelled."""
        options = [word for word in words if word not in ("--nonblocking", "-b", "--json", "-j")]
        match options:
            case ["--pid" | "-p", number] if number.isdecimal():
                pid = int(number)
            case [one] if one.startswith("--pid=") and one[6:].isdecimal():
                pid = int(one[6:])
            case _:
                raise ValueError(" ".join(words))
        process = self._processes.get(pid)
        if process is None or process.main.state == "Z" or self._denied:
            why = (
                "Permission denied (os error 13)"
                if self._denied and process
                else "No such file or directory (os error 2)"
            )
            text = "Error: Failed to get process executable name. Check that the process is running.\n\nCaused by:\n"
            return "", f"{text}    0: {why}\n    1: {why}\n", 1
        if not process.python:
            return "", "Error: Failed to find python version from target process\n", 1
        return (_json(process) if {"--json", "-j"} & {*words} else _text(process)), "", 0


def _stat(process: Process, thread: Thread) -> str:
    user = int(process.cpu * TICKS) if thread is process.main else 0
    head = (thread.state, process.parent, 1, 1, 0, -1, 4194560, 3716, 0, 0, 0)
    rest = (user, user // 20, 0, 0, 20, 0, len(process.threads), 0, BOOTED * TICKS, 96067584, 3832)
    return f"{thread.tid} ({thread.comm}) {' '.join(map(str, (*head, *rest, *[0] * 28)))}\n"


def _syscall(thread: Thread) -> str:
    if thread.state == "R":
        return "running\n"
    number = _CALLS.get(thread.wchan, 202)
    return f"{number} 0x199d6280 0x189 0x0 0x0 0x0 0xffffffff 0x7fffe2c4ba20 0x7f1f9d847f16\n"


def _text(process: Process) -> str:
    lines = [f"Process {process.pid}: {' '.join(process.words)}", f"Python v{process.python}", ""]
    for thread in process.threads:
        if thread.name:
            lines.append(f'Thread {thread.tid} ({thread.status}): "{thread.name}"')
            lines += [f"    {frame}" for frame in thread.frames]
    return "\n".join(lines) + "\n"


def _json(process: Process) -> str:
    return json.dumps([_thread(process, each) for each in process.threads if each.name], indent=2) + "\n"


def _thread(process: Process, thread: Thread) -> dict[str, object]:
    return {
        "pid": process.pid,
        "thread_id": 140058438369984 + thread.tid,
        "thread_name": thread.name,
        "os_thread_id": thread.tid,
        "active": thread.status != "idle",
        "owns_gil": "gil" in thread.status,
        "frames": [_json_frame(frame) for frame in thread.frames],
        "process_info": None,
    }


def _json_frame(frame: str) -> dict[str, object]:
    name, _, place = frame[:-1].partition(" (")
    file, _, line = place.rpartition(":")
    return {
        "name": name,
        "filename": f"/app/{file}",
        "module": None,
        "short_filename": file,
        "line": int(line),
        "locals": None,
        "is_entry": False,
        "is_shim_entry": False,
    }
