"""The picture as a page: the timeline, and the same in tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobset_restart.view.text import counted, duration
from jobset_restart.view.timeline.facts import (
    SHOWN_BUDGETS,
    SHOWN_ROUNDS,
    delayed,
    facts,
    foreseen,
    how,
    outcome,
    title,
    told,
)
from jobset_restart.view.timeline.markup import STYLE, safe
from jobset_restart.view.timeline.recording import Line, Recording
from jobset_restart.view.timeline.svg import figure

SHOWN_SLOTS = 100
SHOWN_GROUPS = 100

PAGE_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0 auto;padding:1.5rem;
max-width:1100px}h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.outcome{border-left:.4rem solid var(--failed);padding:.3rem .8rem;margin:.5rem 0 1rem;overflow-wrap:anywhere}
.outcome.well{border-color:var(--ready)}figure{margin:0;overflow-x:auto}figure svg{width:100%;min-width:700px;
height:auto}dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0 0 1.5rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}
caption{text-align:left;color:var(--soft)}th,td{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}th{font-weight:600}.number{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}div.table{overflow-x:auto}
section+section{border-top:2px solid var(--line);margin-top:3rem;padding-top:2rem}
@media print{body{max-width:none}}
"""
# What a page cannot load and cannot run it cannot be made to load or run either.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(recordings: Sequence[Recording]) -> str:
    """The whole file. Each recording is that of one operation."""
    name = title(recordings[0]) if len(recordings) == 1 else f"{len(recordings):,} restarts"
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{safe(name)}</title><style>{STYLE}{PAGE_STYLE}</style></head><body><main>'
    )
    sections = (_section(of, number) for number, of in enumerate(recordings, 1))
    return head + "\n".join(sections) + "</main></body></html>\n"


def _section(of: Recording, number: int) -> str:
    words, well = outcome(of)
    pairs = "".join(f"<dt>{safe(label)}</dt><dd>{safe(text, 4000)}</dd>" for label, text in facts(of))
    return "\n".join(
        [
            f"<section><h1>{safe(title(of))}</h1>",
            f'<p class="outcome{" well" if well else ""}">{safe(words, 4000)}</p>',
            f"<dl>{pairs}</dl>",
            f"<figure>{figure(of, f'o{number}')[0]}</figure>",
            *_tables(of),
            "</section>",
        ]
    )


def _tables(of: Recording) -> Iterable[str]:
    if len(of.rounds) > 1:
        yield _table("Rounds", ["Round", "After", "How", "Predicted", "Why"], _rounds(of), numbers={0, 1, 3})
    quantiles = of.progress.quantiles().items()
    rows = [[step, f"{q.count:,}", duration(q.p50), duration(q.p90), duration(q.most)] for step, q in quantiles]
    yield _table(
        "Phases", ["Phase", "Slots", "Half within", "9 of 10 within", "All within"], rows, numbers={1, 2, 3, 4}
    )
    yield _table("Groups", ["Group", "Slots", "Back", "Failed", "Slowest"], *_groups(of), numbers={1, 2, 3, 4})
    yield _slots(of)
    budgets = of.progress.budgets()
    spent = [[b.name, f"{b.before:,}", f"{b.after:,}", f"{b.limit:,}"] for b in budgets[:SHOWN_BUDGETS]]
    more = f"and {len(budgets) - SHOWN_BUDGETS:,} more" if len(budgets) > SHOWN_BUDGETS else ""
    yield _table("Budgets", ["Limit that Kubernetes holds against it", "Before", "After", "Of"], spent, more, {1, 2, 3})
    yield _table("What happened", ["After", "What"], *_happened(of), numbers={0})


def _table(
    heading: str, header: Sequence[str], rows: Iterable[Sequence[str]], note: str = "", numbers: Iterable[int] = ()
) -> str:
    """Nothing where there are no rows. `numbers` are the columns that are read as such."""
    right = set(numbers)
    lines = ["".join(_cell("td", cell, place in right) for place, cell in enumerate(row)) for row in rows]
    if not lines:
        return ""
    head = "".join(_cell('th scope="col"', cell, place in right) for place, cell in enumerate(header))
    caption = f"<caption>{safe(note)}</caption>" if note else ""
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return (
        f'<h2>{safe(heading)}</h2><div class="table"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}'
        "</tbody></table></div>"
    )


def _cell(tag: str, text: str, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{safe(text)}</{tag.partition(' ')[0]}>"


def _rounds(of: Recording) -> list[list[str]]:
    return [
        [
            str(each.number),
            f"+{duration(each.time - of.begin)}",
            how(each),
            foreseen(each),
            each.because or each.reason,
        ]
        for each in of.rounds[:SHOWN_ROUNDS]
    ]


def _groups(of: Recording) -> tuple[list[list[str]], str]:
    groups: dict[str, list[Line]] = {}
    for line in of.lines.values():
        groups.setdefault(line.slot.partition("/")[0], []).append(line)
    rows = [
        [
            name,
            f"{len(lines):,}",
            f"{sum(line.state == 'ready' for line in lines):,}",
            f"{sum(line.state == 'failed' for line in lines):,}",
            duration(max(line.took(of.end) for line in lines)),
        ]
        for name, lines in list(groups.items())[:SHOWN_GROUPS]
    ]
    return rows, f"and {len(groups) - SHOWN_GROUPS:,} more" if len(groups) > SHOWN_GROUPS else ""


def _slots(of: Recording) -> str:
    shown, total = of.slowest(SHOWN_SLOTS), len(of.lines)
    rows = [
        [
            line.slot,
            duration(line.took(of.end)),
            "back" if line.state == "ready" else line.state,
            delayed(line, of.end),
            str(line.round),
            line.node or "-",
            line.pod or "-",
        ]
        for line in shown
    ]
    note = f"the {len(shown):,} slowest of {counted(total, 'slot')}" if len(shown) < total else ""
    if not_back := of.not_back():
        note = f"{counted(not_back, 'slot')} did not come back, those come first" + (f"; {note}" if note else "")
    return _table("Slots", ["Slot", "Took", "State", "Longest", "Round", "Node", "Pod"], rows, note, {1, 4})


def _happened(of: Recording) -> tuple[list[list[str]], str]:
    rows = [list(told(each, of.begin)) for each in (*of.happened, *of.happened_last)]
    return rows, f"{of.not_kept:,} more in the middle are left out" if of.not_kept else ""
