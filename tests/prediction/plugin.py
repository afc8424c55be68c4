"""A pytest plugin: keeps what every restart of a scenario was predicted to take, and what it took, in a file of the
folder JSR_PREDICTION_DIR.

Use: `JSR_PREDICTION_DIR=FOLDER pytest -p tests.prediction.plugin tests/e2e`. Without the variable it does nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.command import Jsr

FOLDER = os.environ.get("JSR_PREDICTION_DIR", "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    jsr = item.funcargs.get("jsr") if isinstance(item, pytest.Function) else None
    if FOLDER and report.when == "call" and isinstance(jsr, Jsr):
        _keep(item.nodeid, jsr)
    return report


def _keep(test: str, jsr: Jsr) -> None:
    """One line for each restart of the scenario that ended with a document."""
    with (Path(FOLDER) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        for args, printed in jsr.printed():
            try:
                document = json.loads(printed)
            except ValueError:
                continue
            if isinstance(document, dict) and document.get("kind") == "RestartResult":
                told = {key: document.get(key) for key in ("trigger", "exitCode", "seconds", "prediction", "rounds")}
                line = {"test": test, "args": args, **told, "slots": len(document["slots"])}
                file.write(json.dumps(line) + "\n")
