"""What the plan notices, one small function per finding.

A finding's id, severity, title, source and remedy stand in its registration, its full text is the function's docstring:
`jsr explain`, the plan and the documentation all come from here. A function takes a `Case` and returns a `Hit`, or
None where there is nothing to say. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from signal import SIGTERM
from typing import Literal

from msgspec import Struct, field

from jobset_restart.names import Absent
from jobset_restart.objects import Container, Job, Pod
from jobset_restart.places import ended as over
from jobset_restart.rules import ExitEffect, effect_of_exit
from jobset_restart.snapshot import SlotState, Snapshot
from jobset_restart.triggers import IN_PLACE, RECREATE, TRIGGERS, Trigger, containers_in_scope
from jobset_restart.triggers.signal import Means, Probe
from jobset_restart.triggers.signal import means as means_of
from jobset_restart.writes import Permission

Severity = Literal["blocker", "warning", "note"]


class Evidence(Struct, kw_only=True):
    """What was asked of the cluster besides the snapshot: PID 1 by (ReplicatedJob, container), None before it was
    looked at; and the permissions that the actions of a trigger need and this user lacks, by trigger."""

    probes: dict[tuple[str, str], Probe] | None = None
    denied: dict[str, list[Permission]] = {}


class Case(Struct, kw_only=True):
    """One trigger looked at: would it do for these slots?

    `scope` are the slots to restart with it, `lost` the slots on machines declared down, which it has to replace;
    `whole` tells whether the two are the whole JobSet. `containers` are the names asked for, empty for all main ones,
    `absent` what was selected by a name that nothing has. `canary` is how many slots are to go first, None where that
    was not said.
    """

    snapshot: Snapshot
    trigger: Trigger
    scope: list[SlotState]
    lost: list[SlotState] = []
    whole: bool = True
    containers: tuple[str, ...] = ()
    node_down: frozenset[str] = frozenset()
    signal: str = ""
    canary: int | None = None
    evidence: Evidence = field(default_factory=Evidence)
    finishes: str = ""
    absent: list[Absent] = []

    def pods(self) -> Iterable[tuple[SlotState, Pod]]:
        for state in self.scope:
            if state.pod is not None:
                yield state, state.pod

    def targets(self) -> Iterable[tuple[SlotState, Pod, Container]]:
        """Every container the restart means."""
        for state, pod in self.pods():
            for container in containers_in_scope(pod, self.containers):
                yield state, pod, container

    def touched_jobs(self) -> list[tuple[Job, list[SlotState]]]:
        """The Jobs with slots in scope or lost, and those slots."""
        return _by_job((*self.scope, *self.lost))

    def means_for(self, slot: SlotState, container: Container) -> Means | None:
        found = (self.evidence.probes or {}).get((slot.slot.group, container.name))
        return means_of(found, self.signal) if found else None

    def exits(self) -> Iterable[tuple[SlotState, Pod, Container, int, ExitEffect]]:
        """Every container the restart means, the code it is expected to exit with after a signal, and what follows."""
        for state, pod, container in self.targets():
            found = self.means_for(state, container)
            code = found.exit_code if found else 128 + SIGTERM
            yield state, pod, container, code, effect_of_exit(container, pod.spec, code)

    def deletions(self) -> list[tuple[Job, list[SlotState]]]:
        """The Jobs that count Pods this restart deletes as failures, and the slots of those. Suspended Jobs count none,
        and deleted ones take their count along; what is over already is not counted twice."""
        if self.trigger in ("suspend", "jobs"):
            return []
        states = (*self.scope, *self.lost) if self.trigger == "pods" else self.lost
        return _by_job(state for state in states if state.pod is not None and not over(state.pod))


def _by_job(states: Iterable[SlotState]) -> list[tuple[Job, list[SlotState]]]:
    by_uid: dict[str, tuple[Job, list[SlotState]]] = {}
    for state in states:
        if state.job:
            by_uid.setdefault(state.job.metadata.uid, (state.job, []))[1].append(state)
    return list(by_uid.values())


class Hit(Struct):
    """Where a finding applies: the objects, what exactly was seen, and a remedy where it is not the usual one."""

    objects: list[str]
    summary: str
    todo: str = ""
    severity: Severity | None = None


Check = Callable[[Case], Hit | None]


class Kind(Struct, frozen=True, kw_only=True):
    """One registered finding. `final` tells a blocker that cannot be let through: there would be nothing to send, or
    nothing would come of it."""

    id: str
    severity: Severity
    title: str
    source: str
    todo: str
    triggers: tuple[Trigger, ...]
    check: Check
    final: bool = False

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.check.__doc__ or "")


class Finding(Struct, kw_only=True):
    id: str
    severity: Severity
    summary: str
    objects: list[str]
    todo: str
    source: str
    allowed: bool = False
    final: bool = False


KINDS: dict[str, Kind] = {}


def finding(
    id: str,  # noqa: A002
    severity: Severity,
    title: str,
    *,
    source: str,
    todo: str,
    triggers: tuple[Trigger, ...] = TRIGGERS,
    final: bool = False,
) -> Callable[[Check], Check]:
    """Registers a check under its stable id, for the triggers it concerns."""

    def register(check: Check) -> Check:
        assert id not in KINDS
        KINDS[id] = Kind(
            id=id,
            severity=severity,
            title=title,
            source=source,
            todo=todo,
            triggers=triggers,
            check=check,
            final=final,
        )
        return check

    return register


def look(case: Case, allow: frozenset[str] = frozenset()) -> list[Finding]:
    """Every finding for this case, blockers first. `allow` lets blockers through by id."""
    from jobset_restart.findings import attempts, budgets, canary, crashing, means, neighbours, nodes, startup, state  # noqa: F401

    found = []
    for kind in KINDS.values():
        hit = kind.check(case) if case.trigger in kind.triggers else None
        if hit is not None:
            found.append(
                Finding(
                    id=kind.id,
                    severity=hit.severity or kind.severity,
                    summary=hit.summary,
                    objects=hit.objects,
                    todo=hit.todo or kind.todo,
                    source=kind.source,
                    allowed=kind.id in allow and (hit.severity or kind.severity) == "blocker" and not kind.final,
                    final=kind.final,
                )
            )
    order = {"blocker": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda f: (order[f.severity], f.id))


def kinds() -> list[Kind]:
    """Every registered finding, by id."""
    from jobset_restart.findings import attempts, budgets, canary, crashing, means, neighbours, nodes, startup, state  # noqa: F401

    return sorted(KINDS.values(), key=lambda kind: kind.id)


def named(states: Iterable[SlotState]) -> list[str]:
    """The objects of these slots, for a finding: Pod names, or the slot where there is no Pod."""
    return [f"Pod {s.pod.metadata.name}" if s.pod else f"slot {s.slot}" for s in states]


def some(things: list[str], most: int = 3) -> str:
    """A few of many, in words: "a, b, c and 4,997 more"."""
    shown = ", ".join(things[:most])
    return f"{shown} and {len(things) - most:,} more" if len(things) > most else shown


def count(number: int, noun: str) -> str:
    """ "1 Pod", "4,997 Pods"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


__all__ = ["IN_PLACE", "RECREATE", "Case", "Evidence", "Finding", "Hit", "Kind", "finding", "kinds", "look"]
