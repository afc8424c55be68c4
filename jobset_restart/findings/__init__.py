"""What the plan notices, one small function per check.

A check's id, severity, title, source and remedy stand in its registration, its full text is the function's docstring:
`jsr explain`, the plan and the documentation all come from here. A function takes a `Case` and returns an
`Occurrence`, or None where there is nothing to say. Which triggers it concerns it says by what they are like
(`jobset_restart.case.Trigger`), or by the object where it is about one of them. Pure.
"""

from __future__ import annotations

from msgspec import structs

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
    replacing,
    startup,
    state,
    volcano,
)
from jobset_restart.findings.registry import CHECKS, Check, Finding, Occurrence, Severity, by_severity, finding
from jobset_restart.triggers.pods import PODS

__all__ = ["Check", "Finding", "Occurrence", "Severity", "by_severity", "checks", "finding", "look"]


def look(case: Case, allow: frozenset[str] = frozenset()) -> list[Finding]:
    """Every finding for this case, blockers first. `allow` lets blockers through by id. Where Pods are deleted beside
    a restart in place, what is asked of the trigger that deletes Pods is asked for those as well."""
    found = []
    beside = structs.replace(case, trigger=PODS, scope=case.replaced, lost=[], replaced=[], containers=())
    for check in CHECKS.values():
        asked = case if check.concerns(case.trigger) else beside
        asked_at_all = asked is case or (case.replaced and check.beside and check.concerns(PODS))
        seen = check.examine(asked) if asked_at_all else None
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
