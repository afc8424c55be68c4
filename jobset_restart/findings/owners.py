"""JSR510: what stands above the workload that was named."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding


@finding(
    "JSR510",
    "note",
    "what was named belongs to something else",
    source="metadata.ownerReferences, the one with controller true",
    todo="nothing, if that is what was meant; where an owner undoes the restart, it has to be restarted through that",
)
def stands_above(case: Case) -> Occurrence | None:
    """The topmost owner counts: a JobSet that a TrainJob manages is restarted through the TrainJob, and of a Job that a
    JobSet manages the slots alone, under the claim of the JobSet or of its TrainJob. An owner counts as such only where
    the reference names its UID and it is made of what was named.

    An owner of another kind is named: how it reacts is not known, and if it undoes the restart, that is seen and told.
    Where a known owner may not be read, what was named is restarted as if it stood alone."""
    said = case.snapshot.owners
    return Occurrence([case.snapshot.workload.title], "; ".join(said)) if said else None
