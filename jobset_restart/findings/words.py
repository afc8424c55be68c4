"""Many things in few words, for findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.snapshot import SlotState


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
