"""A pytest plugin: records what happens in every scenario's namespace to a file in the folder JSR_AGREEMENT_DIR.

Use: `JSR_AGREEMENT_DIR=/some/folder pytest -p tests.agreement.plugin tests/e2e`. Without the variable it does nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.agreement.recorder import Recorder
from tests.e2e.api import Api

FOLDER = os.environ.get("JSR_AGREEMENT_DIR", "")
OUTCOME = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Once a scenario has its place, what happens there is written down until the scenario ends."""
    result = yield
    if FOLDER and fixturedef.argname == "place":
        test = request.node.nodeid
        file = Path(FOLDER) / f"{slug(test)}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        header = {"test": test, "namespace": result.namespace}
        recorder = Recorder(Api(request.getfixturevalue("cluster").kubeconfig), result.namespace, file, header)
        fixturedef.addfinalizer(lambda: recorder.close(outcome=request.node.stash.get(OUTCOME, "failed")))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[OUTCOME] = report.outcome
    return report


def slug(test: str) -> str:
    """A file name for a test: `test_image.one_container_of_two`."""
    module, _, name = test.removeprefix("tests/e2e/").partition("::")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{module.removesuffix('.py')}.{name.removeprefix('test_')}").strip("-")
