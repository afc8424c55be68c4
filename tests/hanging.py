"""Observations of a training in which something hangs, for the tests of the diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jobset_restart.diagnose.logs import Tail, read_tail
from jobset_restart.diagnose.observation import Machine, Observation, Seen
from jobset_restart.diagnose.processes import Look, read_look
from jobset_restart.slots import Slot

NOW = 1_800_000_000.0
MAIN = ("train (train.py:34)", "<module> (train.py:39)")
WAITING = ("all_reduce (train.py:28)", *MAIN)
LOADING = ("Condition.wait (threading.py:320)", "load_batch (train.py:18)", *MAIN)
COMPUTING = ("train_step (train.py:21)", *MAIN)
READING = ("read (storage.py:8)", "load_batch (train.py:18)", *MAIN)
ASLEEP = ("hrtimer_nanosleep", "230")
LOCKED = ("futex_do_wait", "202")


def stamp(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")


def log(ends: float, lines: Sequence[str], every: float = 1.0) -> bytes:
    """A log with timestamps whose last line was written at `ends`."""
    first = ends - every * (len(lines) - 1)
    return "".join(f"{stamp(first + every * n)} {line}\n" for n, line in enumerate(lines)).encode()


def steps(ends: float, last: int = 109, every: float = 1.0) -> Tail:
    return read_tail(log(ends, [f"step {n}" for n in range(last - 9, last + 1)], every))


def process(
    pid: int = 1, *, name: str = "python3", state: str = "S", kernel: tuple[str, str] = ASLEEP, cpu: float = 0.0
) -> str:
    wchan, syscall = kernel
    return (
        f"=process {pid}\nName: {name}\nState: {state} (x)\nPPid: 0\nThreads: 1\n"
        f"stat {pid} ({name}) {state} 0 1 1 0 -1 4194560 1 0 0 0 {cpu * 90:.0f} {cpu * 10:.0f} 0 0 20 0 1 0 1 1 1\n"
        f"wchan {wchan}\nsyscall {syscall and f'{syscall} 0x1'}\nthread {wchan or '-'} {pid} ({name}) {state} 1 1 1 0\n"
    )


def dump(pid: int, stack: Iterable[str]) -> str:
    frames = "".join(f"    {frame}\n" for frame in stack)
    head = f"=py-spy {pid}\nProcess {pid}: python3\nPython v3.11.2 (/usr/bin/python3)\n\n"
    return f'{head}Thread 1 (idle): "MainThread"\n{frames}=exit 0\n'


def look(*parts: str, clock: float = NOW, spy: bool = True) -> Look:
    end = "=end\n" if spy else "=no py-spy\n=end\n"
    return read_look(f"=jsr 1\nnow {int(clock)}\nuptime {clock - NOW + 9000:.2f} 1.00\n" + "".join(parts) + end)


def waiting(clock: float = NOW) -> Look:
    return look(process(), dump(1, WAITING), clock=clock)


def loading(clock: float = NOW) -> Look:
    return look(process(kernel=LOCKED), dump(1, LOADING), clock=clock)


def without_py_spy(found: Look) -> Look:
    first = found.processes[0]
    return look(process(kernel=(first.wchan, first.syscall), state=first.state), spy=False)


def observation(
    pods: int = 8,
    per_node: int = 2,
    *,
    look_of: Callable[[int], Look | None] = lambda _: waiting(),
    tail_of: Callable[[int], Tail] = lambda _: steps(NOW - 300),
    labels_of: Callable[[int], dict[str, str]] = lambda _: {},
    group_of: Callable[[int], str] = lambda _: "workers",
) -> Observation:
    """A training that stands still since 300 s; whoever is to be the culprit gets another look."""
    slots = {}
    for n in range(pods):
        slot = Slot(group_of(n), (0, n))
        tail, found = tail_of(n), look_of(n)
        slots[slot] = Seen(
            slot=slot,
            pod=f"train-{n}",
            node=f"node-{n // per_node}",
            container="worker",
            started=NOW - 4000,
            before=tail,
            before_at=NOW - 3,
            tail=tail,
            tail_at=NOW,
            look=found,
            look_at=NOW + 0.5,
            look_error="" if found else "it did not answer",
        )
    nodes = range((pods + per_node - 1) // per_node)
    machines = {f"node-{n}": Machine(name=f"node-{n}", labels=labels_of(n)) for n in nodes}
    return Observation(slots=slots, machines=machines)
