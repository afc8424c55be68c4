"""Objects with one field, or several, that hold what nobody would write: looked at, and planned for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz, some
from tests.fuzz.fields import KINDS, Field, every_field, fields_of
from tests.fuzz.forging import ForgedCluster, Forgery, forged_cluster
from tests.fuzz.hostile import values_for
from tests.fuzz.invariants import broken
from tests.simulation.cluster import NAME

COMMANDS: list[tuple[str, ...]] = [
    ("status",),
    ("all", "-A"),
    ("restart", "--dry-run=client"),
    ("status", "-o", "yaml"),
    ("restart", "--dry-run=client", "--via", "native", "-o", "json"),
    ("restart", "--dry-run=client", "--in-place", "-v"),
    ("all", "-o", "name"),
    ("restart", "--dry-run=client", "--recreate"),
    ("status", "-o", "json"),
    ("restart", "--dry-run=client", "--via", "signal"),
]
"""What looks, and changes nothing."""
MANIFESTS = {
    "native": make.native(NAME, workers=2),
    "onfailure": make.jobset(NAME, make.replicated_job("workers", pods=2, restart_policy="OnFailure", backoff_limit=6)),
}
AT_ONCE = 8


@pytest.fixture(scope="module", params=sorted(MANIFESTS))
def cluster(request: pytest.FixtureRequest) -> Iterator[ForgedCluster]:
    with forged_cluster(MANIFESTS[request.param]) as found:
        yield found


@pytest.mark.parametrize("part", range(AT_ONCE))
def test_any_field_of_any_object(cluster: ForgedCluster, part: int) -> None:
    """Each decoded field in turn. JSR_FUZZ_EXAMPLES=20 tries every value in each."""
    wrong = []
    for number, field in enumerate(every_field()):
        if number % AT_ONCE != part:
            continue
        for n, value in enumerate(some(values_for(field.sort), 2, str(field))):
            command = COMMANDS[(number + n) % len(COMMANDS)]
            cluster.forging.forge(Forgery(field, value, all_of=bool((number + n) & 1)))
            wrong += [f"{command} with {cluster.forging.forgeries[0]}: {each}" for each in looked(cluster, command)]
    assert not wrong, "\n".join(wrong)


def looked(cluster: ForgedCluster, command: tuple[str, ...]) -> list[str]:
    return broken(cluster.command(*command))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def forgery(field: Field) -> st.SearchStrategy[Forgery]:
    values: st.SearchStrategy[Any] = st.sampled_from(values_for(field.sort)) | JSON
    if field.sort == "number":
        values |= st.integers(-(2**31), 2**31 - 1)
    return st.builds(Forgery, st.just(field), values, st.booleans())


@pytest.mark.parametrize("resource", sorted(KINDS))
@given(data=st.data())
@fuzz(40)
def test_several_fields_at_once(cluster: ForgedCluster, resource: str, data: st.DataObject) -> None:
    fields = data.draw(st.lists(st.sampled_from(fields_of(resource)), min_size=1, max_size=4, unique=True))
    cluster.forging.forge(*(data.draw(forgery(field)) for field in fields))
    command = data.draw(st.sampled_from(COMMANDS))
    assert not looked(cluster, command), f"{command} with {'; '.join(map(str, cluster.forging.forgeries))}"


def test_there_is_something_to_find(cluster: ForgedCluster) -> None:
    """What is forged is seen: an undisturbed look says something else."""
    cluster.forging.forge()
    good = cluster.command("status")
    assert not broken(good)
    field = next(each for each in fields_of("jobsets") if each.path == ("metadata", "creationTimestamp"))
    cluster.forging.forge(Forgery(field, "tomorrow"))
    bad = cluster.command("status")
    assert (good.code, bad.code) == (0, 1)
    assert "metadata.creationTimestamp: this is not a time" in bad.stderr
