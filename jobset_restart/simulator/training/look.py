"""The one script that is not run but answered: a diagnosis looks at all processes of a container with it.

It needs more of a shell than ``sh.py`` has (jobs, globs, expansions), and thousands of containers are asked at once. A
test compares this answer with what a real shell prints for the same script over the same files.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobset_restart.simulator.training.processes import Process
from jobset_restart.simulator.training.view import View

MARK = 'echo "=jsr 1"'
"""A script with this line is that one."""
_CGROUP = ("cpu.stat", "memory.events", "cpu/cpu.stat", "memory/memory.oom_control")
_STATUS = ("Name:", "State:", "PPid:", "Uid:", "Threads:")
_MOST_PROCESSES, _MOST_THREADS = 10, 24


def answer(view: View, now: float, pyspy: bool) -> str:
    """What the script prints. ``now`` is the node's clock, ``pyspy`` says whether the container has py-spy."""
    return "".join(f"{line}\n" for line in _lines(view, now, pyspy))


def _lines(view: View, now: float, pyspy: bool) -> Iterator[str]:
    yield "=jsr 1"
    yield f"now {int(now)}"
    yield f"uptime {_first(view, '/proc/uptime')}"
    for name in _CGROUP:
        for line in (view.read(f"/sys/fs/cgroup/{name}") or "").splitlines():
            yield f"cgroup {line}"
    level = [each for each in view.processes if each.pid == 1]
    seen: list[Process] = []
    while level:
        following: list[Process] = []
        for process in level:
            if len(seen) == _MOST_PROCESSES:
                yield "=more"
                following = []
                break
            seen.append(process)
            yield from _process(view, process)
            following += [each for each in view.processes if each.parent == process.pid]
        level = following
    alive = [each for each in seen if each.main.state != "Z"]
    if not pyspy:
        yield "=no py-spy"
        alive = []
    for process in alive:
        yield f"=py-spy {process.pid}"
        out, err, code = view.dump(["--nonblocking", "--pid", str(process.pid)])
        yield from (out + err).splitlines()
        yield f"=exit {code}"
    yield "=end"


def _process(view: View, process: Process) -> Iterator[str]:
    here = f"/proc/{process.pid}"
    yield f"=process {process.pid}"
    for line in (view.read(f"{here}/status") or "").splitlines():
        name, _, value = line.partition("\t")
        if name in _STATUS:
            yield f"{name} {value}"
    for name in ("stat", "wchan", "syscall"):
        yield f"{name} {_first(view, f'{here}/{name}')}"
    tasks = sorted(process.threads, key=lambda thread: str(thread.tid))
    for thread in tasks[:_MOST_THREADS]:
        there = f"{here}/task/{thread.tid}"
        stat = _first(view, f"{there}/stat").partition(" -1 ")[0]
        yield f"thread {_first(view, f'{there}/wchan') or '-'} {stat}"


def _first(view: View, path: str) -> str:
    """The first line of a file, "" where it cannot be read."""
    try:
        text = view.read(path) or ""
    except PermissionError:
        return ""
    return text.partition("\n")[0].strip()
