"""Actions that may be sent at once, as data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, TypeVar, overload

from msgspec import Struct, structs

from jobset_restart.slots import Slot
from jobset_restart.writes import Action

StageName = Literal["cordon", "taint", "trigger", "delete", "release", "suspend", "resume", "evict", "readmit"]
A = TypeVar("A", bound=Action)
T = TypeVar("T")


class Drawn(Sequence[A]):
    """An action for each of the targets, made when it is looked at. A draft only counts them."""

    def __init__(self, targets: Iterable[T], make: Callable[[T], A]) -> None:
        self._targets: list[Any] = list(targets)
        self._make = make

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[A]:
        return map(self._make, self._targets)

    @overload
    def __getitem__(self, at: int) -> A: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[A]: ...
    def __getitem__(self, at: int | slice) -> A | Sequence[A]:
        return Drawn(self._targets[at], self._make) if isinstance(at, slice) else self._make(self._targets[at])


class Joined(Sequence[A]):
    """Actions of several makes, one after the other; still made when they are looked at."""

    def __init__(self, *parts: Sequence[A]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[A]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, at: int) -> A: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[A]: ...
    def __getitem__(self, at: int | slice) -> A | Sequence[A]:
        return list(self)[at]


class Stage(Struct, frozen=True, kw_only=True):
    """Actions that may be sent at once, and the slots they are for.

    `after` is what must have happened before: nothing, every Pod in scope has stopped, or every slot that was
    triggered is back; then the ReplicatedJobs named in `complete` have to be complete as well. `why` tells in words
    which part of the restart this is. `canary` marks slots that go ahead of others. `otherwise` are the actions to
    take instead where a container runtime turns out to refuse a tag beside a digest.

    With `places` at most so many slots, or units where the trigger restarts units, may be under way at once: then the
    actions are sent one after another in the order of `slots`. `keep_going`: one that fails does not stop the others.
    """

    name: StageName
    actions: Sequence[Action]
    slots: tuple[Slot, ...] = ()
    after: Literal["", "stopped", "ready"] = ""
    complete: tuple[str, ...] = ()
    why: str = ""
    canary: bool = False
    otherwise: Sequence[Action] = ()
    places: int = 0
    keep_going: bool = False


def filled(stages: Iterable[Stage]) -> list[Stage]:
    """Those with something to send."""
    return [stage for stage in stages if stage.actions]


def made(stages: Iterable[Stage]) -> list[Stage]:
    """The stages with all their actions made, which need nothing of what they were made from any more."""
    return [structs.replace(s, actions=list(s.actions), otherwise=list(s.otherwise)) for s in stages]
