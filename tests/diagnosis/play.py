"""Plays a scenario up to the moment of the diagnosis, in virtual time: who is to blame is known then."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from jobset_restart.diagnose.commands import LOOK
from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import StoreError
from tests.diagnosis.scenario import LASTS, RACK, Scenario
from tests.simulation.cluster import NAMESPACE, VirtualCluster
from tests.simulation.virtual import VirtualLoop

WARM = 130.0
"""Seconds it has trained before anything happens, at least; and a hundred steps."""


class Stage(NamedTuple):
    """The cluster at the moment of the diagnosis. `culprits` are the names of Pods; `hidden` tells that nothing which
    can be seen of one of them differs from what is seen of others: nobody could name it."""

    cluster: VirtualCluster
    culprits: frozenset[str]
    hidden: bool


def prepare(scenario: Scenario, loop: VirtualLoop, folder: Path) -> Stage:
    """The cluster in which the scenario has happened."""
    cluster = VirtualCluster(loop, folder, nodes=0, profile=INSTANT, seed=scenario.seed)
    _machines(cluster, scenario)
    for fault in scenario.clocks:
        cluster.world.add_fault(fault)
    cluster.settle([scenario.manifest()], 0.0)
    ranks = _ranks(cluster)
    hit = _hit(cluster, scenario, ranks)
    before = WARM + 12 * scenario.trains["step"] * scenario.trains["every"]
    end = cluster.world.now + before + scenario.hangs
    others = [name for name in ranks if name not in hit]
    nodes = {_node(cluster, each) for each in hit}
    bystanders = [name for name in others if _node(cluster, name) not in nodes]
    apart = bystanders[scenario.pick % len(bystanders)] if bystanders else None
    if scenario.restarted is not None and apart is not None:
        _at(cluster, end - scenario.restarted, Fault(kind="exit", target=f"{NAMESPACE}/{apart}", lasts=0.5))
    if scenario.unready and apart is not None:
        _at(cluster, end - 60.0, Fault(kind="node", target=_node(cluster, apart), lasts=LASTS))
    if scenario.blind == "py-spy" and scenario.trains["pyspy"] != "no":
        for name in hit:
            cluster.world.execute(NAMESPACE, name, "worker", ["rm", "/usr/bin/py-spy"])
    for fault in _faults(cluster, scenario, hit):
        _at(cluster, end - scenario.hangs, fault)
    cluster.world.run_until(end)
    culprits = frozenset(hit if scenario.blames else ())
    return Stage(cluster, culprits, bool(culprits) and _is_hidden(cluster, scenario, culprits, others))


def _machines(cluster: VirtualCluster, scenario: Scenario) -> None:
    count = -(-(scenario.ranks + bool(scenario.driver)) // scenario.per_node) + 1
    for rack in range(-(-count // scenario.per_rack)):
        share = min(scenario.per_rack, count - rack * scenario.per_rack)
        cluster.world.add_nodes(share, pods=scenario.per_node, labels={RACK: f"r{rack}"})


def _ranks(cluster: VirtualCluster) -> list[str]:
    """The Pods that train."""
    return sorted(
        pod["metadata"]["name"] for pod in cluster.pods() if pod["metadata"].get("annotations", {}).get(_TRAINS)
    )


def _node(cluster: VirtualCluster, name: str) -> str:
    return str(cluster.store.get("pods", NAMESPACE, name)["spec"]["nodeName"])


def _hit(cluster: VirtualCluster, scenario: Scenario, ranks: list[str]) -> list[str]:
    """The ranks the hang hits: one, those of a node, those of a rack, or all."""
    if not scenario.blames:
        return ranks if scenario.kind != "healthy" else []
    bare = [name for name in ranks if "-bare-" in name]
    one = bare[0] if bare and scenario.pick % 2 else ranks[scenario.pick % len(ranks)]
    if scenario.kind in ("rank", "exit", "slow"):
        return [one]
    if scenario.kind == "rack":
        rack = _rack(cluster, one)
        return [name for name in ranks if _rack(cluster, name) == rack]
    return [name for name in ranks if _node(cluster, name) == _node(cluster, one)]


def _rack(cluster: VirtualCluster, name: str) -> str:
    return str(cluster.store.get("nodes", "", _node(cluster, name))["metadata"]["labels"][RACK])


def _faults(cluster: VirtualCluster, scenario: Scenario, hit: list[str]) -> list[Fault]:
    def ranks(kind: str, target: str) -> Fault:
        return Fault(kind=kind, target=target, lasts=LASTS, seconds=scenario.seconds)

    match scenario.kind:
        case "rank":
            return [ranks("rank-storage" if scenario.pick % 5 == 0 else "rank-hang", f"{NAMESPACE}/{hit[0]}")]
        case "exit":
            return [ranks("rank-exit", f"{NAMESPACE}/{hit[0]}")]
        case "slow":
            return [ranks("rank-slow", f"{NAMESPACE}/{hit[0]}")]
        case "node" | "dead node":
            node = _node(cluster, hit[0])
            fault = ranks("rank-hang", f"kubernetes.io/hostname={node}")
            return [fault, Fault(kind="node", target=node, lasts=LASTS)] if scenario.kind == "dead node" else [fault]
        case "rack":
            return [ranks("rank-storage" if scenario.pick % 2 else "rank-hang", f"{RACK}={_rack(cluster, hit[0])}")]
        case "storage":
            return [ranks("rank-storage", "*")]
        case "collective":
            return [ranks("collective", "*")]
    return []


def _is_hidden(cluster: VirtualCluster, scenario: Scenario, culprits: frozenset[str], others: list[str]) -> bool:
    """Whether the first culprit looks as some other rank does, in its processes and at the end of its log."""
    if scenario.kind == "dead node":
        return False
    sights = {name: _sight(cluster, name) for name in (min(culprits), *others)}
    mine = sights.pop(min(culprits))
    if mine is None:  # a group of its own into which nobody can look may be a driver
        return True
    seen = [each for each in sights.values() if each is not None]
    if not any(line.startswith("    ") for line in mine):  # where others have a stack, the rest has to tell
        seen = [tuple(line for line in each if not line.startswith(("    ", "=no py-spy"))) for each in seen]
        mine = tuple(line for line in mine if line != "=no py-spy")
    return mine in seen


def _sight(cluster: VirtualCluster, name: str) -> tuple[str, ...] | None:
    """What a look into a container shows, but for numbers; None where there is no looking."""
    try:
        out, _, _ = cluster.world.execute(NAMESPACE, name, "worker", ["sh", "-c", LOOK])
        lines = cluster.world.logs(NAMESPACE, name, "worker", False, cluster.world.now, 3)
    except StoreError:
        return None
    trouble = any("Error" in line for _, line in lines)
    kept = ("Name:", "State:", "wchan", "thread", "    ", "=no py-spy")
    shown = [re.sub(r"\d+", "", line) for line in out.decode().splitlines() if line.startswith(kept)]
    return (*shown, str(trouble))


def _at(cluster: VirtualCluster, when: float, fault: Fault) -> None:
    cluster.world.add_fault(fault, start=when)


_TRAINS = "simulator.jobset-restart.io/training"
