"""The core/v1 Events on a workload that tell of an operation: what `kubectl describe` and `kubectl events` show. Pure.

RestartStarted, then RestartEscalated for each round after the first, then Restarted or RestartIncomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from jobset_restart import claim
from jobset_restart.report import ResultReport
from jobset_restart.restart.outline import Outline
from jobset_restart.workloads.workload import Workload
from jobset_restart.writes import CORE, Write

MOST_MESSAGE = 1024
"""Characters of an Event's message (core/v1 Event validation, NoteLengthLimit)."""
MOST_NAME = 200
"""Characters of the object's name in the Event's, which has room for 253."""


def began(workload: Workload, of: Outline, owner: str, now: float) -> Write:
    """That an operation of `owner` has claimed the workload. `now` is seconds since the epoch."""
    slots = sum(bool(each.trigger) for each in of.slots)
    left = len(of.slots) - slots
    others = f", {left:,} left alone" if left else ""
    message = f"{of.strategy} by {of.trigger}, operation {of.operation} of {owner}: {slots:,} slots{others}"
    return _event(workload, of.operation, "RestartStarted", message, now)


def escalated(workload: Workload, of: Outline, number: int, because: str, now: float) -> Write:
    """That another round begins, `because` of what came of the one before."""
    slots = sum(bool(each.trigger) for each in of.slots)
    how = f"round {number}, {of.strategy} by {of.trigger}"
    message = f"{how}, operation {of.operation}: {slots:,} slots; {because}"
    return _event(workload, of.operation, "RestartEscalated", message, now, type_="Warning")


def ended(workload: Workload, result: ResultReport, now: float) -> Write:
    """What came of the operation."""
    tried = [(each.strategy, each.trigger) for each in result.rounds] or [(result.strategy, result.trigger)]
    how = ", then ".join(f"{strategy} by {trigger}" for strategy, trigger in tried)
    message = f"{how}, operation {result.operation}: {_counts(result.outcomes)}; {result.reason}"
    if result.exit_code == 0:
        return _event(workload, result.operation, "Restarted", message, now)
    return _event(workload, result.operation, "RestartIncomplete", message, now, type_="Warning")


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))


def _event(
    workload: Workload,
    operation: str,
    reason: str,
    message: str,
    now: float,
    type_: Literal["Normal", "Warning"] = "Normal",
) -> Write:
    meta = workload.metadata
    time = claim.timestamp(now)[:19] + "Z"
    name = f"{meta.name[:MOST_NAME].rstrip('.-')}.{operation}.{reason.lower()}.{int(now * 1000):x}"
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": workload.carrier.api_version,
            "kind": workload.carrier.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
        "type": type_,
        "reason": reason,
        "message": message[:MOST_MESSAGE],
        "source": {"component": "jsr"},
        "reportingComponent": "jobset-restart.io/jsr",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    return Write(verb="create", path=f"{CORE}/namespaces/{meta.namespace}/events", body=body)
