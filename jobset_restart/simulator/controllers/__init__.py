"""Controllers of the embedded cluster. Each reads and writes the store only, as the ones they stand for do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jobset_restart.simulator.store import Key, Obj, Store


class Controller(Protocol):
    """What the world needs of a controller."""

    def wakes(
        self, store: Store, resource: str, change: str, obj: Obj, old: Obj | None, /
    ) -> Iterable[tuple[Key, float]]:
        """Which keys a change concerns, each with the seconds until this controller gets to it."""
        ...

    def reconcile(self, store: Store, key: Key, now: float, /) -> float | None:
        """Bring the store closer to what the object of ``key`` asks for. Returns when to look again, or None."""
        ...
