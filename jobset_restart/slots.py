"""Slots, and sets of indexes that stay ranges. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable

from msgspec import Struct

from jobset_restart.objects import number


class Slot(Struct, frozen=True, order=True):
    """The place a Pod fills. Prints as "workers/0/3": ReplicatedJob, job index, completion index."""

    replicated_job: str
    job_index: int
    completion_index: int

    def __str__(self) -> str:
        return f"{self.replicated_job}/{self.job_index}/{self.completion_index}"


def folded(slots: Iterable[Slot]) -> tuple[str, ...]:
    """The slots in few words: "workers/0-1/0-4999,5002", job indexes and completion indexes in ranges."""
    indexes: dict[tuple[str, int], list[int]] = defaultdict(list)
    for slot in sorted(slots):
        indexes[slot.replicated_job, slot.job_index].append(slot.completion_index)
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (replicated_job, job_index), completions in indexes.items():
        alike[replicated_job, _ranges(completions)].append(job_index)
    return tuple(f"{name}/{_ranges(jobs)}/{completions}" for (name, completions), jobs in alike.items())


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
        self._rows: dict[str, list[tuple[Indexes, Indexes]]] = defaultdict(list)
        for text in texts:
            name, jobs, completions = text.split("/")
            self._rows[name].append((Indexes(_read(jobs)), Indexes(_read(completions))))

    def __contains__(self, slot: Slot) -> bool:
        rows = self._rows.get(slot.replicated_job, ())
        return any(slot.job_index in jobs and slot.completion_index in completions for jobs, completions in rows)


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
