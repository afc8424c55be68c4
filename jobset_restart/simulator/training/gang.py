"""How far a training has come, and what each of its ranks does at a moment: ranks in lockstep, as a few stretches.

A step has two parts: every rank computes, then all meet in a collective, which ends when the last one has come. So
one rank that does not come keeps all others waiting, and what is true of every rank at any time follows from who
was there since when, and who was stopped.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Literal, NamedTuple

from jobset_restart.simulator.training.spec import Training

COMPUTES = 0.7
"""The part of a step that a rank computes before it comes to the collective, about."""
STARTING = 2.0
"""Seconds a rank takes from its start to the rendezvous."""

Place = tuple[int, int]
"""The index of a Job among all of the JobSet, and that of a Pod in it."""
What = Literal["starting", "meeting", "computing", "waiting", "stopped", "slow"]
Kind = Literal["hang", "storage", "exit", "collective", "slow"]


class Doing(NamedTuple):
    """What a rank does: since when, in which step, how far in its part (0 to 1), and how it was stopped."""

    what: What
    since: float
    step: int
    part: float = 0.0
    stop: Stop | None = None


class Stop(NamedTuple):
    """Why a rank does not come to the collective. ``variant`` (0 to 1) tells apart what it is seen to do; ``seconds``
    is what each step takes longer where it is only slow."""

    kind: Kind
    variant: float
    seconds: float = 0.0


class Stretch(NamedTuple):
    """Steps from ``first`` on, ``pace`` seconds each, the first begun at ``begins``; none is begun after ``ends``.

    ``slow`` names the ranks that take longer, each with its seconds more."""

    begins: float
    ends: float
    first: int
    pace: float
    slow: dict[str, float]

    def done(self, now: float) -> int:
        """How many of its steps are over at ``now``."""
        return max(0, int((min(now, self.ends) - self.begins) / self.pace + 1e-9))


@dataclass
class Member:
    """A rank's process: its Job's index and its own in it, when it started, and whether it still runs."""

    place: Place
    started: float
    ended: float = inf


@dataclass
class Gang:
    """The ranks of one training, by the name of their Pod. Times are seconds since the epoch."""

    training: Training
    members: dict[str, Member] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    stopped: dict[str, float] = field(default_factory=dict)
    """Since when ranks are stopped, or slow."""
    _present: int = 0
    _ranks: dict[Place, int] = field(default_factory=dict)

    # What happens

    def joins(self, name: str, place: Place, now: float) -> None:
        """A rank's process has started."""
        self.leaves(name, now)
        self.members[name] = Member(place, now)
        self._ranks.clear()
        self._present += 1
        self._begin(now + STARTING)

    def leaves(self, name: str, now: float) -> None:
        """A rank's process has ended, and with it what had stopped it: the step that was begun is never over."""
        member = self.members.get(name)
        if member is None or member.ended < inf:
            return
        member.ended = now
        self._present -= 1
        self.stops.pop(name, None)
        self.stopped.pop(name, None)
        self._cut(now)

    def stop(self, name: str, stop: Stop, now: float) -> None:
        """A rank is stopped, or slowed down, once the step that is begun is over."""
        boundary = self._boundary(now)
        self.stops[name], self.stopped[name] = stop, boundary
        self._cut(boundary)
        self._begin(boundary)

    def go_on(self, name: str, now: float) -> None:
        """What stopped a rank is over."""
        if self.stops.pop(name, None) is not None:
            self.stopped.pop(name, None)
            boundary = self._boundary(now)
            self._cut(boundary)
            self._begin(boundary)

    def _boundary(self, now: float) -> float:
        """When the step that is begun is over; ``now`` where none is."""
        last = self.stretches[-1] if self.stretches else None
        if last is None or now >= last.ends:
            return now
        return max(now, last.begins + (last.done(now) + 1) * last.pace) if now >= last.begins else last.begins

    def _cut(self, at: float) -> None:
        if self.stretches and self.stretches[-1].ends > at:
            last = self.stretches.pop()
            if at > last.begins:
                self.stretches.append(last._replace(ends=at))

    def _begin(self, at: float) -> None:
        """Steps begin, if everybody is there and nobody is stopped."""
        slow = {name: each.seconds for name, each in self.stops.items() if each.kind == "slow"}
        if self._present < self.training.ranks or len(slow) < len(self.stops):
            return
        self._cut(at)
        pace = self.training.step + max(slow.values(), default=0.0)
        self.stretches.append(Stretch(at, inf, self.steps(at), pace, slow))

    # What there is to see

    def rank(self, name: str) -> int:
        """Ranks are counted through all Jobs, as far as their Pods train."""
        if not self._ranks:
            places = sorted({each.place for each in self.members.values()})
            self._ranks.update((place, number) for number, place in enumerate(places))
        return self._ranks[self.members[name].place]

    def steps(self, now: float) -> int:
        """The step after the last that was ever over at ``now``."""
        stretch = self._at(now)
        return stretch.first + stretch.done(now) if stretch else 0

    def doing(self, name: str, now: float) -> Doing:
        """What a rank that runs does at ``now``."""
        member, stretch = self.members[name], self._at(now)
        stop, since = self.stops.get(name), self.stopped.get(name, inf)
        if now < member.started + STARTING:
            return Doing("starting", member.started, self.steps(now), (now - member.started) / STARTING)
        if stop is not None and stop.kind not in ("slow", "collective") and since <= now:
            return Doing("stopped", max(since, member.started + STARTING), self.steps(now), 1.0, stop)
        if stretch is None or member.started > stretch.begins:
            return Doing("meeting", member.started + STARTING, self.steps(now))
        done = stretch.done(now)
        begun, step = stretch.begins + done * stretch.pace, stretch.first + done
        slow = stop if stop is not None and name in stretch.slow and now < stretch.ends else None
        computes = self.computes(self.rank(name), step) + (slow.seconds if slow else 0.0)
        if now < begun + computes:
            return Doing("slow" if slow else "computing", begun, step, (now - begun) / computes, slow)
        return Doing("waiting", begun + computes, step)

    def _at(self, now: float) -> Stretch | None:
        """The last stretch that has begun."""
        return next((each for each in reversed(self.stretches) if each.begins <= now), None)

    def computes(self, rank: int, step: int) -> float:
        """Seconds a rank computes in a step."""
        drawn = _drawn(self.training.seed, rank, step % 64)
        return self.training.step * COMPUTES * max(0.05, 1 + self.training.jitter * (2 * drawn - 1))

    def stepping_seconds(self, name: str, now: float) -> tuple[float, float]:
        """Seconds since its start in which steps went on, and in which they did not."""
        member = self.members[name]
        end = min(now, member.ended)
        went = sum(max(0.0, min(each.ends, end) - max(each.begins, member.started)) for each in self.stretches)
        return went, max(0.0, end - member.started - went)


@lru_cache(maxsize=65536)
def _drawn(seed: int, rank: int, step: int) -> float:
    return random.Random(f"{seed} {rank} {step}").random()  # noqa: S311 - repeatable, not secret
