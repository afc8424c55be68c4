"""What `jsr sim up` and `jsr sim run` take, said once for both, and the forms of what they print."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ProfileName(StrEnum):
    realtime = "realtime"
    published = "published"
    instant = "instant"


class VersionName(StrEnum):
    v1_33 = "1.33"
    v1_35 = "1.35"
    v1_36 = "1.36"
    v1_37 = "1.37"


class Form(StrEnum):
    table = "table"
    json = "json"


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="JSR_SIM_HOME",
        show_envvar=False,
        help="Its private directory, where several are to run side by side. Default: one of yours.",
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=20_000,
        metavar="N",
        help="How many nodes. Default: one for each Pod, and 2 at least.",
        show_default=False,
    ),
]
JobSets = Annotated[
    list[str],
    typer.Option(
        "--jobset", metavar="FILE", help='JobSets and Jobs, and what belongs to them, as YAML; "-": stdin. Repeatable.'
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=19_999,
        metavar="N",
        help="Without --jobset there is a JobSet `demo`: a driver and so many workers. Default: a Pod for each node of "
        "--nodes, else 4 workers.",
        show_default=False,
    ),
]
Empty = Annotated[bool, typer.Option("--empty", help="Begin without any JobSet.")]
ProfileOption = Annotated[
    ProfileName, typer.Option(help="How long things take; `jsr sim profile NAME` prints its numbers and their sources.")
]
Speed = Annotated[float, typer.Option(metavar="FACTOR", help="Seconds in the cluster per second.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed repeats a run.")]
Port = Annotated[
    int, typer.Option(min=0, max=65_535, metavar="PORT", help="The API server's port on 127.0.0.1; 0: any free one.")
]
Cold = Annotated[bool, typer.Option("--cold", help="Begin with JobSets just created, not with all Pods Ready.")]
Kube = Annotated[
    VersionName, typer.Option(help="The version of Kubernetes it stands for, its gates at their defaults.")
]
Owners = Annotated[
    bool,
    typer.Option(
        "--owners", help="Somebody resumes JobSets with a queue name or a TrainJob, as Kueue and Trainer would."
    ),
]
FaultsOption = Annotated[
    str | None,
    typer.Option(
        "--faults",
        metavar="FILE",
        help="What goes wrong and when, as YAML, counted from when it serves. `jsr sim fault` lists the kinds.",
    ),
]
Output = Annotated[Form, typer.Option("--output", "-o", help="The form of the result on stdout.")]
