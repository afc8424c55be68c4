"""A diagnosis as text for people: the verdict, the suspects and why, and where everybody else stands."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from jobset_restart.harmless import plain
from jobset_restart.report.diagnosis import DiagnosisReport, GroupReport, SuspectReport
from jobset_restart.view.columns import rows, say
from jobset_restart.view.text import clipped, counted

SHOWN_SUSPECTS = 5
SHOWN_GROUPS = 5
SHOWN_FRAMES = 4
SHOWN_FRAMES_WIDE = 32
COLOURS = {"Healthy": "green", "Suspects": "red", "NoSuspects": "yellow", "Incomplete": "yellow"}


def show_diagnosis(console: Console, report: DiagnosisReport, *, wide: bool = False) -> None:
    """The whole page."""
    where = f" (context {plain(report.context)})" if report.context else ""
    head = Text(f"{plain(report.namespace)}/{plain(report.name)}{where}: ", "bold")
    say(console, head.append(plain(report.reason), COLOURS.get(report.verdict, "")))
    since = f"last line at {report.standing_since}; " if report.standing_since else ""
    looks = f"logs of {report.logs_read:,}, stacks of {report.looked:,} of {counted(report.pods, 'Pod')}"
    say(console, f"  {since}{looks}, in {report.seconds:g} s")
    for note in report.notes:
        say(console, f"  {note}")
    if report.clocks:
        most = sorted(report.clocks.items(), key=lambda each: -abs(each[1]))[:3]
        say(console, f"  clocks differ: {', '.join(f'{node} by {ahead:+.0f} s' for node, ahead in most)}")
    for suspect in report.suspects[: None if wide else SHOWN_SUSPECTS]:
        _show_suspect(console, suspect, wide=wide)
    left = report.suspected - (len(report.suspects) if wide else min(len(report.suspects), SHOWN_SUSPECTS))
    if left > 0:
        say(
            console,
            f"and {counted(left, 'suspect')} more: -o {'json' if wide else 'wide'} shows {'64' if wide else 'them'}",
        )
    if report.common:
        console.print()
        lines = [[each.key, each.value, f"{each.suspects:,}", f"{each.others:,}"] for each in report.common]
        rows(console, ["SHARED BY THE SUSPECTS", "VALUE", "SUSPECTS", "OTHERS"], lines)
    _show_groups(console, report.groups, wide=wide)


def _show_suspect(console: Console, suspect: SuspectReport, *, wide: bool) -> None:
    console.print()
    head = Text(f"{plain(suspect.pod or suspect.slot)}", "bold red")
    on = f" on {plain(suspect.node)}" if suspect.node else ""
    say(console, head.append(f"{on}, slot {plain(suspect.slot)}, score {suspect.score:.2f}", "not bold default"))
    for signal in suspect.signals:
        say(console, f"  {signal.id} {signal.text}")
    if wide:
        for name, stack in ({"MainThread": suspect.stack} | suspect.threads).items():
            say(console, f"  {name}: {' < '.join(stack[:SHOWN_FRAMES_WIDE])}")
    for command in suspect.commands:
        say(console, f"  {command}")


def _show_groups(console: Console, groups: list[GroupReport], *, wide: bool) -> None:
    if not groups:
        return
    console.print()
    frames = SHOWN_FRAMES_WIDE if wide else SHOWN_FRAMES
    shown = groups if wide else groups[:SHOWN_GROUPS]
    lines = [
        [
            f"{group.pods:,}",
            "yes" if group.waiting else "-",
            clipped(", ".join(group.examples[:1]), 60),
            " < ".join(group.stack[:frames]),
        ]
        for group in shown
    ]
    rows(console, ["PODS", "WAITING", "SUCH AS", "STAND IN"], lines)
    if len(groups) > len(shown):
        say(console, f"and {counted(len(groups) - len(shown), 'place')} more: -o wide")
