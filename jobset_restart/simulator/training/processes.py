"""The processes of a rank at a moment, as the kernel and py-spy show them."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

from jobset_restart.simulator.training.frameworks import FEEDING, FRAMEWORKS, LOADING, STOPS, Framework, Seen
from jobset_restart.simulator.training.gang import COMPUTES, Doing, Gang, Stop
from jobset_restart.simulator.training.spec import Training

SHELLS = frozenset({"sh", "bash", "dash", "ash"})
_VERSIONS = ("3.11.2 (/usr/bin/python3)", "3.10.12 (/usr/bin/python3.10)", "3.12.3 (/opt/conda/bin/python3.12)")
_LOOPS = (
    "train",
    "fit",
    "training_loop",
    "run_epoch",
    "train_one_epoch",
    "_inner_training_loop",
    "pretrain",
    "optimize",
)
_AROUND = ("main", "run", "launch", "wrapper", "_call_and_handle_interrupt", "__call__", "invoke", "decorate_context")
_FILES = ("app/trainer.py", "src/engine/loop.py", "accelerate/utils/operations.py", "megatron/training/training.py")
_MODULES = ("model.py", "models/gpt.py", "transformer/mlp.py", "nets/encoder.py")
_DATA = ("data.py", "dataset.py", "streaming/shards.py", "input_pipeline.py")


class Thread(NamedTuple):
    """``name`` and ``frames`` are Python's; a thread of native code has neither."""

    tid: int
    comm: str
    state: str
    wchan: str
    status: str
    name: str
    frames: tuple[str, ...]


class Process(NamedTuple):
    """``cpu`` is seconds of user time. ``python`` is the version py-spy tells, "" where it cannot read the process."""

    pid: int
    parent: int
    words: tuple[str, ...]
    threads: tuple[Thread, ...]
    cpu: float
    python: str

    @property
    def main(self) -> Thread:
        return self.threads[0]


def processes(gang: Gang, name: str, words: tuple[str, ...], child: bool, now: float) -> tuple[Process, ...]:
    """All processes in the container, PID 1 first. ``words`` is its command; ``child`` says that PID 1 is a shell or a
    launcher which waits for the training."""
    training, doing = gang.training, gang.doing(name, now)
    framework, rank = FRAMEWORKS[training.framework], gang.rank(name)
    seen = where(training, rank, doing)
    cpu = _cpu(gang, name, framework, doing, seen, now)
    python = _VERSIONS[training.seed % len(_VERSIONS)] if framework.python else ""
    if training.framework == "threads":
        python = _VERSIONS[0]
    gone = child and doing.stop is not None and doing.stop.kind == "exit"
    first = 7 if child else 1
    comm = _comm(words, framework.python)
    found = []
    if child:
        waits = Thread(1, words[0].rpartition("/")[2][:15], "S", "do_wait", "idle", "", ())
        found.append(Process(1, 0, words, (waits,), 0.02, ""))
        words = _inner(words)
    if gone and doing.stop is not None:
        return (*found, _left_behind(doing.stop, first, comm, cpu))
    outer = _outer(training, framework, _script(words))
    frames = (*_filled(training, seen, words), *outer)
    main = Thread(first, comm, seen.state, seen.wchan, seen.status, "MainThread", frames)
    extras = _extras(framework, doing, seen, words, training, first)
    found.append(Process(first, 1 if child else 0, words, (main, *extras), cpu, python))
    state, wchan = ("T", "do_signal_stop") if seen.state == "T" else ("S", "do_poll")
    for pid in range(40, 40 + framework.workers):
        worker = Thread(pid, "pt_data_worker", state, wchan, "idle", "MainThread", (*FEEDING, *outer[1:]))
        found.append(Process(pid, first, words, (worker,), cpu / 9, python))
    return tuple(found)


def _left_behind(stop: Stop, pid: int, comm: str, cpu: float) -> Process:
    """What is there instead of a rank that ended under its launcher: nothing but its exit status, if that reaps nobody,
    or the shell's next command."""
    if int(stop.variant * 10) % 2:
        return Process(pid, 1, (), (Thread(pid, comm, "Z", "0", "idle", "", ()),), cpu, "")
    asleep = Thread(pid + 90, "sleep", "S", "hrtimer_nanosleep", "idle", "", ())
    return Process(pid + 90, 1, ("sleep", "infinity"), (asleep,), 0.0, "")


def plain(name: str, child: bool, state: str, cpu: float) -> tuple[Process, ...]:
    """The processes of a program that trains nothing: itself, and the command a shell waits for."""
    wchan = "do_wait" if child else "hrtimer_nanosleep" if state == "S" else "0"
    found = [Process(1, 0, (name,), (Thread(1, name[:15], state, wchan, "idle", "", ()),), cpu, "")]
    if child:
        found.append(
            Process(7, 1, ("sleep",), (Thread(7, "sleep", "S", "hrtimer_nanosleep", "idle", "", ()),), 0.0, "")
        )
    return tuple(found)


def where(training: Training, rank: int, doing: Doing) -> Seen:
    """Where the main thread of a rank is."""
    framework = FRAMEWORKS[training.framework]
    if doing.what == "stopped" and doing.stop is not None:
        return stopped(training, doing.stop)
    if doing.what == "waiting":
        return framework.waits[_neighbours(training, rank) % len(framework.waits)]
    if doing.what == "meeting":
        return framework.meets
    if doing.what == "starting":
        return Seen(("_call_with_frames_removed (<frozen importlib._bootstrap>:241)",), "R", "0", "active+gil", 1.0)
    computes = framework.computes
    return computes[min(len(computes) - 1, int(doing.part * len(computes)))]


def stopped(training: Training, stop: Stop) -> Seen:
    """Where a rank is that was stopped."""
    framework = FRAMEWORKS[training.framework]
    kind = framework.stops[int(stop.variant * len(framework.stops))] if stop.kind == "hang" else stop.kind
    if kind == "storage" and not framework.python:
        kind = "disk"
    forms = STOPS[kind]
    return forms[int(stop.variant * 997) % len(forms)]


def _neighbours(training: Training, rank: int) -> int:
    """The stage of a pipeline a rank is in: each waits in another call."""
    return rank * training.stages // training.ranks if training.stages > 1 else 0


def _cpu(gang: Gang, name: str, framework: Framework, doing: Doing, seen: Seen, now: float) -> float:
    went, stood = gang.stepping_seconds(name, now)
    computing, waiting = framework.computes[-1].busy, framework.waits[0].busy
    stopped_for = now - doing.since if doing.what == "stopped" else 0.0
    busy = went * (COMPUTES * computing + (1 - COMPUTES) * waiting) + (stood - stopped_for) * waiting
    return 0.4 + busy + stopped_for * seen.busy + 0.003 * (went + stood)


def _comm(words: tuple[str, ...], python: bool) -> str:
    inner = _inner(words)
    name = inner[0].rpartition("/")[2] if inner else ("python3" if python else "train")
    return name[:15]


@lru_cache(maxsize=256)
def _inner(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command of the training itself, if a shell starts it."""
    if words and words[0].rpartition("/")[2] in SHELLS:
        text = words[-1].split()
        at = next((n for n, word in enumerate(text) if word.rpartition("/")[2].startswith("python")), None)
        return tuple(text[at:]) if at is not None else ("python3", "train.py")
    return words


def _script(words: tuple[str, ...]) -> str:
    return next((word.rpartition("/")[2] for word in words if word.endswith(".py")), "train.py")


@lru_cache(maxsize=256)
def _outer(training: Training, framework: Framework, script: str) -> tuple[str, ...]:
    """The frames around the step: of what depth and names, the seed says."""
    if framework.outer:
        return tuple(each.format(app=script) for each in framework.outer)
    if not framework.python:
        return ()
    draw = random.Random(f"{training.seed} names")  # noqa: S311 - repeatable, not secret
    file = draw.choice((script, *_FILES))
    frames = [f"{draw.choice(('train_step', 'training_step', 'step', '_step'))} ({file}:{draw.randint(40, 900)})"]
    frames.append(f"{draw.choice(_LOOPS)} ({file}:{draw.randint(40, 900)})")
    around = range(draw.randint(0, 12))
    frames += [f"{draw.choice(_AROUND)} ({draw.choice(_FILES)}:{draw.randint(10, 1500)})" for _ in around]
    return (*frames, f"main ({script}:{draw.randint(100, 400)})", f"<module> ({script}:{draw.randint(400, 440)})")


def _filled(training: Training, seen: Seen, words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_frame(each, training.seed, _script(words)) for each in seen.frames)


@lru_cache(maxsize=4096)
def _frame(text: str, seed: int, script: str) -> str:
    if "{" not in text:
        return text
    draw = random.Random(f"{seed} {text}")  # noqa: S311
    files = random.Random(f"{seed} files")  # noqa: S311
    module, data = files.choice(_MODULES), files.choice(_DATA)
    return text.format(app=script, module=module, data=data, line=draw.randint(20, 700))


def _extras(
    framework: Framework, doing: Doing, seen: Seen, words: tuple[str, ...], training: Training, first: int
) -> tuple[Thread, ...]:
    found = []
    frozen = seen.state == "T"
    loading = doing.what == "stopped" and seen is STOPS["future"][0]
    for number, extra in enumerate(framework.extras):
        frames = extra.frames
        if loading and "_worker (concurrent/futures/thread.py:81)" in frames:
            frames = tuple(_frame(each, training.seed, _script(words)) for each in LOADING)
        state, wchan = ("T", "do_signal_stop") if frozen else ("S", extra.wchan)
        found.append(Thread(first + 6 + number, extra.comm, state, wchan, "idle", extra.name, frames))
    return tuple(found)
