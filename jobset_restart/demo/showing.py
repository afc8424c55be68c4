"""The demo's course: an embedded cluster, two restarts, the comparison. Whenever it ends, it leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console

from jobset_restart.cluster import connect
from jobset_restart.demo import comparison
from jobset_restart.demo.comparison import Restart
from jobset_restart.errors import Interrupted, JsrError
from jobset_restart.objects import Named
from jobset_restart.report import ResultReport
from jobset_restart.view import columns
from jobset_restart.view.text import counted
from jobset_restart.workloads.kinds import JOBSET_NAME
from jobset_restart.writes import CORE

JOBSET, NAMESPACE = "demo", "default"
END_SECONDS = 15.0
SHOW_CURSOR = "\x1b[?25h"


class Options(Struct, frozen=True):
    """How many workers, how long things take, and how fast the cluster's time runs."""

    workers: int
    profile: str
    speed: float


def show(options: Options) -> int:
    """Runs the demo: progress on stderr, the comparison on stdout. Returns the exit code. Raises JsrError."""
    return asyncio.run(_until_interrupted(options))


async def _until_interrupted(options: Options) -> int:
    """Everything this process waits for can be cancelled, and whatever was started ends before it does."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    course = asyncio.ensure_future(_course(options))
    signalled = asyncio.ensure_future(interrupted.wait())
    await asyncio.wait({course, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if course.done():
        return course.result()
    course.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await course
    raise Interrupted("interrupted; the embedded cluster is gone, nothing is left")


async def _course(options: Options) -> int:
    said = f"{counted(options.workers, 'worker')}, profile {options.profile}"
    _say(f"Starting an embedded cluster with a JobSet: a driver and {said} ...")
    _avoid_proxies()
    async with _cluster(options) as cluster:
        kubeconfig = cluster["kubeconfig"]
        in_place = await _restart(kubeconfig, "--in-place")
        recreate = await _restart(kubeconfig, "--recreate")
    _compare(options, in_place, recreate, cluster["about"])
    return 0


@contextlib.asynccontextmanager
async def _cluster(options: Options) -> AsyncIterator[dict[str, Any]]:
    """An embedded cluster with its JobSet running; its status. It ends with its standard input, so even if this
    process is killed it goes, and its directory with it."""
    settings = ["--workers", str(options.workers), "--profile", options.profile, "--speed", str(options.speed)]
    process = await asyncio.create_subprocess_exec(
        *_python("jobset_restart.simulator", "run", "--until-eof", "-o", "json", *settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which ends the others in their order
        limit=1 << 24,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    last: deque[str] = deque(maxlen=20)
    reading = asyncio.ensure_future(_read(process.stderr, last))
    try:
        line = await process.stdout.readline()
        if not line:
            await asyncio.wait({reading}, timeout=END_SECONDS)
            raise JsrError("the embedded cluster did not start", "\n".join(last))
        yield msgspec.json.decode(line)
    finally:
        process.stdin.close()
        await _ended(process)
        reading.cancel()


async def _read(stream: asyncio.StreamReader, last: deque[str]) -> None:
    async for line in stream:
        last.append(line.decode(errors="replace").rstrip())


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Waits for its end, not for ever."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _restart(kubeconfig: str, how: str) -> Restart:
    """`jsr restart` on this terminal. Raises JsrError if the JobSet does not come back."""
    before = await _uids(kubeconfig)
    command = ["restart", JOBSET, how, "--yes"]
    _say(f"\n$ jsr {' '.join(command)}")
    process = await asyncio.create_subprocess_exec(
        *_python("jobset_restart", *command, "-n", NAMESPACE, "-o", "json", "--timeout", "30m"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": kubeconfig},
        start_new_session=True,
    )
    try:
        answer, _ = await process.communicate()
    finally:
        if process.returncode is None:  # its view was on the terminal and did not get to tidy up
            process.kill()
            await process.wait()
            if sys.stderr.isatty():
                print(SHOW_CURSOR, file=sys.stderr)
    if process.returncode:
        raise JsrError(f"jsr {' '.join(command)} ended with exit code {process.returncode}")
    return Restart(msgspec.json.decode(answer, type=ResultReport), before, await _uids(kubeconfig))


async def _uids(kubeconfig: str) -> frozenset[str]:
    """The UIDs of the JobSet's Pods."""
    async with await connect(kubeconfig, None, None) as cluster:
        path = f"{CORE}/namespaces/{NAMESPACE}/pods"
        found = await cluster.list(path, Named, label_selector=f"{JOBSET_NAME}={JOBSET}")
    return frozenset(pod.metadata.uid for pod in found.items if not pod.metadata.deletion_timestamp)


def _compare(options: Options, in_place: Restart, recreate: Restart, about: str) -> None:
    console = Console(
        markup=False,
        highlight=False,
        emoji=False,
        width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 200,
    )
    pods = counted(len(in_place.before), "Pod")
    columns.say(console, f"JobSet {JOBSET}, {pods} on as many nodes, profile {options.profile}")
    console.print()
    rows = comparison.rows(in_place, recreate, options.speed)
    if (options.profile, options.workers) == ("published", comparison.PUBLISHED_NODES):
        rows.insert(2, comparison.PUBLISHED)
    columns.rows(console, ["", "IN PLACE", "RECREATE"], rows)
    console.print()
    columns.say(console, comparison.verdict(in_place, recreate))
    columns.say(console, f"Profile {options.profile}: {about}")
    if options.speed != 1:
        columns.say(console, f"Seconds are the cluster's, whose time ran {options.speed:g} times as fast.")


def _python(module: str, *arguments: str) -> list[str]:
    """Another program of this package, found as this one was."""
    return [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", module, *arguments]


def _avoid_proxies() -> None:
    """No proxy reaches the loopback interface."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, ("127.0.0.1", os.environ.get(name))))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
