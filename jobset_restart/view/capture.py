"""What was captured, as text for people: where it is, and what is missing and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from jobset_restart.harmless import plain
from jobset_restart.report import EvidencePlanReport, EvidenceReport
from jobset_restart.report.capture import CaptureReport, MissingReport
from jobset_restart.view.columns import rows, say
from jobset_restart.view.text import counted

SHOWN_SLOTS = 8
SHOWN_REASONS = 8
SHOWN_ODD = 3


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


def would_capture(capture: EvidencePlanReport | None) -> list[str]:
    """The lines of a plan that tell of --capture."""
    if capture is None:
        return []
    of = f"{capture.slots:,} of {counted(capture.expected, 'slot')}"
    odd = [f"            {slot}: {'; '.join(odd)}" for slot, odd in list(capture.odd.items())[:SHOWN_ODD]]
    more = len(capture.odd) - SHOWN_ODD
    return [
        f"  captures: {of} in {capture.path} before anything is changed, {capture.seconds:g} s at most",
        *odd,
        *([f"            and {more:,} more that are odd; -o json shows all"] if more > 0 else []),
    ]


def was_captured(capture: EvidenceReport | None) -> list[str]:
    """The line of a result that tells of --capture."""
    if capture is None:
        return []
    lacks = f", {counted(capture.missing, 'thing')} missing" if capture.missing else ""
    cut = f"; it was cut short: {capture.reason}" if capture.reason else ""
    of = f"{capture.captured:,} of {counted(capture.expected, 'slot')}"
    return [f"  evidence of {of} is in {capture.path}{lacks}{cut}"]


def sentence(report: CaptureReport) -> str:
    """What was captured, in a sentence."""
    size = f"{report.bytes / 1e6:.1f} MB" if report.bytes >= 100_000 else f"{report.bytes / 1e3:.0f} KB"
    what = f"{report.captured:,} of {counted(report.expected, 'slot')} captured in {report.path}, {size}"
    lacks = f", {counted(report.missing_count, 'thing')} missing" if report.missing_count else ""
    cut = f"; it was cut short: {report.cut_short}" if report.cut_short else ""
    return f"{what}, in {report.seconds:g} s{lacks}{cut}"


def _missing(report: CaptureReport) -> Iterator[MissingReport]:
    yield from report.missing
    for slot in report.slots:
        yield from slot.missing
