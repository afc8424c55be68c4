"""The history of a workload: its last restarts, in an annotation beside the record, jobset-restart.io/history. Pure.

The record tells of one operation, the one that runs or ran last. Whoever claims the workload next replaces it, and in
the same write moves what it told into the history; so one of whose client nothing was heard any more is in it too.
It is an annotation of its own: what another version writes of the record leaves it alone, and whatever somebody makes
of it, the record can be read.

The annotation is input, as the record is. Each entry is read by itself; what cannot be read is kept as it is where it
is small, for another version may have written it, and it never stands in the way of a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from jobset_restart import claim
from jobset_restart.cost import Cost
from jobset_restart.events import Budget
from jobset_restart.objects import WorkloadMeta, seconds
from jobset_restart.snapshot import HISTORY
from jobset_restart.workloads.workload import Workload

MOST_ENTRIES = 10
MOST_BYTES = 32 * 1024
"""Of the record and the history together. All annotations of an object may have 256 KiB (apimachinery,
TotalAnnotationSizeLimitB), and every watch of the object carries them."""
MOST_ENTRY = 2 * 1024
"""Bytes of one entry."""
MOST_WORDS, MOST_TEXTS = 200, 4
"""Characters of a text, and how many texts of a list, in an entry."""
_BROKEN = (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError)


class Entry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One operation. `asked` is what was asked for, as options of a command line. `state` is finished, detached (its
    client left it running) or lapsed (its client was heard of no more); `ended` is when it ended or its client was last
    heard of. `started` and `ended` are RFC 3339. `scope` are the slots it was for, as `slots.folded` writes them, empty
    where it was for all.

    Raises ValueError where a value is none that this tool writes."""

    id: str
    owner: str = ""
    asked: str = ""
    strategy: str = ""
    trigger: str = ""
    state: str = ""
    started: str = ""
    ended: str = ""
    slots: Annotated[int, Meta(ge=0, le=2**53)] = 0
    scope: tuple[str, ...] = ()
    exit_code: Annotated[int, Meta(ge=0, le=255)] | None = None
    reason: str = ""
    outcomes: dict[str, int] = {}
    rounds: tuple[claim.PastRound, ...] = ()
    cost: Cost = Cost()

    def __post_init__(self) -> None:
        for time in (self.started, self.ended):
            try:
                seconds(time)
            except OverflowError:
                raise ValueError(f"{time[:MOST_WORDS]!r} is not a time") from None

    @property
    def took(self) -> float | None:
        """How long it took in seconds, None where that is not told."""
        if not (self.started and self.ended):
            return None
        return round(max(0.0, seconds(self.ended) - seconds(self.started)), 3)


class History(Struct, frozen=True):
    """What an annotation holds: the entries that can be read, oldest first, and how many there are that cannot."""

    entries: tuple[Entry, ...] = ()
    unreadable: int = 0


def read(metadata: WorkloadMeta) -> History:
    """The history on an object, without the operation that its record tells of."""
    raw = _raw(metadata.annotations.history)
    if raw is None:
        return History(unreadable=1)
    found = [_entry(each) for each in raw[-MOST_ENTRIES:]]
    return History(tuple(each for each in found if each is not None), found.count(None))


def _raw(text: str) -> list[msgspec.Raw] | None:
    """The entries as they were written, None where it is no list."""
    if not text:
        return []
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except _BROKEN:
        return None


def _entry(raw: msgspec.Raw) -> Entry | None:
    try:
        return msgspec.json.decode(raw, type=Entry)
    except _BROKEN:
        return None


# ---------------------------------------------------------------- from the record


def last(found: claim.Lock, now: float) -> Entry | None:
    """The operation that the record on a workload tells of. None where it does not even say its id."""
    record, state = found.record, claim.state_of(found, now)
    if record is None:
        reason = f"its record cannot be read: {found.flaw}"
        told = Entry(id=found.id, owner=found.owner, trigger=found.trigger, state=state, reason=reason)
        return told if found.id else None
    return Entry(
        id=record.id,
        owner=record.owner,
        asked=record.asked,
        strategy=record.strategy,
        trigger=record.trigger,
        state=state,
        started=record.began,
        ended=record.ended or ("" if state == "running" else record.heartbeat),
        slots=record.slots,
        scope=record.scope,
        exit_code=record.exit_code if record.exit_code is None or 0 <= record.exit_code <= 255 else None,
        reason=record.reason,
        outcomes=record.outcomes,
        rounds=record.rounds,
        cost=record.cost,
    )


# ---------------------------------------------------------------- to the annotation


def beside(workload: Workload, record: claim.Record, now: float) -> dict[str, str]:
    """The annotations to be written together with this record: the history with what the record replaces, and without
    the oldest that there is no room for. Nothing where it stays as it is."""
    text = workload.metadata.annotations.history
    room = MOST_BYTES - _bytes(claim.written(record).values())
    found = claim.lock(workload)
    replaced = last(found, now) if found is not None and found.id != record.id else None
    if replaced is None and _bytes([text]) <= room:
        return {}
    kept = [each for each in _raw(text) or () if _keepable(each)]
    added = [compact(replaced)] if replaced is not None else []
    fitted = fit([*map(bytes, kept), *added], room)
    return {HISTORY: fitted} if fitted != text else {}


def _keepable(raw: msgspec.Raw) -> bool:
    """Whether an entry is a small object, whoever wrote it."""
    try:
        return len(bytes(raw)) <= MOST_ENTRY and bool(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except _BROKEN:
        return False


def fit(entries: Sequence[bytes], room: int) -> str:
    """The newest of the entries, oldest first, as one text of at most so many bytes; the newest in any case."""
    kept: list[bytes] = []
    left = room - len(b"[]") + len(b",")  # none after the last
    for each in reversed(entries[-MOST_ENTRIES:]):
        left -= len(each) + len(b",")
        if kept and left < 0:
            break
        kept.append(each)
    return f"[{b','.join(reversed(kept)).decode()}]" if kept else ""


def compact(entry: Entry) -> bytes:
    """The entry in at most MOST_ENTRY bytes: texts are cut, and what is least missed is left out."""
    short = structs.replace(
        entry,
        id=_clipped(entry.id, 32),
        **{name: _clipped(getattr(entry, name)) for name in ("owner", "asked", "strategy", "trigger", "reason")},
        scope=tuple(_clipped(each, 60) for each in entry.scope[:MOST_TEXTS]),
        outcomes={_clipped(name, 20): number for name, number in [*entry.outcomes.items()][:8]},
        rounds=tuple(_short(each) for each in entry.rounds),
        cost=_dearest(entry.cost),
    )
    for fewer in (
        {},
        {"rounds": tuple(structs.replace(each, reason="") for each in short.rounds)},
        {"scope": ()},
        {"rounds": short.rounds[-1:]},
        {"rounds": (), "cost": structs.replace(short.cost, budgets=(), resource_seconds={})},
        {"asked": "", "owner": _clipped(short.owner, 40), "outcomes": {}, "reason": _clipped(short.reason, 40)},
    ):
        short = structs.replace(short, **fewer)
        encoded = msgspec.json.encode(short)
        if len(encoded) <= MOST_ENTRY:
            break
    return encoded


def _short(each: claim.PastRound) -> claim.PastRound:
    outcomes = {_clipped(name, 20): number for name, number in [*each.outcomes.items()][:8]}
    words = {name: _clipped(getattr(each, name), 60) for name in ("strategy", "trigger", "reason")}
    return structs.replace(each, outcomes=outcomes, **words)


def _dearest(cost: Cost) -> Cost:
    most = sorted(cost.resource_seconds.items(), key=lambda each: -each[1])[:MOST_TEXTS]
    return structs.replace(
        cost,
        budgets=tuple(map(_spent, cost.budgets[:MOST_TEXTS])),
        resource_seconds={_clipped(name, 80): seconds_ for name, seconds_ in most},
    )


def _spent(budget: Budget) -> Budget:
    return structs.replace(budget, name=_clipped(budget.name, 80))


def _clipped(text: str, width: int = MOST_WORDS) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _bytes(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
