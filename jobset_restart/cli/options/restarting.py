"""All that `jsr restart` can be asked, beside what to restart."""

from __future__ import annotations

from dataclasses import dataclass

from jobset_restart.cli.options import (
    Accounting,
    CaptureBefore,
    Course,
    Drawn,
    Escalation,
    How,
    Leaving,
    Limits,
    Pace,
    Progress,
    Selected,
    Suspected,
    Telling,
    Where,
)


@dataclass(frozen=True, kw_only=True)
class Restarting:
    """The groups of its options, in the order of its help."""

    how: How
    leaving: Leaving
    escalation: Escalation
    selected: Selected
    suspected: Suspected
    course: Course
    drawn: Drawn
    evidence: CaptureBefore
    pace: Pace
    limits: Limits
    progress: Progress
    accounting: Accounting
    telling: Telling
    where: Where
