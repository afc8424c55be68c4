"""What earlier operations tell of a slot: it is in their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from jobset_restart.slots import Folded, Slot

FEW = 0.25
"""An operation on more of the slots tells nothing of one of them."""


def restarted_before(scopes: Iterable[Sequence[str]], slots: Collection[Slot]) -> dict[Slot, int]:
    """By slot, in how many earlier operations it was among the few that were restarted. `scopes` are the slots of each
    operation as `slots.folded` writes them, empty for all; what cannot be read is left out."""
    found = Counter[Slot]()
    for scope in scopes:
        try:
            among = Folded(scope)
        except ValueError:
            continue
        meant = [slot for slot in slots if slot in among]
        if len(meant) <= max(1.0, FEW * len(slots)):
            found.update(meant)
    return dict(found)
