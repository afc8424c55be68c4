"""Events of restarts that were never carried out, for what shows them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from jobset_restart.events import (
    Budget,
    Claimed,
    Event,
    Finished,
    NextRound,
    Noticed,
    Phase,
    Planned,
    PlannedSlot,
    Ready,
    Starting,
    Stopping,
    Triggered,
)

BEGAN = 1_795_536_000.0


def large(slots: int, *, seed: int = 1, rate: float = 40.0) -> list[Event]:
    """A restart of so many slots: `rate` are triggered per second, one of a hundred does not come back, and a second
    round recreates those."""
    names = [f"workers/{n // 500}/{n % 500}" for n in range(slots)]
    first = [PlannedSlot(slot=s, pod=_pod(s), node=_node(n), trigger="image") for n, s in enumerate(names)]
    left = names[50::100]
    second = [PlannedSlot(slot=s, pod=_pod(s), trigger="pods") for s in left]
    events = sorted(_lives(names, set(left), random.Random(seed), rate), key=lambda event: event.time)
    turn = events[-1].time + 60
    return [
        Planned(
            time=BEGAN,
            jobset="llama",
            namespace="training",
            strategy="in-place",
            trigger="image",
            predicted=13.0,
            slots=first,
            operation="op1",
            reason="the image has a digest",
        ),
        Claimed(time=BEGAN, operation="op1", owner="ann@laptop"),
        Phase(time=BEGAN, phase="triggering"),
        *events,
        NextRound(
            time=turn,
            round=2,
            strategy="recreate",
            trigger="pods",
            because=f"{len(left)} slots did not come back",
            predicted=30.0,
            slots=second,
            operation="op1",
        ),
        Phase(time=turn, phase="deleting"),
        *_lives_again(left, turn),
        Noticed(time=turn + 20, message="warning: JSR201 a budget is nearly spent"),
        Finished(
            time=turn + 40,
            operation="op1",
            exit_code=0,
            reason="every slot is back",
            seconds=turn + 40 - BEGAN,
            writes=slots + len(left),
            budgets=[Budget(name="Job backoffLimit llama-workers-0", limit=20, before=1, after=6)],
        ),
    ]


def _lives(names: list[str], left: set[str], chance: random.Random, rate: float) -> Iterator[Event]:
    for number, slot in enumerate(names):
        pod, node = _pod(slot), _node(number)
        at = BEGAN + number / rate
        yield Triggered(time=at, slot=slot, pod=pod, node=node)
        at += chance.uniform(0.2, 3.0)
        yield Stopping(time=at, slot=slot, pod=pod, node=node, reason="Error (exit 143)")
        at += chance.uniform(0.2, 3.0)
        stuck = slot in left
        reason = "ImagePullBackOff" if stuck else "ContainerCreating"
        yield Starting(time=at, slot=slot, pod=pod, node=node, reason=reason)
        if not stuck:
            at += chance.expovariate(0.2)
            yield Ready(time=at, slot=slot, pod=pod, node=node, seconds=1.0)


def _lives_again(names: list[str], at: float) -> Iterator[Event]:
    for kind, later in ((Triggered, 1.0), (Stopping, 6.0), (Starting, 12.0), (Ready, 39.0)):
        for slot in names:
            yield kind(time=at + later, slot=slot, pod=f"{_pod(slot)}-new", node="node-spare")


def _pod(slot: str) -> str:
    return f"llama-{slot.replace('/', '-')}-x7k2p"


def _node(number: int) -> str:
    return f"gpu-node-{number // 8}"
