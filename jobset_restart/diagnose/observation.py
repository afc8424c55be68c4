"""What was seen of a workload, and whether it advances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, field

from jobset_restart.diagnose.logs import MOST_CLOCK, Tail, clock_differences, clocks_by_steps
from jobset_restart.diagnose.processes import Look
from jobset_restart.slots import Slot

DECIDED = 3.0
"""What was silent for so many of its longest distances may have stopped: it is looked at again."""
WATCHED = 1.5
"""The same for what was watched for so many of them and did not speak."""
AT_ONCE = 10.0
"""Seconds between two last lines that mean nothing."""
OBSERVED = 2.0
"""For so many of them a silence has to be watched where the clock that dated it is not known."""
MOMENT = 2.0
MEASURED = 1.5
"""Seconds of a difference of clocks that mean nothing: the time is told in whole seconds, and takes a while."""
MOST = 0.5

Advance = Literal["advances", "slower", "partly", "stands", "unknown"]


class Seen(Struct, kw_only=True):
    """One slot. `before` and `tail` are the two looks at its log, at `before_at` and `tail_at` (seconds since the epoch
    by the API server's clock); `look` is what its container showed at `look_at`, `again` the second look there,
    `look_error` why there is none, `unreachable` that nothing answered in time. `state` is "" for a container that
    runs, else what is the matter. `started` (seconds since the
    epoch, by the node's clock) and `restarts` are of the container."""

    slot: Slot
    pod: str = ""
    uid: str = ""
    node: str = ""
    container: str = ""
    state: str = ""
    ready: bool = True
    started: float | None = None
    restarts: int = 0
    before: Tail | None = None
    before_at: float = 0.0
    tail: Tail | None = None
    tail_at: float = 0.0
    look: Look | None = None
    look_at: float = 0.0
    again: Look | None = None
    look_error: str = ""
    unreachable: bool = False


class Machine(Struct, kw_only=True):
    """A Node: why it is not ready ("" where it is), what else it says is wrong, its taints and its labels.
    `lease_age` is how many seconds ago its kubelet renewed its Lease, None where that is not known."""

    name: str
    not_ready: str = ""
    problems: list[str] = []
    taints: list[str] = []
    labels: dict[str, str] = {}
    lease_age: float | None = None


class Observation(Struct, kw_only=True):
    """Everything that was seen. `machines` is None where Nodes may not be read; `events` has Warning Events of the last
    hour by ("Pod" or "Node", name); `earlier` how many restarts before were for a slot and few others; `notes` what
    could not be seen, for the person."""

    slots: dict[Slot, Seen] = field(default_factory=dict)
    machines: dict[str, Machine] | None = None
    events: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    earlier: dict[Slot, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Progress(Struct, kw_only=True):
    """Whether the workload advances. `silent` has the seconds since each slot last told of an advance, clock
    differences taken off; `since` is when the last of them did (API server's clock), `step` the newest step. `stopped`
    are the slots that tell of none while others do; `rhythm` is the longest usual distance; `wait` is how many seconds
    to look on before it is decided. `guessed` tells that no steps were seen, so that a silence may be nothing. `old`
    tells that whatever speaks for the workload has been silent for longer than it usually is, were its clock right."""

    advance: Advance
    silent: dict[Slot, float] = field(default_factory=dict)
    since: float | None = None
    step: int | None = None
    stopped: list[Slot] = field(default_factory=list)
    rhythm: float = 0.0
    wait: float = 0.0
    guessed: bool = False
    old: bool = False


def progress(observation: Observation, silent_after: float | None = None) -> Progress:
    """Whether it advances, judged by its logs. What prints steps speaks for the workload; where nothing does, all logs
    together do. `silent_after` (seconds) is how long a silence means nothing, instead of what a container's own rhythm
    tells."""
    logs = {slot: seen for slot, seen in observation.slots.items() if seen.tail and seen.tail.newest is not None}
    if not logs:
        return Progress(advance="unknown", guessed=True)
    ahead, sure = clocks(observation), measured_clocks(observation)
    speaks = {
        slot: Voice(seen, ahead.get(seen.node, 0.0), seen.node in sure, silent_after) for slot, seen in logs.items()
    }
    steppers = [slot for slot, voice in speaks.items() if voice.tail.steps]
    speakers = steppers or _largest(observation, speaks)
    states = {slot: speaks[slot].state for slot in speakers}
    stopped = [slot for slot, state in states.items() if state == "silent"]
    result = Progress(
        advance="advances",
        guessed=not steppers,
        silent={slot: voice.silent for slot, voice in speaks.items()},
        since=max(speaks[slot].last for slot in speakers),
        step=max((v.tail.step for v in speaks.values() if v.tail.step is not None), default=None),
        rhythm=max(speaks[slot].tail.rhythm for slot in speakers),
        old=all(speaks[slot].age <= 0 for slot in speakers),
        wait=max((speaks[slot].left for slot, state in states.items() if state == "undecided"), default=0.0),
    )
    if stopped and not _go_on(stopped, states, result.silent):
        result.advance, result.wait = "stands", 0.0
    elif steppers and stopped:
        result.advance, result.stopped = "partly", stopped
    elif not steppers and "advanced" in states.values():
        result.wait = 0.0
    elif steppers and sum(1 for s in steppers if speaks[s].slowed) > MOST * len(steppers):
        result.advance = "slower"
    return result


def _go_on(stopped: list[Slot], states: Mapping[Slot, str], silent: Mapping[Slot, float]) -> bool:
    """Whether somebody told of an advance when those that stopped did no more. What has been silent for as long as
    they have stands as well: its own rhythm only allows for more."""
    least = min(silent[slot] for slot in stopped) - AT_ONCE
    return any(state == "advanced" or silent[slot] < least for slot, state in states.items() if state != "silent")


def _largest(observation: Observation, speaks: Mapping[Slot, Voice]) -> list[Slot]:
    """Where nobody prints steps: those that print anything, of the largest group that does. A driver's words say
    nothing about the workers."""
    sizes = Counter(slot.group for slot in observation.slots)
    groups = {slot.group for slot in speaks}
    largest = max(groups, key=lambda group: (sizes[group], group))
    return [slot for slot in speaks if slot.group == largest]


class Voice:
    """What one log says about whether its container advances. `ahead` is by how many seconds its node's clock is,
    `sure` tells that this was measured."""

    def __init__(self, seen: Seen, ahead: float, sure: bool, silent_after: float | None) -> None:
        assert seen.tail
        self.tail: Tail = seen.tail
        self._before, self._watched = seen.before, seen.tail_at - seen.before_at
        self.last = self.tail.last - ahead
        self.silent = max(0.0, seen.tail_at - self.last)
        self._allowed = self.tail.allowed_silence if silent_after is None else silent_after
        self._sure = sure

    @property
    def state(self) -> str:
        """advanced, calm (within its rhythm), undecided, or silent."""
        before, tail = self._before, self.tail
        if before and before is not tail:
            said = (before.mark, before.mark_at) if tail.steps else (before.newest, before.text)
            if said != ((tail.mark, tail.mark_at) if tail.steps else (tail.newest, tail.text)):
                return "advanced"
        if self.left <= 0:
            return "silent"
        overdue = (
            self.silent > DECIDED * tail.rhythm + MOMENT
            or min(self._watched, self.silent) > WATCHED * tail.rhythm + MOMENT / 2
        )
        return "undecided" if tail.rhythm and overdue else "calm"

    @property
    def slowed(self) -> bool:
        """Whether it advances far more slowly than before."""
        return self.tail.slowed(0.0 if self.state == "advanced" else self.silent)

    @property
    def age(self) -> float:
        """The same where its clock is right."""
        return self._allowed - self.silent

    @property
    def left(self) -> float:
        """Seconds after which it counts as silent if nothing comes."""
        if self._sure or self.silent > self._allowed + MOST_CLOCK:
            return self.age
        return max(self.age, OBSERVED * self.tail.rhythm + MOMENT - self._watched)


def clocks(observation: Observation) -> dict[str, float]:
    """By node, how many seconds its clock is ahead of the API server's: as measured in the containers, else by the
    steps they print, relative to one another, or by lines of the future."""
    seen = list(observation.slots.values())
    by_steps = clocks_by_steps((each.node, each.tail) for each in seen if each.tail)
    newest = [(each.node, each.tail.newest - each.tail_at) for each in seen if each.tail and each.tail.newest]
    future = {
        node: most for node, most in _most(newest).items() if most > 0
    }  # a line of the future: it is that, at least
    found = {**future, **by_steps, **measured_clocks(observation)}
    return {node: value if abs(value) > MEASURED else 0.0 for node, value in found.items()}


def measured_clocks(observation: Observation) -> dict[str, float]:
    """The same, for the nodes where a container was asked for the time, which it tells in whole seconds."""
    looks = ((seen, seen.look) for seen in observation.slots.values())
    return clock_differences(
        (seen.node, look.clock + 0.5 - seen.look_at) for seen, look in looks if look and look.clock
    )


def _most(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values:
        found[name] = max(value, found.get(name, value))
    return found


__all__ = ["Machine", "Observation", "Progress", "Seen", "clocks", "progress"]
