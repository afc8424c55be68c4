"""The verdict: healthy, standing still with suspects, or standing still without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from jobset_restart.diagnose.observation import Observation, Progress, Seen, progress
from jobset_restart.diagnose.processes import Stack
from jobset_restart.diagnose.signals import SIGNALS, Sight, Whole, came_later, shown, stirs
from jobset_restart.diagnose.signals.silence import complains
from jobset_restart.diagnose.stacks import FEW, LEAST_PEERS, Group, Standings, compare, prepares
from jobset_restart.slots import Slot

Verdict = Literal["Healthy", "Suspects", "NoSuspects"]
MOST_COMMON = 3
SHARED = 0.9
ELSEWHERE = 0.1
SEEN = frozenset({"DX101", "DX104", "DX201", "DX202", "DX303"})
"""What was seen of a Pod itself; it comes before what could not be seen, however likely that is."""
ONE_OF_A_KIND = ("kubernetes.io/hostname", "node.kubernetes.io/instance-id")


class Reason(Struct, frozen=True):
    """A signal that was found: its id, its weight, and what exactly was seen."""

    id: str
    weight: float
    text: str


class Suspect(Struct, kw_only=True):
    """A slot, its reasons, the strongest first, and `score` (0 to 1), which they give together. `stack` is where its
    process stands."""

    slot: Slot
    score: float
    reasons: list[Reason]
    stack: Stack = ()


class Common(Struct, frozen=True, kw_only=True):
    """What the suspects share and others do not: a node, or a label of their nodes. `suspects` and `others` count the
    Pods that have it."""

    key: str
    value: str
    suspects: int
    others: int


class Diagnosis(Struct, kw_only=True):
    """What is told. `doubt` says why nobody is named, where that needs a word."""

    verdict: Verdict
    progress: Progress
    suspects: list[Suspect] = []
    common: list[Common] = []
    groups: list[Group] = []
    doubt: str = ""


def judge(observation: Observation, silent_after: float | None = None) -> Diagnosis:
    """The verdict on what was seen. A workload whose steps advance has no suspects, but for Pods that stopped alone;
    lines that tell of no step may go on while nothing moves. More than half of all Pods are never suspects: then what
    they share is at fault."""
    going = progress(observation, silent_after)
    looks = {slot: look for slot, seen in observation.slots.items() if (look := seen.again or seen.look)}
    standings = compare(looks)
    if going.guessed and moves(observation.slots.values()):
        return Diagnosis(verdict="Healthy", progress=going, groups=standings.groups)
    if going.advance == "advances" and not going.guessed:
        return Diagnosis(verdict="Healthy", progress=going, groups=standings.groups)
    whole = Whole(observation, going, standings)
    suspects, goes_on = _suspects(whole), going.advance in ("advances", "slower") and not _stuck(whole)
    if goes_on:
        suspects = [each for each in suspects if _was_seen(each)]
    doubt = _doubt(whole, suspects)
    if len(suspects) > FEW * len(observation.slots):
        certain = [each for each in suspects if _was_seen(each)]
        suspects = certain if len(certain) <= FEW * len(observation.slots) else []
    if goes_on and not suspects:
        return Diagnosis(verdict="Healthy", progress=going, groups=standings.groups)
    return Diagnosis(
        verdict="Suspects" if suspects else "NoSuspects",
        progress=going,
        suspects=suspects,
        common=common(whole, [each.slot for each in suspects if _was_seen(each)] or [s.slot for s in suspects]),
        groups=standings.groups,
        doubt="" if suspects else doubt,
    )


def _suspects(whole: Whole) -> list[Suspect]:
    found = []
    for seen in whole.slots.values():
        sight = Sight(whole, seen)
        if _waits(sight) or came_later(whole, seen):
            continue
        hits = [(each, text) for each in SIGNALS.values() if (text := each.check(sight))]
        if any(each.enough for each, _ in hits):
            reasons = sorted((Reason(each.id, each.weight, text) for each, text in hits), key=lambda r: -r.weight)
            process = sight.standing.shown
            stack = (process.stack or (shown(process),)) if process else ()
            found.append(Suspect(slot=seen.slot, score=_score(reasons), reasons=reasons, stack=stack))
    return _clear(sorted(found, key=lambda each: (_prepares(each), not _was_seen(each), -each.score, each.slot)))


def _waits(sight: Sight) -> bool:
    """Whether all its ranks are seen to wait for others: then it is not the one, whatever else is the matter. That the
    kernel has a process where it has those that wait is less: one whose log ends in an error may well sleep there."""
    standing = sight.standing
    if standing.by_kernel and complains(sight):
        return False
    return standing.known and bool(standing.waiting) and not (standing.behind or standing.missing or standing.odd)


def _clear(suspects: list[Suspect]) -> list[Suspect]:
    """Where some are named by where they stand, a step behind alone is not worth a name: a rank that waits may well be
    one step behind."""
    strong = [
        each for each in suspects if any(reason.id != "DX102" and SIGNALS[reason.id].enough for reason in each.reasons)
    ]
    return strong or suspects


def _prepares(suspect: Suspect) -> bool:
    """Whether it stands where ranks meet at their start: it came back, and may be waiting for whoever is to blame."""
    return any(map(prepares, suspect.stack))


def _was_seen(suspect: Suspect) -> bool:
    return any(reason.id in SEEN for reason in suspect.reasons)


def _score(reasons: Iterable[Reason]) -> float:
    """How likely it is the Pod's fault, the reasons taken as independent."""
    left = 1.0
    for reason in reasons:
        left *= 1.0 - reason.weight
    return round(1.0 - left, 2)


def moves(slots: Iterable[Seen]) -> bool:
    """Whether most of the Pods that were looked into twice stood elsewhere the second time, and more than one did.
    Those of which the kernel only tells that they compute, both times, tell nothing."""
    told = [stirred for seen in slots if (stirred := stirs(seen)) is not None]
    return told.count(True) > max(1, FEW * len(told))


def _stuck(whole: Whole) -> bool:
    """Whether no step was seen, all wait for one another or most for a disk, and none that was looked into twice has
    moved."""
    told = [stirs(seen) for seen in whole.slots.values() if seen.again]
    wait = whole.standings.all_wait or whole.counts["disk"] > FEW * whole.counts["looked"]
    return whole.progress.guessed and wait and len(told) >= LEAST_PEERS and not any(told)


def _doubt(whole: Whole, suspects: list[Suspect]) -> str:
    """Why nobody is named."""
    standings, slots = whole.standings, whole.slots
    if suspects:
        return f"{len(suspects):,} of {len(slots):,} Pods stand out: what they share is at fault, and not one of them"
    if not standings.of:
        return "no process could be looked into, and the logs end at the same step"
    if whole.behind > FEW or whole.odd > FEW:
        return "more than half of the Pods are not where the others wait: what they share is at fault"
    return _all_alike(standings) or "no Pod stands out"


def _all_alike(standings: Standings) -> str:
    if standings.all_wait:
        return "every Pod waits in a collective operation and none is missing: look at the network between them"
    largest = next(iter(standings.groups), None)
    if largest and largest.pods >= 0.75 * len(standings.of):
        return f"{largest.pods:,} of {len(standings.of):,} Pods stand at the same place: what they share is at fault"
    return ""


def common(whole: Whole, suspects: list[Slot]) -> list[Common]:
    """What at least nine of ten suspects share and at most one of ten others: their node, and labels of their nodes
    (rack, zone, NVLink domain). Nothing for a single suspect, whose node says it all."""
    if len(suspects) < 2:
        return []
    chosen = frozenset(suspects)
    mine, others = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for slot, seen in whole.slots.items():
        (mine if slot in chosen else others).update(_traits(seen, whole.observation))
    rest = max(1, len(whole.slots) - len(chosen))
    found = [
        Common(key=key, value=value, suspects=number, others=others[key, value])
        for (key, value), number in mine.items()
        if number >= SHARED * len(chosen) and others[key, value] <= ELSEWHERE * rest
    ]
    found.sort(key=lambda each: (each.others, -each.suspects, each.key != "node", each.key))
    return found[:MOST_COMMON]


def _traits(seen: Seen, observation: Observation) -> set[tuple[str, str]]:
    machine = (observation.machines or {}).get(seen.node)
    labels: Mapping[str, str] = machine.labels if machine else {}
    own = {("node", seen.node)} if seen.node else set()
    return own | {(key, value) for key, value in labels.items() if key not in ONE_OF_A_KIND}
