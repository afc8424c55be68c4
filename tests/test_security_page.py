"""The threat table: the tests and findings it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobset_restart.findings import checks

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| who can ...")]


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_row_names_a_test_and_only_findings_that_exist() -> None:
    assert len(ROWS) >= 15
    assert all("`tests/" in row for row in ROWS)
    known = {check.id for check in checks()}
    assert set(re.findall(r"JSR\d{3}", PAGE)) <= known


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/security.md", "README.md", "CONTRIBUTING.md"])
def test_links_to_files_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (file.parent / link).exists()]
