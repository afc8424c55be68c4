"""The options of `jsr`, each declared once, in groups; and what they ask for, checked before any cluster is asked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobset_restart.cli import complete
from jobset_restart.cli.groups import fill
from jobset_restart.errors import UsageError
from jobset_restart.vocabulary import TriggerName

if TYPE_CHECKING:
    from jobset_restart.cli.targets import Target
    from jobset_restart.gathering import Options as Gathering
    from jobset_restart.plan import Request
    from jobset_restart.restart import Options

MOST_SECONDS = 366 * 86400.0
"""A year: longer than any restart, and far from where the arithmetic of times ends."""
MOST_PATTERN = 1000
"""Characters of a --step-pattern."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which cluster and namespace."""

    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Default: the context's.", autocompletion=complete.namespaces
        ),
    ] = None
    context: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The kubeconfig context to use.", autocompletion=complete.contexts),
    ] = None
    kubeconfig: Annotated[str | None, typer.Option(metavar="FILE", help="The kubeconfig file to use.")] = None
    impersonate: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="Act as this user (impersonation).")
    ] = None

    def check(self) -> None:
        """Raises UsageError for what cannot be a namespace."""
        from jobset_restart.cli.targets import check_name

        if self.namespace is not None:
            check_name("namespace", self.namespace)


NameOfKind = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The name, after a kind.", autocompletion=complete.names)
]


@dataclass(frozen=True, kw_only=True)
class OfPods:
    """Pods by their labels: with the word `pods` whatever Pods carry them."""

    selector: Annotated[
        str | None, typer.Option("-l", "--selector", metavar="LABELS", help="Only Pods with these: a=b,c.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One workload: NAME of a JobSet, KIND/NAME, or KIND NAME."""

    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD",
            help="The JobSet's name; or KIND/NAME, such as lws/serving; or a kind.",
            autocompletion=complete.workloads,
        ),
    ]
    name: NameOfKind = None

    def target(self, selector: str | None = None) -> Target:
        """The workload that is meant, or Pods where `selector` says which. Raises UsageError."""
        from jobset_restart.cli.targets import one

        return one(self.workload, self.name, selector)


@dataclass(frozen=True, kw_only=True)
class Workloads:
    """One workload, all of a kind, or all there are."""

    workload: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="The JobSet's name; or KIND/NAME, such as lws/serving; or a kind, alone for all of it. All without.",
            autocompletion=complete.workloads,
        ),
    ] = None
    name: NameOfKind = None

    def target(self, selector: str | None = None) -> Target | None:
        """What is meant, Pods where `selector` says which; None for all there are. Raises UsageError."""
        from jobset_restart.cli.targets import any_of

        return any_of(self.workload, self.name, selector)


@dataclass(frozen=True, kw_only=True)
class Everywhere:
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Those of all namespaces.")] = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The form of the result."""

    output: Annotated[
        Literal["table", "wide", "json", "yaml", "name"],
        typer.Option("--output", "-o", help="The form of the result on stdout."),
    ] = "table"


@dataclass(frozen=True, kw_only=True)
class Verbosity:
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more: every finding, every retry.")] = False


@dataclass(frozen=True, kw_only=True)
class Telling(Shown, Verbosity):
    """The form of the result, and how much is said besides."""


@dataclass(frozen=True, kw_only=True)
class Deadline:
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long at most, such as 90s or 10m.")] = "10m"

    def seconds(self) -> float:
        """The time-out in seconds. Raises UsageError."""
        return timeout_seconds(self.timeout)


@dataclass(frozen=True, kw_only=True)
class Parallel:
    concurrency: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many requests in flight.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Limits(Deadline, Parallel):
    """How long an operation may take, how long Pods have to stay Ready, and how much is sent at once."""

    min_ready_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="How long a Pod must stay Ready to count. Default: 0, longer after a crash."
        ),
    ] = None
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is back.")] = True

    def options(self) -> Options:
        """How to carry an operation out. Raises UsageError."""
        from jobset_restart.restart import Options

        if self.min_ready_seconds is not None and not 0 <= self.min_ready_seconds <= MOST_SECONDS:
            raise UsageError(f"--min-ready-seconds {self.min_ready_seconds:g} is not between 0 and a year")
        if self.wait is False and self.min_ready_seconds:
            raise UsageError("--min-ready-seconds needs --wait")
        return fill(Options, self, owner=owner(), timeout=self.seconds())


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What tells that work advances."""

    step_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="What a step looks like in the log; its first group is the number."),
    ] = None

    def pattern(self) -> re.Pattern[str] | None:
        """The pattern of a step, None for the usual ones. Raises UsageError."""
        if self.step_pattern is None:
            return None
        if not self.step_pattern or len(self.step_pattern) > MOST_PATTERN:
            raise UsageError(f"--step-pattern is empty or longer than {MOST_PATTERN:,} characters")
        try:
            return re.compile(self.step_pattern)
        except re.error as error:
            raise UsageError(
                f"--step-pattern {self.step_pattern!r} is not a regular expression: {error}",
                r"for example --step-pattern 'Iteration\s+(\d+)'",
            ) from None


@dataclass(frozen=True, kw_only=True)
class Progress(Steps):
    """Whether it is enough that every Pod is Ready."""

    until_progress: Annotated[
        bool, typer.Option("--until-progress", help="Wait until the logs tell of a step beyond the last one.")
    ] = False

    def check(self, *, wait: bool) -> None:
        """Raises UsageError."""
        self.pattern()
        if self.until_progress and not wait:
            raise UsageError("--until-progress and --no-wait contradict each other")
        if self.step_pattern is not None and not self.until_progress:
            raise UsageError("--step-pattern needs --until-progress")


@dataclass(frozen=True, kw_only=True)
class Looks(Deadline, Parallel, Steps):
    """How a diagnosis looks, and for how long."""

    stacks: Annotated[
        bool | None,
        typer.Option("--stacks/--no-stacks", help="Look into containers. Default: where the logs stand still."),
    ] = None
    silent_after: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long a silent log means nothing. Default: from its own rhythm."),
    ] = None
    container: Annotated[
        str | None,
        typer.Option("-c", "--container", metavar="NAME", help="Look at this container. Default: the first."),
    ] = None

    def options(self) -> Gathering:
        """What to look at. Raises UsageError."""
        from jobset_restart.gathering import Options

        silence = None if self.silent_after is None else timeout_seconds(self.silent_after, "--silent-after")
        return Options(
            stacks=self.stacks,
            concurrency=self.concurrency,
            pattern=self.pattern(),
            silent_after=silence,
            container=self.container or "",
        )


@dataclass(frozen=True, kw_only=True)
class Selected(OfPods):
    """Which slots. Nothing given: all."""

    replicated_jobs: Annotated[
        tuple[str, ...],
        typer.Option(
            "--replicated-job", "--group", metavar="NAME", help="Only this ReplicatedJob, or other group (repeatable)."
        ),
    ] = ()
    job_indexes: Annotated[
        tuple[int, ...],
        typer.Option(
            "--job-index", "--index", metavar="INDEX", help="Only Jobs, or groups, of this index (repeatable)."
        ),
    ] = ()
    pods: Annotated[tuple[str, ...], typer.Option("--pod", metavar="NAME", help="Only this Pod (repeatable).")] = ()
    nodes: Annotated[
        tuple[str, ...], typer.Option("--node", metavar="NODE", help="Only Pods on this node (repeatable).")
    ] = ()


@dataclass(frozen=True, kw_only=True)
class How:
    """By what means, how carefully, and against which objections."""

    in_place: Annotated[bool, typer.Option("--in-place", help="Keep the Pods: restart their containers.")] = False
    recreate: Annotated[bool, typer.Option("--recreate", help="Make new Pods.")] = False
    via: Annotated[
        TriggerName | None,
        typer.Option(help="Use this trigger instead of the plan's choice."),
    ] = None
    containers: Annotated[
        tuple[str, ...], typer.Option("-c", "--container", metavar="NAME", help="Only this container (repeatable).")
    ] = ()
    signal: Annotated[str | None, typer.Option(metavar="SIGNAL", help="The signal for --via signal, such as TERM.")] = (
        None
    )
    node_down: Annotated[
        tuple[str, ...], typer.Option(metavar="NODE", help="Assert that this machine is off (repeatable).")
    ] = ()
    allow: Annotated[
        tuple[str, ...], typer.Option(metavar="ID", help="Let this blocker through, such as JSR201 (repeatable).")
    ] = ()
    canary: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="So many slots go first, the rest when they are back. Default: 1 where unproven."
        ),
    ] = None
    fallback: Annotated[Literal["recreate"] | None, typer.Option(help="If it cannot be done in place: recreate.")] = (
        None
    )

    def request(self, selected: Selected) -> Request:
        """What is asked for. Raises UsageError where the options contradict each other or make no sense."""
        from jobset_restart.findings import checks
        from jobset_restart.plan import Request, Selection
        from jobset_restart.triggers.registry import BY_NAME, TRIGGERS
        from jobset_restart.triggers.signal import SIGNAL

        if self.in_place and self.recreate:
            raise UsageError("--in-place and --recreate contradict each other")
        strategy = "in-place" if self.in_place else "recreate" if self.recreate else ""
        trigger = BY_NAME[self.via] if self.via else None
        if trigger and strategy and trigger.strategy != strategy:
            raise UsageError(f"--via {self.via} and --{strategy} contradict each other")
        if self.fallback and (self.recreate or (trigger and not trigger.in_place)):
            raise UsageError("--fallback recreate only makes sense for a restart in place")
        if self.containers and (self.recreate or (trigger and not trigger.by_container)):
            able = " and ".join(f"--via {each}" for each in TRIGGERS if each.by_container)
            raise UsageError(f"-c restarts single containers, which only {able} can do")
        self._check_signal()
        for wanted in self.allow:
            if wanted.upper() not in {check.id for check in checks()}:
                raise UsageError(f"--allow {wanted}: no finding has this id", "`jsr explain` lists all")
        return fill(
            Request,
            self,
            strategy=strategy,
            via=self.via or (SIGNAL.name if self.signal else ""),
            signal=(self.signal or "").upper().removeprefix("SIG"),
            allow=tuple(wanted.upper() for wanted in self.allow),
            fallback=self.fallback is not None,
            selection=fill(Selection, selected, pods=frozenset(selected.pods) or None),
        )

    def _check_signal(self) -> None:
        from jobset_restart.pid1 import number
        from jobset_restart.triggers.signal import SIGNAL

        if self.signal is None:
            return
        if self.recreate or self.via not in (None, SIGNAL.name):
            raise UsageError("--signal only goes with --via signal")
        try:
            number(self.signal)
        except ValueError as error:
            raise UsageError(f"--signal: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Course:
    """Whether it is really done, whether somebody is asked, and what is written down."""

    dry_run: Annotated[
        Literal["none", "client", "server"],
        typer.Option(help="Show the plan and change nothing; server: also let it check."),
    ] = "none"
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed without a terminal.")] = False
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Carry on this operation.")] = None
    events: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write every event to this new file, JSON lines.")
    ] = None
    events_append: Annotated[
        bool, typer.Option("--events-append", help="Add to the file of --events if there is one.")
    ] = False

    @property
    def for_real(self) -> bool:
        return self.dry_run == "none"

    def check(self) -> None:
        """Raises UsageError."""
        if self.events_append and self.events is None:
            raise UsageError("--events-append needs --events FILE")


# ---------------------------------------------------------------- values


def timeout_seconds(text: str, option: str = "--timeout") -> float:
    """Seconds of a duration that `option` was given, more than 0 and at most MOST_SECONDS. Raises UsageError."""
    from jobset_restart.rules import go_duration

    write = "write 90s, 10m or 1h30m"
    value: float | None = None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        value = float(text)
    elif re.fullmatch(r"([0-9]{1,12}(\.[0-9]{1,9})?[hms])+", text):
        value = go_duration(text)
    if value is None:
        raise UsageError(f"{option} {text!r} is not a duration", write)
    if value <= 0:
        raise UsageError(f"{option} {text!r} leaves no time at all", write)
    if value > MOST_SECONDS:
        raise UsageError(f"{option} {text!r} is more than a year", write)
    return value


def owner() -> str:
    """Who runs this, for others to read in the claim."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
