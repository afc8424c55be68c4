"""Any words on the command line. Without --yes nothing may change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cli import app
from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz
from tests.fuzz.forging import ForgedCluster, forged_cluster
from tests.fuzz.hostile import TEXTS
from tests.fuzz.invariants import broken
from tests.simulation.cluster import NAME
from tests.simulation.program import Death

NOT_HERE = {"sim", "demo"}
"""They start other programs."""
AGREES = {"--yes", "-y", "--install-completion", "--show-completion"}
WORDS = [
    NAME,
    f"jobset/{NAME}",
    "default",
    "json",
    "yaml",
    "name",
    "table",
    "client",
    "server",
    "image",
    "suspend",
    "0",
    "-1",
    "1e400",
    "nan",
    "90s",
    "JSR201",
    "workers",
    "a=b",
    "/dev/full",
    "/dev/null",
    "--",
    "-",
    "",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ForgedCluster]:
    with forged_cluster(make.jobset(NAME, make.replicated_job("workers", pods=1))) as found:
        yield found


def _options() -> dict[str, list[str]]:
    """The options of each command, the program's own under ""."""
    group = typer.main.get_command(app)
    commands = {name: each for name, each in group.commands.items() if name not in NOT_HERE}  # type: ignore[attr-defined]
    return {
        name: sorted({option for each in command.params for option in (*each.opts, *each.secondary_opts)} - AGREES)
        for name, command in {"": group, **commands}.items()
    }


OPTIONS = _options()
HOSTILE = [text for text in TEXTS if len(text) < 6_000]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    verb = draw(st.sampled_from(sorted(OPTIONS)))
    words = st.sampled_from(WORDS) | st.sampled_from(HOSTILE) | st.text(max_size=10)
    known = [each for each in OPTIONS[verb] if each.startswith("-")] or ["--help"]
    rest = draw(st.lists(st.sampled_from(known) | words, max_size=7))
    before = draw(st.lists(st.sampled_from(OPTIONS[""]) | words, max_size=2)) if draw(st.integers(0, 3)) == 0 else []
    name = [NAME] if draw(st.booleans()) and verb not in ("", "explain", "replay") else []
    return [each for each in (*before, *([verb] if verb else []), *name, *rest) if each not in AGREES]


@given(argv=command_lines())
@fuzz(250)
def test_any_command_line(cluster: ForgedCluster, argv: list[str]) -> None:
    if not argv:
        return
    ran = cluster.run(*argv, death=Death(kind="interrupt", at=60.0), deadline=600.0)
    assert not broken(ran), argv


def test_the_options_are_found() -> None:
    assert {"restart", "status", "wait", "explain", "replay"} <= OPTIONS.keys()
    assert {"--timeout", "--via", "--node-down", "-l"} <= set(OPTIONS["restart"])
