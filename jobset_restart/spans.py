"""Seconds as a range, and what is foreseen of a restart. Pure."""

from __future__ import annotations

from msgspec import Struct


class Span(Struct, frozen=True):
    """Seconds: `likely` is what to reckon with, and it should not be less than `low` or more than `high`."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, number: float) -> Span:
        """So much, so many times over."""
        return Span(self.low * number, self.likely * number, self.high * number)


def exactly(seconds: float) -> Span:
    """No more and no less."""
    return Span(seconds, seconds, seconds)


class Part(Struct, frozen=True):
    """One thing that takes time: `turn` each time that is waited for slots, `once` in the whole restart, `slot` for
    each slot besides. `ground` says in words what that rests on, "" where that needs no word."""

    turn: Span = Span()
    once: Span = Span()
    slot: Span = Span()
    ground: str = ""


class Prediction(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many seconds a restart should take: between `low` and `high`, most `likely` so many. `grounds` say what that
    rests on, a clause each."""

    low: float
    likely: float
    high: float
    grounds: tuple[str, ...] = ()

    def holds(self, seconds: float) -> bool:
        """Whether it turned out so."""
        return self.low <= seconds <= self.high


NOTHING = Prediction(low=0.0, likely=0.0, high=0.0)


def rounded(prediction: Prediction) -> Prediction:
    """As it is shown: in tenths of seconds."""
    return Prediction(
        low=round(prediction.low, 1),
        likely=round(prediction.likely, 1),
        high=round(prediction.high, 1),
        grounds=prediction.grounds,
    )


def one_after_another(predictions: list[Prediction]) -> Prediction:
    """What is foreseen of all of them together, each when the one before is over."""
    return Prediction(
        low=sum(each.low for each in predictions),
        likely=sum(each.likely for each in predictions),
        high=sum(each.high for each in predictions),
        grounds=tuple(dict.fromkeys(ground for each in predictions for ground in each.grounds)),
    )


class LastTime(Struct, frozen=True, kw_only=True):
    """A restart that brought every slot back: by which trigger, of how many slots, in how many seconds."""

    operation: str
    trigger: str
    slots: int
    seconds: float


ANSWERS_IN = 0.02
"""Seconds in which an API server that is not overloaded answers a small request, well within a region."""


class Measured(Struct, frozen=True, kw_only=True):
    """What was measured before a plan is made, which no object tells: `answers_in` is how many seconds the API server
    takes for a small request, as seen from here, None where none was timed; `last` the workload's last restart."""

    answers_in: float | None = None
    last: LastTime | None = None

    @property
    def slowness(self) -> float:
        """How many times as long as it should the API server takes for an answer; 1 where it is in time."""
        return 1.0 if self.answers_in is None else max(1.0, self.answers_in / ANSWERS_IN)
