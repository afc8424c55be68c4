"""The document of `jsr diagnose`, and how a diagnosis becomes one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import field

from jobset_restart.diagnose.judge import Common, Diagnosis, Suspect
from jobset_restart.diagnose.observation import Observation, Progress
from jobset_restart.events import APIVERSION
from jobset_restart.findings.words import count
from jobset_restart.report import AboutWorkload, Report
from jobset_restart.slots import Slot

MOST_SUSPECTS = 64
MOST_GROUPS = 20
CLOCK_SECONDS = 2.0
"""Clocks that differ by less are not told: they are measured to the second."""
MOST_COMMANDS = 3
"""So many suspects get the commands that act on them: a few are enough to copy, and each costs a plan."""
EXIT_CODES = {"Healthy": 0, "Suspects": 7, "NoSuspects": 8}


class SignalReport(Report, kw_only=True):
    """A reason to suspect a Pod: the signal's id (`jsr explain ID`), its weight (0 to 1), and what was seen."""

    id: str
    weight: float
    text: str


class SuspectReport(Report, kw_only=True):
    """`score` (0 to 1) is what its signals give together. `stack` is where its process stands, the innermost frame
    first, `uid` that of the Pod. `commands` act on it; the first is what the plan would do."""

    slot: str
    pod: str = ""
    uid: str = ""
    node: str = ""
    container: str = ""
    score: float
    signals: list[SignalReport] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    threads: dict[str, list[str]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)


class CommonReport(Report, kw_only=True):
    """What nearly all suspects share and few others have: "node", or a label of their nodes; with how many Pods."""

    key: str
    value: str
    suspects: int
    others: int


class GroupReport(Report, kw_only=True):
    """Pods whose processes stand at the same place; `waiting` tells that it is a collective operation."""

    stack: list[str]
    waiting: bool
    pods: int
    examples: list[str] = field(default_factory=list)


class DiagnosisReport(AboutWorkload, kw_only=True):
    """`uid` is the workload's, `time` when it was seen. `verdict` is Healthy, Suspects or NoSuspects. `logs_read` and
    `looked` are how many Pods' logs could be read and how many containers be looked into. `standing_since` is when the
    last line was written, `silent_seconds` how long ago that was, `step` the newest step in a log. `complete` is false
    where the look was cut short. `suspects` has the 64 first of `suspected`."""

    api_version: str = APIVERSION
    kind: str = "Diagnosis"
    name: str
    namespace: str
    context: str = ""
    uid: str = ""
    time: str = ""
    verdict: str
    exit_code: int
    reason: str
    complete: bool = True
    standing_since: str = ""
    silent_seconds: float | None = None
    step: int | None = None
    pods: int = 0
    logs_read: int = 0
    looked: int = 0
    suspected: int = 0
    seconds: float = 0.0
    suspects: list[SuspectReport] = field(default_factory=list)
    common: list[CommonReport] = field(default_factory=list)
    groups: list[GroupReport] = field(default_factory=list)
    clocks: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def diagnosis_report(
    found: Diagnosis,
    observation: Observation,
    *,
    name: str,
    namespace: str,
    context: str,
    now: float,
    seconds: float,
    clocks: dict[str, float],
    commands: Callable[[Slot], list[str]],
    cut_short: str = "",
) -> DiagnosisReport:
    """The document. `now` is the API server's time, `seconds` how long the look took, `commands` gives what acts on a
    slot, `cut_short` says why the look was not completed."""
    going, slots = found.progress, observation.slots
    silent = now - going.since if going.since is not None else None
    return DiagnosisReport(
        name=name,
        namespace=namespace,
        context=context,
        verdict=found.verdict,
        exit_code=EXIT_CODES[found.verdict],
        reason=reason(found, observation, silent),
        complete=not cut_short,
        time=_rfc3339(now),
        standing_since=_rfc3339(going.since) if going.since is not None and found.verdict != "Healthy" else "",
        silent_seconds=round(silent, 1) if silent is not None else None,
        step=going.step,
        pods=len(slots),
        logs_read=sum(1 for seen in slots.values() if seen.tail and seen.tail.newest is not None),
        looked=sum(1 for seen in slots.values() if seen.look),
        suspected=len(found.suspects),
        seconds=round(seconds, 1),
        suspects=[
            _suspect(each, observation, commands if number < MOST_COMMANDS else _none)
            for number, each in enumerate(found.suspects[:MOST_SUSPECTS])
        ],
        common=[CommonReport(key=c.key, value=c.value, suspects=c.suspects, others=c.others) for c in found.common],
        groups=[
            GroupReport(
                stack=list(group.stack),
                waiting=group.waiting,
                pods=group.pods,
                examples=[slots[slot].pod for slot in group.examples],
            )
            for group in found.groups[:MOST_GROUPS]
        ],
        clocks={node: round(ahead, 1) for node, ahead in sorted(clocks.items()) if abs(ahead) >= CLOCK_SECONDS},
        notes=[
            *([f"the look was cut short: {cut_short}"] if cut_short else []),
            *observation.notes,
            *_unseen(observation),
        ],
    )


def _none(_: Slot) -> list[str]:
    return []


def _suspect(suspect: Suspect, observation: Observation, commands: Callable[[Slot], list[str]]) -> SuspectReport:
    seen = observation.slots[suspect.slot]
    latest = seen.again or seen.look
    process = next((p for p in latest.processes if p.stack == suspect.stack), None) if latest else None
    threads = process.threads[1:] if process else []
    return SuspectReport(
        slot=str(suspect.slot),
        pod=seen.pod,
        uid=seen.uid,
        node=seen.node,
        container=seen.container,
        score=suspect.score,
        signals=[SignalReport(id=r.id, weight=r.weight, text=r.text) for r in suspect.reasons],
        stack=list(suspect.stack),
        threads={thread.name: list(thread.stack) for thread in threads[:8]},
        commands=commands(suspect.slot),
    )


def reason(found: Diagnosis, observation: Observation, silent: float | None) -> str:
    """The verdict in a sentence."""
    going, pods = found.progress, count(len(observation.slots), "Pod")
    if found.verdict == "Healthy":
        return _well(found, silent)
    head = _standing(going, silent)
    if not found.suspects:
        return f"{head}, no suspects: {found.doubt}"
    many = len(found.suspects)
    return f"{head}: {many:,} of {pods} {'is' if many == 1 else 'are'} suspected{_shared(found.common)}"


def _well(found: Diagnosis, silent: float | None) -> str:
    going = found.progress
    step = f", step {going.step:,}" if going.step is not None else ""
    if going.advance == "unknown":
        return "healthy: there is no log to read, but its processes stood elsewhere at a second look"
    if going.advance == "slower":
        return f"healthy: it advances{step}, more slowly than before, and no Pod stands out"
    if silent is not None and silent > 2 * max(5.0, going.rhythm):
        rhythm = f", and a line every {going.rhythm:.0f} s is usual" if going.rhythm >= 1 else ""
        return f"healthy: nothing says that it stands still{step}: the newest line is {silent:.0f} s old{rhythm}"
    return f"healthy: it advances{step}"


def _standing(going: Progress, silent: float | None) -> str:
    at = f" at step {going.step:,}" if going.step is not None else ""
    if going.advance == "unknown":
        return "there is no log to tell since when, and nothing moves"
    if going.advance == "slower":
        return f"it advances more slowly than before{at}"
    if going.advance == "advances":
        return "its logs go on but tell of no step, and its processes do not move"
    if going.advance == "partly":
        return f"a part of it stands still{at}"
    return f"standing still for {silent or 0.0:.0f} s{at}"


def _shared(common: list[Common]) -> str:
    if not common:
        return ""
    first = common[0]
    where = f"node {first.value}" if first.key == "node" else f"{first.key}={first.value}"
    return f", all on {where}" if not first.others else f", nearly all on {where}"


def _unseen(observation: Observation) -> list[str]:
    """What could not be looked at, by its reason."""
    notes = []
    without = [seen for seen in observation.slots.values() if seen.look and not seen.look.py_spy]
    if without:
        some = "its stack is not known" if len(without) == 1 else "their stacks are not known"
        notes.append(f"{count(len(without), 'Pod')} without py-spy: {some}, only where the kernel has them")
    refused = [p.error for s in observation.slots.values() if s.look for p in s.look.processes if p.error]
    if refused:
        notes.append(
            f"py-spy could not read {count(len(refused), 'process')}: {refused[0]}".replace("processs", "processes")
        )
    errors: dict[str, int] = {}
    for seen in observation.slots.values():
        if seen.look_error and seen.look_error != "no permission":
            words = seen.look_error.replace(seen.pod, "...") if seen.pod else seen.look_error
            errors[words] = errors.get(words, 0) + 1
    for words, many in sorted(errors.items(), key=lambda each: -each[1])[:3]:
        notes.append(f"{count(many, 'Pod')} not looked into: {words}")
    silent = [seen.tail.error for seen in observation.slots.values() if seen.tail and seen.tail.error]
    if silent:
        notes.append(f"{count(len(silent), 'Pod')} without a log: {silent[0]}")
    return notes


def _rfc3339(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""
