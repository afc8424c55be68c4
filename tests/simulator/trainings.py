"""A training of a few ranks in an embedded cluster in virtual time."""

from __future__ import annotations

import json
from typing import Any

from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.training.spec import ANNOTATION
from jobset_restart.simulator.world import World
from tests.e2e.manifests import container, jobset, replicated_job

START = 1_800_000_000.0
IMAGE = "docker.io/library/trainer:1"
COMMAND = ["python3", "/app/train.py"]


def manifest(jobs: int = 2, pods: int = 2, command: list[str] | None = None, **training: Any) -> Obj:
    """A JobSet `train` whose Pods step together."""
    text = json.dumps({"ranks": jobs * pods, **training})
    job = replicated_job(
        "workers", container(command=command or COMMAND) | {"image": IMAGE}, jobs=jobs, pods=pods, backoff_limit=100
    )
    job["template"]["spec"]["template"]["metadata"] = {"annotations": {ANNOTATION: text}}
    return jobset("train", job)


class Played:
    """`at` is seconds since the training was created."""

    def __init__(self, nodes: int = 2, seed: int = 0, made: Obj | None = None, **more: Any) -> None:
        self.world = World(nodes=nodes, profile=INSTANT, seed=seed, start=START)
        self.world.load([made or manifest(**more)])
        self.at(0.5)

    def at(self, seconds: float) -> Played:
        self.world.run_until(START + seconds)
        return self

    @property
    def names(self) -> list[str]:
        """Running Pods by rank."""
        pods = self.world.store.by_label("pods", "jobset.sigs.k8s.io/jobset-name", "train")
        return sorted(pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running")

    def node(self, name: str) -> str:
        return str(self.world.store.get("pods", "default", name)["spec"]["nodeName"])

    def logs(self, name: str, tail: int = 10, previous: bool = False) -> list[tuple[float, str]]:
        """Lines of a Pod, each with its time in seconds since the training was created."""
        found = self.world.logs("default", name, "worker", previous, self.world.now, tail)
        return [(at - START, line) for at, line in found]

    def run(self, name: str, *command: str) -> tuple[str, str, int]:
        out, err, code = self.world.execute("default", name, "worker", list(command))
        return out.decode(), err.decode(), code

    def stack(self, name: str) -> str:
        """What py-spy shows of PID 1, its first frame."""
        out, err, code = self.run(name, "py-spy", "dump", "--pid", "1")
        assert (err, code) == ("", 0)
        return out.split('"MainThread"\n')[1].split("\n")[0].strip()
