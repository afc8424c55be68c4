"""Progress as lines, for CI and pipes: at most one a second, and nothing that matters left out."""

from __future__ import annotations

from collections.abc import Callable

from jobset_restart.events import Event, Failed, Finished, Planned, SlotEvent, Starting
from jobset_restart.harmless import plain
from jobset_restart.progress import Happening, Progress, SlotProgress, happening
from jobset_restart.view.text import counted, duration, speed

INTERVAL = 1.0
QUIET_INTERVAL = 10.0
MOST_SENTENCES = 8
LASTING = ("BackOff", "Err", "Unschedulable", "Invalid")


class LinesView:
    """A sink of events. `write` takes one line; `tick(now)` has to be called now and then.

    The beginning and the end are written at once. What happens in between is gathered into one line a second. With a
    `progress` it goes on from there, where another view has left off.
    """

    def __init__(self, write: Callable[[str], None], progress: Progress | None = None) -> None:
        self.progress = progress or Progress()
        self._write = write
        self._last_line = float("-inf")
        self._last_counts = ""
        self._gathered: list[Happening] = []
        self._left_out = 0
        self._reasons: set[str] = set()

    def __call__(self, event: Event) -> None:
        self.progress.apply(event)
        match event:
            case Planned():
                self._say(event.time, [_heading(event, self.progress.total)])
            case Finished():
                self._say(event.time, [*self._sentences(), self._counts(event.time), f"finished: {event.reason}"])
            case Starting():
                self._starting(event)
            case Failed():
                self._gather(Happening(event.time, f"failed: {event.reason}", _place(event)))
            case _:
                self._gather(happening(event))

    def tick(self, now: float) -> None:
        """Writes what was gathered if a second has passed since the last line; after ten with nothing to say, what is
        being waited for."""
        passed = now - self._last_line
        if self.progress.planned is None or self.progress.finished is not None or passed < INTERVAL:
            return
        if self._gathered or self._tally() != self._last_counts:
            self._say(now, [*self._sentences(), self._counts(now)])
        elif passed >= QUIET_INTERVAL:
            self._say(now, [self._tally() + self._waits_for(now)])

    def _gather(self, happened: Happening | None) -> None:
        if happened is None or happened.joins(self._gathered):
            return
        if len(self._gathered) < MOST_SENTENCES:
            self._gathered.append(happened)
        else:
            self._left_out += 1

    def _starting(self, event: Starting) -> None:
        """Reasons that do not pass by themselves are said, once each."""
        if event.reason not in self._reasons and any(word in event.reason for word in LASTING):
            self._reasons.add(event.reason)
            self._gather(Happening(event.time, f"{_place(event)}: {event.reason}"))

    def _sentences(self) -> list[str]:
        more = [f"and {self._left_out:,} more"] if self._left_out else []
        said = [*map(str, self._gathered), *more]
        self._gathered.clear()
        self._left_out = 0
        return said

    def _tally(self) -> str:
        counts = self.progress.counts
        parts = [f"{counts[s]:,} {s}" for s in ("waiting", "triggered", "stopping", "starting", "failed") if counts[s]]
        barrier = self.progress.barrier
        if barrier and barrier.arrived < barrier.total:
            parts.append(f"barrier {barrier.arrived:,}/{barrier.total:,} at attempt {barrier.attempt}")
        return f"{counts['ready']:,}/{self.progress.total:,} back" + (f" ({', '.join(parts)})" if parts else "")

    def _counts(self, now: float) -> str:
        """The counts with rate and ETA, empty where they are as they were."""
        tally = self._tally()
        if tally == self._last_counts:
            return ""
        self._last_counts = tally
        rate, eta = self.progress.rate(now), self.progress.eta(now)
        if eta is None or not rate:
            return tally
        return f"{tally}, {speed(rate)}, ETA {duration(max(eta, 1.0), whole=True)}"

    def _waits_for(self, now: float) -> str:
        late = self.progress.stragglers(1)
        if not late:
            return ""
        slot = late[0]
        why = f" ({slot.reason})" if slot.reason else ""
        age = duration(now - slot.since, whole=True)
        return f"; longest: {_place(slot)} {slot.state} for {age}{why}"

    def _say(self, now: float, sentences: list[str]) -> None:
        text = "; ".join(filter(None, sentences))
        self._write(f"{duration(self.progress.elapsed(now)):>6}  {plain(text)}")
        self._last_line = now


def _place(slot: SlotEvent | SlotProgress) -> str:
    return f"{slot.slot} on {slot.node or 'no node'}"


def _heading(event: Planned, slots: int) -> str:
    how = "recreating" if event.strategy == "recreate" else "restarting"
    where = " in place" if event.strategy == "in-place" else ""
    context = f" (context {event.context})" if event.context else ""
    what = f"{how} {counted(slots, 'slot')} of {event.kind} {event.namespace}/{event.jobset}{context}{where}"
    turn = f", carried on in round {event.round}" if event.round > 1 else ""
    return f"{what} by {event.trigger}, operation {event.operation}{turn}"
