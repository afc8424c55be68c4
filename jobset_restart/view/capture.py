"""What was captured, as text for people: where it is, and what is missing and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from jobset_restart.harmless import plain
from jobset_restart.report.capture import CaptureReport, MissingReport
from jobset_restart.view.columns import rows, say
from jobset_restart.view.text import counted

SHOWN_SLOTS = 8
SHOWN_REASONS = 8


def show_capture(console: Console, report: CaptureReport, *, wide: bool = False) -> None:
    """The whole page."""
    head = Text(f"{plain(report.namespace)}/{plain(report.name)}: ", "bold")
    head.append(sentence(report), "green" if report.complete else "yellow")
    say(console, head)
    odd = [slot for slot in report.slots if slot.odd]
    if odd:
        console.print()
        shown = odd if wide else odd[:SHOWN_SLOTS]
        lines = [[slot.slot, slot.pod or "-", slot.node or "-", "; ".join(slot.odd)] for slot in shown]
        rows(console, ["SLOT", "POD", "NODE", "ODD"], lines)
        if len(odd) > len(shown):
            say(console, f"and {counted(len(odd) - len(shown), 'slot')} more: -o wide")
    reasons = Counter((missing.what, missing.reason) for missing in _missing(report)).most_common()
    if reasons:
        console.print()
        shown_reasons = reasons if wide else reasons[:SHOWN_REASONS]
        rows(console, ["MISSING", "COUNT", "WHY"], [[what, f"{n:,}", why] for (what, why), n in shown_reasons])
    for note in report.notes:
        say(console, f"  {note}")


def sentence(report: CaptureReport) -> str:
    """What was captured, in a sentence."""
    size = f"{report.bytes / 1e6:.1f} MB" if report.bytes >= 100_000 else f"{report.bytes / 1e3:.0f} KB"
    what = f"{len(report.slots):,} of {counted(report.expected, 'slot')} captured in {report.path}, {size}"
    lacks = f", {counted(report.missing_count, 'thing')} missing" if report.missing_count else ""
    cut = f"; it was cut short: {report.cut_short}" if report.cut_short else ""
    return f"{what}, in {report.seconds:g} s{lacks}{cut}"


def _missing(report: CaptureReport) -> Iterator[MissingReport]:
    yield from report.missing
    for slot in report.slots:
        yield from slot.missing
