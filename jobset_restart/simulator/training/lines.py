"""What ranks print: lines of the formats that trainings use, each with its time."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobset_restart.simulator.training.gang import Gang

WHO = ("all", "first", "last", "none")
"""Which ranks print their steps. All others print a few lines as they start, but for "none", which print nothing."""
Line = tuple[float, str]


FORMATS = {
    "plain": "step {step}",
    "tagged": "{when:%Y-%m-%d %H:%M:%S},000 [INFO] [rank{rank}] train: step={step} loss={loss:.4f} lr=3.0e-04",
    "megatron": " [{when:%Y-%m-%d %H:%M:%S}] iteration {step:8d}/  500000 | consumed samples: {samples:12d} | elapsed "
    "time per iteration (ms): 1043.2 | learning rate: 3.000000E-04 | lm loss: {loss:.6E} | grad norm: 0.412 |",
    "json": '{{"ts": {at:.3f}, "level": "info", "rank": {rank}, "global_step": {step}, "loss": {loss:.4f}}}',
    "dict": "{{'loss': {loss:.4f}, 'grad_norm': 0.41, 'learning_rate': 3e-05, 'epoch': {epochs:.2f}}}",
    "maxtext": "completed step: {step}, seconds: 1.043, TFLOP/s/device: 231.4, total_weights: 65536, loss: {loss:.3f}",
    "epoch": "Epoch: [{epoch}][{batch:4d}/5000]\tTime  1.043 ( 1.050)\tData  0.001 ( 0.002)\tLoss {loss:.4e}",
    "colored": "\x1b[32m{when:%H:%M:%S}\x1b[0m \x1b[1m[{rank}]\x1b[0m  it {step}  \x1b[33mloss {loss:.3f}\x1b[0m",
}
"""What a step's line looks like."""


def _written(pattern: str, step: int, rank: int, at: float) -> str:
    return pattern.format(
        step=step,
        rank=rank,
        at=at,
        when=datetime.fromtimestamp(at, UTC),
        loss=2.0 + 8.0 * math.exp(-step / 1000) + 0.05 * math.sin(step * 1.7),
        samples=step * 1024,
        epoch=step // 5000,
        epochs=step / 5000,
        batch=step % 5000,
    )


_BEGINNING = (
    "initializing process group: backend=auto",
    "process group is there: rank {rank} of {ranks}",
    "model has 6,738,415,616 parameters; the data loader has 2 workers",
)
_END = (
    "Traceback (most recent call last):",
    '  File "train.py", line 88, in train',
    "RuntimeError: DataLoader worker (pid 20) is killed by signal: Killed.",
)


def printed(gang: Gang, name: str, started: float, ended: float, limit: int) -> list[Line]:
    """The last ``limit`` lines that the rank in this Pod printed from ``started`` to ``ended``, oldest first."""
    newest = merge(
        _beginning(gang, name, started, ended),
        _steps(gang, name, started, ended),
        _chatter(gang, started, ended),
        _stopped(gang, name, ended),
        key=lambda line: line[0],
        reverse=True,
    )
    return [(at, text + "\n") for at, text in islice(newest, limit)][::-1]


def _beginning(gang: Gang, name: str, started: float, ended: float) -> Iterator[Line]:
    training, rank = gang.training, gang.rank(name)
    if training.who == "none" or training.framework == "threads":
        return
    for number in range(len(_BEGINNING) - 1, -1, -1):
        at = started + 0.4 * (number + 1)
        if at <= ended:
            yield at, _BEGINNING[number].format(rank=rank, ranks=training.ranks)


def _steps(gang: Gang, name: str, started: float, ended: float) -> Iterator[Line]:
    training, rank = gang.training, gang.rank(name)
    prints = {"all": True, "first": rank == 0, "last": rank == training.ranks - 1, "none": False}[training.who]
    if not prints:
        return
    pattern = FORMATS[training.log]
    delay = random.Random(f"{training.seed} {rank} delay").random() * min(0.2, 0.1 * training.step)  # noqa: S311
    for stretch in reversed(gang.stretches):
        if stretch.begins > ended:
            continue
        for done in range(stretch.done(ended), 0, -1):
            at = stretch.begins + done * stretch.pace + delay
            if at < started:
                return
            step = stretch.first + done - 1
            if at <= ended and step % training.every == 0:
                yield at, _written(pattern, step, rank, at)


def _chatter(gang: Gang, started: float, ended: float) -> Iterator[Line]:
    """Telemetry from a thread of its own, which goes on whatever the training does."""
    every = gang.training.chatter
    if every:
        for number in range(int((ended - started) / every), 0, -1):
            yield started + number * every, "telemetry: cpu 12.4 %, memory 41.2 GiB, 8 GPUs"


def _stopped(gang: Gang, name: str, ended: float) -> Iterator[Line]:
    """Last words of a process that came to its end, if it has any."""
    stop, since = gang.stops.get(name), gang.stopped.get(name, ended)
    if stop is not None and stop.kind == "exit" and stop.variant < 0.8 and since < ended:
        for number in range(len(_END) - 1, -1, -1):
            yield since + number * 1e-6, _END[number]
