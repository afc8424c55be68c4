"""`python -m tests.diagnosis [--hangs N] [--healthy N] [--from SEED] [--most PODS] [--processes N] [-v] [SEED ...]`:
diagnoses seeded hangs and healthy trainings, and prints how often the first that is named is to blame. Seeds that are
named are played alone; a negative one is a healthy training."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.diagnosis.judging import Judged, diagnose, score
from tests.diagnosis.scenario import KINDS, SIZES, from_seed

Task = tuple[int, bool, int]
"""A seed, whether it is healthy, and how many Pods it has at most."""


def _play(task: Task) -> Judged:
    seed, healthy, most = task
    return diagnose(from_seed(seed, healthy=healthy, most=most))


def _shown(each: Judged) -> str:
    healthy = each.scenario.kind == "healthy"
    seed = f"{'healthy ' if healthy else ''}{each.scenario.seed}"
    hidden = " (hidden)" if each.hidden else ""
    truth = f"of {len(each.culprits)}: {', '.join(sorted(each.culprits)[:3])}{hidden}" if each.culprits else "nobody"
    said = [f"{each.verdict} {each.top}".strip(), f"{each.named} named", truth, *each.reasons[:3], *each.shared[:2]]
    return f"{'right' if each.right else 'WRONG'} {seed}: {each.scenario.title()}\n      " + "; ".join(said)


def _all(tasks: list[Task], processes: int) -> Iterator[Judged]:
    if processes < 2:
        yield from map(_play, tasks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_play, tasks)


def _table(judged: list[Judged]) -> Iterable[str]:
    yield f"{'':<12} {'hangs':>6} {'named':>6} {'precision':>10} {'recall':>8} {'right':>6}"
    for kind in (*KINDS, "all"):
        mine = [each for each in judged if each.scenario.kind in (kind, *(KINDS if kind == "all" else ()))]
        if not mine:
            continue
        found = score(mine)
        precision = f"{found.precision:.3f}" if found.named else "-"
        recall = f"{found.recall:.3f}" if found.to_blame else "-"
        right = sum(each.right for each in mine)
        yield f"{kind:<12} {len(mine):>6} {found.named:>6} {precision:>10} {recall:>8} {right:>6}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.diagnosis", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, metavar="SEED")
    parser.add_argument("--hangs", type=int, default=500)
    parser.add_argument("--healthy", type=int, default=200)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED")
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="PODS")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("-v", "--verbose", action="store_true", help="show those that are right too")
    options = parser.parse_args()
    if options.seeds:
        tasks = [(abs(seed), seed < 0, options.most) for seed in options.seeds]
    else:
        span = range(options.first, options.first + options.hangs)
        calm = range(options.first, options.first + options.healthy)
        tasks = [*((seed, False, options.most) for seed in span), *((seed, True, options.most) for seed in calm)]
    began, judged = time.monotonic(), list[Judged]()
    for each in _all(tasks, options.processes):
        judged.append(each)
        if options.verbose or options.seeds or not each.right:
            print(_shown(each), flush=True)
    found = score(judged)
    print(*_table(judged), sep="\n")
    pods = [each.scenario.ranks for each in judged]
    print(f"precision {found.precision:.3f}, recall {found.recall:.3f} of the first that is named")
    print(f"hidden: in {found.hidden} more hangs the one to blame looks as the others do, and nobody could name it")
    print(f"false alarms: {found.false_alarms} in {found.healthy} healthy runs")
    longest = max((each.virtual for each in judged), default=0.0)
    print(f"{min(pods)} to {max(pods)} Pods; the longest diagnosis took {longest:.0f} s of the cluster's time")
    print(f"{time.monotonic() - began:.0f} s in all")
    return int(not all(each.right for each in judged))


if __name__ == "__main__":
    sys.exit(main())
