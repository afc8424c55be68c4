"""Commands in hints: they act on the cluster that the hint speaks of, whoever copies them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.commands import jsr


def test_a_command_names_the_context() -> None:
    assert jsr("restart", "train", "ns", "prod", "--resume", "op1") == (
        "jsr restart train -n ns --context prod --resume op1"
    )


@pytest.mark.parametrize("context", ["", "in-cluster"])
def test_where_there_is_no_context_none_is_named(context: str) -> None:
    assert jsr("status", "train", "ns", context, "--watch") == "jsr status train -n ns --watch"


@given(st.text(min_size=1))
def test_any_context_survives_the_shell(context: str) -> None:
    words = shlex.split(jsr("status", "train", "ns", context))
    assert words[-1] in (context, "ns")
