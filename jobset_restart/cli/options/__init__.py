"""The options of `jsr`, each declared once, in groups; and what they ask for, checked before any cluster is asked."""

from jobset_restart.cli.options.accounting import Accounting, GpuPrice
from jobset_restart.cli.options.captures import CaptureBefore, CaptureBounds, CaptureInto
from jobset_restart.cli.options.drawn import Drawn
from jobset_restart.cli.options.escalation import Escalation
from jobset_restart.cli.options.how import Course, How
from jobset_restart.cli.options.limits import Deadline, Limits, Parallel
from jobset_restart.cli.options.machines import Leaving
from jobset_restart.cli.options.pace import Pace
from jobset_restart.cli.options.shown import Shown, Telling, Verbosity
from jobset_restart.cli.options.steps import Looks, Progress, Steps
from jobset_restart.cli.options.suspected import Suspected
from jobset_restart.cli.options.values import MOST_SECONDS, owner, timeout_seconds
from jobset_restart.cli.options.where import Everywhere, OfPods, Selected, Where, Workload, Workloads

__all__ = [
    "MOST_SECONDS",
    "Accounting",
    "CaptureBefore",
    "CaptureBounds",
    "CaptureInto",
    "Course",
    "Deadline",
    "Drawn",
    "Escalation",
    "Everywhere",
    "GpuPrice",
    "How",
    "Leaving",
    "Limits",
    "Looks",
    "OfPods",
    "Pace",
    "Parallel",
    "Progress",
    "Selected",
    "Shown",
    "Steps",
    "Suspected",
    "Telling",
    "Verbosity",
    "Where",
    "Workload",
    "Workloads",
    "owner",
    "timeout_seconds",
]
