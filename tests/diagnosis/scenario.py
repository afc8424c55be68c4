"""What a seed stands for: a training, what is odd about its cluster, how it hangs, and who is to blame."""

from __future__ import annotations

import json
import random
from typing import Any

from msgspec import Struct

from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.training.frameworks import FRAMEWORKS
from jobset_restart.simulator.training.lines import FORMATS
from jobset_restart.simulator.training.spec import ANNOTATION
from tests.e2e.manifests import UNLIMITED, container, jobset, replicated_job
from tests.simulation.cluster import NAME

RACK = "topology.kubernetes.io/rack"
SIZES = (64, 128, 256, 512, 1024, 2048, 5000)
KINDS = ("rank", "exit", "node", "dead node", "rack", "slow", "storage", "collective")
BLAMELESS = ("storage", "collective")
"""Hangs that are nobody's: all ranks stand alike."""
LASTS = 1e6
EVICTED = 280.0
"""Seconds a node is dead before its Pods are replaced (tolerationSeconds), which ends what there is to be found."""
COMMANDS = (
    ["python3", "/app/train.py"],
    ["python3", "-u", "/workspace/pretrain_gpt.py", "--config", "c.yaml"],
    ["sh", "-c", "python3 /app/finetune.py; sleep infinity"],
)


class Scenario(Struct, frozen=True, kw_only=True):
    """`kind` is one of KINDS, or "healthy". `pods` counts the ranks; `per_node` of them share a node, `per_rack` nodes
    a rack. `trains` is the training's annotation.

    `blind` names what the culprit's container lacks: "py-spy", "shell", or "". `clocks` are faults of nodes' clocks.
    `restarted` is how many seconds before the diagnosis a container restarted, `unready` whether a kubelet is away
    whose Pod has nothing to do with it. `hangs` is how many seconds ago the hang began.
    """

    seed: int
    kind: str
    pods: int
    jobs: int
    per_node: int
    per_rack: int
    trains: dict[str, Any]
    command: tuple[str, ...]
    driver: str = ""
    blind: str = ""
    clocks: tuple[Fault, ...] = ()
    restarted: float | None = None
    unready: bool = False
    hangs: float = 0.0
    seconds: float = 0.0
    pick: int = 0
    """Decides which rank, node or rack it is."""

    @property
    def blames(self) -> bool:
        """Whether somebody is to blame."""
        return self.kind not in (*BLAMELESS, "healthy")

    @property
    def ranks(self) -> int:
        return self.pods + (self.blind == "shell")

    def title(self) -> str:
        trains = " ".join(f"{key}={value}" for key, value in self.trains.items() if key != "ranks")
        odd = [f"without {self.blind}"] if self.blind else []
        odd += [f"driver {self.driver}"] if self.driver else []
        odd += [f"clock {each.seconds:+.0f} s x{each.share:g}" for each in self.clocks]
        odd += [f"restarted {self.restarted:.0f} s ago"] if self.restarted is not None else []
        odd += ["a kubelet away"] if self.unready else []
        how = f"{self.kind}, {self.ranks} ranks, {self.per_node} a node, for {self.hangs:.0f} s"
        return "; ".join([how, trains, *odd])

    def manifest(self) -> Obj:
        """The JobSet: workers, perhaps a rank without a shell, perhaps a driver that trains nothing."""
        jobs = [self._job("workers", self.jobs, self.pods // self.jobs, "docker.io/library/trainer:1")]
        if self.blind == "shell":
            jobs.append(self._job("bare", 1, 1, "docker.io/library/distroless-trainer:1"))
        if self.driver:
            command = {"silent": ["sleep", "infinity"], "talks": ["sh", "-c", "while :; do date; sleep 5; done"]}
            jobs.append(replicated_job("driver", container(command=command[self.driver]), pods=1))
        return jobset(NAME, *jobs)

    def _job(self, name: str, jobs: int, pods: int, image: str) -> Obj:
        made = container(command=list(self.command)) | {"image": image}
        job = replicated_job(name, made, jobs=jobs, pods=pods, restart_policy="OnFailure", backoff_limit=UNLIMITED)
        text = json.dumps({**self.trains, "ranks": self.ranks})
        job["template"]["spec"]["template"]["metadata"] = {"annotations": {ANNOTATION: text}}
        return job


def from_seed(seed: int, *, healthy: bool = False, most: int = SIZES[-1]) -> Scenario:
    """The scenario of a seed: the same for the same seed, as long as this file does not change."""
    draw = random.Random(f"hang {seed} {healthy}")
    kind = "healthy" if healthy else draw.choices(KINDS, weights=(8, 2, 3, 2, 3, 3, 2, 2))[0]
    sizes = [size for size in SIZES if size <= most]
    pods = draw.choices(sizes, weights=(24, 24, 20, 14, 10, 5, 3)[: len(sizes)])[0]
    trains = _training(draw, kind)
    if kind == "dead node":
        trains |= {"step": min(trains["step"], 5.0), "every": 1}
    pace = trains["step"] * trains["every"]
    seconds = max(6.0, trains["step"] * draw.uniform(8, 30)) if kind == "slow" else 0.0
    # A slow rank is found by the change: some slow lines have come, the others are of before.
    hangs = (trains["step"] + seconds) * trains["every"] * draw.uniform(1.2, 4.5)
    if kind != "slow":
        hangs = 100.0 + 4 * pace + draw.expovariate(1 / 900)
    if kind == "dead node":
        hangs = min(hangs, EVICTED)
    return Scenario(
        seed=seed,
        kind=kind,
        pods=pods,
        jobs=draw.choice([1, 1, 2, 4, 8]),
        per_node=draw.choice([1, 1, 2, 4, 8]),
        per_rack=max(2, pods // draw.choice([8, 16, 32]) // 8),
        trains=trains,
        command=tuple(draw.choice(COMMANDS)),
        driver=draw.choice(["", "", "", "silent", "talks"]),
        blind=draw.choices(["", "py-spy", "shell"], weights=(8, 2, 1))[0] if kind in ("rank", "exit") else "",
        clocks=_clocks(draw),
        restarted=draw.uniform(45, 75) if draw.random() < 0.2 else None,
        # Of two nodes that are away, nothing tells which is dead and which has lost its kubelet alone.
        unready=draw.random() < 0.07 and kind != "dead node",
        hangs=hangs,
        seconds=seconds,
        pick=draw.randrange(1 << 30),
    )


def _training(draw: random.Random, kind: str) -> dict[str, Any]:
    framework = draw.choices(list(FRAMEWORKS), weights=(2, 5, 3, 3, 2, 3, 2))[0]
    # Where nobody tells steps, a rank that is slow cannot be told from one that is not.
    who = draw.choices(["all", "first", "last", "none"], weights=(10, 4, 2, 0 if kind in ("slow", "healthy") else 1))[0]
    return {
        "framework": framework,
        "log": draw.choice(list(FORMATS)),
        "who": who,
        "step": round(draw.choice([0.2, 0.5, 1.0, 1.0, 2.0, 5.0, 20.0]) * draw.uniform(0.8, 1.25), 3),
        "jitter": draw.choice([0.0, 0.02, 0.1, 0.3]),
        "every": draw.choice([1, 1, 1, 5, 10]),
        "stages": draw.choice([1, 1, 1, 2, 4]),
        "chatter": draw.choice([0, 0, 0, 0, 0, 15]),
        "pyspy": draw.choices(["yes", "no", "denied"], weights=(8, 1, 1))[0],
        "cgroup": draw.choice([1, 2]),
        "seed": draw.randrange(1 << 20),
    }


def _clocks(draw: random.Random) -> tuple[Fault, ...]:
    if draw.random() < 0.6:
        return ()
    ahead = draw.choice([-1, 1]) * draw.choice([2.0, 5.0, 30.0])
    return (Fault(kind="clock", lasts=LASTS, share=draw.choice([0.1, 0.5, 1.0]), seconds=ahead),)
