"""What the next round of an operation is: from what came out and what is allowed to a request, or none. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

from jobset_restart.claim import MOST_ROUNDS
from jobset_restart.ladder import Footing, Left, above, request_for
from jobset_restart.machines import Machines
from jobset_restart.objects import seconds
from jobset_restart.places import ended
from jobset_restart.plan import Request, Selection
from jobset_restart.seen import SlotTrack
from jobset_restart.slots import Slot
from jobset_restart.vocabulary import Rung, TriggerName


class TurnsLeft(Struct, frozen=True, kw_only=True):
    """The slots whose turn never came, because others before them did not come back, and the trigger they were to be
    restarted `by`. `as_canaries`: those others were canaries, of which a container that was forced to end showed that
    it starts again."""

    slots: tuple[Slot, ...] = ()
    by: TriggerName | Literal[""] = ""
    as_canaries: bool = False


class Standing(Struct, frozen=True, kw_only=True):
    """What came out of a round that is over. `request` is what it was made for, and says what is allowed beyond it;
    `again` selects the same slots. `refused_throughout`: everything that was sent was refused, so that nothing was
    restarted and nothing is under way.

    `left` are the slots that do not come back, `waiting` those whose turn never came. `number` counts the rounds,
    `tried` is the highest rung that was looked at since this one began and not taken."""

    request: Request
    again: Selection
    refused_throughout: bool = False
    left: tuple[Left, ...] = ()
    footing: Footing = Footing(slots=(), triggers=())
    waiting: TurnsLeft = TurnsLeft()
    number: int = 1
    tried: Rung | Literal[""] = ""


class Passed(Struct, frozen=True, kw_only=True):
    """A rung that was allowed and not taken, and why."""

    rung: Rung
    reason: str


def as_left(track: SlotTrack, machines: Machines, *, seated: bool) -> Left:
    """A slot that does not come back, as the rungs see it."""
    living = [pod for pod in track.pods.values() if not ended(pod)]
    down = next((pod.spec.node_name for pod in living if pod.spec.node_name in machines.down), "")
    before = track.pods.get(track.before.uid) if track.before and track.in_place else None
    runs = before is not None and before.status.phase == "Running" and not before.metadata.deletion_timestamp
    named = max(living, key=lambda pod: seconds(pod.metadata.creation_timestamp), default=None)
    return Left(
        slot=track.slot,
        pod=named.metadata.name if named else "",
        down=down,
        runs=runs and track.state in ("waiting", "triggered", "stopping", "failed"),
        seated=seated,
    )


def next_request(came: Standing) -> Request | None:
    """What to plan next, from a fresh look; None where the operation is over with this round.

    Where a restart in place was refused throughout, recreating is next if that is allowed as a fallback. For slots that
    do not come back the next rung is, as far as is allowed; and when all are back, those whose turn had not come.
    """
    if came.number >= MOST_ROUNDS:
        return None
    if came.refused_throughout:
        if not came.request.fallback:
            return None
        more = {"strategy": "recreate", "via": "", "signal": "", "fallback": False}
        return structs.replace(came.request, selection=came.again, **more)
    if came.left:
        return next((request for _, request in _rungs(came) if request is not None), None)
    waiting = came.waiting
    if not waiting.slots or not waiting.by:
        return None
    ahead = {"canary": len(waiting.slots)} if waiting.as_canaries else {}
    selection = Selection(slots=frozenset(waiting.slots))
    return structs.replace(came.request, rung="", via=waiting.by, strategy="", selection=selection, **ahead)


def passed(came: Standing, request: Request | None) -> list[Passed]:
    """The rungs below this next request, None for the end, that have nothing to offer the slots that are left."""
    found = []
    for rung, asked in _rungs(came) if came.left and not came.refused_throughout else ():
        if request is not None and asked == request:
            break
        if asked is None:
            found.append(Passed(rung=rung, reason=_nothing(rung, came)))
    return found


def _rungs(came: Standing) -> list[tuple[Rung, Request | None]]:
    return [
        (rung, request_for(rung, came.request, came.left, came.footing))
        for rung in above(came.tried or came.request.rung, came.request.escalate)
    ]


def _nothing(rung: Rung, came: Standing) -> str:
    down = sorted({each.down for each in came.left} - {""} - set(came.request.node_down))
    if down and rung != "force":
        return f"the slots are on {', '.join(down)}, which is down and was not declared so with --node-down"
    return "none of the slots has a container that could still be made to end"


def why(request: Request) -> str:
    """What allows this next request, in words."""
    if request.rung:
        return f"looking again, for --escalate {request.escalate} allows {WORDS[request.rung]}"
    if request.escalate and request.via:
        return "looking again to restart those whose turn had not come"
    return f"looking again to {request.strategy}, as --fallback {request.strategy} allows"


WORDS: dict[str, str] = {
    "force": "to force their containers to end",
    "pod": "to make their Pods anew",
    "job": "to make what their Pods belong to anew",
    "workload": "to make all of it anew",
}
