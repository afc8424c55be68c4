"""Thousands of restarts from seeds: JobSet, command line, faults and deaths drawn, the invariants held by each."""

from __future__ import annotations

import os

import pytest

from tests.simulation.__main__ import judged
from tests.simulation.scenario import from_seed

SEEDS = int(os.environ.get("JSR_TEST_SEEDS") or 2_000)
"""How many. More of them find more: JSR_TEST_SEEDS=20000."""
AT_ONCE = 25


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_restart_keeps_the_invariants(first: int) -> None:
    wrong = []
    for seed in range(first, min(first + AT_ONCE, SEEDS)):
        scenario = from_seed(seed)
        _, broken = judged(seed)
        if broken:
            wrong.append(f"\npython -m tests.simulation {seed} -v   # {scenario.title()}\n  " + "\n  ".join(broken))
    assert not wrong, "".join(wrong)


def test_a_seed_repeats_a_run_to_the_last_request() -> None:
    def story(seed: int) -> list[object]:
        played, _ = judged(seed)
        assert played is not None
        ends = [(client.code, client.ended, client.steps, len(client.events)) for client in played.clients]
        return [*ends, *((r.time, r.method, r.path) for r in played.cluster.requests)]

    for seed in (3, 7, 106):
        assert story(seed) == story(seed)
