"""Where things are shown: the result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from jobset_restart.cli.options import Telling
from jobset_restart.cli.sinks import View, to_stderr
from jobset_restart.progress import Progress
from jobset_restart.report import PlanReport, Report, ResultReport
from jobset_restart.view.lines import LinesView

if TYPE_CHECKING:
    from rich.console import Console


def stdout_console() -> Console:
    return _console(sys.stdout)


def _console(file: IO[str]) -> Console:
    from rich.console import Console

    wide = None if file.isatty() or os.environ.get("COLUMNS") else 10_000
    return Console(file=file, width=wide, markup=False, highlight=False, emoji=False, soft_wrap=False)


@contextlib.contextmanager
def view_for() -> Iterator[View]:
    """The live view on a terminal, lines in CI and where stderr is not one."""
    if sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        from jobset_restart.view.live import LiveView

        with LiveView(_console(sys.stderr)) as live:
            yield live
        return
    yield LinesView(to_stderr)


def give_up(view: View) -> None:
    """Gives the terminal back that a view has taken."""
    from jobset_restart.view.live import LiveView

    if isinstance(view, LiveView):
        view.__exit__(None, None, None)


def print_document(report: Report, form: str) -> bool:
    """Prints JSON, YAML or the name on stdout. Returns whether the form was one of these."""
    if form not in ("json", "yaml", "name"):
        return False
    from jobset_restart.view.document import render

    if text := render(report, form):
        print(text, flush=True)
    return True


def show_plan_result(report: PlanReport, telling: Telling) -> bool:
    from jobset_restart.view import table

    table.show_plan(stdout_console(), report, wide=telling.output == "wide" or telling.verbose)
    return True


def show_question(report: PlanReport, telling: Telling) -> None:
    from jobset_restart.view import table

    table.show_plan(_console(sys.stderr), report, wide=telling.verbose, actions=telling.verbose)


def show_findings(report: PlanReport, telling: Telling) -> None:
    from jobset_restart.view import table

    console = _console(sys.stderr)
    table.show_unfinished(console, report)
    table.show_findings(console, report.findings, verbose=telling.verbose)


def show_summary(progress: Progress) -> None:
    from jobset_restart.view import summary

    summary.show_summary(_console(sys.stderr), progress)


def show_result(result: ResultReport, telling: Telling) -> int:
    if not print_document(result, telling.output):
        from jobset_restart.view import table

        table.show_result(stdout_console(), result, wide=telling.output == "wide")
    if result.exit_code:
        from jobset_restart.harmless import plain

        print(f"error: {plain(result.reason)}", file=sys.stderr)
    if result.follow:
        print(f"hint: it runs on; carry on with: {result.follow}", file=sys.stderr)
    return result.exit_code
