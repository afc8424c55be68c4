"""Names that were typed: what nothing is called, and what was meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.names import absent, suggestion

NAMES = st.text(st.characters(codec="utf-8"), max_size=30)


def test_near_names_come_first() -> None:
    assert suggestion("trian", ["serve", "train"]) == "did you mean train?"
    assert suggestion("train-2", ["train-1", "train-0"]) in (
        "did you mean train-1 or train-0?",
        "did you mean train-0 or train-1?",
    )


def test_else_a_few_of_what_there_is() -> None:
    assert suggestion("x", ["serve", "train"]) == "there are serve, train"
    assert suggestion("x", ["train"]) == "there is train"
    assert suggestion("x", [f"jobset-{n}" for n in range(20)]).endswith(" ...")
    assert suggestion("x", []) == ""


def test_a_pod_that_was_replaced_is_found_among_thousands() -> None:
    known = [f"train-workers-{n // 8}-{n % 8}-{n:05x}" for n in range(5000)]
    assert "train-workers-123-4-" in suggestion("train-workers-123-4-zzzzz", known)


def test_what_is_there_is_not_absent_and_each_name_is_told_once() -> None:
    found = absent("Job index", (0, 4, 4), {0, 1})
    assert [str(each) for each in found] == ["Job index 4"]


@given(st.lists(NAMES), st.sets(NAMES))
def test_absent_is_what_was_named_and_is_not_known(names: list[str], known: set[str]) -> None:
    assert {each.name for each in absent("Pod", names, known)} == set(names) - known
