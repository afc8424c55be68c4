"""The command line of the demo, `python -m jobset_restart.demo`."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from typing import Annotated

import typer

from jobset_restart.program import program, run

app = program(add_completion=False)


class ProfileName(StrEnum):
    realtime = "realtime"
    published = "published"
    instant = "instant"


@app.command()
def demo(
    nodes: Annotated[
        int,
        typer.Option(
            min=1, max=19_999, metavar="N", help="How many nodes with a worker each; the driver has one more."
        ),
    ] = 64,
    profile: Annotated[
        ProfileName,
        typer.Option(
            help="How long things take. `--nodes 5000 --profile published` shows the published comparison, to which "
            "that profile is calibrated."
        ),
    ] = ProfileName.realtime,
    speed: Annotated[float, typer.Option(metavar="FACTOR", help="Seconds in the cluster per second.")] = 1.0,
) -> None:
    """Restart a JobSet in place, then by recreating its Pods, and compare. It runs on an embedded cluster of its own,
    touches nothing of yours and leaves nothing behind."""
    if not (math.isfinite(speed) and 0.01 <= speed <= 1000):
        raise typer.BadParameter(f"{speed:g} is not between 0.01 and 1000", param_hint="--speed")
    from jobset_restart.demo.showing import Options, show

    raise typer.Exit(show(Options(workers=nodes, profile=profile.value, speed=speed)))


def main() -> None:
    """Runs the command line and exits with its code."""
    from jobset_restart.errors import JsrError

    sys.exit(run(app, "jsr demo", None, JsrError))


if __name__ == "__main__":
    main()
