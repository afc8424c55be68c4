"""The checks of a plan and their registration. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from jobset_restart.case import Case, Trigger

Severity = Literal["blocker", "warning", "note"]
Concerns = Callable[[Trigger], bool]
_ORDER: dict[Severity, int] = {"blocker": 0, "warning": 1, "note": 2}


class Occurrence(Struct):
    """Where a check applies: the objects, what exactly was seen, and a remedy where it is not the usual one."""

    objects: list[str]
    summary: str
    todo: str = ""
    severity: Severity | None = None


Examine = Callable[[Case], Occurrence | None]


class Check(Struct, frozen=True, kw_only=True):
    """One registered check. `concerns` tells for which triggers it is made. `final` tells a blocker that cannot be let
    through: there would be nothing to send, or nothing would come of it. `beside`: it is made as well for Pods that are
    deleted beside a restart in place by a trigger that it does not concern."""

    id: str
    severity: Severity
    title: str
    source: str
    todo: str
    concerns: Concerns
    examine: Examine
    final: bool = False
    beside: bool = True

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.examine.__doc__ or "")


class Finding(Struct, kw_only=True):
    """What a check found in one case. `allowed` tells a blocker that --allow let through."""

    id: str
    severity: Severity
    summary: str
    objects: list[str]
    todo: str
    source: str
    allowed: bool = False
    final: bool = False


CHECKS: dict[str, Check] = {}


def everything(trigger: Trigger) -> bool:  # noqa: ARG001
    """Concerns all triggers."""
    return True


def only(*triggers: Trigger) -> Concerns:
    """Concerns these triggers and no others."""
    return lambda trigger: trigger in triggers


def finding(
    id: str,  # noqa: A002
    severity: Severity,
    title: str,
    *,
    source: str,
    todo: str,
    concerns: Concerns = everything,
    final: bool = False,
    beside: bool = True,
) -> Callable[[Examine], Examine]:
    """Registers a check under its stable id, for the triggers it concerns. Raises ValueError where the id is taken."""

    def register(examine: Examine) -> Examine:
        if id in CHECKS:
            raise ValueError(f"two checks have the id {id}")
        CHECKS[id] = Check(
            id=id,
            severity=severity,
            title=title,
            source=source,
            todo=todo,
            concerns=concerns,
            examine=examine,
            final=final,
            beside=beside,
        )
        return examine

    return register


def by_severity(found: Finding) -> tuple[int, str]:
    """The order in which findings are told: blockers first."""
    return _ORDER[found.severity], found.id
