"""Two restarts side by side. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from msgspec import Struct

from jobset_restart.report import ResultReport
from jobset_restart.view.text import counted, duration

Row = tuple[str, str, str]

PUBLISHED_NODES = 5_000
PUBLISHED: Row = ("time, as published", "10s", "2m10s")
"""What the JobSet project published for its prototype on so many nodes."""


class Restart(Struct, frozen=True):
    """One restart: what `jsr restart -o json` said, and the UIDs of the Pods before and after it."""

    result: ResultReport
    before: Set[str]
    after: Set[str]

    @property
    def kept(self) -> int:
        return len(self.before & self.after)


def rows(in_place: Restart, recreate: Restart, speed: float) -> list[Row]:
    """What differs, a line each: its name, in place, recreate. Seconds are the cluster's, which ran `speed` times as
    fast as the clock that measured them."""
    both = (in_place, recreate)

    def line(name: str, value: Callable[[Restart], str]) -> Row:
        return name, value(in_place), value(recreate)

    budgets = dict.fromkeys(budget.name for each in both for budget in each.result.budgets)
    spent = [line(f"spent of {name}", lambda each, name=name: _spent(each.result, name)) for name in budgets]  # type: ignore[misc]
    return [
        line("trigger", lambda each: each.result.trigger),
        line("time", lambda each: duration(each.result.seconds * speed)),
        line("slowest slot", lambda each: _slowest(each.result, speed)),
        line("Pods kept", lambda each: f"{each.kept:,} of {len(each.before):,}"),
        line("API writes", lambda each: f"{each.result.writes:,}"),
        *(spent or [("spent of any budget", "nothing", "nothing")]),
    ]


def verdict(in_place: Restart, recreate: Restart) -> str:
    """One sentence about the two."""
    times = recreate.result.seconds / max(in_place.result.seconds, 0.001)
    kept = "every Pod" if in_place.kept == len(in_place.before) else counted(in_place.kept, "Pod")
    speed = f"was {times:.1f} times as fast and " if times >= 1.05 else ""
    return f"In place {speed}kept {kept}: same node, address and volumes, nothing scheduled."


def _spent(result: ResultReport, name: str) -> str:
    found = [budget for budget in result.budgets if budget.name == name and budget.after != budget.before]
    return f"{found[0].after - found[0].before:,} of {found[0].limit:,}" if found else "nothing"


def _slowest(result: ResultReport, speed: float) -> str:
    timed: Sequence[tuple[float, str]] = [
        (slot.seconds, slot.slot) for slot in result.slots if slot.seconds is not None
    ]
    if not timed:
        return "-"
    seconds, slot = max(timed)
    return f"{slot}, {duration(seconds * speed)}"
