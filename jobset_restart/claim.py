"""The lock and record of an operation: one annotation on the workload, jobset-restart.io/operation. Pure.

A run takes it by compare-and-swap on the object's resourceVersion, keeps it alive with a heartbeat, and leaves it
behind as the record of what came out. A claim whose heartbeat is older than LEASE_SECONDS belongs to a dead client
and may be taken over. Times are server time, so that the clocks of two clients need not agree.

The annotation is input: whoever may patch the object may write it, and so may other versions of this tool. It is read
in two parts. The lock (id, owner, state, heartbeat, phase) is read from whatever is there: what this version cannot
read holds the workload all the same. The record, by which an operation can be carried on, is taken as a whole or not at
all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct, field, structs

from jobset_restart.commands import jsr
from jobset_restart.cost import Cost
from jobset_restart.earlier import Earlier
from jobset_restart.objects import WorkloadMeta, seconds
from jobset_restart.plan import Plan, Request, Selection
from jobset_restart.slots import Folded, Slot, Unit, folded
from jobset_restart.snapshot import OPERATION, Snapshot
from jobset_restart.spans import LastTime
from jobset_restart.stages import Stage
from jobset_restart.triggers.registry import BY_NAME
from jobset_restart.wording import asked
from jobset_restart.workloads.workload import Workload
from jobset_restart.writes import Write

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0
MOST_ATTEMPTS = 2**31 - 1
"""The in-place restart attempt is an int32 (JobSet API, status.currentInPlaceRestartAttempt)."""
MOST_WORDS = 200
MOST_ROUNDS = 12
"""More than an operation can have: rungs only rise, and begin anew only for slots that were not restarted yet."""
OUT = ("suspending", "evicting")
"""The phases in which a workload is to be suspended."""
_ID = re.compile(r"[0-9a-z]{1,32}")


class PastRound(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A round of an operation that is over: how it went, and what came of its slots. Times are RFC 3339. `rung` is how
    far it went for slots that had not come back.

    Raises ValueError where a value is none that this tool writes."""

    strategy: str = ""
    trigger: str = ""
    rung: str = ""
    started: str = ""
    ended: str = ""
    slots: int = 0
    outcomes: dict[str, int] = {}
    reason: str = ""

    def __post_init__(self) -> None:
        if not (_time(self.started) and _time(self.ended)):
            raise ValueError("a round does not say when it was")


class Record(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """`state` is running while a client drives the operation, detached when it left it running on, finished after.

    `phase` is where a run stands ("triggering", "suspending", "resuming", ...); `attempt` the in-place attempt a
    native restart leads to. `started`, `deadline`, `heartbeat` and `ended` are RFC 3339. `request` is what was asked
    for, so that the operation can be carried on. `scope` and `lost` are the slots it restarts, and those on machines
    declared down, as `slots.folded` writes them: by then their Pods may have other names and nodes. `replaced` are the
    slots whose Pods leave a Node beside a restart in place, by that Node. All are empty where it restarts every slot.
    `seats` are, written likewise, all slots of the units of which it means some Pods that carry no index: what was
    scaled since shows in them.

    An operation may go on with another plan where the first did not bring everything back: `rounds` are those that are
    over, and all other fields but `id`, `owner`, `deadline`, `asked` and `cost` tell of the round that runs, or ran
    last. `waiting` are slots of rounds before that are still waited for, restarted in place and not by this round;
    `untouched` those whose turn never came because others did not come back, which were to be restarted by the trigger
    `untouched_by`, and `as_canaries` where those others were canaries.

    `asked` is what the person asked for, in words; `cost` what it cost, once a client has let go of it.

    Raises ValueError where a value is none that this tool writes."""

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
    seats: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    replaced: dict[str, tuple[str, ...]] = {}
    untouched: tuple[str, ...] = ()
    untouched_by: str = ""
    as_canaries: bool = False
    exit_code: int | None = None
    reason: str = ""
    outcomes: dict[str, int] = {}
    request: Request = field(default_factory=Request)
    rounds: tuple[PastRound, ...] = ()
    asked: str = ""
    cost: Cost = Cost()

    @property
    def round(self) -> int:
        """Which round it tells of, counted from 1."""
        return len(self.rounds) + 1

    @property
    def began(self) -> str:
        """When the operation began, RFC 3339."""
        return self.rounds[0].started if self.rounds else self.started

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"{self.id[:MOST_WORDS]!r} is not an operation id")
        for name in ("started", "deadline", "heartbeat", "ended"):
            if _time(getattr(self, name)) is None and getattr(self, name):
                raise ValueError(f"{name} is not a time")
        if self.attempt is not None and not 1 <= self.attempt <= MOST_ATTEMPTS:
            raise ValueError(f"attempt {self.attempt} is out of range")
        if self.slots < 0:
            raise ValueError(f"slots {self.slots} is out of range")
        if len(self.rounds) > MOST_ROUNDS:
            raise ValueError(f"it has {len(self.rounds):,} rounds")
        try:
            self.parts()
            Folded(self.seats)
            self.awaited()
            Folded(self.untouched)
        except ValueError:
            raise ValueError("its slots cannot be read") from None

    def parts(self) -> tuple[Folded, Folded, Folded] | None:
        """The slots it restarts, those it replaces on machines declared down, and those whose Pods leave a Node; None
        where it restarts every slot.

        Raises ValueError where they cannot be read."""
        if not (self.scope or self.lost or self.replaced):
            return None
        leaving = (each for those in self.replaced.values() for each in those)
        return Folded(self.scope), Folded(self.lost), Folded(leaving)

    def leaving(self) -> Callable[[Slot], str]:
        """Tells the Node that a slot's Pod leaves, "" where it leaves none. Raises ValueError where they cannot be
        read."""
        nodes = [(node, Folded(those)) for node, those in self.replaced.items()]
        return lambda slot: next((node for node, among in nodes if slot in among), "")

    def awaited(self) -> Folded:
        """The slots that it only waits for. Raises ValueError where they cannot be read."""
        return Folded(self.waiting)

    def earlier(self) -> Earlier:
        """What of it tells which slots it has restarted already."""
        containers = self.request.containers
        return Earlier(id=self.id, began=seconds(self.started), attempt=self.attempt or 0, containers=containers)


CAME_BACK = ("restarted", "recreated")


class Lock(Struct, frozen=True, kw_only=True):
    """What the annotation says of who holds the workload, as far as it can be read. `heartbeat` is when its client was
    heard of, `written` when the API server says that the annotation was written, both in seconds since the epoch and
    None where nothing tells. `record` is None where the rest cannot be read; `flaw` says why."""

    id: str = ""
    owner: str = ""
    trigger: str = ""
    state: str = ""
    phase: str = ""
    heartbeat: float | None = None
    written: float | None = None
    record: Record | None = None
    flaw: str = ""


def _time(text: str) -> float | None:
    try:
        return seconds(text) or None
    except (ValueError, OverflowError):
        return None


def timestamp(time: float) -> str:
    """RFC 3339 in UTC of seconds since the epoch, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lock(workload: Workload) -> Lock | None:
    """What the annotation on the workload says, whoever wrote it. None where there is none."""
    return lock_on(workload.metadata)


def lock_on(metadata: WorkloadMeta) -> Lock | None:
    """What the annotation on the object with this metadata says."""
    text = metadata.annotations.operation
    if not text:
        return None
    entries = (e for e in metadata.managed_fields if e.fields_v1.metadata.annotations.operation is not None)
    written = max((seconds(entry.time) for entry in entries), default=0.0) or None
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return Lock(written=written, flaw="it is not a JSON object")
    record, flaw = None, ""
    try:
        record = msgspec.json.decode(text, type=Record)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        flaw = str(error)[:MOST_WORDS]
    words = {name: _word(fields.get(name)) for name in ("id", "owner", "trigger", "state", "phase", "heartbeat")}
    heartbeat = _time(words.pop("heartbeat"))
    return Lock(**words, heartbeat=heartbeat, written=written, record=record, flaw=flaw)


def _word(raw: msgspec.Raw | None) -> str:
    try:
        return msgspec.json.decode(raw, type=str)[:MOST_WORDS] if raw is not None else ""
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""


def read(workload: Workload) -> Record | None:
    """The record on the workload. None where there is none, or none that this version can read."""
    found = lock(workload)
    return found.record if found else None


def state_of(found: Lock, now: float) -> str:
    """running, detached (its client left it), finished, or lapsed (its client was heard of no more)."""
    if found.state in ("detached", "finished"):
        return found.state
    return "running" if live(found, now) else "lapsed"


def live(found: Lock | None, now: float) -> bool:
    """Whether a client holds the workload: it has not let go, and was heard of within LEASE_SECONDS.

    A state that this version does not know holds. A heartbeat that is no time, or lies further ahead of the server's
    clock than the lease is long, says nothing; then the time counts at which the API server saw the annotation change.
    Where that is not told either, a heartbeat in the far future is a dead client's, and what cannot be dated at all
    holds until somebody removes it."""
    if found is None or found.state in ("detached", "finished"):
        return False
    heard = _heard(found, now)
    return now - heard <= LEASE_SECONDS if heard is not None else found.heartbeat is None


def _heard(found: Lock, now: float) -> float | None:
    if found.heartbeat is None or found.heartbeat > now + LEASE_SECONDS:
        return found.written
    return found.heartbeat


def unusual(found: Lock | None, now: float) -> str:
    """What is strange about a claim that was taken over, "" where nothing is."""
    if found is None or found.state in ("detached", "finished"):
        return ""
    if found.heartbeat is not None and found.heartbeat > now + LEASE_SECONDS:
        ahead = found.heartbeat - now
        return f"the heartbeat of operation {found.id} lies {ahead:,.0f} s in the future: its client counts as dead"
    return f"the record could not be read ({found.flaw}) and is replaced" if found.flaw else ""


def unusable(workload: Workload, record: Record, now: float) -> str:
    """Why this record cannot be carried on with, "" where it can: it must fit the workload, and the present."""
    started, created = seconds(record.started), seconds(workload.metadata.creation_timestamp)
    current = workload.attempt
    if not started:
        return "it does not say when it started"
    if started > now + LEASE_SECONDS:
        return "it started in the future"
    if started < created - LEASE_SECONDS:
        return f"it is older than the {workload.carrier.kind}"
    trigger = BY_NAME.get(record.trigger)
    if trigger is not None and trigger.name not in workload.triggers:
        return f"it restarts by {trigger}, which is not for a {workload.kind.kind}"
    if trigger is not None and trigger.barrier and not (record.attempt and record.attempt <= current + 1):
        return f"it leads to in-place attempt {record.attempt}, and the JobSet is at {current}"
    return ""


def what_is_restarted(plan: Plan) -> dict[str, Any]:
    """What a new record says of this plan's slots: its fields slots, scope, lost, replaced, seats and request."""
    scope = [each.state.slot for each in plan.scope if not (each.lost or each.leaves or each.awaited)]
    lost = [each.state.slot for each in plan.scope if each.lost]
    leaving: dict[str, list[Slot]] = {}
    for each in plan.scope:
        if each.leaves:
            leaving.setdefault(each.leaves, []).append(each.state.slot)
    replaced = {node: folded(slots) for node, slots in sorted(leaving.items())}
    everything = sum(state.expected for state in plan.snapshot.slots.values())
    request = structs.replace(plan.request, selection=Selection())
    part: dict[str, Any] = {}
    if lost or len(scope) < everything:
        meant = {*scope, *lost, *(slot for slots in leaving.values() for slot in slots)}
        part = {"scope": folded(scope), "lost": folded(lost), "seats": folded(_seats(plan.snapshot, meant))}
    part |= {"replaced": replaced} if replaced else {}
    number = len(scope) + len(lost) + sum(map(len, leaving.values()))
    return {"slots": number, "request": request, **part}


def _seats(snapshot: Snapshot, meant: Collection[Slot]) -> list[Slot]:
    """All seats of the units of which some are meant and some are not."""
    units: dict[Unit, list[Slot]] = defaultdict(list)
    for state in snapshot.slots.values():
        if snapshot.workload.seated(state):
            units[state.slot.unit].append(state.slot)
    partly = (seats for seats in units.values() if 0 < sum(seat in meant for seat in seats) < len(seats))
    return [seat for seats in partly for seat in seats]


def found_suspended(plan: Plan) -> Stage | None:
    """The stage that brings back a workload which was left suspended by an operation that the plan carries on or
    finishes. None where it was not."""
    back = (stage for stage in plan.stages if stage.name in ("resume", "readmit"))
    return next(back, None) if plan.snapshot.workload.suspended else None


def opened(plan: Plan, owner: str, began: float, deadline: float) -> Record:
    """The record with which `owner` begins to carry out the plan. Times in seconds since the epoch."""
    record = Record(
        id=plan.operation,
        owner=owner,
        strategy=plan.strategy,
        trigger=plan.trigger_name,
        phase=_found_in(plan),
        started=timestamp(began),
        heartbeat=timestamp(began),
        deadline=timestamp(deadline),
        asked=asked(plan.request),
        attempt=plan.attempt if plan.trigger is not None and plan.trigger.barrier else None,
        **what_is_restarted(plan),
    )
    before = read(plan.snapshot.workload)
    return carried_on(record, before) if before and before.id == record.id else record


def _found_in(plan: Plan) -> str:
    """The phase that a run which carries out this plan begins in."""
    back = found_suspended(plan)
    return "triggering" if back is None else "evicting" if back.name == "readmit" else "suspending"


def as_sent(plan: Plan, record: Record) -> Plan:
    """The plan with the writes of spec.suspend as an operation with this record sends them. The times of the record and
    the resourceVersion, which is that of the object now, will be those of then."""
    phases = {"suspend": "suspending", "resume": "resuming"}

    def with_record(stage: Stage) -> Stage:
        if stage.name not in phases:
            return stage
        told = structs.replace(record, phase=phases[stage.name])
        return structs.replace(stage, actions=[write(plan.snapshot.workload, told, suspend=stage.name == "suspend")])

    return structs.replace(plan, stages=[with_record(stage) for stage in plan.stages])


def carried_on(record: Record, before: Record) -> Record:
    """The record of a client that carries on what `before` tells of."""
    return structs.replace(
        record,
        started=before.started,
        attempt=before.attempt,
        slots=before.slots,
        rounds=before.rounds,
        waiting=before.waiting,
        asked=before.asked,
        cost=before.cost,
        untouched=before.untouched,
        untouched_by=before.untouched_by,
        as_canaries=before.as_canaries,
    )


def next_round(record: Record, plan: Plan, over: PastRound, now: float, waiting: Iterable[Slot] = ()) -> dict[str, Any]:
    """The fields of `record` that change when the round it tells of is `over` and this plan is carried out next, from
    `now` on (seconds since the epoch), while the slots that are `waiting` are waited for as well."""
    fresh = Record(id=record.id, started=timestamp(now), **what_is_restarted(plan))
    return {
        "strategy": plan.strategy,
        "trigger": plan.trigger_name,
        "phase": "triggering",
        "started": fresh.started,
        "attempt": plan.attempt if plan.trigger is not None and plan.trigger.barrier else None,
        "slots": fresh.slots,
        "scope": fresh.scope,
        "lost": fresh.lost,
        "replaced": fresh.replaced,
        "waiting": folded(waiting),
        "request": fresh.request,
        "rounds": (*record.rounds, over),
    }


def lapses_in(found: Lock, now: float) -> float | None:
    """Seconds until a claim lapses if nothing more is heard of its client. None where nothing dates it."""
    heard = _heard(found, now)
    return None if heard is None else max(0.0, heard + LEASE_SECONDS - now)


def held(workload: Workload, found: Lock, now: float, context: str = "") -> tuple[str, str]:
    """What to tell somebody who wants a workload that another client holds: who has it, and how to follow it in this
    context of the kubeconfig."""
    title, namespace, carrier = workload.title, workload.namespace, workload.carrier
    follow, lapses = f"`{jsr('status', workload.reference, namespace, context, '--watch')}`", lapses_in(found, now)
    if found.record is not None and lapses is not None:
        record = found.record
        return (
            f"{title} is being restarted by {record.owner} (operation {record.id}, {record.trigger}, "
            f"started {record.began}); nothing was changed",
            f"follow it with {follow}; if its client is dead, its claim lapses in {lapses:.0f} s",
        )
    by = f" by {found.owner}" if found.owner else ""
    what = f"{title} carries a record{by} that this version cannot read" + (f" ({found.flaw})" if found.flaw else "")
    remove = f"kubectl annotate {carrier.word} {workload.metadata.name} -n {namespace} {OPERATION}-"
    return (
        f"{what}: another version may be restarting it; nothing was changed",
        f"it counts as a claim for {lapses:.0f} s more; follow with {follow}"
        if lapses is not None
        else f"nothing tells how old it is; if nobody is restarting it, remove it with `{remove}`",
    )


def left_suspended(workload: Workload, now: float) -> Lock | None:
    """The claim of an operation that suspended this workload and whose client is gone, else None."""
    found = lock(workload)
    if found is None or not workload.suspended or found.state == "finished" or live(found, now):
        return None
    return found if found.phase in OUT else None


def contradicted(workload: Workload, operation: str) -> Literal["", "resumed", "suspended"]:
    """Whether somebody else set spec.suspend since this operation did. Its record is written together with
    spec.suspend, so the phase it tells of and the field agree, unless another writer came between. Where Kueue sets it,
    asked by its own object, nothing is told by that."""
    found = lock(workload)
    if found is None or found.id != operation or found.phase in ("evicting", "readmitting"):
        return ""
    if found.phase == "suspending":
        return "" if workload.suspended else "resumed"
    return "suspended" if workload.suspended else ""


def written(record: Record) -> dict[str, str]:
    """The annotation that holds this record."""
    return {OPERATION: msgspec.json.encode(record).decode()}


def write(
    workload: Workload, record: Record, *, suspend: bool | None = None, beside: Mapping[str, str] | None = None
) -> Write:
    """The compare-and-swap that puts the record on the object as it was read, with other annotations `beside` it, and
    spec.suspend in the same write if given. It fails with Conflict when anything has changed since."""
    body: dict[str, object] = {"metadata": {"annotations": {**written(record), **(beside or {})}}}
    if suspend is not None:
        body["spec"] = {"suspend": suspend}
    return workload.changed(body, resource_version=workload.metadata.resource_version)


def last_time(workload: Workload) -> LastTime | None:
    """The workload's last restart as its record tells of it, None where that is not over, or did not bring every slot
    back in one round."""
    found = lock(workload)
    record = found.record if found else None
    if record is None or record.state != "finished" or record.exit_code != 0 or record.rounds:
        return None
    back = sum(record.outcomes.get(each, 0) for each in CAME_BACK)
    took = seconds(record.ended) - seconds(record.began) if record.ended and record.began else 0.0
    if back < max(1, record.slots) or took <= 0:
        return None
    return LastTime(operation=record.id, trigger=record.trigger, slots=back, seconds=took)
