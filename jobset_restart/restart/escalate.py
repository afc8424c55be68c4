"""What the next round of an operation is: from what came out and what is allowed to a request, or none. Pure."""

from __future__ import annotations

from msgspec import Struct, structs

from jobset_restart.plan import Request, Selection


class Standing(Struct, frozen=True, kw_only=True):
    """What came out of a round that is over. `request` is what it was made for, and says what is allowed beyond it;
    `again` selects the same slots. `refused_throughout`: everything that was sent was refused, so that nothing was
    restarted and nothing is under way."""

    request: Request
    again: Selection
    refused_throughout: bool = False


def next_request(came: Standing) -> Request | None:
    """What to plan next, from a fresh look; None where the operation is over with this round.

    Where a restart in place was refused throughout, recreating is next if that is allowed as a fallback.
    """
    if came.request.fallback and came.refused_throughout:
        return structs.replace(
            came.request, strategy="recreate", via="", signal="", fallback=False, selection=came.again
        )
    return None


def why(request: Request) -> str:
    """What allows this next request, in words."""
    return f"looking again to {request.strategy}, as --fallback {request.strategy} allows"
