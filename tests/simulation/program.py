"""`jsr` as a process in virtual time: one command line from beginning to end, or until it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import io
import os
import random
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main
from msgspec import Struct

from jobset_restart import cli, events
from tests.simulation.cluster import VirtualCluster

_process: contextvars.ContextVar[_Process | None] = contextvars.ContextVar("process", default=None)
_command = functools.cache(typer.main.get_command)
BURIED_AFTER = 50
FAULT = "a fault of the program's own"


class Death(Struct, frozen=True, kw_only=True):
    """How a client is disturbed, `at` seconds after its start or, where `at` is None, before its `step`th await.

    kill: SIGKILL. interrupt: SIGINT; twice: a second one half a second later. fault: that await raises KeyError."""

    kind: str
    at: float | None = None
    step: int = 0


class Ended(Struct, kw_only=True):
    """What is left of a process. `code` is None where it was killed, `crash` the exception that left it."""

    argv: tuple[str, ...]
    began: float
    ended: float
    code: int | None
    stdout: str
    stderr: str
    events: list[events.Event]
    crash: BaseException | None = None
    steps: int = 0
    struck: bool = False
    """Whether its death came in time."""
    left_suspended: bool = False
    """Whether the JobSet was suspended when it had ended."""


class _Killed(BaseException):
    """The process is no more."""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(
    cluster: VirtualCluster,
    *argv: str,
    death: Death | None = None,
    skew: float = 0.0,
    terminal: bool = False,
) -> Ended:
    """Runs one `jsr` command line against the cluster. `skew` is how many seconds its clock is ahead; `terminal` says
    whether stderr is one."""
    file = cluster.folder / "events.jsonl"
    file.unlink(missing_ok=True)
    if argv[0] == "restart":
        argv = (*argv, "--events", str(file))
    out, err = io.StringIO(), _Terminal() if terminal else io.StringIO()
    process = _Process(cluster, death, out, err)
    began, code, crash = cluster.now(), None, None
    named = mock.patch.dict(os.environ, KUBECONFIG=cluster.kubeconfig)
    with process.alive(skew), named, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.run([*argv])
        except _Killed:
            pass
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            code, crash = 1, error
    return Ended(
        argv=argv,
        began=began,
        ended=cluster.now(),
        code=code,
        stdout=process.said[0] if process.dead else out.getvalue(),
        stderr=process.said[1] if process.dead else err.getvalue(),
        events=_recorded(file, process.written),
        crash=crash,
        steps=process.steps,
        struck=process.struck,
        left_suspended=bool((cluster.workload() or {}).get("spec", {}).get("suspend")),
    )


def _recorded(file: Path, size: int | None) -> list[events.Event]:
    content = file.read_bytes() if file.exists() else b""
    return [events.decode(line) for line in content[:size].splitlines()]


@contextlib.contextmanager
def the_time_of(cluster: VirtualCluster, skew: float = 0.0) -> Iterator[None]:
    """The loop's time is everybody's, on the wall `skew` seconds ahead of the cluster's."""

    def wall() -> float:
        return cluster.now() + skew

    with mock.patch.object(time, "time", wall), mock.patch.object(time, "monotonic", cluster.loop.time):
        yield


class _Process:
    """What is the client's own: its tasks, its awaits, its end."""

    def __init__(self, cluster: VirtualCluster, death: Death | None, out: io.StringIO, err: io.StringIO) -> None:
        self._out, self._err = out, err
        self._cluster, self._loop, self._death = cluster, cluster.loop, death
        self._tasks: set[asyncio.Task[Any]] = set()
        self._main: asyncio.Task[Any] | None = None
        self.steps = 0
        self.dead = self.struck = self.interrupted = False
        self.said = ("", "")
        self.written: int | None = None

    @contextlib.contextmanager
    def alive(self, skew: float) -> Iterator[None]:
        """For as long as the process lives, the loop's time is everybody's."""
        loop = self._loop
        timers = [loop.call_later(self._death.at, self._strike)] if self._death and self._death.at is not None else []
        state = random.getstate()
        random.seed(loop.latency())
        loop.set_task_factory(_task)
        with (
            the_time_of(self._cluster, skew),
            mock.patch.object(asyncio, "run", self._run),
            mock.patch.object(typer.main, "get_command", _command),
        ):
            try:
                yield
            finally:
                for timer in timers:
                    timer.cancel()
                loop.signals.clear()
                random.setstate(state)

    def _run(self, main: Coroutine[Any, Any, Any], **_: Any) -> Any:
        """asyncio.run on the loop that is there."""
        context = contextvars.copy_context()
        context.run(_process.set, self)
        self._main = context.run(self._loop.create_task, main)
        self._main.add_done_callback(lambda _: self._loop.stop())
        try:
            self._turn()
            if self.dead:
                raise _Killed
            if self.interrupted and self._main.cancelled():
                raise KeyboardInterrupt
            return self._main.result()
        finally:
            self._bury()

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _bury(self) -> None:
        """What still runs is cancelled, again and again and within no time, and reaches nobody any more."""
        self._loop.network_up = False
        self._loop.cut_all()
        for _ in range(BURIED_AFTER):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            for _ in range(5):
                self._loop.call_soon(self._loop.stop)
                self._turn()
        else:
            raise AssertionError(f"cannot be cancelled: {left}")
        self._loop.network_up = True

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def step(self) -> BaseException | None:
        """One task of the process is about to go on."""
        self.steps += 1
        death = self._death
        if death is None or death.at is not None or self.struck or self.steps != death.step:
            return None
        if death.kind == "fault":
            self.struck = True
            return KeyError(FAULT)
        self._strike()
        return None

    def _strike(self) -> None:
        if self._main is None or self._main.done() or self._death is None:
            return
        self.struck = True
        if self._death.kind == "kill":
            self._die()
        elif self._death.kind in ("interrupt", "twice"):
            self._interrupt()
            if self._death.kind == "twice":
                self._loop.call_later(0.5, self._interrupt)

    def _die(self) -> None:
        self.dead = True
        self.said = self._out.getvalue(), self._err.getvalue()
        file = self._cluster.folder / "events.jsonl"
        self.written = file.stat().st_size if file.exists() else 0
        self._loop.stop()

    def _interrupt(self) -> None:
        assert self._main is not None
        if self._main.done():
            return
        handler = self._loop.signals.get(2)
        if handler is not None:
            self._loop.call_soon(handler)
        else:
            self.interrupted = True
            self._main.cancel()


def _task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    """The task factory: the awaits of the client's tasks are counted."""
    process = _process.get()
    if process is None:
        return asyncio.Task(work, loop=loop, **more)
    task = asyncio.Task(_counted(work, process), loop=loop, **more)
    task.add_done_callback(lambda _: work.close())  # where it was cancelled before it began
    process.adopt(task)
    return task


async def _counted(work: Any, process: _Process) -> Any:
    return await _Counted(work, process)


class _Counted:
    """Drives a coroutine, and tells the process of every step."""

    def __init__(self, work: Any, process: _Process) -> None:
        self._work, self._process = work, process

    def __await__(self) -> Generator[Any, Any, Any]:
        send: Callable[[Any], Any] = self._work.send
        value: Any = None
        while True:
            raised = self._process.step()
            if self._process.dead:
                send, value = self._work.throw, (yield from _until_cancelled())
            elif raised is not None:
                send, value = self._work.throw, raised
            try:
                waited = send(value)
            except StopIteration as stop:
                return stop.value
            try:
                value = yield waited
                send = self._work.send
            except BaseException as error:
                send, value = self._work.throw, error


def _until_cancelled() -> Generator[Any, Any, BaseException]:
    while True:
        try:
            yield
        except asyncio.CancelledError as error:
            return error
