"""Numbers and words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jobset_restart.events import Budget
from jobset_restart.spans import Prediction


def duration(seconds: float | None, *, whole: bool = False) -> str:
    """Seconds as people write them: "0.4s", "12s", "3m12s", "5h04m", "3d2h"; `whole` leaves tenths out."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95 and not whole:
        return f"{seconds:.1f}s"
    left = int(seconds if whole else max(seconds, 10.0))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02d}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02d}m"
    return f"{left // 86400}d{left % 86400 // 3600}h"


def expected(prediction: Prediction) -> str:
    """ "about 12s (3.0s to 40s)"."""
    low, likely, high = duration(prediction.low), duration(prediction.likely), duration(prediction.high)
    return f"about {likely}" + (f" ({low} to {high})" if low != high else "")


def counted(number: int, noun: str) -> str:
    """ "1 slot", "4,997 slots"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def downtime(pod_seconds: float, resource_seconds: Mapping[str, float], gpu_cost: float | None) -> str:
    """What it costs that Pods are down: "13 Pod-seconds; nvidia.com/gpu 104 s (0.03 hours); GPUs for 0.07"."""
    devices = (f"{name} {seconds:,.0f} s ({seconds / 3600:,.2f} hours)" for name, seconds in resource_seconds.items())
    price = [f"GPUs for {gpu_cost:,.2f}"] if gpu_cost is not None else []
    return "; ".join([f"{pod_seconds:,.0f} Pod-seconds", *devices, *price])


def outcomes(counts: Mapping[str, int]) -> str:
    """What became of slots: "1 failed, 3 restarted"."""
    return ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(counts.items())) or "nothing restarted"


def spent(budget: Budget) -> str:
    """ "maxRestarts: 0 -> 1 of 100"."""
    return f"{budget.name}: {budget.before:,} -> {budget.after:,} of {budget.limit:,}"


def speed(rate: float) -> str:
    """Slots per second: "0.4/s", "1,204/s"."""
    return f"{rate:,.0f}/s" if rate >= 9.5 else f"{rate:.1f}/s"


def shortened(text: str, width: int, mark: str = "…") -> str:
    """The text in at most `width` characters, cut in the middle: names differ at both ends."""
    if len(text) <= width:
        return text
    kept = max(0, width - len(mark))
    return text[: kept - kept // 2] + mark[:width] + text[len(text) - kept // 2 :]


def clipped(text: str, width: int) -> str:
    """The text in at most `width` columns, its end cut where it must be."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def doing(strategy: str, what: str) -> str:
    """What is done to it: "restart 4 slots in place", "recreate 4 slots"."""
    return f"recreate {what}" if strategy == "recreate" else f"restart {what} in place"
