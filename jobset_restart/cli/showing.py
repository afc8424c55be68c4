"""Where things are shown: the result on stdout, everything else on stderr, events in every sink."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Protocol

from jobset_restart.cli.wish import Wish
from jobset_restart.errors import UsageError
from jobset_restart.events import Event, Noticed, encode
from jobset_restart.progress import Progress
from jobset_restart.report import PlanReport, ResultReport

if TYPE_CHECKING:
    from rich.console import Console


class View(Protocol):
    """Something that shows events as they come."""

    progress: Progress

    def __call__(self, event: Event) -> None: ...

    def tick(self, now: float) -> None: ...


def stdout_console() -> Console:
    return _console(sys.stdout)


def _console(file: IO[str]) -> Console:
    from rich.console import Console

    wide = None if file.isatty() or os.environ.get("COLUMNS") else 10_000
    return Console(file=file, width=wide, markup=False, highlight=False, emoji=False, soft_wrap=False)


@contextlib.contextmanager
def view_for() -> Iterator[View]:
    """The live view on a terminal, lines in CI and where stderr is none."""
    if sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        from jobset_restart.view.live import LiveView

        with LiveView(_console(sys.stderr)) as live:
            yield live
        return
    from jobset_restart.view.lines import LinesView

    yield LinesView(lambda line: print(line, file=sys.stderr, flush=True))


def print_document(report: PlanReport | ResultReport, form: str) -> bool:
    """Prints JSON, YAML or the name on stdout. Returns whether the form was one of these."""
    if form not in ("json", "yaml", "name"):
        return False
    from jobset_restart.view.document import render

    print(render(report, form))
    return True


def show_plan_result(report: PlanReport, wish: Wish) -> bool:
    from jobset_restart.view import table

    table.show_plan(stdout_console(), report, wide=wish.output == "wide" or wish.verbose)
    return True


def show_question(report: PlanReport, wish: Wish) -> None:
    from jobset_restart.view import table

    table.show_plan(_console(sys.stderr), report, wide=wish.verbose, actions=wish.verbose)


def show_findings(report: PlanReport, wish: Wish) -> None:
    from jobset_restart.view import table

    table.show_findings(_console(sys.stderr), report.findings, verbose=wish.verbose)


def show_summary(progress: Progress) -> None:
    from jobset_restart.view import table

    table.show_summary(_console(sys.stderr), progress)


def show_result(result: ResultReport, wish: Wish) -> int:
    if not print_document(result, wish.output):
        from jobset_restart.view import table

        table.show_result(stdout_console(), result, wide=wish.output == "wide")
    if result.exit_code:
        from jobset_restart.view.text import plain

        print(f"error: {plain(result.reason)}", file=sys.stderr)
    if result.follow:
        print(f"hint: it runs on; carry on with: {result.follow}", file=sys.stderr)
    return result.exit_code


class Sinks:
    """Gives each event to every sink. One that fails is dropped, and the others are told once."""

    def __init__(self, sinks: list[Callable[[Event], Any]], now: Callable[[], float]) -> None:
        self._sinks, self._now = sinks, now

    def __call__(self, event: Event) -> None:
        for sink in list(self._sinks):
            try:
                sink(event)
            except Exception as error:  # whatever a view does wrong must not stop a restart
                self._sinks.remove(sink)
                what = f"{getattr(sink, 'title', type(sink).__name__)} is left out from here on: {error}"
                self(Noticed(time=self._now(), message=what))


@contextlib.contextmanager
def event_file(path: str | None) -> Iterator[Callable[[Event], None] | None]:
    if path is None:
        yield None
        return
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115 closed below; a line must be there when the client is killed
    except OSError as error:
        raise UsageError(f"--events {path}: {error.strerror}; nothing was changed") from None

    def write(event: Event) -> None:
        file.write(encode(event) + b"\n")

    write.title = f"the event file {path}"  # type: ignore[attr-defined]
    with file:
        yield write
