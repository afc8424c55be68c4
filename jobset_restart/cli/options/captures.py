"""The options for a capture: where it goes, and within which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobset_restart.cli.options.values import timeout_seconds
from jobset_restart.errors import UsageError

if TYPE_CHECKING:
    from jobset_restart.capture.taking import Bounds, Into


@dataclass(frozen=True, kw_only=True)
class CaptureBounds:
    """How much of a workload is captured, and for how long."""

    capture_max: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many slots, the odd ones first.")] = (
        32
    )
    capture_timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long it may take in all.")] = "30s"

    def bounds(self, concurrency: int | None = None) -> Bounds:
        """The bounds. Raises UsageError."""
        from jobset_restart.capture.taking import Bounds

        seconds = timeout_seconds(self.capture_timeout, "--capture-timeout")
        return Bounds(slots=self.capture_max, seconds=seconds, concurrency=concurrency)


@dataclass(frozen=True, kw_only=True)
class CaptureBefore(CaptureBounds):
    """What is captured before a restart."""

    capture: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|FILE.tar.gz",
            help="Before anything is changed, write the evidence to this new folder or archive.",
        ),
    ] = None

    def into(self) -> Into | None:
        """The place, checked; None where nothing is to be captured. Raises UsageError."""
        from jobset_restart.capture.files import check
        from jobset_restart.capture.taking import Into

        if self.capture is None:
            if (self.capture_max, self.capture_timeout) != (CaptureBounds.capture_max, CaptureBounds.capture_timeout):
                raise UsageError("--capture-max and --capture-timeout need --capture DIR|FILE.tar.gz")
            return None
        check(self.capture, "--capture")
        return Into(self.capture, "--capture")


@dataclass(frozen=True, kw_only=True)
class CaptureInto:
    """Where `jsr capture` writes."""

    to: Annotated[
        str | None,
        typer.Option(metavar="DIR|FILE.tar.gz", help="A new folder or archive. Default: a folder named after it."),
    ] = None

    def into(self, name: str) -> Into:
        """The place, checked. Raises UsageError."""
        import time

        from jobset_restart.capture.files import check
        from jobset_restart.capture.paths import safe
        from jobset_restart.capture.taking import Into

        at = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        into = Into(self.to or f"jsr-capture-{safe(name)}-{at}", "--to")
        check(into.path, into.option)
        return into
