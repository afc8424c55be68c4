"""python -m tests.simulation SEED [-v]: plays one seed again. Several: FIRST-LAST."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.simulation.invariants import broken
from tests.simulation.play import Played, play
from tests.simulation.scenario import from_seed
from tests.simulation.virtual import StandsStill


def judged(seed: int) -> tuple[Played | None, list[str]]:
    """Plays a seed. What it broke, a sentence each."""
    try:
        played = play(from_seed(seed))
    except StandsStill as still:
        return None, [f"stands still: {still}"]
    return played, broken(played)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="SEED or FIRST-LAST")
    parser.add_argument("-v", "--verbose", action="store_true", help="what was said and asked")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    began, failed, codes = time.perf_counter(), 0, Counter[object]()
    for seed in range(int(first), int(last or first) + 1):
        try:
            played, wrong = judged(seed)
        except Exception:
            played, wrong = None, [traceback.format_exc()]
        codes[tuple(client.code for client in played.clients) if played else None] += 1
        if wrong or options.verbose:
            print(f"seed {seed}: {from_seed(seed).title()}")
        for each in wrong:
            print(f"  {each}")
        failed += bool(wrong)
        if options.verbose and played:
            _tell(played)
    print(f"{failed} failed, {time.perf_counter() - began:.1f} s; exit codes: {codes.most_common()}", file=sys.stderr)
    return bool(failed)


def _tell(played: Played) -> None:
    for client in played.clients:
        print(f"\n$ jsr {' '.join(client.argv)}   # {client.began:.3f} to {client.ended:.3f}, {client.steps} awaits")
        print(client.stderr + client.stdout + f"exit code {client.code} {client.crash!r}")
        if client.crash:
            traceback.print_exception(client.crash)
    start = played.clients[0].began
    for request in played.cluster.requests:
        print(f"{request.time - start:8.3f}  {request.method:6} {request.path}  {request.query[:100]}")
    print(played.witness.suspended, played.witness.counters(), played.cluster.record())


if __name__ == "__main__":
    sys.exit(main())
