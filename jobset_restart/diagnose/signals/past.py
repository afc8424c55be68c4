"""What earlier operations tell."""

from __future__ import annotations

from jobset_restart.diagnose.signals.registry import Sight, signal


@signal("DX501", 0.1, "it was restarted before, with few others")
def again(sight: Sight) -> str:
    """Earlier restarts of this workload that were for at most a quarter of its slots were for this one too (`jsr
    history` shows them): somebody, or a diagnosis, had reason to. Restarts of everything tell nothing of one slot."""
    times = sight.whole.observation.earlier.get(sight.seen.slot, 0)
    if not times:
        return ""
    return f"{times} earlier restarts were for it and few others" if times > 1 else "an earlier restart was for it"
