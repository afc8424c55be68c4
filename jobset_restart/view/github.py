"""What a restart tells a workflow of GitHub Actions: annotations, and a summary in Markdown. Pure.

Annotations are workflow commands, which the runner reads from both streams of a step (actions/runner, ScriptHandler);
how they are escaped is in actions/toolkit, packages/core/src/command.ts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from jobset_restart.harmless import plain
from jobset_restart.report import PlanReport, ResultReport
from jobset_restart.view.text import downtime, duration, outcomes

SHOWN = 50
"""Slots of a summary: a step's may have 1 MiB."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|~&@:])")
"""What means something within a line of GitHub's Markdown, addresses and mentions included."""


def annotation(level: Literal["error", "warning", "notice"], title: str, message: str) -> str:
    """One workflow command, without a newline."""
    return f"::{level} title={_property(plain(title))}::{_data(plain(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary_of_result(result: ResultReport) -> str:
    """A page on a restart that ended."""
    lines = [
        f"### {_text(f'{result.workload_kind} {result.namespace}/{result.jobset}')}: "
        f"{'restarted' if result.exit_code == 0 else f'exit code {result.exit_code}'}",
        "",
        _text(f"{outcomes(result.outcomes)} in {duration(result.seconds)}, {result.strategy} by {result.trigger}"),
        "",
        _text(result.reason),
    ]
    lines += ["", f"Down: {_text(downtime(result.pod_seconds, result.resource_seconds, result.gpu_cost))}"]
    if result.follow:
        lines += ["", f"Carry on with: {_code(result.follow)}"]
    if result.rounds:
        rounds = (
            [
                str(r.round),
                r.rung,
                f"{r.strategy} by {r.trigger}",
                duration(r.seconds),
                outcomes(r.outcomes),
                r.reason,
            ]
            for r in result.rounds
        )
        lines += ["", *_table(["Round", "Rung", "How", "Took", "Came of it", "Reason"], rounds)]
    spent = [b for b in result.budgets if b.before != b.after]
    if spent:
        lines += [
            "",
            *_table(
                ["Spent of", "Before", "After", "Limit"],
                ([b.name, *map(str, (b.before, b.after, b.limit))] for b in spent),
            ),
        ]
    bad = [slot for slot in result.slots if slot.outcome not in ("restarted", "recreated")]
    shown = result.slots if len(result.slots) <= SHOWN else bad[:SHOWN]
    if shown:
        slots = ([s.slot, s.outcome, s.pod, s.node, duration(s.seconds), s.reason] for s in shown)
        lines += ["", *_table(["Slot", "Outcome", "Pod", "Node", "Took", "Reason"], slots)]
    if len(shown) < len(result.slots):
        lines += ["", f"and {len(result.slots) - len(shown):,} more slots"]
    return "\n".join([*lines, "", ""])


def summary_of_refusal(plan: PlanReport) -> str:
    """A page on a restart that the plan refused."""
    head = f"### {_text(f'{plan.workload_kind} {plan.namespace}/{plan.jobset}')}: refused, nothing was changed"
    found = ([f.id, f.severity, f.summary, f.todo] for f in plan.findings if f.severity != "note")
    return "\n".join([head, "", *_table(["Finding", "", "What", "What to do"], found), "", ""])


def summary_of_failure(title: str, exit_code: int, message: str) -> str:
    """A page on a restart that there is no result of."""
    return "\n".join([f"### {_text(title)}: exit code {exit_code}", "", _text(message), "", ""])


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(header)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(_text(cell) or ' ' for cell in row)} |"


def _text(text: str) -> str:
    """Text from a cluster as text: nothing of it is Markdown, HTML, or a mention of somebody."""
    return _MARKDOWN.sub(r"\\\1", plain(text))


def _code(text: str) -> str:
    return f"`{plain(text).replace('`', ' ')}`"
