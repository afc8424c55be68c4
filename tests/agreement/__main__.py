"""Runs the scenarios on a real cluster and on the embedded one and prints what differs.

  python -m tests.agreement --kubeconfig REAL           record both sides and compare them
  python -m tests.agreement --from-recordings DIR       record the embedded side only; the real one was, into DIR
  python -m tests.agreement --from-recordings DIR --embedded-recordings DIR       compare only
  python -m tests.agreement --show DIR -k EXPR          what recorded objects went through

Exit status: 0 when all that differs is accepted (accepted.yaml), 1 when anything else differs, 2 when there is nothing
to compare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.agreement import accepted, report

ROOT = Path(__file__).parents[2]


def main() -> int:
    options = _options()
    if options.show:
        report.show(options.show, options.keyword, sys.stdout)
        return 0
    out = options.out or Path(tempfile.mkdtemp(prefix="jsr-agreement-"))
    folders: list[Path] = []
    for name, given, kubeconfig in (
        ("real", options.from_recordings, options.kubeconfig),
        ("embedded", options.embedded_recordings, ""),
    ):
        if given is None:
            _record(out / name, kubeconfig, options)
            print(f"recordings of the {name} side: {out / name}", file=sys.stderr)
        folders.append(given or out / name)
    recorded = options.from_recordings and options.embedded_recordings
    real, embedded = report.sides(folders[0], folders[1], options.keyword if recorded else "")
    if not real.runs:
        print("no scenario is recorded on both sides", file=sys.stderr)
        return 2
    left = report.differences(real, embedded, accepted.load(), sys.stdout, notes=options.notes)
    return 1 if left else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.agreement", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kubeconfig", help="of the real cluster")
    add("--from-recordings", type=Path, metavar="DIR", help="recordings of the real side: DIR/RUN/SCENARIO.jsonl")
    add("--embedded-recordings", type=Path, metavar="DIR", help="recordings of the embedded side")
    add("--show", type=Path, metavar="DIR", help="print what is recorded there: DIR is a folder of runs, or one run")
    add("--out", type=Path, metavar="DIR", help="where new recordings go (default: a new temporary folder)")
    add(
        "-k",
        dest="keyword",
        default="",
        metavar="EXPR",
        help="scenarios: as pytest takes it; of recordings, a part of the file's name",
    )
    add("-m", dest="mark", default="", metavar="EXPR", help="scenarios by mark, as in pytest")
    add("--runs", type=int, default=2, help="how often each side is recorded (default 2)")
    add("--workers", type=int, default=1, help="pytest processes, with pytest-xdist (default 1)")
    add("--notes", action="store_true", help="also print what is accepted, and what one side shows only now and then")
    options = parser.parse_args()
    if not (options.show or options.kubeconfig or options.from_recordings):
        parser.error("--kubeconfig, --from-recordings or --show is needed")
    return options


def _record(folder: Path, kubeconfig: str, options: argparse.Namespace) -> None:
    """Runs the suite as often as asked for. Scenarios that fail are compared like the others."""
    for run in range(1, options.runs + 1):
        words = [sys.executable, "-m", "pytest", "tests/e2e", "-p", "tests.agreement.plugin", "--tb=line"]
        words += ["-k", options.keyword] if options.keyword else []
        words += ["-m", options.mark] if options.mark else []
        words += ["-n", str(options.workers)] if options.workers > 1 else []
        environment = {**os.environ, "JSR_AGREEMENT_DIR": str(folder / str(run)), "JSR_TEST_KUBECONFIG": kubeconfig}
        print(f"recording {folder / str(run)}", file=sys.stderr, flush=True)
        subprocess.run(words, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)


if __name__ == "__main__":
    sys.exit(main())
