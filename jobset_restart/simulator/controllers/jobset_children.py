"""What the JobSet controller knows of a JobSet's Jobs and Pods, kept up to date change by change.

Upstream lists them anew in every reconcile; here the few facts it asks for are counted as changes come in, so that a
reconcile costs the same for 5 Pods and for 5,000, and a change that alters no fact wakes nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from jobset_restart.simulator.store import Obj, Store

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
RESTARTS = "jobset.sigs.k8s.io/restart-attempt"
IN_PLACE_ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"
INVALID = -1
"""In place of a number that cannot be read."""
_NUMBER = re.compile(r"[+-]?[0-9]+")


class JobFacts(NamedTuple):
    """What ``getChildJobs`` and ``calculateReplicatedJobStatuses`` look at."""

    attempt: int
    replicated_job: str
    finished: str
    """Complete, Failed or ""."""
    ready: bool
    active: bool
    suspended: bool
    deleting: bool


class Children:
    """The Jobs owned by one JobSet, by name, and what its Pods say about restarts in place.

    ``attempts`` counts Pods by in-place attempt, ``restarts`` by the highest restartCount of their containers.
    """

    def __init__(self, store: Store, jobset: Obj) -> None:
        meta = jobset["metadata"]
        self.uid: str = meta["uid"]
        self.attempts: Counter[int] = Counter()
        self.restarts: Counter[int] = Counter()
        self._facts: dict[str, JobFacts] = {}
        self._groups: dict[JobFacts, dict[str, None]] = {}
        for job in store.by_owner(self.uid, "jobs"):
            self.see_job(job)
        for pod in store.by_label("pods", JOBSET_NAME, meta["name"]):
            if pod["metadata"]["namespace"] == meta["namespace"]:
                self.see_pod(pod, None)

    def __contains__(self, name: object) -> bool:
        """Whether a Job of this name exists, of the current run or an earlier one."""
        return name in self._facts

    def names(self, match: Callable[[JobFacts], bool]) -> list[str]:
        """The names of the Jobs that match."""
        return sorted(name for facts, names in self._groups.items() if match(facts) for name in names)

    def count(self, match: Callable[[JobFacts], bool]) -> int:
        return sum(len(names) for facts, names in self._groups.items() if match(facts))

    def groups(self) -> dict[JobFacts, int]:
        """How many Jobs share the same facts."""
        return {facts: len(names) for facts, names in self._groups.items()}

    def see_job(self, job: Obj, gone: bool = False) -> bool:
        """Take in a Job's new state; returns whether any fact changed."""
        name = job["metadata"]["name"]
        before, after = self._facts.get(name), None if gone else _job_facts(job)
        if before == after:
            return False
        if before is not None:
            group = self._groups[before]
            del group[name]
            if not group:
                del self._groups[before]
        if after is None:
            del self._facts[name]
        else:
            self._facts[name] = after
            self._groups.setdefault(after, {})[name] = None
        return True

    def see_pod(self, new: Obj | None, old: Obj | None) -> bool:
        """Take in a Pod's change (None: not there); returns whether any fact changed."""
        after, before = _pod_facts(new), _pod_facts(old)
        if after == before:
            return False
        for counter, value, earlier in zip((self.attempts, self.restarts), after, before, strict=True):
            if value == earlier:
                continue
            if earlier is not None:
                counter[earlier] -= 1
                if not counter[earlier]:
                    del counter[earlier]
            if value is not None:
                counter[value] += 1
        return True


def _job_facts(job: Obj) -> JobFacts:
    meta, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    labels = meta.get("labels") or {}
    pods = spec.get("parallelism", 1)
    if spec.get("completions") is not None:
        pods = min(pods, spec["completions"])
    ends = (each for each in status.get("conditions") or () if each["type"] in ("Complete", "Failed"))
    return JobFacts(
        attempt=_number(labels.get(RESTARTS, "")),
        replicated_job=labels.get(REPLICATED_JOB, ""),
        finished=next((str(each["type"]) for each in ends if each["status"] == "True"), ""),
        ready=status.get("succeeded", 0) + status.get("ready", 0) >= pods,
        active=status.get("active", 0) > 0,
        suspended=bool(spec.get("suspend")),
        deleting="deletionTimestamp" in meta,
    )


def _pod_facts(pod: Obj | None) -> tuple[int | None, int | None]:
    """(attempt, highest restartCount). A failed Pod has no attempt: its successor may exist already."""
    if pod is None:
        return None, None
    status = pod.get("status") or {}
    written = (pod["metadata"].get("annotations") or {}).get(IN_PLACE_ATTEMPT)
    attempt = None if written is None or status.get("phase") == "Failed" else _number(written)
    restarts = 0
    for field in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(field) or ():
            restarts = max(restarts, each["restartCount"])
    return attempt, restarts


def _number(text: str) -> int:
    """``strconv.Atoi`` of a number that must not be negative, or ``INVALID``."""
    return max(int(text), INVALID) if text.isdecimal() or _NUMBER.fullmatch(text) else INVALID
