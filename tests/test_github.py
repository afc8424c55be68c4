"""What a workflow of GitHub Actions is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.report import FindingReport, PlanReport, ResultReport, SlotResultReport
from jobset_restart.view.github import annotation, summary_of_refusal, summary_of_result


def test_an_annotation_is_escaped_as_the_runner_wants_it() -> None:
    assert (
        annotation("error", "JobSet a/b: 50%, or so", "100% of::it\nfailed")
        == "::error title=JobSet a/b%3A 50%25%2C or so::100%25 of::it failed"
    )


@given(st.text(), st.text())
def test_nothing_in_a_text_begins_a_second_command(title: str, message: str) -> None:
    line = annotation("warning", title, message)
    assert len(line.splitlines()) == 1
    head, _ = line.removeprefix("::warning title=").split("::", 1)
    assert ":" not in head
    assert "," not in head


def test_a_summary_says_what_came_of_it() -> None:
    result = ResultReport(
        jobset="train",
        namespace="ns",
        exit_code=4,
        strategy="in-place",
        trigger="image",
        reason="1 slots did not come back",
        seconds=12,
        outcomes={"restarted": 1, "failed": 1},
        pod_seconds=14,
        slots=[SlotResultReport(slot="workers/0/1", outcome="failed", reason="a | <b> [c](d) @you")],
    )
    page = summary_of_result(result)
    assert page.startswith("### JobSet ns/train: exit code 4\n")
    assert "| workers/0/1 | failed |" in page
    assert r"a \| \<b\> \[c\]\(d\) \@you" in page
    assert page.endswith("\n")


def test_a_summary_of_a_refusal_names_the_findings() -> None:
    found = FindingReport(id="JSR201", severity="blocker", summary="too many", todo="raise it")
    note = FindingReport(id="JSR500", severity="note", summary="by the way")
    plan = PlanReport(jobset="train", namespace="ns", strategy="", trigger="", reason="", findings=[found, note])
    page = summary_of_refusal(plan)
    assert "JSR201" in page
    assert "JSR500" not in page


@given(st.text())
def test_hostile_text_stays_in_its_cell(text: str) -> None:
    slots = [SlotResultReport(slot=text, outcome="failed", reason=text)]
    page = summary_of_result(ResultReport(jobset=text, namespace="ns", exit_code=4, reason=text, slots=slots))
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2
    assert rows[1].replace(r"\\", "").replace(r"\|", "").count("|") == 7
