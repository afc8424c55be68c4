"""The embedded cluster on one core with `jsr` on another: how soon it is ready, what it takes, and what each way of
restarting everything costs on either side. Printed, never asserted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import yaml

from jobset_restart.cluster.access import Access
from jobset_restart.objects import ObjectList, Pod
from jobset_restart.report import ResultReport
from jobset_restart.writes import CORE

SIMULATOR = [sys.executable, "-m", "jobset_restart.simulator"]
JSR = [sys.executable, "-m", "jobset_restart"]
HANDLED = "trap 'exit 143' TERM; while :; do sleep 1 & wait $!; done"
UNHANDLED = "while :; do sleep 1; done"
HEALTHY_SECONDS, STILL_SECONDS = 40.0, 40.0
"""How long the training of the diagnosis goes on, and how long it stands still before somebody looks."""
TICKS = os.sysconf("SC_CLK_TCK")


class Running(NamedTuple):
    """An embedded cluster, its process, and after how many seconds all its Pods were Ready."""

    kubeconfig: str
    process: int
    ready: float

    def cpu(self) -> float:
        """CPU seconds it has used; 0 where the system does not tell."""
        with suppress(OSError):
            fields = Path(f"/proc/{self.process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        return 0.0

    def peak(self) -> float:
        """The most memory it ever had, in MB; 0 where the system does not tell."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.process}/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0


def measure(pods: int) -> None:
    """One JobSet that can restart in place, one that cannot, and a plain Job, of `pods` Pods each, on clusters of their
    own."""
    print(f"\n{pods:,} Pods on as many nodes, profile realtime")
    with _cluster(pods, ["--workers", str(pods - 1)]) as cluster:
        print(
            f"  {'ready after':<30} {cluster.ready:6.1f} s  CPU {cluster.cpu():6.1f} s  memory {cluster.peak():4.0f} MB"
        )
        _looking(cluster)
        _restart(cluster, "demo", "native", "--in-place")
        _restart(cluster, "demo", "native, recreated", "--recreate")
        print(f"  {'memory at the end':<30} {cluster.peak():6.0f} MB")
    for name, command in (("TERM handled", HANDLED), ("not handled, 30 s of grace", UNHANDLED)):
        with _manifest(pods, command) as file, _cluster(pods, ["--jobset", file]) as cluster:
            _restart(cluster, "plain", f"image, {name}", "--via", "image")
            if command == HANDLED:
                _restart(cluster, "plain", "suspend, TERM handled", "--via", "suspend")
                _watching(cluster)
                _restart(cluster, "plain", "signal, exec", "--via", "signal", "--signal", "TERM")
    with _manifest(pods, HANDLED, alone=True) as file, _cluster(pods, ["--jobset", file]) as cluster:
        _restart(cluster, "job/plain", "image, one plain Job", "--via", "image")
        _restart(cluster, "job/plain", "suspend, one plain Job", "--via", "suspend")
    with (
        _training(pods) as file,
        _faults() as faults,
        _cluster(pods, ["--jobset", file, "--faults", faults]) as cluster,
    ):
        _diagnosing(cluster)


@contextmanager
def _cluster(nodes: int, options: list[str]) -> Iterator[Running]:
    began = time.monotonic()
    command = [*SIMULATOR, "run", "--until-eof", "-o", "json", "--nodes", str(nodes), *options]
    with subprocess.Popen(
        [*_on(0), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            found = json.loads(process.stdout.readline())
            yield Running(found["kubeconfig"], found["process"], time.monotonic() - began)
        finally:
            process.stdin.close()


@contextmanager
def _manifest(pods: int, script: str, *, alone: bool = False) -> Iterator[str]:
    """A JobSet `plain` whose containers restart when they fail, as often as it takes; or its Job `alone`."""
    container = {"name": "worker", "image": "docker.io/library/busybox:1.36", "command": ["sh", "-c", script]}
    template = {"spec": {"restartPolicy": "OnFailure", "containers": [container]}}
    job = {"parallelism": pods, "completions": pods, "completionMode": "Indexed", "backoffLimit": 2**31 - 1}
    of_one: dict[str, Any] = {"spec": {**job, "template": template}}
    jobs = [{"name": "workers", "replicas": 1, "template": of_one}]
    manifest: dict[str, Any] = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "spec": {"replicatedJobs": jobs},
    }
    if alone:
        manifest = {"apiVersion": "batch/v1", "kind": "Job", **of_one}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({**manifest, "metadata": {"name": "plain"}}, file)
        file.flush()
        yield file.name


@contextmanager
def _training(pods: int) -> Iterator[str]:
    """A JobSet `train` whose Pods step together once a second, with PyTorch and NCCL as far as can be seen."""
    text = json.dumps({"ranks": pods, "framework": "torch-nccl", "log": "tagged"})
    container = {"name": "worker", "image": "docker.io/library/trainer:1", "command": ["python3", "/app/train.py"]}
    meta = {"annotations": {"simulator.jobset-restart.io/training": text}}
    template = {"metadata": meta, "spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"parallelism": pods, "completions": pods, "completionMode": "Indexed", "backoffLimit": 0}
    jobs = [{"name": "workers", "replicas": 1, "template": {"spec": {**job, "template": template}}}]
    manifest: dict[str, Any] = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "train"},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({**manifest, "spec": {"replicatedJobs": jobs}}, file)
        file.flush()
        yield file.name


@contextmanager
def _faults() -> Iterator[str]:
    """One rank hangs, half a minute after the cluster serves."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(
            [{"kind": "rank-hang", "at": HEALTHY_SECONDS, "lasts": 1e6, "target": "default/train-workers-0-17-*"}], file
        )
        file.flush()
        yield file.name


def _diagnosing(cluster: Running) -> None:
    """While it trains, and once it has stood still for a while."""
    began = time.monotonic()
    for name, wait in (("healthy", 0.0), ("one rank hangs", HEALTHY_SECONDS + STILL_SECONDS)):
        time.sleep(max(0.0, wait - (time.monotonic() - began)))
        before = cluster.cpu()
        cost = _run([*JSR, "diagnose", "train", "-o", "json", "--timeout", "5m", "--kubeconfig", cluster.kubeconfig])
        found: dict[str, Any] = {}
        with suppress(ValueError):
            found = json.loads(cost.output)
        first = next((each["pod"] for each in found.get("suspects", ())), "nobody")
        _say(f"jsr diagnose, {name}", cost, cluster.cpu() - before, f"{found.get('verdict')}: {first}, ")


def _looking(cluster: Running) -> None:
    where = ["--kubeconfig", cluster.kubeconfig]
    before = cluster.cpu()
    mine = _run([*JSR, "status", "demo", *where])
    _say("jsr status demo", mine, cluster.cpu() - before)
    if kubectl := shutil.which("kubectl"):
        before = cluster.cpu()
        theirs = _run([kubectl, "get", "pods", *where])
        _say("kubectl get pods", theirs, cluster.cpu() - before, f"ratio {mine.wall / theirs.wall:.2f}")
    number, size, took, decoding = asyncio.run(_listed(cluster.kubeconfig))
    what = f"{number:,} Pods, {size / 2**20:.1f} MB, {decoding:.2f} s of it decode"
    print(f"  {'list and decode':<30} {took:6.2f} s  {what}")


async def _listed(kubeconfig: str) -> tuple[int, int, float, float]:
    access = Access(kubeconfig, None, None)
    await access.load()
    async with aiohttp.ClientSession(headers=access.headers()) as session:
        began = time.monotonic()
        url = f"{access.server}{CORE}/namespaces/default/pods"
        async with session.get(url, ssl=access.ssl or False) as response:
            body = await response.read()
        read = time.monotonic()
        found = msgspec.json.decode(body, type=ObjectList[Pod])
        end = time.monotonic()
    return len(found.items), len(body), end - began, end - read


def _watching(cluster: Running) -> None:
    """A watch without a version, which begins with every Pod there is, as bytes: the server's part of it."""
    before = cluster.cpu()
    number, seconds = asyncio.run(_watched(cluster.kubeconfig))
    rate = f"{number / seconds:,.0f}/s" if seconds else "-"
    cpu = f"simulator CPU {cluster.cpu() - before:.1f} s"
    print(f"  {'watch, first events':<30} {seconds:6.2f} s  {number:,} events, {rate}, {cpu}")


async def _watched(kubeconfig: str) -> tuple[int, float]:
    access, number, end = Access(kubeconfig, None, None), 0, 0.0
    await access.load()
    async with aiohttp.ClientSession(headers=access.headers()) as session:
        url = f"{access.server}{CORE}/namespaces/default/pods?watch=1"
        began = time.monotonic()
        async with session.get(url, ssl=access.ssl or False) as response:
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(1.0):
                        chunk = await response.content.readany()
                    number, end = number + chunk.count(b"\n"), time.monotonic()
    return number, max(end - began, 0.0)


class _Cost(NamedTuple):
    wall: float
    cpu: float
    memory: float
    code: int
    output: bytes


def _run(command: list[str]) -> _Cost:
    """Runs a command on the second core, to its end."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*_on(1), *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    return _Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode, text)


def _say(name: str, cost: _Cost, cpu: float, more: str = "") -> None:
    jsr = f"CPU {cost.cpu:5.2f} s, {cost.memory:.0f} MB"
    failed = f"  exit code {cost.code}" if cost.code else ""
    print(f"  {name:<30} {cost.wall:6.2f} s  {jsr}, simulator CPU {cpu:.1f} s  {more}{failed}")


def _restart(cluster: Running, jobset: str, name: str, *how: str) -> None:
    """One restart of everything: the whole of it beside what its slowest Pod took by itself."""
    before = cluster.cpu()
    command = [*JSR, "restart", jobset, *how, "--yes", "--timeout", "20m", "-o", "json"]
    cost = _run([*command, "--kubeconfig", cluster.kubeconfig])
    more = ""
    with suppress(msgspec.DecodeError):
        result = msgspec.json.decode(cost.output, type=ResultReport)
        own = max((slot.seconds or 0.0 for slot in result.slots), default=0.0)
        more = f"{result.writes:,} writes, whole {result.seconds:.1f} s, slowest Pod {own:.1f} s"
        more += f", ratio {result.seconds / own:.2f}" if own else ""
    _say(f"restart: {name}", cost, cluster.cpu() - before, more)


def _on(core: int) -> list[str]:
    """Keeps a command on one core, where there are two and the system can."""
    cores: list[Any] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []
