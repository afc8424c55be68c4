"""`python -m tests.benchmarks [--kubeconfig FILE --workload NAME] [--simulator PODS ...]`: what the command line costs,
with a cluster that has a workload of thousands of Pods (NAME of a JobSet, or KIND/NAME) what status and an image
restart of all of them cost beside kubectl and a bare loop, and the same and more on embedded clusters of the sizes
named."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from jobset_restart.cli.targets import one
from tests.benchmarks import bare, simulator

JSR = [sys.executable, "-m", "jobset_restart"]


class Cost(NamedTuple):
    """Of one process: wall and CPU seconds, peak memory in MB, exit code."""

    wall: float
    cpu: float
    memory: float
    code: int


def run(command: list[str]) -> Cost:
    """Runs a command to its end, its output thrown away."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    used = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began, used, usage.ru_maxrss / 1024, process.returncode)


def show(name: str, costs: list[Cost]) -> None:
    walls = [c.wall for c in costs]
    print(
        f"{name:<34} wall {statistics.median(walls):7.3f} s (min {min(walls):.3f}, max {max(walls):.3f})  "
        f"CPU {statistics.median(c.cpu for c in costs):6.3f} s  memory {max(c.memory for c in costs):5.0f} MB  "
        f"exit {sorted({c.code for c in costs})}"
    )


def machine() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")
    except OSError:
        model = platform.processor() or "?"
    system = f"{platform.system()} {platform.release().split('.')[0]}.{platform.release().split('.')[1]}"
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {system}"


def large(kubeconfig: str, namespace: str, name: str, runs: int) -> None:
    """Status and restart of one large workload, by NAME or KIND/NAME. kubectl has to be on PATH for the comparison."""
    where = ["-n", namespace, "--kubeconfig", kubeconfig]
    kubectl = shutil.which("kubectl")
    mine: list[Cost] = []
    theirs: list[Cost] = []
    for _ in range(runs):
        mine.append(run([*JSR, "status", name, *where]))
        if kubectl:
            theirs.append(run([kubectl, "get", "pods", *where]))
    show(f"jsr status {name}", mine)
    if theirs:
        show("kubectl get pods", theirs)
        ratio = statistics.median(a.wall / b.wall for a, b in zip(mine, theirs, strict=True))
        print(f"{'ratio, pair by pair':<34} {ratio:.2f}")
    began = time.process_time()
    loop = asyncio.run(bare.patch_all(kubeconfig, namespace, one(name)))
    spent = time.process_time() - began
    took = f"{loop.writes:,} in {loop.seconds:.2f} s: {loop.rate:.0f}/s"
    print(f"{'bare loop of the same PATCHes':<34} {took}  CPU {spent:.3f} s")
    restart = run([*JSR, "restart", name, "--in-place", "--via", "image", "--yes", *where, "--events", bare.EVENTS])
    show(f"jsr restart {name} --via image", [restart])
    sent = bare.triggered(bare.EVENTS)
    os.unlink(bare.EVENTS)
    beside = f"{sent.rate:.0f}/s, {sent.rate / loop.rate:.2f} of the loop"
    print(f"{'its PATCHes':<34} {sent.writes:,} in {sent.seconds:.2f} s: {beside}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--kubeconfig")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--workload", "--jobset", default="hollow", metavar="[KIND/]NAME")
    parser.add_argument("--simulator", type=int, nargs="+", default=[], metavar="PODS")
    options = parser.parse_args()
    print(machine())
    run([*JSR, "--help"])
    show("jsr --help", [run([*JSR, "--help"]) for _ in range(options.runs)])
    if options.kubeconfig:
        large(options.kubeconfig, options.namespace, options.workload, min(options.runs, 5))
    for pods in options.simulator:
        simulator.measure(pods)


if __name__ == "__main__":
    main()
