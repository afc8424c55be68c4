"""The lock and record of an operation: one annotation on the JobSet, jobset-restart.io/operation. Pure.

A run takes it by compare-and-swap on the JobSet's resourceVersion, keeps it alive with a heartbeat, and leaves it
behind as the record of what came out. A claim whose heartbeat is older than LEASE_SECONDS belongs to a dead client
and may be taken over. Times are server time, so that the clocks of two clients need not agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct, field, structs

from jobset_restart.objects import JobSet, seconds
from jobset_restart.plan import Plan, Request, Selection
from jobset_restart.snapshot import OPERATION, Folded, folded
from jobset_restart.writes import Write, jobset_path

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0


class Record(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """`state` is running while a client drives the operation, detached when it left it running on, finished after.

    `phase` is where a run stands ("triggering", "suspending", "resuming", ...); `attempt` the in-place attempt a
    native restart leads to. `started`, `deadline`, `heartbeat` and `ended` are RFC 3339. `request` is what was asked
    for, so that the operation can be carried on. `scope` and `lost` are the slots it restarts, and those on machines
    declared down, as `snapshot.folded` writes them: by then their Pods may have other names and nodes. Both are empty
    where it restarts every slot."""

    id: str
    owner: str = ""
    strategy: str = ""
    trigger: str = ""
    state: Literal["running", "detached", "finished"] = "running"
    phase: str = ""
    started: str = ""
    deadline: str = ""
    heartbeat: str = ""
    ended: str = ""
    attempt: int | None = None
    slots: int = 0
    scope: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    exit_code: int | None = None
    reason: str = ""
    outcomes: dict[str, int] = {}
    request: Request = field(default_factory=Request)

    def parts(self) -> tuple[Folded, Folded] | None:
        """The slots it restarts and those it replaces on machines declared down, None where it restarts every slot.

        Raises ValueError where they cannot be read."""
        return (Folded(self.scope), Folded(self.lost)) if self.scope or self.lost else None


def timestamp(time: float) -> str:
    """RFC 3339 in UTC of seconds since the epoch, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(jobset: JobSet) -> Record | None:
    """The record on the JobSet. None where there is none, or none that can be read."""
    text = jobset.metadata.annotations.operation
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=Record)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def live(record: Record | None, now: float) -> bool:
    """Whether a client holds the JobSet: it is running and has been heard of within LEASE_SECONDS."""
    return record is not None and record.state == "running" and now - _heard(record) <= LEASE_SECONDS


def what_is_restarted(plan: Plan) -> dict[str, Any]:
    """What a new record says of this plan's slots: its fields slots, scope, lost and request."""
    scope = [each.state.slot for each in plan.scope if not each.lost]
    lost = [each.state.slot for each in plan.scope if each.lost]
    everything = sum(not each.state.completed for each in plan.slots)
    request = structs.replace(plan.request, selection=Selection())
    part = {"scope": folded(scope), "lost": folded(lost)} if lost or len(scope) < everything else {}
    return {"slots": len(plan.scope), "request": request, **part}


def carried_on(record: Record, before: Record) -> Record:
    """The record of a client that carries on what `before` tells of."""
    return structs.replace(
        record,
        started=before.started,
        attempt=before.attempt,
        slots=before.slots,
        scope=before.scope,
        lost=before.lost,
        request=before.request,
    )


def lapses_in(record: Record, now: float) -> float:
    """Seconds until a running claim lapses if nothing more is heard of its client."""
    return max(0.0, _heard(record) + LEASE_SECONDS - now)


def held(jobset: JobSet, record: Record, now: float) -> tuple[str, str]:
    """What to tell somebody who wants a JobSet that another client holds: who has it, and how to follow."""
    name, namespace = jobset.metadata.name, jobset.metadata.namespace
    return (
        f"JobSet {name} is being restarted by {record.owner} (operation {record.id}, {record.trigger}, "
        f"started {record.started}); nothing was changed",
        f"follow it with `jsr status {name} -n {namespace} --watch`; if its client is dead, its claim lapses in "
        f"{lapses_in(record, now):.0f} s",
    )


def left_suspended(jobset: JobSet, now: float) -> Record | None:
    """The record of an operation that suspended this JobSet and whose client is gone, else None."""
    record = read(jobset)
    if record is None or not jobset.spec.suspend or record.state == "finished" or live(record, now):
        return None
    return record if record.phase == "suspending" else None


def _heard(record: Record) -> float:
    try:
        return seconds(record.heartbeat)
    except ValueError:
        return 0.0


def written(record: Record) -> dict[str, str]:
    """The annotation that holds this record."""
    return {OPERATION: msgspec.json.encode(record).decode()}


def write(jobset: JobSet, record: Record, *, suspend: bool | None = None) -> Write:
    """The compare-and-swap that puts the record on the JobSet as it was read, with spec.suspend in the same write if
    given. It fails with Conflict when anything has changed since."""
    body: dict[str, object] = {"metadata": {"annotations": written(record)}}
    if suspend is not None:
        body["spec"] = {"suspend": suspend}
    return Write(
        verb="patch",
        path=jobset_path(jobset.metadata.namespace, jobset.metadata.name),
        body=body,
        uid=jobset.metadata.uid,
        resource_version=jobset.metadata.resource_version,
    )
