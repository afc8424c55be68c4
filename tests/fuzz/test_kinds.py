"""Hostile workloads of the kinds that the embedded cluster does not play, and of what they are made of: no field may do
more than end a look, or a rehearsal of a restart, with an error in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.workloads.kinds import WORKLOAD_KINDS
from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz, some
from tests.fuzz.fields import Field, fields_in
from tests.fuzz.forging import ForgedCluster, Forgery, forged_cluster
from tests.fuzz.hostile import values_for
from tests.fuzz.invariants import Ran, broken
from tests.fuzz.shelf import NAMESPACE, SHELVES, Shelf
from tests.fuzz.test_objects import forgery
from tests.simulation.cluster import NAME


@pytest.fixture(scope="module")
def served() -> Iterator[ForgedCluster]:
    with forged_cluster(make.jobset(NAME, make.replicated_job("workers", pods=1))) as found:
        yield found


@pytest.fixture
def cluster(served: ForgedCluster, called: str) -> ForgedCluster:
    served.lying.shelf = SHELVES[called]
    served.forging.forge()
    return served


def commands(shelf: Shelf) -> list[tuple[str, ...]]:
    """What looks at the workload, and changes nothing."""
    rehearsed = ("restart", *shelf.words, "--dry-run=client")
    return [
        ("status", *shelf.words),
        rehearsed,
        ("status", *shelf.words, "-o", "json"),
        (*rehearsed, "--in-place", "-v"),
        ("status",),
        (*rehearsed, "--recreate"),
        *((*rehearsed, "--via", via, "-o", "yaml") for via in shelf.vias),
    ]


def looked(cluster: ForgedCluster, command: tuple[str, ...]) -> Ran:
    return cluster.run(*command, "-n", NAMESPACE)


def fields(shelf: Shelf) -> list[Field]:
    """Those that its Pods and Jobs have as those of a JobSet do are tried elsewhere."""
    kinds = shelf.resources.items()
    return [field for name, kind in kinds if name not in ("pods", "jobs.batch") for field in fields_in(kind, name)] + [
        field for name, kind in kinds if name == "pods" for field in fields_in(kind, name) if "metadata" in field.path
    ]


@pytest.mark.parametrize("called", sorted(SHELVES))
def test_any_field_of_any_object(cluster: ForgedCluster, called: str) -> None:
    shelf, wrong = SHELVES[called], []
    every = commands(shelf)
    for number, field in enumerate(fields(shelf)):
        for n, value in enumerate(some(values_for(field.sort), 2, str(field))):
            command = every[(number + n) % len(every)]
            cluster.forging.forge(Forgery(field, value, all_of=bool((number + n) & 1)))
            ran = looked(cluster, command)
            wrong += [f"{command} with {cluster.forging.forgeries[0]}: {each}" for each in broken(ran)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("called", sorted(SHELVES))
@given(data=st.data())
@fuzz(20)
def test_several_fields_at_once(cluster: ForgedCluster, called: str, data: st.DataObject) -> None:
    shelf = SHELVES[called]
    chosen = data.draw(st.lists(st.sampled_from(fields(shelf)), min_size=1, max_size=4, unique=True))
    cluster.forging.forge(*(data.draw(forgery(field)) for field in chosen))
    command = data.draw(st.sampled_from(commands(shelf)))
    assert not broken(looked(cluster, command)), f"{command} with {'; '.join(map(str, cluster.forging.forgeries))}"


@pytest.mark.parametrize("called", sorted(SHELVES))
def test_undisturbed_everything_is_seen(cluster: ForgedCluster, called: str) -> None:
    """So that what is found above is not of the harness: the workload is there with its Pods, and can be restarted."""
    shelf = SHELVES[called]
    for command in commands(shelf):
        ran = looked(cluster, command)
        assert not broken(ran), ran.stderr
        refused = called == "lws-recreates" and ("--in-place" in command or "image" in command)
        unoffered = called == "pods" and "--recreate" in command
        assert ran.code == (3 if refused or unoffered else 0), (command, ran.stderr)
    assert "/" in looked(cluster, ("status", *shelf.words)).stdout


@pytest.mark.parametrize("called", sorted(SHELVES))
def test_there_is_something_to_find(cluster: ForgedCluster, called: str) -> None:
    """What is forged is read: a number that is none ends the look, in words."""
    shelf = SHELVES[called]
    for row in shelf.rows:
        field = Field(row.resource, ("metadata", "creationTimestamp"), "time", bounded=False)
        cluster.forging.forge(Forgery(field, "tomorrow", all_of=True))
        ran = looked(cluster, ("status", *shelf.words))
        assert ran.code == 1, (row.resource, ran.stdout, ran.stderr)
        assert "metadata.creationTimestamp: this is not a time" in ran.stderr


def test_every_kind_is_tried() -> None:
    here = {resource for shelf in SHELVES.values() for resource in shelf.resources}
    assert {kind.resource for kind in WORKLOAD_KINDS} <= here
