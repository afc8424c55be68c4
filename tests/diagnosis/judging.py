"""Runs a diagnosis on a scenario, and compares what it says with what is true."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from msgspec import Struct

from jobset_restart.cluster import Cluster
from jobset_restart.cluster.resolve import resolve
from jobset_restart.diagnose.judge import Diagnosis
from jobset_restart.gathering import Gathering, Options
from tests.diagnosis.near import NearCluster
from tests.diagnosis.play import Stage, prepare
from tests.diagnosis.scenario import Scenario
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import the_time_of
from tests.simulation.virtual import VirtualLoop


class Judged(Struct, kw_only=True):
    """What was said of a scenario. `top` is the Pod named first, "" where none is; `named` how many are; `virtual` is
    the seconds the diagnosis took on the cluster's clock, `seconds` those of this machine. `hidden`: see Stage."""

    scenario: Scenario
    culprits: frozenset[str]
    hidden: bool = False
    verdict: str
    top: str = ""
    named: int = 0
    shared: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    virtual: float = 0.0
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the first that is named is to blame; where nobody is, that nobody is named and no alarm is false."""
        if self.culprits:
            return self.top in self.culprits or (self.hidden and not self.top)
        return self.verdict == ("Healthy" if self.scenario.kind == "healthy" else "NoSuspects")


class Score(Struct):
    """Of many. Precision is of those where somebody was named, recall of those where somebody is to blame and something
    shows it; those where nothing does are `hidden`."""

    named: int = 0
    named_right: int = 0
    to_blame: int = 0
    found: int = 0
    healthy: int = 0
    false_alarms: int = 0
    hidden: int = 0

    @property
    def precision(self) -> float:
        return self.named_right / self.named if self.named else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.to_blame if self.to_blame else 1.0


def score(all_judged: Iterable[Judged]) -> Score:
    result = Score()
    for each in all_judged:
        right = each.top in each.culprits
        if each.scenario.kind == "healthy":
            result.healthy += 1
            result.false_alarms += each.verdict != "Healthy"
            continue
        result.named += bool(each.top)
        result.named_right += right
        result.hidden += each.hidden
        if not each.hidden:
            result.to_blame += bool(each.culprits)
            result.found += right
    return result


def diagnose(scenario: Scenario, ask: Callable[[Stage], Judged] | None = None) -> Judged:
    """Plays the scenario, looks, and judges."""
    loop = VirtualLoop(scenario.seed)
    asyncio.set_event_loop(loop)
    try:
        with tempfile.TemporaryDirectory() as folder:
            stage = prepare(scenario, loop, Path(folder))
            return (ask or (lambda stage: _near(stage, scenario)))(stage)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _near(stage: Stage, scenario: Scenario) -> Judged:
    loop, cluster = stage.cluster.loop, NearCluster(stage.cluster)
    stage.cluster.now = cluster.now
    began, virtual = time.process_time(), loop.time()
    with the_time_of(stage.cluster):
        found, pods = loop.run_until_complete(_diagnosed(cast(Cluster, cluster)))
    return Judged(
        scenario=scenario,
        culprits=stage.culprits,
        hidden=stage.hidden,
        verdict=found.verdict,
        top=pods[found.suspects[0].slot] if found.suspects else "",
        named=len(found.suspects),
        shared=tuple(f"{each.key}={each.value}" for each in found.common),
        reasons=tuple(f"{each.id} {each.text}" for each in (found.suspects[0].reasons if found.suspects else ()))
        or ((found.doubt,) if found.doubt else ()),
        virtual=loop.time() - virtual,
        seconds=time.process_time() - began,
    )


async def _diagnosed(cluster: Cluster) -> tuple[Diagnosis, dict[object, str]]:
    snapshot = await resolve(cluster, NAMESPACE, NAME, consistent=False)
    gathering = Gathering(cluster, snapshot, Options())
    await gathering.run()
    return gathering.judged(), {slot: seen.pod for slot, seen in gathering.observation.slots.items()}
