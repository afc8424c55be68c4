"""The alerts of examples/ ask for metrics that there are, by labels that these have."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from jobset_restart.events import Budget
from jobset_restart.report import ResultReport
from jobset_restart.view.metrics import Attempt, metrics

ROOT = Path(__file__).parent.parent


def test_every_metric_and_label_of_a_rule_is_written() -> None:
    budget = Budget(name="b", limit=6, before=0, after=5)
    result = ResultReport(jobset="train", namespace="ns", exit_code=0, budgets=[budget])
    text = metrics(Attempt(kind="JobSet", namespace="ns", name="train", exit_code=0, time=0.0, result=result))
    (group,) = yaml.safe_load((ROOT / "examples" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    assert len(group["rules"]) >= 3
    for rule in group["rules"]:
        for name in re.findall(r"jsr_\w+", rule["expr"]):
            (line, *_) = [each for each in text.splitlines() if each.startswith(f"{name}{{")]
            labels = set(re.findall(r'(\w+)="', line))
            assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= labels
