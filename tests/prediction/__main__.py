"""Runs scenarios and prints how long their restarts were predicted to take, and how long they took.

  python -m tests.prediction [-k EXPR] [FILE ...]       on the cluster of JSR_TEST_KUBECONFIG, else an embedded one
  python -m tests.prediction --from DIR                 what was recorded there

Exit status: 0 when nine of ten lie within their range, 1 when not, 2 when there is nothing to judge by.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCENARIOS = [
    f"tests/e2e/test_{name}.py"
    for name in ["image", "native", "recreate", "pods", "signal", "order", "job", "leaderworkerset", "trainjob", "ray"]
]
GOAL = 0.9

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.prediction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("files", nargs="*", default=SCENARIOS, metavar="FILE", help="scenarios, as pytest takes them")
    add("-k", dest="keyword", default="", metavar="EXPR")
    add("--from", dest="folder", type=Path, metavar="DIR", help="what an earlier run recorded")
    add("--workers", type=int, default=1, help="pytest processes, with pytest-xdist (default 1)")
    options = parser.parse_args()
    folder = options.folder or _record(options)
    rows = [row for row in _read(folder) if _counts(row)]
    if not rows:
        print("no restart that came to its end was recorded", file=sys.stderr)
        return 2
    print(*_lines(rows), sep="\n")
    print(*_table(rows), sep="\n")
    return int(sum(map(_within, rows)) < GOAL * len(rows))


def _record(options: argparse.Namespace) -> Path:
    """Scenarios that fail are of no interest here: what counts is each restart."""
    folder = Path(tempfile.mkdtemp(prefix="jsr-prediction-"))
    print(f"recordings: {folder}", file=sys.stderr, flush=True)
    words = [sys.executable, "-m", "pytest", *options.files, "-p", "tests.prediction.plugin", "--tb=line", "-q"]
    words += ["-m", "not real_fault", "-p", "no:cacheprovider"]
    words += ["-k", options.keyword] if options.keyword else []
    words += ["-n", str(options.workers)]
    environment = {**os.environ, "JSR_PREDICTION_DIR": str(folder)}
    subprocess.run(words, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
    return folder


def _read(folder: Path) -> Iterator[Row]:
    for file in sorted(folder.glob("*.jsonl")):
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def _counts(row: Row) -> bool:
    """Whether it was one restart from its beginning to its end, with everything back and nobody in its way."""
    whole = row["exitCode"] == 0 and not row["rounds"] and row["prediction"] and row["prediction"]["high"] > 0
    return whole and not {"--resume", "--no-wait"} & set(row["args"])


def _within(row: Row) -> bool:
    return bool(row["prediction"]["low"] <= row["seconds"] <= row["prediction"]["high"])


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    for row in sorted(rows, key=lambda each: (each["trigger"], each["seconds"])):
        foreseen, test = row["prediction"], row["test"].partition("tests/e2e/")[2]
        verdict = "within" if _within(row) else "BELOW " if row["seconds"] < foreseen["low"] else "ABOVE "
        span = f"{foreseen['low']:.1f} .. {foreseen['likely']:.1f} .. {foreseen['high']:.1f}"
        yield f"{verdict} {row['trigger']:<8} {row['slots']:>5} slots {row['seconds']:>7.1f} s of {span:<22} {test}"


def _table(rows: Iterable[Row]) -> Iterator[str]:
    by_trigger: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_trigger[row["trigger"]].append(row)
        by_trigger["all"].append(row)
    yield f"\n{'':<10} {'restarts':>8} {'within':>7} {'share':>6} {'actual / likely, median':>24}"
    for trigger in sorted(by_trigger, key=lambda each: (each == "all", each)):
        mine = by_trigger[trigger]
        off = sorted(row["seconds"] / max(row["prediction"]["likely"], 0.1) for row in mine)
        within = sum(map(_within, mine))
        yield f"{trigger:<10} {len(mine):>8} {within:>7} {within / len(mine):>6.0%} {off[len(off) // 2]:>24.2f}"


if __name__ == "__main__":
    sys.exit(main())
