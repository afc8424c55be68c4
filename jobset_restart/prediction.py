"""How long a restart should take, as a range and with its grounds. Pure.

What the parts of a restart take is summed up, as often as it is waited for slots. Where the last restart by the same
trigger brought every slot back, this one is expected to lie where that one lay between the two ends.
"""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.durations import remade, slots, slowness
from jobset_restart.spans import LastTime, Part, Prediction, Span, exactly
from jobset_restart.triggers.steps import canaries, waves
from jobset_restart.waits import PROVING_SECONDS, longest_back_off, longest_grace, min_ready_seconds

VARIES_BY = 1.6
"""Two restarts of one workload by one trigger differ by no more than that, mostly."""
VARIES_SECONDS = 2.0
START_SECONDS = 120.0
PULL_SECONDS = 180.0
"""What a slot is given to become Ready once its containers may start, and more where images may have to be pulled:
generous, for what is over that is escalated, where that is allowed."""


def predicted(case: Case) -> Prediction:
    """The prediction for a case."""
    times = waves(case)
    parts = parts_of(case)
    foreseen = total(parts, times, slots(case))
    grounds = [part.ground for part in parts if part.ground]
    if (last := case.evidence.measured.last) and last.trigger == case.trigger.name and last.slots:
        most = longest_grace(case) * times
        foreseen = _as_last_time(foreseen, total(parts, times, last.slots), last, most)
        grounds.insert(0, f"the last restart by {last.trigger} took {last.seconds:.1f} s for {last.slots:,} slots")
    if times > 1:
        grounds.append(f"it is waited for slots {times:,} times")
    if slowness(case) > 1:
        answers = case.evidence.measured.answers_in or 0.0
        grounds.append(f"the API server answers a small request in {answers * 1000:.0f} ms")
    return Prediction(low=foreseen.low, likely=foreseen.likely, high=foreseen.high, grounds=tuple(grounds))


def parts_of(case: Case) -> list[Part]:
    """What the restart consists of, the time included for which slots have to stay Ready."""
    stays = exactly(min_ready_seconds(case))
    ahead = len(canaries(case)) if case.trigger.order == "steps" else 0
    proves = exactly(PROVING_SECONDS * (ahead if case.canary is None else min(1, ahead)))
    beside = [remade(case)] if case.trigger.in_place and case.deleted else []
    return [*case.trigger.takes(case, longest_back_off(case)), *beside, Part(turn=stays, once=proves)]


def total(parts: list[Part], times: int, number: int) -> Span:
    """Seconds for `number` slots, in so many turns."""
    found = Span()
    for part in parts:
        found = found + part.once + part.turn.times(times) + part.slot.times(number)
    return found


def _as_last_time(now: Span, then: Span, last: LastTime, grace: float) -> Span:
    """The range for now, `then` being what would have been said of the last time. A container that did end on TERM may
    not do so today: its grace period remains possible."""
    if last.seconds <= then.low:
        likely = now.low * last.seconds / then.low if then.low else now.low
    elif last.seconds >= then.high:
        likely = now.high * last.seconds / then.high
    else:
        likely = now.low + (now.high - now.low) * (last.seconds - then.low) / (then.high - then.low)
    spread = likely * VARIES_BY + VARIES_SECONDS
    least = max(0.0, min(likely / VARIES_BY, likely - VARIES_SECONDS))
    return Span(min(least, likely), likely, max(spread, min(now.high, spread + grace)))


def patience(case: Case) -> float:
    """Seconds from its trigger within which a slot should be back, whatever the others do: its part of what is foreseen
    at most, and a generous time to start, and to pull images where that may be needed."""
    pulls = bool(case.deleted) or any(c.image_pull_policy == "Always" for _, _, c in case.targets())
    return total(parts_of(case), 1, 1).high + START_SECONDS + (PULL_SECONDS if pulls else 0.0)
