"""Objects that change for the worse while a restart is under way, from the claim on: in answers and in watches."""

from __future__ import annotations

import pytest

from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make
from tests.fuzz.effort import some
from tests.fuzz.fields import KINDS, fields_of
from tests.fuzz.forging import Forgery, forged_cluster
from tests.fuzz.hostile import values_for
from tests.fuzz.invariants import Ran, broken
from tests.simulation.cluster import NAME

WORKERS = make.replicated_job("workers", pods=3)
SIGNALLED = make.replicated_job("workers", pods=3, restart_policy="OnFailure", backoff_limit=make.UNLIMITED)
WAYS: list[tuple[str, Obj]] = [
    ("image", make.jobset(NAME, WORKERS)),
    ("suspend", make.jobset(NAME, WORKERS)),
    ("jobs", make.jobset(NAME, WORKERS)),
    ("native", make.native(NAME, workers=2)),
    ("signal", make.jobset(NAME, SIGNALLED)),
    ("pods", make.jobset(NAME, SIGNALLED)),
]
AT_ONCE = 6


def restarted(way: int, *forgeries: Forgery, terminal: bool) -> Ran:
    """One restart, planned on what is true and carried out on what is forged."""
    via, manifest = WAYS[way % len(WAYS)]
    with forged_cluster(manifest) as cluster:
        planned = cluster.plan("--via", via)
        assert planned
        cluster.forging.forge(*forgeries)
        return cluster.command("restart", "--yes", "--via", via, planned=planned, terminal=terminal)


@pytest.mark.parametrize("part", range(AT_ONCE))
@pytest.mark.parametrize("resource", sorted(KINDS))
def test_any_field_of_any_object_during_a_restart(resource: str, part: int) -> None:
    wrong = []
    for number, field in enumerate(fields_of(resource)):
        if number % AT_ONCE != part:
            continue
        for n, value in enumerate(some(values_for(field.sort), 3 if field.sort == "time" else 1, str(field))):
            forgery = Forgery(field, value, all_of=bool((number + n) & 1), late=True)
            ran = restarted(number // AT_ONCE + n, forgery, terminal=bool(number & 2))
            wrong += [f"{' '.join(ran.argv)} with {forgery}: {each}" for each in broken(ran)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[via for via, _ in WAYS])
def test_undisturbed_each_way_does_what_it_planned(way: int) -> None:
    """So that what is found above is not of the harness."""
    nothing = Forgery(fields_of("events")[0], {}, late=True)
    for terminal in (False, True):
        ran = restarted(way, nothing, terminal=terminal)
        assert ran.code == 0, ran.stderr
        assert not broken(ran)
        assert ran.sent


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[via for via, _ in WAYS])
def test_a_time_that_is_none_during_a_restart_is_told_with_its_object_and_field(way: int) -> None:
    field = next(each for each in fields_of("pods") if each.path == ("metadata", "creationTimestamp"))
    ran = restarted(way, Forgery(field, "tomorrow", all_of=True, late=True), terminal=False)
    assert not broken(ran)
    assert ran.code == 1
    assert "metadata.creationTimestamp: this is not a time" in ran.stderr
    assert "a fault in jsr itself" not in ran.stderr


@pytest.mark.parametrize("time", ["tomorrow", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00"])
@pytest.mark.parametrize("resource", ["pods", "nodes"])
@pytest.mark.parametrize("way", range(3), ids=[via for via, _ in WAYS[:3]])
def test_a_machine_that_seems_down_since_a_time_that_is_none(way: int, resource: str, time: str) -> None:
    """Several fields together, as they are read together."""
    fields = {each.path[-1]: each for each in fields_of(resource) if each.path[:2] == ("status", "conditions")}
    values = {"type": "Ready", "status": "False", "lastTransitionTime": time}
    forgeries = [Forgery(fields[name], value, all_of=True, late=True) for name, value in values.items()]
    ran = restarted(way, *forgeries, terminal=False)
    assert not broken(ran)
