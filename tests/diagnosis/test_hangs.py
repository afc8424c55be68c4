"""A few seeds of hangs and healthy trainings; `python -m tests.diagnosis` plays hundreds, of up to 5,000 Pods."""

from __future__ import annotations

import os

from tests.diagnosis.judging import diagnose, score
from tests.diagnosis.scenario import from_seed

HANGS = int(os.environ.get("JSR_TEST_HANGS", "60"))
PODS = 256


def test_the_first_that_is_named_is_to_blame() -> None:
    judged = [diagnose(from_seed(seed, most=PODS)) for seed in range(HANGS)]
    found = score(judged)
    wrong = [(each.scenario.seed, each.scenario.title(), each.verdict, each.top) for each in judged if not each.right]
    assert found.precision >= 0.95, wrong
    assert found.recall >= 0.95, wrong


def test_no_alarm_is_false() -> None:
    judged = [diagnose(from_seed(seed, healthy=True, most=PODS)) for seed in range(HANGS // 2)]
    wrong = [
        (each.scenario.seed, each.scenario.title(), each.verdict, each.reasons) for each in judged if not each.right
    ]
    assert not wrong


def test_the_same_seed_is_the_same_hang() -> None:
    first, again = (diagnose(from_seed(8, most=64)) for _ in range(2))
    assert (first.culprits, first.top, first.reasons) == (again.culprits, again.top, again.reasons)
