"""`--until-progress`: a restart has worked when the training goes on beyond where it stood."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart.cli.asking import on_leaving
from jobset_restart.cli.options import Progress
from jobset_restart.errors import UsageError
from jobset_restart.report import ResultReport
from jobset_restart.restart.planning import Asked
from jobset_restart.snapshot import Snapshot

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

INTERRUPTED, TOO_LATE = 130, 124


async def stood_at(cluster: Cluster, snapshot: Snapshot, progress: Progress) -> int | None:
    """The step it stands at, None where nobody wants to know. Raises UsageError where no log tells of a step."""
    from jobset_restart.advance import newest_step

    if not progress.until_progress:
        return None
    step = await newest_step(cluster, snapshot, progress.pattern())
    if step is None:
        raise UsageError(
            f"no log of {snapshot.name} tells of a step for --until-progress to wait for; nothing was changed",
            r"say what a step looks like, for example --step-pattern 'Iteration\s+(\d+)'",
        )
    return step


async def waited(
    cluster: Cluster, asked: Asked, result: ResultReport, step: int, pattern: re.Pattern[str] | None, within: float
) -> ResultReport:
    """The result once the logs tell of a step beyond `step`; exit code 124 where they do not within so many seconds,
    130 where the person does not wait for it. `result` is that of a restart that went well."""
    from jobset_restart.advance import until_beyond

    loop = asyncio.get_running_loop()
    began = loop.time()
    this = asyncio.current_task()
    assert this is not None
    on_leaving(this.cancel)
    last = ""

    def tell(newest: int | None) -> None:
        nonlocal last
        at = "no log tells of a step yet" if newest is None else f"it is at step {newest:,}"
        if at != last:
            print(f"{result.reason}; waiting for a step beyond {step:,}: {at}", file=sys.stderr, flush=True)
        last = at

    def ended(code: int, how: str) -> ResultReport:
        return structs.replace(result, exit_code=code, reason=how, step_before=step)

    try:
        async with asyncio.timeout(max(0.1, within)):
            after = await until_beyond(cluster, asked.namespace, asked.name, asked.kind, step, pattern, tell)
    except TimeoutError:
        waited_for = f"{loop.time() - began:.0f} s"
        return ended(TOO_LATE, f"{result.reason}, but no step beyond {step:,} came in {waited_for}")
    except asyncio.CancelledError:
        this.uncancel()
        return ended(INTERRUPTED, f"{result.reason}; nobody waited for a step beyond {step:,}")
    taken = result.seconds + loop.time() - began
    print(
        f"it is training again: step {after:,} came {taken:.0f} s after the restart began", file=sys.stderr, flush=True
    )
    return structs.replace(result, step_before=step, step_after=after, progress_seconds=round(taken, 1))
