"""What a restart leaves for others to read: a file of metrics, and in GitHub Actions annotations and a summary."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jobset_restart.cli.options import Accounting
from jobset_restart.cli.targets import Target
from jobset_restart.cost import money
from jobset_restart.errors import JsrError, UsageError
from jobset_restart.progress import Progress
from jobset_restart.report import PlanReport, ResultReport
from jobset_restart.view.metrics import FIRST_LINE, Attempt, metrics


class Accounts:
    """What is told of one restart. `namespace` is "" until it is known."""

    def __init__(self, accounting: Accounting, target: Target, namespace: str, *, for_real: bool) -> None:
        self.namespace, self.progress = namespace, Progress()
        self._target, self._price, self._for_real = target, accounting.gpu_hour_price, for_real
        self._path = accounting.metrics_file
        self._on_github = for_real and os.environ.get("GITHUB_ACTIONS") == "true"
        self._summary = os.environ.get("GITHUB_STEP_SUMMARY", "") if self._on_github else ""
        self._told = False
        accounting.check()
        if self._path is not None and not for_real:
            raise UsageError("--metrics-file and --dry-run contradict each other: nothing comes out of a dry run")
        if self._path is not None:
            check_metrics_file(self._path)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Tells of whatever error ends the block."""
        try:
            yield
        except JsrError as error:
            self.failed(error.exit_code, error.message)
            raise

    def price(self, report: PlanReport) -> PlanReport:
        """The plan with what it should cost, where a price was given."""
        if self._price is not None:
            report.predicted_gpu_cost = money(report.predicted_resource_seconds, self._price)
        return report

    def refused(self, report: PlanReport) -> None:
        """The plan does not let it through. The error that says so follows."""
        from jobset_restart.view import github

        if not self._on_github:
            return
        for finding in report.findings:
            if finding.severity == "blocker" and not finding.allowed:
                self._annotate(github.annotation("error", f"{finding.id} {self._title}", finding.summary))
        self._summarize(github.summary_of_refusal(report))
        self._on_github = False

    def finished(self, result: ResultReport) -> ResultReport:
        """There is a result: with its price, it is written down."""
        from jobset_restart.view import github

        if self._price is not None:
            result.gpu_cost = money(result.resource_seconds, self._price)
        self._write(result.exit_code, result)
        if self._on_github:
            if result.exit_code:
                self._annotate(
                    github.annotation("error", f"{self._title}: exit code {result.exit_code}", result.reason)
                )
            elif len(result.rounds) > 1:
                self._annotate(
                    github.annotation("warning", f"{self._title} needed {len(result.rounds)} rounds", result.reason)
                )
            self._summarize(github.summary_of_result(result))
        return result

    def failed(self, exit_code: int, message: str) -> None:
        """It ended without a result. Nothing is told twice."""
        from jobset_restart.view import github

        if self._told:
            return
        self._write(exit_code, None)
        if self._on_github:
            self._annotate(github.annotation("error", f"{self._title}: exit code {exit_code}", message))
            self._summarize(github.summary_of_failure(self._title, exit_code, message))

    @property
    def _title(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self._target.kind.kind} {where}{self._target.name}"

    def _write(self, exit_code: int, result: ResultReport | None) -> None:
        self._told = True
        if self._path is None or not self._for_real:
            return
        attempt = Attempt(
            kind=result.workload_kind if result else self._target.kind.kind,
            namespace=result.namespace if result else self.namespace,
            name=result.jobset if result else self._target.name,
            exit_code=exit_code,
            time=time.time(),
            result=result,
            phases=self.progress.quantiles() if result else {},
        )
        try:
            write_metrics(self._path, metrics(attempt))
        except OSError as error:
            print(f"warning: --metrics-file {self._path}: {error.strerror}; nothing was written", file=sys.stderr)

    @staticmethod
    def _annotate(command: str) -> None:
        """On stderr: stdout has the result, and the runner reads both."""
        print(command, file=sys.stderr)

    def _summarize(self, page: str) -> None:
        wanted = self._summary
        if not wanted:
            return
        self._summary = ""
        try:
            with Path(wanted).open("a", encoding="utf-8", errors="replace") as file:
                file.write(page)
        except OSError as error:
            print(f"warning: the summary could not be added to {wanted}: {error.strerror}", file=sys.stderr)


# ---------------------------------------------------------------- the file


def check_metrics_file(path: str) -> None:
    """Raises UsageError where the file could not be written, or is something else than what is written there: before
    anything is asked of the cluster. Changes nothing."""
    folder = os.path.dirname(path) or "."
    try:
        if os.path.lexists(path):
            _check_is_ours(path)
        handle, probe = tempfile.mkstemp(prefix=".jsr-", dir=folder)
        os.close(handle)
        os.unlink(probe)
    except OSError as error:
        raise UsageError(
            f"--metrics-file {path}: {error.strerror}; nothing was changed",
            "name a file in a folder that is there and can be written to",
        ) from None


def _check_is_ours(path: str) -> None:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise UsageError(f"--metrics-file {path} is not a plain file; nothing was changed", "name another file")
    with open(path, "rb") as file:
        begins = file.read(len(FIRST_LINE))
    if begins and begins != FIRST_LINE.encode():
        raise UsageError(
            f"--metrics-file {path} holds something that jsr has not written; nothing was changed", "name another file"
        )


def write_metrics(path: str, text: str) -> None:
    """Puts the text there in one move, readable for all: whoever collects it sees the old file or the new one. Raises
    OSError."""
    handle, fresh = tempfile.mkstemp(prefix=".jsr-", dir=os.path.dirname(path) or ".")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
