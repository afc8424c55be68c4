"""Those who own a JobSet's spec.suspend: they write false back when somebody else suspends it.

Kueue does so for what is queued and admitted, Trainer for the JobSet of a TrainJob. Whoever suspends there races with
them: while the JobSet controller suspends the Jobs, false is back, and its status is refused because it has looked at
an older version; so the condition Suspended never becomes True, and the Pods are replaced all the same. That now and
then only some are replaced is not modelled; nor are quota, admission and any other of their decisions.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Key, Obj, Store, controller_of, key_of

QUEUE_NAME = "kueue.x-k8s.io/queue-name"
DELAY = 0.06
"""Seconds until spec.suspend is false again: measured with Kueue v0.17 (Trainer v2.2: 0.03)."""


def is_owned(jobset: Obj) -> bool:
    """Whether somebody is there who resumes this JobSet."""
    owner = controller_of(jobset)
    queued = (jobset["metadata"].get("labels") or {}).get(QUEUE_NAME)
    return bool(queued) or (owner is not None and owner["kind"] == "TrainJob")


class OwnerController:
    """Resumes JobSets that are owned; where controllers are slow, as soon as their Pods were told to go."""

    def __init__(self, profile: Profile) -> None:
        self._delay = max(DELAY, profile.jobset_sync + profile.job_start + 0.01)

    def wakes(
        self, _store: Store, resource: str, _change: str, obj: Obj, _old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        if resource == "jobsets" and obj["spec"].get("suspend") and is_owned(obj):
            yield key_of(obj), self._delay

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        jobset = store.find("jobsets", *key)
        if jobset is not None and jobset["spec"].get("suspend") and "deletionTimestamp" not in jobset["metadata"]:
            store.update("jobsets", {**jobset, "spec": {**jobset["spec"], "suspend": False}}, now)
        return None
