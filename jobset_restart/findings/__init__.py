"""What the plan notices, one small function per check.

A check's id, severity, title, source and remedy stand in its registration, its full text is the function's docstring:
`jsr explain`, the plan and the documentation all come from here. A function takes a `Case` and returns an
`Occurrence`, or None where there is nothing to say. Which triggers it concerns it says by what they are like
(`jobset_restart.case.Trigger`), or by the object where it is about one of them. Pure.
"""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings import (  # noqa: F401 - each registers its checks
    attempts,
    budgets,
    canary,
    crashing,
    means,
    neighbours,
    nodes,
    owners,
    pace,
    pod_owners,
    queues,
    ray,
    startup,
    state,
    volcano,
)
from jobset_restart.findings.registry import CHECKS, Check, Finding, Occurrence, Severity, by_severity, finding

__all__ = ["Check", "Finding", "Occurrence", "Severity", "by_severity", "checks", "finding", "look"]


def look(case: Case, allow: frozenset[str] = frozenset()) -> list[Finding]:
    """Every finding for this case, blockers first. `allow` lets blockers through by id."""
    found = []
    for check in CHECKS.values():
        seen = check.examine(case) if check.concerns(case.trigger) else None
        if seen is not None:
            severity = seen.severity or check.severity
            found.append(
                Finding(
                    id=check.id,
                    severity=severity,
                    summary=seen.summary,
                    objects=seen.objects,
                    todo=seen.todo or check.todo,
                    source=check.source,
                    allowed=check.id in allow and severity == "blocker" and not check.final,
                    final=check.final,
                )
            )
    return sorted(found, key=by_severity)


def checks() -> list[Check]:
    """Every registered check, by id."""
    return sorted(CHECKS.values(), key=lambda check: check.id)
