"""The options for how a restart is done, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobset_restart.cli.groups import fill
from jobset_restart.cli.options.machines import Leaving
from jobset_restart.cli.options.where import Selected
from jobset_restart.errors import UsageError
from jobset_restart.vocabulary import TriggerName

if TYPE_CHECKING:
    from jobset_restart.plan import Request


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

    def request(self, selected: Selected, leaving: Leaving) -> Request:
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
            leaving,
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
