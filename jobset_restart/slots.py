"""Slots, and sets of indexes that stay ranges. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable

from msgspec import Struct

from jobset_restart.objects import number


class Slot(Struct, frozen=True, order=True):
    """The place a Pod fills: a group and indexes in it. Prints as "workers/0/3", which in a JobSet are ReplicatedJob,
    job index and completion index."""

    group: str
    indexes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "/".join((self.group, *map(str, self.indexes)))

    @property
    def unit(self) -> Unit:
        """What the Pods of the slot and of those beside it belong to: in a JobSet the Job."""
        return self.group, self.indexes[:-1]


Unit = tuple[str, tuple[int, ...]]
"""A group and all indexes but the last: where a Job of a JobSet stands."""


def unit_text(unit: Unit) -> str:
    """ "workers/0": how the unit prints."""
    return "/".join((unit[0], *map(str, unit[1])))


def key_text(key: Slot | Unit) -> str:
    """The name of a slot or of a unit: how actions name their target."""
    return str(key) if isinstance(key, Slot) else unit_text(key)


def folded(slots: Iterable[Slot]) -> tuple[str, ...]:
    """The slots in few words: "workers/0-1/0-4999,5002", indexes in ranges."""
    in_order = sorted(slots)
    written = [slot.group for slot in in_order if not slot.indexes]
    last: dict[Unit, list[int]] = defaultdict(list)
    for slot in in_order:
        if slot.indexes:
            last[slot.unit].append(slot.indexes[-1])
    units: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for (group, before), indexes in last.items():
        if before:
            units[(group, *map(str, before[:-1]), _ranges(indexes))].append(before[-1])
        else:
            written.append(f"{group}/{_ranges(indexes)}")
    return (*written, *("/".join((*row[:-1], _ranges(numbers), row[-1])) for row, numbers in units.items()))


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for value in numbers:
        if parts and value == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], value]
        else:
            parts.append([value])
    return ",".join("-".join(map(str, part)) for part in parts)


class Folded:
    """Slots written by `folded`, to ask which are among them. Raises ValueError for what was not."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rows: dict[str, list[tuple[Indexes, ...]]] = defaultdict(list)
        for text in texts:
            group, *indexes = text.split("/")
            if not group:
                raise ValueError(f"{text[:40]!r} does not name a slot")
            self._rows[group].append(tuple(Indexes(_read(each)) for each in indexes))

    def __contains__(self, slot: Slot) -> bool:
        rows = (row for row in self._rows.get(slot.group, ()) if len(row) == len(slot.indexes))
        return any(all(index in among for index, among in zip(slot.indexes, row, strict=True)) for row in rows)

    def size(self, unit: Unit) -> int:
        """How many slots of the unit are among them."""
        group, before = unit
        rows = (row for row in self._rows.get(group, ()) if len(row) == len(before) + 1)
        return sum(len(row[-1]) for row in rows if all(i in among for i, among in zip(before, row[:-1], strict=True)))


def _read(text: str) -> list[range]:
    """The ranges of "1,3-5". Raises ValueError where it is something else."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = number(first), number(last if dash else first)
        if begin is None or end is None or end < begin:
            raise ValueError(f"{part[:40]!r} is not a range of indexes")
        ranges.append(range(begin, end + 1))
    return ranges


class Indexes:
    """A set of indexes, kept as ranges however many there are: a Job may have 2^31 of them."""

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self._ranges: list[range] = []
        for each in sorted(ranges, key=lambda r: r.start):
            if self._ranges and each.start <= self._ranges[-1].stop:
                self._ranges[-1] = range(self._ranges[-1].start, max(self._ranges[-1].stop, each.stop))
            elif each:
                self._ranges.append(each)
        self._starts = [each.start for each in self._ranges]

    @classmethod
    def of_status(cls, text: str, completions: int) -> Indexes:
        """The indexes of a Job's status.completedIndexes or failedIndexes ("1,3-5"), without those at or above
        spec.completions, which no longer count (job controller, parseIndexesFromString). What cannot be read is left
        out."""
        ranges: list[range] = []
        for part in filter(None, text.split(",")):
            try:
                ranges += (range(r.start, min(r.stop, completions)) for r in _read(part))
            except ValueError:
                continue
        return cls(ranges)

    @property
    def ranges(self) -> tuple[range, ...]:
        return tuple(self._ranges)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._starts, index) - 1
        return at >= 0 and index in self._ranges[at]

    def __len__(self) -> int:
        return sum(map(len, self._ranges))

    def without(self, *, most: int, below: int, taken: Collection[int]) -> list[int]:
        """The lowest indexes below `below` that are neither here nor in `taken`, at most `most` (job controller,
        firstPendingIndexes). The work is that of the ranges, of `taken` and of the answer."""
        found: list[int] = []
        index = 0
        for each in (*self._ranges, range(below, below)):
            while index < min(each.start, below) and len(found) < most:
                if index not in taken:
                    found.append(index)
                index += 1
            index = max(index, each.stop)
        return found
