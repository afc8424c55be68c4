"""What a recording shows: for every object what it went through and how it ended, and which Events told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tests.agreement.normal import KINDS, Facets, anonymous, facets, name_of, sequences, shape
from tests.agreement.recording import Line, Recording


@dataclass(frozen=True)
class Life:
    """One object. `number` tells the objects apart that had its name one after the other; `states` has no two equal
    neighbours, `times` when each was heard of."""

    kind: str
    name: str
    number: int
    times: list[float]
    states: list[Facets]

    @property
    def key(self) -> str:
        return f"{self.kind} {self.name}#{self.number}"

    @property
    def group(self) -> str:
        """Those it is like: the Pods of a ReplicatedJob."""
        return f"{self.kind} {self.name.split('/')[0]}#{self.number}" if self.kind != "Node" else "Node"


def lives(lines: Iterable[Line]) -> list[Life]:
    """The objects of the KINDS, in the order they appeared."""
    found: dict[str, Life] = {}
    before: dict[tuple[str, str], int] = {}
    for line in lines:
        if line.resource not in KINDS:
            continue
        uid, name = line.object["metadata"]["uid"], name_of(line.resource, line.object)
        if uid not in found:
            number = before[line.resource, name] = before.get((line.resource, name), 0) + 1
            found[uid] = Life(KINDS[line.resource], name, number, [], [])
        state = facets(line.resource, line.object) | ({"exists": "gone"} if line.event == "DELETED" else {})
        if not found[uid].states or found[uid].states[-1] != state:
            found[uid].times.append(line.time)
            found[uid].states.append(state)
    return [*found.values()]


def transitions(life: Life) -> set[str]:
    """Every change of one facet, and every state as a whole, in words that are the same for all objects of a kind."""
    changes = {
        f"{life.kind} {anonymous(facet)}: {before} -> {after}"
        for facet, values in sequences(life.states).items()
        for before, after in pairwise(values)
    }
    return changes | {f"{life.kind} state: {shape(state)}" for state in life.states}


def events(lines: Iterable[Line]) -> set[str]:
    """The kinds of Events there were. Reporters are named as `kubectl describe` names them."""
    found = set()
    for line in lines:
        if line.resource == "events":
            event = line.object
            about = event.get("involvedObject", {})
            reporter = event.get("source", {}).get("component") or event.get("reportingComponent", "")
            found.add(f"Events: {event['type']} {event['reason']} of a {about.get('kind')} from {reporter}")
    return found


def finals(recording: Recording) -> dict[tuple[str, str], str]:
    """How every object but the Nodes ended, by (object, facet); and how many there were of each name."""
    found: dict[tuple[str, str], str] = {}
    for life in lives(recording.lines):
        if life.kind != "Node":
            ended = life.states[-1]
            last = {"exists": "gone"} if ended.get("exists") == "gone" else {"exists": "yes", **ended}
            found |= {(life.key, facet): str(value) for facet, value in last.items()}
            found[f"{life.kind} {life.name}", "objects one after the other"] = str(life.number)
    return found
