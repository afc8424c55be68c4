"""Who is who while a restart runs: which Pods are the workload's, in which slot, and what is still to come. Pure."""

from __future__ import annotations

from jobset_restart.members.alone import LonePods
from jobset_restart.members.direct import DirectMembers
from jobset_restart.members.members import ANOTHER, Members
from jobset_restart.members.of_jobs import JobMembers
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.direct import DirectWorkload
from jobset_restart.workloads.pods import PodsWorkload


def members_of(snapshot: Snapshot) -> Members:
    """The members of the snapshot's workload, from then on."""
    workload = snapshot.workload
    if isinstance(workload, PodsWorkload):
        return LonePods(snapshot)
    return DirectMembers(snapshot, workload) if isinstance(workload, DirectWorkload) else JobMembers(snapshot)


__all__ = ["ANOTHER", "Members", "members_of"]
