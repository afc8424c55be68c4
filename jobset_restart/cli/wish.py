"""The options of `jsr restart`, checked for sense before anything is asked of a cluster."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from msgspec import Struct

from jobset_restart.errors import UsageError
from jobset_restart.findings import kinds
from jobset_restart.plan import Request, Selection
from jobset_restart.rules import go_duration
from jobset_restart.triggers import IN_PLACE, Trigger
from jobset_restart.triggers.signal import number

MOST_SECONDS = 366 * 86400.0
"""A year: longer than any restart, and far from where the arithmetic of times ends."""
KINDS = frozenset(
    ("jobset", "jobsets", "js", "jobset.jobset.x-k8s.io", "jobsets.jobset.x-k8s.io", "jobset.x-k8s.io/jobset")
)
"""How kubectl lets one name the kind in KIND/NAME."""


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
    signal: str | None
    node_down: tuple[str, ...]
    allow: tuple[str, ...]
    replicated_jobs: tuple[str, ...]
    job_indexes: tuple[int, ...]
    pods: tuple[str, ...]
    nodes: tuple[str, ...]
    selector: str | None
    canary: int | None
    fallback: bool
    dry_run: str
    yes: bool
    timeout: str
    min_ready_seconds: float | None
    wait: bool
    resume: str | None
    concurrency: int | None
    events: str | None
    events_append: bool
    output: str
    verbose: bool

    def request(self) -> Request:
        """The request of these options. Raises UsageError where they contradict each other or make no sense."""
        self._refuse_empty()
        if self.in_place and self.recreate:
            raise UsageError("--in-place and --recreate contradict each other")
        strategy: Literal["", "in-place", "recreate"] = (
            "in-place" if self.in_place else "recreate" if self.recreate else ""
        )
        trigger_strategy = "in-place" if self.via in IN_PLACE else "recreate"
        if self.via and strategy and trigger_strategy != strategy:
            raise UsageError(f"--via {self.via} and --{strategy} contradict each other")
        if self.fallback and (self.recreate or (self.via and trigger_strategy == "recreate")):
            raise UsageError("--fallback recreate only makes sense for a restart in place")
        if self.containers and (self.recreate or self.via in ("native", "suspend", "jobs", "pods")):
            raise UsageError("-c restarts single containers, which only --via image and --via signal can do")
        if self.signal:
            self._check_signal()
        for wanted in self.allow:
            if wanted.upper() not in {kind.id for kind in kinds()}:
                raise UsageError(f"--allow {wanted}: no finding has this id", "`jsr explain` lists all")
        if self.min_ready_seconds is not None and not 0 <= self.min_ready_seconds <= MOST_SECONDS:
            raise UsageError(f"--min-ready-seconds {self.min_ready_seconds:g} is not between 0 and a year")
        if self.wait is False and self.min_ready_seconds:
            raise UsageError("--min-ready-seconds needs --wait")
        if self.events_append and self.events is None:
            raise UsageError("--events-append needs --events FILE")
        return Request(
            strategy=strategy,
            via=cast("Trigger", self.via) if self.via else "signal" if self.signal else "",
            containers=self.containers,
            signal=(self.signal or "").upper().removeprefix("SIG"),
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

    def _refuse_empty(self) -> None:
        """An empty value comes from a variable that is not set. Taken for no value at all it would restart more than
        was meant, or begin anew what was to be carried on."""
        given: dict[str, Iterable[str | None]] = {
            "--resume": [self.resume],
            "--selector": [self.selector],
            "--signal": [self.signal],
            "--events": [self.events],
            "--container": self.containers,
            "--replicated-job": self.replicated_jobs,
            "--pod": self.pods,
            "--node": self.nodes,
            "--node-down": self.node_down,
            "--allow": self.allow,
        }
        for option, values in given.items():
            if any(value is not None and not value.strip() for value in values):
                raise UsageError(
                    f"{option} was given an empty value; nothing was changed",
                    "leave it out, or check the variable it comes from",
                )

    def _check_signal(self) -> None:
        if self.recreate or self.via not in ("", "signal"):
            raise UsageError("--signal only goes with --via signal")
        try:
            number(self.signal or "")
        except ValueError as error:
            raise UsageError(f"--signal: {error}") from None

    def seconds(self) -> float:
        """The time-out in seconds. Raises UsageError."""
        return timeout_seconds(self.timeout)


def timeout_seconds(text: str) -> float:
    """Seconds of a --timeout, more than 0 and at most MOST_SECONDS. Raises UsageError."""
    write = "write 90s, 10m or 1h30m"
    value: float | None = None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        value = float(text)
    elif re.fullmatch(r"([0-9]{1,12}(\.[0-9]{1,9})?[hms])+", text):
        value = go_duration(text)
    if value is None:
        raise UsageError(f"--timeout {text!r} is not a duration", write)
    if value <= 0:
        raise UsageError(f"--timeout {text!r} leaves no time at all", write)
    if value > MOST_SECONDS:
        raise UsageError(f"--timeout {text!r} is more than a year", write)
    return value


def jobset_name(text: str) -> str:
    """The name of a JobSet as it was given: alone, or as `-o name` of jsr and kubectl prints it. Raises UsageError
    where it names something of another kind."""
    kind, slash, name = text.rpartition("/")
    if slash and kind.lower() not in KINDS:
        raise UsageError(f"{text!r} does not name a JobSet", "write NAME, jobset/NAME or jobset.jobset.x-k8s.io/NAME")
    return name


def check_names(name: str | None, where: Where) -> None:
    """Raises UsageError for what cannot be the name of a JobSet or a namespace (RFC 1123)."""
    for kind, given in (("JobSet", name), ("namespace", where.namespace)):
        if given is not None and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", given):
            raise UsageError(
                f"{given!r} is not a possible name of a {kind}", "names are lower case letters, digits, '-' and '.'"
            )


def owner() -> str:
    """Who runs this, for others to read in the claim."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
