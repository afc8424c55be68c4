"""The record on a JobSet, and the mark on a Pod: whoever may patch the object may write them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.claim import Record, timestamp
from jobset_restart.history import Entry
from jobset_restart.simulator.store import Obj
from jobset_restart.snapshot import HISTORY
from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz
from tests.fuzz.fields import fields_in, put
from tests.fuzz.forging import ForgedCluster, forged_cluster
from tests.fuzz.hostile import ANYTHING, RECORDS, TEXTS, shown, values_for
from tests.fuzz.invariants import RECORD, Ran, broken
from tests.simulation.cluster import NAME, NAMESPACE, START

FIELDS = fields_in(Record)
MOST = 250_000
"""Characters. The API server takes 256 KiB of annotations (apimachinery, TotalAnnotationSizeLimitB)."""
MANIFESTS = {
    "never": make.jobset(NAME, make.replicated_job("workers", pods=2)),
    "native": make.native(NAME, workers=1),
}
TRIGGERS = ["native", "image", "signal", "suspend", "jobs", "pods", "magic", ""]
RELATIVE = [0.0, -20.0, -45.0, -3600.0, 3600.0, 1e9]
"""Seconds from now."""
SLOTS = ["workers/0/0", "workers/0/0-1", "workers/0/0-2147483647", "driver/0/0", "x/y/z", "workers/0-99999/0-99999"]


def record(draw: st.DrawFn, now: float) -> dict[str, Any]:
    """A record as this program writes it, made up."""
    when = {name: timestamp(now + draw(st.sampled_from(RELATIVE))) for name in ("started", "heartbeat", "deadline")}
    return {
        "id": "op1",
        "owner": "mallory@desk (process 1)",
        "strategy": draw(st.sampled_from(["in-place", "recreate"])),
        "trigger": draw(st.sampled_from(TRIGGERS)),
        "state": draw(st.sampled_from(["running", "detached", "finished"])),
        "phase": draw(st.sampled_from(["triggering", "suspending", "resuming", ""])),
        **when,
        "attempt": draw(st.sampled_from([None, 0, 1, 2, -99999999, 2**31])),
        "slots": draw(st.sampled_from([0, 2, -1, 10**9])),
        "scope": draw(st.lists(st.sampled_from(SLOTS), max_size=2)),
        "lost": draw(st.lists(st.sampled_from(SLOTS), max_size=2)),
        "request": {"nodeDown": draw(st.lists(st.sampled_from(["node-0", "node-1", "../x"]), max_size=2))},
    }


@st.composite
def forged(draw: st.DrawFn) -> str:
    """A record, often with a field or two that hold something else, or no record at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([*RECORDS, *TEXTS]) | st.text(max_size=60))
    found = record(draw, START + 120.0)
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True)):
        put(found, field.path, draw(st.sampled_from(values_for(field.sort))))
    return msgspec.json.encode(found).decode(errors="replace")[:MOST]


def annotate(cluster: ForgedCluster, resource: str, name: str, text: str, annotation: str = RECORD) -> None:
    obj: Obj = cluster.store.get(resource, NAMESPACE, name)
    annotations = {**obj["metadata"].get("annotations", {}), annotation: text}
    cluster.store.update(resource, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}, cluster.now())
    cluster.server.look()


@pytest.mark.parametrize("kind", sorted(MANIFESTS))
@given(text=forged(), command=st.sampled_from(["status", "plan", "restart", "resume", "resume", "resume"]))
@fuzz(50)
def test_any_record_on_the_jobset(kind: str, text: str, command: str) -> None:
    with forged_cluster(MANIFESTS[kind]) as cluster:
        annotate(cluster, "jobsets", NAME, text)
        for ran in acted(cluster, command):
            assert not broken(ran), f"{' '.join(ran.argv)} with {shown(text)}"
            assert not deletes_at_once(ran)


def acted(cluster: ForgedCluster, command: str) -> list[Ran]:
    if command == "status":
        return [cluster.command("status", "-o", "yaml"), cluster.command("all", "-A"), cluster.command("wait")]
    if command == "plan":
        return [cluster.command("restart", "--dry-run=client"), cluster.command("restart", "--dry-run=server", "-v")]
    options = ("--resume", "op1") if command == "resume" else ()
    planned = cluster.plan(*options)
    return [cluster.command("restart", "--yes", *options, planned=planned)]


def deletes_at_once(ran: Ran) -> bool:
    """Whether a Pod was deleted without grace, which only --node-down may ask for."""
    return any(each.method == "DELETE" and (each.body or {}).get("gracePeriodSeconds") == 0 for each in ran.sent)


ENTRY = {"id": "op0", "owner": "ann", "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z", "slots": 2}
ENTRIES = fields_in(Entry)


@st.composite
def histories(draw: st.DrawFn) -> str:
    """A list of entries, some of them with a field that holds something else, or no list at all."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from([*RECORDS, *TEXTS]) | st.text(max_size=60))
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 13))):
        entry = dict(ENTRY)
        for field in draw(st.lists(st.sampled_from(ENTRIES), max_size=2, unique=True)):
            put(entry, field.path, draw(st.sampled_from(values_for(field.sort))))
        found.append(draw(st.sampled_from(ANYTHING)) if draw(st.integers(0, 9)) == 0 else entry)
    return msgspec.json.encode(found).decode(errors="replace")[:MOST]


@given(text=histories(), command=st.sampled_from(["json", "wide", "name", "status", "plan", "restart", "restart"]))
@fuzz(60)
def test_any_history_on_the_jobset(text: str, command: str) -> None:
    """It is shown as far as it can be read, and no restart asks what it is."""
    with forged_cluster(MANIFESTS["never"]) as cluster:
        annotate(cluster, "jobsets", NAME, text, HISTORY)
        if command in ("status", "plan", "restart"):
            ran = acted(cluster, command)
            assert command != "restart" or ran[-1].code == 0, ran[-1].stderr
        else:
            ran = [cluster.command("history", "-o", command)]
            assert ran[0].code == 0, ran[0].stderr
        for each in ran:
            assert not broken(each), f"{' '.join(each.argv)} with {shown(text)}"


MARKS = st.sampled_from([*RECORDS, *TEXTS]) | st.builds(
    lambda before: json.dumps({"id": "op1", "before": before}),
    st.dictionaries(st.sampled_from(["worker", "", "x"]), st.integers() | st.text(max_size=5) | st.none(), max_size=2),
)


@given(mark=MARKS)
@fuzz(40)
def test_any_mark_on_a_pod(mark: str) -> None:
    with forged_cluster(MANIFESTS["never"]) as cluster:
        annotate(cluster, "pods", cluster.pods()[0]["metadata"]["name"], mark)
        planned = cluster.plan("--in-place")
        assert not broken(cluster.command("status"))
        assert not broken(cluster.command("restart", "--yes", "--in-place", planned=planned))
