"""Which cluster the scenarios run on, and how parts of it are broken and mended."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Cluster:
    """`commands` break and mend parts, by the name of their environment variable. `lock` is the file by which those
    who use this cluster keep out of each other's way."""

    kubeconfig: str
    lock: Path
    commands: dict[str, str] = field(default_factory=dict)

    def command(self, variable: str, node: str = "") -> None:
        """Runs the command of the variable. "{node}" in it is the node's name, "{n}" what follows its last hyphen.

        Skips the test where there is no such command."""
        self.needs(variable)
        words = shlex.split(self.commands[variable].format(node=node, n=node.rpartition("-")[2]))
        subprocess.run(words, check=True, timeout=120, stdin=subprocess.DEVNULL, capture_output=True)

    def needs(self, *variables: str) -> None:
        missing = [variable for variable in variables if variable not in self.commands]
        if missing:
            pytest.skip(f"no command to break this cluster with: {', '.join(missing)} is not set")

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with self.lock.open("a") as file:
            fcntl.flock(file, how)
            yield


@contextlib.contextmanager
def exclusively(cluster: Cluster) -> Iterator[None]:
    """Waits until no other scenario runs on this cluster, and keeps others waiting."""
    with cluster._locked(fcntl.LOCK_EX):
        yield


VARIABLES = (
    "JSR_TEST_BREAK_NODE",
    "JSR_TEST_MEND_NODE",
    "JSR_TEST_STOP_APISERVER",
    "JSR_TEST_START_APISERVER",
)


def given(kubeconfig: str) -> Cluster:
    """The cluster this kubeconfig names. Several processes may test on it at once."""
    name = hashlib.sha256(kubeconfig.encode()).hexdigest()[:16]
    lock = Path(tempfile.gettempdir()) / f"jsr-tests-{os.getuid()}-{name}.lock"
    return Cluster(kubeconfig, lock, {name: os.environ[name] for name in VARIABLES if os.environ.get(name)})


@contextlib.contextmanager
def embedded(folder: Path, profile: str = "realtime") -> Iterator[Cluster]:
    """An embedded cluster of two nodes, for this process alone; it ends with it, however that may be.

    The scenarios count in seconds of their own clock, so the cluster's runs as fast, and unless ``profile`` says
    otherwise things take what they take on a real one. JSR_TEST_KUBE names the version of Kubernetes it stands for.
    """
    simulator = [sys.executable, "-m", "jobset_restart.simulator"]
    home = folder / "cluster"
    settings = ["--nodes", "2", "--empty", "--profile", profile, "--speed", "1", "--home", str(home)]
    if kube := os.environ.get("JSR_TEST_KUBE"):
        settings += ["--kube", kube]
    log = folder / "cluster.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*simulator, "run", "--until-eof", "-o", "json", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            answer = process.stdout.readline()
            assert answer, f"the embedded cluster did not start:\n{log.read_text(encoding='utf-8')}"
            yield Cluster(json.loads(answer)["kubeconfig"], folder / "cluster.lock", _switches(simulator, home))
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            finally:
                process.kill()


def _switches(simulator: list[str], home: Path) -> dict[str, str]:
    """The commands that break and mend an embedded cluster."""

    def switch(*words: str) -> str:
        return shlex.join([*simulator, *words, "--home", str(home)]).replace("'{node}'", "{node}")

    switches = (
        switch("node", "{node}", "--down"),
        switch("node", "{node}", "--up"),
        switch("apiserver", "--stop"),
        switch("apiserver", "--start"),
    )
    return dict(zip(VARIABLES, switches, strict=True))
