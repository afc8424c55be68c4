"""All triggers, best first, and each by its name. Pure."""

from __future__ import annotations

from jobset_restart.case import Trigger
from jobset_restart.snapshot import Snapshot
from jobset_restart.triggers.force import FORCE
from jobset_restart.triggers.group import GROUP
from jobset_restart.triggers.image import IMAGE
from jobset_restart.triggers.jobs import JOBS
from jobset_restart.triggers.native import NATIVE
from jobset_restart.triggers.pods import PODS
from jobset_restart.triggers.requeue import REQUEUE
from jobset_restart.triggers.restart import RESTART
from jobset_restart.triggers.rollout import ROLLOUT
from jobset_restart.triggers.signal import SIGNAL
from jobset_restart.triggers.suspend import SUSPEND

TRIGGERS: tuple[Trigger, ...] = (
    NATIVE,
    IMAGE,
    SIGNAL,
    FORCE,
    SUSPEND,
    RESTART,
    JOBS,
    GROUP,
    PODS,
    ROLLOUT,
    REQUEUE,
)
BY_NAME: dict[str, Trigger] = {trigger.name: trigger for trigger in TRIGGERS}


def offered(snapshot: Snapshot) -> tuple[Trigger, ...]:
    """The triggers that a plan chooses from where none was asked for, best first."""
    known = (BY_NAME[name] for name in snapshot.workload.triggers)
    return tuple(trigger for trigger in known if trigger.offered(snapshot))
