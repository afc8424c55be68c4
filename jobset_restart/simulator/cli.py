"""The command line of the embedded cluster. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobset_restart.program import program
from jobset_restart.simulator import home as homes
from jobset_restart.simulator.errors import SimulatorError
from jobset_restart.simulator.options import (
    Cold,
    Empty,
    FaultsOption,
    Form,
    HomeOption,
    JobSets,
    Kube,
    Nodes,
    Output,
    Owners,
    Port,
    ProfileName,
    ProfileOption,
    Seed,
    Speed,
    VersionName,
    Workers,
)

if TYPE_CHECKING:
    from jobset_restart.simulator import running
    from jobset_restart.simulator.faults import Fault

app = program(
    name="jsr sim",
    help="The embedded cluster: Kubernetes and JobSet played on this machine, for trying out, tests and rehearsals. It "
    "touches no kubeconfig of yours. Exit codes: 0 done, 1 error, 2 usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
)


DEFAULT_WORKERS = 4
_printed: list[str] = []
"""Paths that stand on stdout."""


@app.command()
def up(
    context: typer.Context,
    nodes: Nodes = None,
    jobset: JobSets = [],  # noqa: B006
    workers: Workers = None,
    empty: Empty = False,
    profile: ProfileOption = ProfileName.realtime,
    speed: Speed = 1.0,
    seed: Seed = 0,
    port: Port = 0,
    cold: Cold = False,
    kube: Kube = VersionName.v1_36,
    owners: Owners = False,
    faults: FaultsOption = None,
    home: HomeOption = None,
    output: Output = Form.table,
) -> None:
    """Start it in the background. Prints the kubeconfig's path: export KUBECONFIG=$(jsr sim up). Where it runs already
    that is all it does; with other options than it was started with it says so, and ends with 1."""
    where = _home(home)
    settings = _settings(nodes, jobset, workers, empty, profile, speed, seed, port, cold, kube, owners, faults)
    from jobset_restart.simulator import starting

    if not homes.runs(where):
        _say_ready(starting.background(where, settings), output)
        return
    found = homes.ask(where, {"do": "status"})
    _say("It runs already, and goes on as it is:")
    _say_ready(found, output)
    asked = {name for name in settings.options if _was_given(context, name)}
    other = sorted(name for name in asked if settings.options[name] != found["options"].get(name))
    if other:
        hint = f"`{homes.command(where, 'down')}` stops it; --home DIR starts another one beside it"
        words = ", ".join(f"--{name}" for name in other)
        raise SimulatorError(f"it was started with other options than these: {words}. Nothing was changed", hint)


@app.command()
def run(
    nodes: Nodes = None,
    jobset: JobSets = [],  # noqa: B006
    workers: Workers = None,
    empty: Empty = False,
    profile: ProfileOption = ProfileName.realtime,
    speed: Speed = 1.0,
    seed: Seed = 0,
    port: Port = 0,
    cold: Cold = False,
    kube: Kube = VersionName.v1_36,
    owners: Owners = False,
    faults: FaultsOption = None,
    home: HomeOption = None,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="End with standard input too: with whoever started it.")
    ] = False,
    output: Output = Form.table,
) -> None:
    """Run it in the foreground until Ctrl-C. Leaves nothing behind."""
    if until_eof and "-" in jobset:
        raise SimulatorError("--until-eof and --jobset - both want standard input", exit_code=2)
    settings = _settings(nodes, jobset, workers, empty, profile, speed, seed, port, cold, kube, owners, faults)
    from jobset_restart.simulator import starting

    starting.foreground(home.absolute() if home else None, settings, lambda found: _say_ready(found, output), until_eof)


@app.command()
def down(home: HomeOption = None) -> None:
    """Stop it and remove everything of it."""
    from jobset_restart.simulator import starting

    ended = starting.down(_home(home))
    _say("no embedded cluster runs" if ended is None else f"the embedded cluster (process {ended}) is gone")


@app.command()
def status(home: HomeOption = None, output: Output = Form.table) -> None:
    """Say what runs. Exit code 1 if nothing does."""
    found = homes.ask(_home(home), {"do": "status"})
    print(json.dumps(found, indent=2) if output is Form.json else _status_text(found))


@app.command()
def node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The node.")],
    off: Annotated[bool, typer.Option("--down/--up", help="Switch its machine off, or on again.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Switch a node's machine off, as if its plug were pulled, or on again."""
    homes.ask(_home(home), {"do": "node", "name": name, "on": not off})
    _say(f"the machine of node {name} is {'off; its Node object will follow' if off else 'on'}")


@app.command()
def apiserver(
    off: Annotated[
        bool,
        typer.Option(
            "--stop/--start", help="Refuse connections and cut those there are, or serve again.", show_default=False
        ),
    ],
    home: HomeOption = None,
) -> None:
    """Stop or start the API server while everything behind it runs on."""
    homes.ask(_home(home), {"do": "apiserver", "on": not off})
    _say(f"the API server {'refuses connections' if off else 'serves'}")


@app.command(short_help="Have something go wrong for a while; without a kind, list what can.")
def fault(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="What goes wrong; all kinds without.")] = None,
    lasts: Annotated[float, typer.Option("--for", metavar="SECONDS", help="How long.")] = 30.0,
    at: Annotated[float, typer.Option("--in", metavar="SECONDS", help="In how many seconds it begins.")] = 0.0,
    target: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help='What it hits, with "*": "VERB RESOURCE NAMESPACE/NAME", a node, or "NAMESPACE/POD".',
        ),
    ] = "*",
    share: Annotated[float, typer.Option(metavar="PART", help="The part of those that it hits, 0 to 1.")] = 1.0,
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="The delay of slow, the wait of throttled.")] = 1.0,
    home: HomeOption = None,
) -> None:
    """Have something go wrong in the running cluster for a while. Without KIND: list what can go wrong."""
    from jobset_restart.simulator.faults import KINDS, read

    if kind is None:
        print("\n".join(f"{name:<14} {about}" for name, (_, about) in KINDS.items()))
        return
    document = {"kind": kind, "at": at, "lasts": lasts, "target": target, "share": share, "seconds": seconds}
    try:
        read([document])
    except ValueError as error:
        raise SimulatorError(str(error), exit_code=2) from None
    homes.ask(_home(home), {"do": "fault", "fault": document})
    _say(f"{kind}, {f'in {at:g} s' if at else 'now'} and for {lasts:g} s: {KINDS[kind][1]}")


@app.command()
def profile(
    name: Annotated[ProfileName | None, typer.Argument(metavar="NAME", help="A profile; all without.")] = None,
    output: Output = Form.table,
) -> None:
    """Print how long things take in a profile, each number with its source."""
    from jobset_restart.simulator.profile import PROFILES

    found = [each.document() for key, each in PROFILES.items() if name is None or key == name.value]
    if output is Form.json:
        for document in found:
            for number in document["numbers"].values():
                number["value"] = number["value"] if math.isfinite(number["value"]) else None
        print(json.dumps(found[0] if name else found, indent=2))
        return
    print("\n\n".join(map(_profile_text if name else _profile_line, found)))


def _was_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


# What is printed


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _say_ready(found: dict[str, Any], form: Form) -> None:
    """The kubeconfig's path, or the status as one line of JSON, on stdout; how to go on on stderr."""
    names = [each["name"] + _in(each["namespace"]) for each in found["jobsets"]]
    _say(_status_text(found))
    _say(f"\nGo on with:\n  export KUBECONFIG={shlex.quote(found['kubeconfig'])}")
    _say(f"  jsr status {names[0] if names else '-A'}")
    if names:
        _say(f"  jsr restart {names[0]}")
    _say(f"  {homes.command(Path(found['kubeconfig']).parent, 'down')}")
    print(json.dumps(found) if form is Form.json else found["kubeconfig"], flush=True)
    _printed.append(found["kubeconfig"])


def _in(namespace: str) -> str:
    """The option that names it, where the kubeconfig does not."""
    return "" if namespace == "default" else f" -n {namespace}"


def _status_text(found: dict[str, Any]) -> str:
    serves = f"API server {'at' if found['serving'] else 'stopped, was at'} {found['server']}"
    lines = [
        f"embedded cluster: {serves}, process {found['process']}, for {_duration(found['seconds'])}",
        f"  Kubernetes {found['kubernetes']}, profile {found['profile']}, speed {found['speed']:g}, "
        f"seed {found['seed']}",
        f"  nodes {found['nodes']:,} ({found['readyNodes']:,} Ready), Pods {found['pods']:,}, "
        f"memory {found['memoryBytes'] / 2**20:,.0f} MB",
    ]
    for each in found["jobsets"]:
        ready = f"{each['readyPods']:,}/{each['pods']:,} Pods Ready"
        lines.append(f"  JobSet {each['namespace']}/{each['name']}: {ready}")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _profile_text(document: dict[str, Any]) -> str:
    rows = [
        (name, f"{each['value']:g}" if math.isfinite(each["value"]) else "unlimited", each["source"])
        for name, each in document["numbers"].items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {source}" for name, value, source in rows]
    return "\n".join([f"{document['name']}: {document['about']}", *lines])


def _profile_line(document: dict[str, Any]) -> str:
    return f"{document['name']}: {document['about']}"


# What goes in


def _home(given: Path | None) -> Path:
    return (given or homes.default()).absolute()


def _settings(
    nodes: int | None,
    jobsets: list[str],
    workers: int | None,
    empty: bool,
    profile_name: ProfileName,
    speed: float,
    seed: int,
    port: int,
    cold: bool,
    kube: VersionName,
    owners: bool,
    faults: str | None,
) -> running.Settings:
    """The options, checked; the files read. Raises SimulatorError."""
    if not (math.isfinite(speed) and 0.01 <= speed <= 1000):
        raise SimulatorError(f"--speed {speed:g} is not between 0.01 and 1000", exit_code=2)
    if empty and jobsets:
        raise SimulatorError("--empty and --jobset contradict each other", exit_code=2)
    from jobset_restart.simulator import manifests, running

    objects = [each for name in jobsets for each in manifests.read(name)]
    contents = hashlib.sha256(json.dumps(objects, sort_keys=True, default=str).encode()).hexdigest()
    options: dict[str, str | int | float | bool | None] = {"jobset": contents, "nodes": nodes, "workers": workers}
    options |= {"empty": empty, "profile": profile_name.value, "speed": speed, "seed": seed, "port": port}
    scheduled = _faults(faults) if faults is not None else []
    options |= {"cold": cold, "kube": kube.value, "owners": owners, "faults": str(scheduled)}
    return running.Settings(
        options=options,
        objects=[] if empty else objects or manifests.demo(workers or _workers_for(nodes)),
        nodes=nodes,
        profile=profile_name.value,
        speed=speed,
        seed=seed,
        port=port,
        warm=not cold,
        kubernetes=kube.value,
        owners=owners,
        faults=scheduled,
    )


def _faults(file: str) -> list[Fault]:
    """What a file says goes wrong. Raises SimulatorError."""
    import yaml

    from jobset_restart.simulator.faults import read

    try:
        return read(yaml.safe_load(sys.stdin if file == "-" else Path(file).read_text(encoding="utf-8")))
    except OSError as error:
        raise SimulatorError(f"--faults {file}: {error.strerror}", exit_code=2) from None
    except (ValueError, yaml.YAMLError) as error:
        raise SimulatorError(f"--faults {file}: {' '.join(str(error).split())}", exit_code=2) from None


def _workers_for(nodes: int | None) -> int:
    """How many make a Pod a node together with the driver."""
    return DEFAULT_WORKERS if nodes is None else max(1, nodes - 1)


def run_command_line(arguments: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Errors for the person are printed on stderr."""
    from jobset_restart import program

    code = program.run(app, "jsr sim", arguments, SimulatorError)
    if code:
        _leave_no_empty_path(sys.argv[1:] if arguments is None else arguments)
    return code


def _leave_no_empty_path(arguments: list[str]) -> None:
    """``export KUBECONFIG=$(jsr sim up ...)`` goes on whatever `up` ends with, and with nothing in KUBECONFIG the next
    command would go to the user's own cluster. So a failed `up` names the kubeconfig, too, though it may not be there.
    """
    json_wanted = Form.json.value in (_value(arguments, "--output"), _value(arguments, "-o"))
    if arguments[:1] != ["up"] or json_wanted or _printed:
        return
    home = _value(arguments, "--home") or os.environ.get("JSR_SIM_HOME")
    print(_home(Path(home) if home else None) / homes.KUBECONFIG)


def _value(arguments: list[str], option: str) -> str:
    """What an option is given on a command line that may be no good otherwise; "" if it is not there."""
    for name, value in itertools.pairwise([*arguments, ""]):
        if name == option or name.startswith(f"{option}="):
            return value if name == option else name.partition("=")[2]
    return ""
