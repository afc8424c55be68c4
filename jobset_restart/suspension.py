"""Who else sets spec.suspend of a workload. Pure.

A JobSet that its owner keeps running is resumed 0.03 to 0.06 s after it was suspended (seen with Trainer v2.2 and Kueue
v0.17): its old and new Pods run side by side for the grace period, or only some of them are replaced.
"""

from __future__ import annotations

from jobset_restart.objects import WorkloadMeta, seconds
from jobset_restart.owners import controller
from jobset_restart.vocabulary import TriggerName

SUSPENDING_OWNERS = frozenset({"TrainJob", "Workload", "JobSet"})
"""Kinds of owner that are known to set spec.suspend: Trainer's TrainJob (runtime framework, JobSet plugin), Kueue's
Workload (jobframework), and the JobSet of a Job (resumeJobsIfNecessary)."""
FIELD_MANAGER = "jsr"


def queue(meta: WorkloadMeta) -> str:
    """The Kueue LocalQueue of the workload, "" where it has none."""
    return meta.labels.queue_name


def queue_triggers(meta: WorkloadMeta) -> tuple[TriggerName, ...]:
    """The triggers that a workload offers besides those of its kind, where it is in a queue of Kueue."""
    return ("requeue",) if queue(meta) else ()


def set_by_others(meta: WorkloadMeta) -> bool:
    """Whether it is known that somebody else sets spec.suspend."""
    owner = controller(meta)
    return bool(queue(meta)) or (owner is not None and owner.kind in SUSPENDING_OWNERS)


def setter(meta: WorkloadMeta) -> str:
    """Who set spec.suspend last besides this tool, in words: by what owns the workload, and by the field manager that
    the API server names."""
    owner, managers = controller(meta), _managers(meta)
    if owner is not None and owner.kind in SUSPENDING_OWNERS:
        who = f"its owner {owner.kind} {owner.name}"
    elif queue(meta):
        who = f"Kueue (queue {queue(meta)})"
    elif owner is not None:
        who = f"its owner {owner.kind} {owner.name}"
    else:
        return f"somebody else ({managers[-1]})" if managers else "somebody else"
    return f"{who}, by {managers[-1]}" if managers else who


def _managers(meta: WorkloadMeta) -> list[str]:
    """The field managers that own spec.suspend, but for this tool, the latest last (metadata.managedFields)."""
    entries = [e for e in meta.managed_fields if e.fields_v1.spec.suspend is not None]
    entries = [e for e in entries if e.manager and e.manager != FIELD_MANAGER]
    return [entry.manager for entry in sorted(entries, key=lambda entry: seconds(entry.time))]
