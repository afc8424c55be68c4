"""The reasons to suspect a Pod, one small function each, in the order of their ids."""

from jobset_restart.diagnose.signals import silence, stacks, processes, machines, past  # isort: skip
from jobset_restart.diagnose.signals.registry import SIGNALS, Sight, Whole, came_later, shown, stirs

__all__ = [
    "SIGNALS",
    "Sight",
    "Whole",
    "came_later",
    "machines",
    "past",
    "processes",
    "shown",
    "silence",
    "stacks",
    "stirs",
]
