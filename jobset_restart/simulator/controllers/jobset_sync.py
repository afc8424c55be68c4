"""One look at a JobSet: what is found, and the status and Events to write at its end (``statusUpdateOpts``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobset_restart.simulator.controllers.jobset_children import Children
from jobset_restart.simulator.record import record
from jobset_restart.simulator.store import Obj, Objs, Store, StoreError, timestamp

_EXCLUSIVE = {"StartupPolicyInProgress": "StartupPolicyCompleted", "StartupPolicyCompleted": "StartupPolicyInProgress"}
_NOTE_LIMIT = 1024


@dataclass
class Sync:
    """Works on a copy of the status; ``write`` stores it if ``changed``, then the Events."""

    store: Store
    jobset: Obj
    children: Children
    now: float
    status: Obj = field(init=False)
    changed: bool = False
    _events: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = {"restarts": 0} | (self.jobset.get("status") or {})

    @property
    def spec(self) -> Obj:
        found: Obj = self.jobset.get("spec") or {}
        return found

    @property
    def replicated_jobs(self) -> Objs:
        return self.spec.get("replicatedJobs") or []

    @property
    def suspended(self) -> bool:
        return bool(self.spec.get("suspend"))

    @property
    def restarts(self) -> int:
        return int(self.status["restarts"])

    def set(self, **fields: Any) -> None:
        """Change fields of the status."""
        if any(self.status.get(name) != value for name, value in fields.items()):
            self.status.update(fields)
            self.changed = True

    def event(self, kind: str, reason: str, message: str) -> None:
        """An Event for after the status has been written."""
        self._events.append((kind, reason, message))

    def event_now(self, kind: str, reason: str, message: str) -> None:
        """An Event that waits for nothing. A note longer than events.k8s.io allows is refused there, and lost."""
        if len(message.encode()) <= _NOTE_LIMIT:
            record(self.store, self.jobset, kind, reason, message, "jobset", self.now)

    def write(self) -> None:
        """``updateJobSetStatus``. Raises StoreError 409 when somebody was faster."""
        if self.changed:
            self.jobset = self.store.update(
                "jobsets", {**self.jobset, "status": self.status}, self.now, subresource="status"
            )
            for kind, reason, message in self._events:
                self.event_now(kind, reason, message)

    def set_condition(self, condition: str, value: str, reason: str, message: str, kind: str = "Normal") -> None:
        """``setCondition``: an Event goes with every change; a condition that is not there is not added as False."""
        wanted = {"type": condition, "status": value, "lastTransitionTime": timestamp(self.now)}
        wanted |= {"reason": reason, "message": message}
        conditions: Objs = []
        changed = found = False
        for old in self.status.get("conditions") or ():
            each = old
            if old["type"] == condition:
                found = True
                if old["status"] != value:
                    each = wanted
                elif (old["reason"], old["message"]) != (reason, message):
                    each = wanted | {"lastTransitionTime": old["lastTransitionTime"]}
            elif value == old["status"] == "True" and _EXCLUSIVE.get(condition) == old["type"]:
                each = {**old, "status": "False"}  # its reason and time stay, as upstream leaves them
            changed = changed or each is not old
            conditions.append(each)
        if not found and value == "True":
            conditions.append(wanted)
            changed = True
        if changed:
            self.status["conditions"] = conditions
            self.changed = True
            self.event(kind, reason, message)

    def not_restarting(self, reason: str, message: str) -> None:
        """``setRestartingConditionFalse``."""
        self.set_condition("RestartingJobSet", "False", reason, message)

    def fail(self, reason: str, message: str) -> None:
        """``setJobSetFailedCondition``."""
        self.set_condition("Failed", "True", reason, message, "Warning")
        self.not_restarting("JobSetFailed", "jobset failed")
        self.set(terminalState="Failed")

    def delete_jobs(self, names: list[str]) -> None:
        """``deleteJobs``, in the foreground."""
        for name in names:
            try:
                self.store.delete(
                    "jobs", self.jobset["metadata"]["namespace"], name, self.now, propagation="Foreground"
                )
            except StoreError as error:
                if error.code != 404:
                    raise
