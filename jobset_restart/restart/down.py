"""For how long each slot was down because of an operation: from what was sent for it until it was back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobset_restart.cost import Cost
from jobset_restart.restart.result import Came
from jobset_restart.slots import Slot


def resource_seconds(rounds: Sequence[Came], down: Mapping[Slot, float]) -> dict[str, float]:
    """The seconds for which slots were `down`, times what each asks for of every extended resource."""
    asks: dict[Slot, Mapping[str, float]] = {}
    for each in rounds:
        asks.update((slot.slot, slot.requests) for slot in each.outline.slots if slot.slot in down)
    total: dict[str, float] = {}
    for slot, seconds in down.items():
        for name, number in asks.get(slot, {}).items():
            total[name] = total.get(name, 0.0) + number * seconds
    return {name: round(number, 3) for name, number in sorted(total.items())}


def seconds_down(rounds: Iterable[Came], now: float) -> Mapping[Slot, float]:
    """Seconds by slot, as of `now` (seconds since the epoch). One that a round leaves behind is down until a later one
    brings it back, or still; one that is back and restarted again is down a second time."""
    total: dict[Slot, float] = {}
    since: dict[Slot, float] = {}
    back: dict[Slot, float] = {}
    for each in rounds:
        for slot, track in each.tracks.items():
            if track.sent_at is None or track.sent_at < back.get(slot, 0.0):  # a round may still watch what is back
                continue
            began = since.pop(slot, track.sent_at)
            if track.state == "ready" and track.seconds is not None:
                back[slot] = track.sent_at + track.seconds
                total[slot] = total.get(slot, 0.0) + max(0.0, back[slot] - began)
            else:
                since[slot] = began
    for slot, began in since.items():
        total[slot] = total.get(slot, 0.0) + max(0.0, now - began)
    return total


def cost_of_downtime(rounds: Sequence[Came], now: float) -> Cost:
    """What it cost that slots were down, as of `now`."""
    down = seconds_down(rounds, now)
    return Cost(pod_seconds=round(sum(down.values()), 3), resource_seconds=resource_seconds(rounds, down))
