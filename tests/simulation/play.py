"""Plays a scenario: the workload comes up, the client runs and perhaps dies, another carries on."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct

from jobset_restart.simulator.profile import REALTIME
from tests.simulation.cluster import NAMESPACE, VirtualCluster
from tests.simulation.program import Ended, run
from tests.simulation.scenario import LASTS, TIMEOUT, Scenario
from tests.simulation.virtual import VirtualLoop
from tests.simulation.witness import Witness

LEASE_SECONDS = 31.0
QUIET_SECONDS = 150.0


class Played(Struct, kw_only=True):
    """What came of it. `clients` are those that ran, one after the other; `shown` is the plan that was shown before,
    where one was."""

    scenario: Scenario
    cluster: VirtualCluster
    witness: Witness
    clients: list[Ended]
    complaints: list[str]
    shown: dict[str, Any] | None = None


class _Log(logging.Handler):
    """What the embedded cluster says when it fails itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def play(scenario: Scenario) -> Played:
    """Raises StandsStill where somebody waits for ever."""
    loop = VirtualLoop(scenario.seed)
    log = _Log()
    logging.getLogger("jobset_restart.simulator").addHandler(log)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _play(scenario, loop, Path(folder), log)
    finally:
        logging.getLogger("jobset_restart.simulator").removeHandler(log)
        asyncio.set_event_loop(None)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _play(scenario: Scenario, loop: VirtualLoop, folder: Path, log: _Log) -> Played:
    cluster = VirtualCluster(loop, folder, nodes=scenario.nodes, profile=REALTIME, seed=scenario.seed)
    cluster.settle([scenario.manifest], scenario.age)
    cluster.serve()
    witness = Witness(cluster)
    for fault in scenario.faults:
        cluster.server.add_fault(fault)
    for deed in scenario.deeds:
        loop.call_later(deed.at, cluster.somebody, deed.what)
    if scenario.rotates is not None:
        loop.call_later(scenario.rotates, cluster.rotate_token)
    options = (*scenario.options, *(scenario.allowed if scenario.escalates else ()))
    shown = _shown(cluster, scenario, *options) if scenario.escalates else None
    first = _restart(cluster, scenario, *options, first=True)
    clients = [first]
    if left := _unfinished(cluster, first):
        loop.run_until_complete(asyncio.sleep(max(LEASE_SECONDS, LASTS + 30.0 - loop.time())))
        more = ("--resume", left, *scenario.allowed) if scenario.resumes else options
        clients.append(_restart(cluster, scenario, *more))
    loop.run_until_complete(asyncio.sleep(QUIET_SECONDS))
    return Played(
        scenario=scenario,
        cluster=cluster,
        witness=witness,
        clients=clients,
        complaints=[*loop.complaints, *log.lines],
        shown=shown,
    )


def _shown(cluster: VirtualCluster, scenario: Scenario, *options: str) -> dict[str, Any] | None:
    """The plan as it is shown beforehand, None where it cannot be had."""
    command = ("restart", scenario.reference, "-n", NAMESPACE, "-o", "json", "--dry-run", "client")
    ended = run(cluster, *command, *options)
    return dict(json.loads(ended.stdout)) if ended.code == 0 else None


def _restart(cluster: VirtualCluster, scenario: Scenario, *options: str, first: bool = False) -> Ended:
    command = (
        "restart",
        scenario.reference,
        "-n",
        NAMESPACE,
        "--yes",
        "-o",
        "json",
        "--timeout",
        f"{TIMEOUT}s",
        *options,
    )
    return run(cluster, *command, death=scenario.death if first else None, skew=scenario.skew)


def _unfinished(cluster: VirtualCluster, client: Ended) -> str:
    """The id of the operation that a client left unfinished, as its record on the workload tells."""
    record = cluster.record()
    if record is None or record.get("state", "running") == "finished" or record["owner"].startswith("somebody"):
        return ""
    return str(record["id"])
