"""Pods that are deleted, and what of an operation that deletes objects is still to be. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from jobset_restart.earlier import Earlier
from jobset_restart.objects import Pod, seconds
from jobset_restart.places import ended
from jobset_restart.snapshot import Snapshot
from jobset_restart.stages import Drawn, Stage, filled
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, pod_path


def pods(states: Iterable[SlotState]) -> Drawn[Write]:
    """DELETE of Pods with their own grace period: the Job makes new ones and counts each as a failure. What is over
    already is left to the Job, which replaces it anyway."""
    return Drawn([(s.pod, str(s.slot)) for s in states if s.pod is not None and not ended(s.pod)], _delete)


def _delete(target: tuple[Pod, str]) -> Write:
    pod, slot = target
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    return Write(verb="delete", path=path, uid=pod.metadata.uid, slot=slot)


def undeleted(stages: Iterable[Stage], snapshot: Snapshot, earlier: Earlier) -> list[Stage]:
    """The stages with the writes on objects that were there before the operation and are not being deleted."""
    everything = (*(job.metadata for job in snapshot.jobs), *(pod.metadata for pod in snapshot.pods()))
    began = int(earlier.began)
    there = {m.uid for m in everything if not m.deletion_timestamp and seconds(m.creation_timestamp) < began}
    return filled(
        structs.replace(s, actions=[a for a in s.actions if not isinstance(a, Write) or a.uid in there]) for s in stages
    )
