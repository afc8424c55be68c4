"""Whether steps advance: back means that work goes on, not only that every Pod is Ready."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobset_restart.diagnose.commands import DEEP_BYTES, DEEP_LINES, TAIL_BYTES, TAIL_LINES, log_request
from jobset_restart.diagnose.logs import Tail, read_tail
from jobset_restart.diagnose.observation import Seen
from jobset_restart.errors import JsrError, NotFound
from jobset_restart.gathering import ANSWER_SECONDS, LOGS_IN_FLIGHT, seen_of
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.kinds import WorkloadKind

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

LOOK_SECONDS = 2.0


async def newest_step(cluster: Cluster, snapshot: Snapshot, pattern: re.Pattern[str] | None = None) -> int | None:
    """The newest step that the log of any running container tells, None where none does. At most 64 are read: often
    only the first or the last rank prints."""
    running = [each for state in snapshot.slots.values() if state.expected and not (each := seen_of(state)).state]
    some = [*running[-1:], *running[: -1 : max(1, len(running) // LOGS_IN_FLIGHT)]][:LOGS_IN_FLIGHT]
    for lines, most in ((TAIL_LINES, TAIL_BYTES), (DEEP_LINES, DEEP_BYTES)):
        tails = await asyncio.gather(*(_tail(cluster, snapshot.namespace, seen, lines, most, pattern) for seen in some))
        steps = [tail.step for tail in tails if tail is not None and tail.step is not None]
        if steps:
            return max(steps)
    return None


async def _tail(
    cluster: Cluster, namespace: str, seen: Seen, lines: int, most: int, pattern: re.Pattern[str] | None
) -> Tail | None:
    path, query = log_request(namespace, seen.pod, seen.container, lines=lines, most=most)
    try:
        return read_tail(await cluster.text(path, params=query, most=most, timeout=ANSWER_SECONDS), pattern)
    except JsrError:
        return None


async def until_beyond(
    cluster: Cluster,
    namespace: str,
    name: str,
    kind: WorkloadKind,
    step: int,
    pattern: re.Pattern[str] | None,
    tell: Callable[[int | None], None],
) -> int:
    """Looks until a step above `step` is printed, and returns it; `tell` hears of the newest after each look. Raises
    NotFound where the workload is gone, and does not end by itself."""
    from jobset_restart.cluster.resolve import resolve

    while True:
        try:
            newest = await newest_step(
                cluster, await resolve(cluster, namespace, name, kind, consistent=False), pattern
            )
        except NotFound:
            raise
        except JsrError:  # the API server is away for a moment
            newest = None
        if newest is not None and newest > step:
            return newest
        tell(newest)
        await asyncio.sleep(LOOK_SECONDS)
