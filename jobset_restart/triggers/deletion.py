"""What of an operation that deletes objects is still to be deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from jobset_restart.earlier import Earlier
from jobset_restart.objects import seconds
from jobset_restart.snapshot import Snapshot
from jobset_restart.stages import Stage, filled
from jobset_restart.writes import Write


def undeleted(stages: Iterable[Stage], snapshot: Snapshot, earlier: Earlier) -> list[Stage]:
    """The stages with the writes on objects that were there before the operation and are not being deleted."""
    everything = (*(job.metadata for job in snapshot.jobs), *(pod.metadata for pod in snapshot.pods()))
    began = int(earlier.began)
    there = {m.uid for m in everything if not m.deletion_timestamp and seconds(m.creation_timestamp) < began}
    return filled(
        structs.replace(s, actions=[a for a in s.actions if not isinstance(a, Write) or a.uid in there]) for s in stages
    )
