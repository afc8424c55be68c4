"""Many things in few words, for findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.case import Case
from jobset_restart.suspension import set_by_others
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.workload import SlotState


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


def ways(case: Case, *names: TriggerName) -> str:
    """ "--via suspend or --via jobs": those of these triggers that would do for the workload, "" where none would."""
    workload = case.snapshot.workload
    others = set_by_others(workload.metadata)
    fit = (name for name in names if name in workload.triggers and not (name == "suspend" and others))
    return " or ".join(f"--via {name}" for name in fit)
