"""The options of `jsr restart`, checked for sense before anything is asked of a cluster."""

from __future__ import annotations

import getpass
import os
import re
import socket
from typing import Literal, NamedTuple, cast

from msgspec import Struct

from jobset_restart.errors import UsageError
from jobset_restart.findings import kinds
from jobset_restart.plan import Request, Selection
from jobset_restart.rules import go_duration
from jobset_restart.triggers import IN_PLACE, Trigger
from jobset_restart.triggers.signal import number


class Where(NamedTuple):
    """Which cluster and namespace, as given on the command line."""

    namespace: str | None
    context: str | None
    kubeconfig: str | None
    impersonate: str | None


class Wish(Struct, frozen=True, kw_only=True):
    """The options of `jsr restart` as they were given."""

    name: str
    in_place: bool
    recreate: bool
    via: str
    containers: tuple[str, ...]
    signal: str
    node_down: tuple[str, ...]
    allow: tuple[str, ...]
    replicated_jobs: tuple[str, ...]
    job_indexes: tuple[int, ...]
    pods: tuple[str, ...]
    nodes: tuple[str, ...]
    selector: str
    canary: int | None
    fallback: bool
    dry_run: str
    yes: bool
    timeout: str
    min_ready_seconds: float
    wait: bool
    resume: str
    concurrency: int | None
    events: str | None
    output: str
    verbose: bool

    def request(self) -> Request:
        """The request of these options. Raises UsageError where they contradict each other."""
        if self.in_place and self.recreate:
            raise UsageError("--in-place and --recreate contradict each other")
        strategy: Literal["", "in-place", "recreate"] = (
            "in-place" if self.in_place else "recreate" if self.recreate else ""
        )
        trigger_strategy = "in-place" if self.via in IN_PLACE else "recreate"
        if self.via and strategy and trigger_strategy != strategy:
            raise UsageError(f"--via {self.via} is a way to restart {trigger_strategy}, which --{strategy} excludes")
        if self.fallback and (self.recreate or (self.via and trigger_strategy == "recreate")):
            raise UsageError("--fallback recreate is for a restart in place")
        if self.containers and (self.recreate or self.via in ("native", "suspend", "jobs", "pods")):
            raise UsageError("-c restarts single containers, which only --in-place by image or signal can")
        if self.signal:
            self._check_signal()
        for wanted in self.allow:
            if wanted.upper() not in {kind.id for kind in kinds()}:
                raise UsageError(f"--allow {wanted}: there is no such finding", "`jsr explain` lists all")
        if self.wait is False and self.min_ready_seconds:
            raise UsageError("--min-ready-seconds needs --wait")
        return Request(
            strategy=strategy,
            via=cast("Trigger", self.via) if self.via else "signal" if self.signal else "",
            containers=self.containers,
            signal=self.signal.upper().removeprefix("SIG"),
            node_down=self.node_down,
            allow=tuple(each.upper() for each in self.allow),
            fallback=self.fallback,
            canary=self.canary,
            selection=Selection(
                replicated_jobs=self.replicated_jobs,
                job_indexes=self.job_indexes,
                pods=frozenset(self.pods) or None,
                nodes=self.nodes,
            ),
        )

    def _check_signal(self) -> None:
        if self.recreate or self.via not in ("", "signal"):
            raise UsageError("--signal is for --via signal")
        try:
            number(self.signal)
        except ValueError as error:
            raise UsageError(f"--signal: {error}") from None

    def seconds(self) -> float:
        """The time-out in seconds. Raises UsageError."""
        return timeout_seconds(self.timeout)


def timeout_seconds(text: str) -> float:
    """Seconds of a --timeout. Raises UsageError."""
    value = float(text) if text.replace(".", "", 1).isdigit() else go_duration(text)
    if not value:
        raise UsageError(f"--timeout {text!r} is no duration; write 90s, 10m or 1h30m")
    return value


def check_names(name: str | None, where: Where) -> None:
    """Raises UsageError for what cannot be the name of a JobSet or a namespace (RFC 1123)."""
    for kind, given in (("JobSet", name), ("namespace", where.namespace)):
        if given is not None and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", given):
            raise UsageError(f"no {kind} can be called {given!r}", "names are lower case letters, digits, '-' and '.'")


def owner() -> str:
    """Who runs this, for others to read in the claim."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
