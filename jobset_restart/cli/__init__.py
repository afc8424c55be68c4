"""The command line: options in, exit code out. Nothing is decided here, and nothing heavy is imported before it is
needed."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from jobset_restart.cli import options
from jobset_restart.cli.groups import before_commands, command
from jobset_restart.cli.options.restarting import Restarting
from jobset_restart.program import program

app = program(
    name="jsr",
    help="Restart a Kubernetes JobSet, or another workload: in place in seconds, or by recreating its Pods. Exit "
    "codes: 0 all ready, 1 error, 2 usage, 3 refused or declined, nothing changed, 4 some slots did not come back, "
    "5 it failed or finished, 6 superseded, 7 and 8 it stands still (diagnose), 9 something is missing (capture), "
    "124 deadline, 130 interrupted.",
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        from jobset_restart import __version__

        typer.echo(f"jsr {__version__}")
        raise typer.Exit


@before_commands(app)
def _root(
    where: options.Where,  # noqa: ARG001 - what stands before the command is given to it
    everywhere: options.Everywhere,  # noqa: ARG001
    telling: options.Telling,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    return 0


@command(app)
def restart(workload: options.Workload, given: Restarting) -> int:
    """Restart a workload. Without --in-place or --recreate the plan chooses; --dry-run=client shows its choice."""
    from jobset_restart.cli import restarting

    return restarting.restart(workload.target(given.selected.selector, part=True), given)


@command(app, short_help="Show workloads: what runs, what does not, and why.")
def status(
    workload: options.Workloads,
    of: options.OfPods,
    *,
    everywhere: options.Everywhere,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Show it again whenever it changes.")] = False,
    shown: options.Shown,
    where: options.Where,
) -> int:
    """Show workloads: what runs, what does not and why, and what a restart would do."""
    from jobset_restart.cli import looking

    return looking.status(
        workload.target(of.selector), where, all_namespaces=everywhere.all_namespaces, watch=watch, form=shown.output
    )


@command(app, short_help="Show the last restarts of a workload.")
def history(
    workload: options.Workload,
    of: options.OfPods,
    price: options.GpuPrice,
    shown: options.Shown,
    where: options.Where,
) -> int:
    """Show the last restarts of a workload, the newest first: when, who, how, how long, what each cost and what came
    of it."""
    from jobset_restart.cli import recounting

    return recounting.history(workload.target(of.selector), price, where, shown.output)


@command(app, short_help="Wait until every Pod is Ready and no restart runs.")
def wait(
    workload: options.Workload,
    of: options.OfPods,
    deadline: options.Deadline,
    shown: options.Shown,
    where: options.Where,
) -> int:
    """Wait until every Pod is Ready and no restart is under way; 5 if it is over, 124 if it takes too long."""
    from jobset_restart.cli import looking

    return looking.wait(workload.target(of.selector), where, timeout=deadline.seconds(), form=shown.output)


@command(app, short_help="Find the Pod that holds the others up.")
def diagnose(
    workload: options.Workload,
    of: options.OfPods,
    looks: options.Looks,
    shown: options.Shown,
    where: options.Where,
) -> int:
    """Find out whether it stands still, and which Pod the others wait for. Reads only. Exit codes: 0 healthy, 7 it
    stands still and there are suspects, 8 it stands still and no Pod stands out."""
    from jobset_restart.cli import diagnosing

    return diagnosing.diagnose(workload.target(of.selector), looks, where, shown.output)


@command(app, short_help="Capture the evidence: logs, stacks, Pods, Nodes, Events.")
def capture(
    workload: options.Workload,
    selected: options.Selected,
    into: options.CaptureInto,
    bounds: options.CaptureBounds,
    parallel: options.Parallel,
    shown: options.Shown,
    where: options.Where,
) -> int:
    """Write down how it stands: logs, stacks, Pods, Nodes, Events and a diagnosis, the odd ones first. Reads only; no
    values of environment variables are written. Exit codes: 0 everything was had, 9 something is missing."""
    from jobset_restart.cli import capturing

    return capturing.capture(
        workload.target(selected.selector, part=True), selected, into, bounds, parallel, where, shown.output
    )


@command(app, short_help="Print what a finding means and what to do about it.")
def explain(
    finding: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A finding such as JSR201, or a signal such as DX201; all without."),
    ] = None,
) -> int:
    """Print what a finding means, where the rule comes from and what to do."""
    from jobset_restart.cli import looking

    return looking.explain(finding)


@command(app)
def replay(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What --events wrote.")],
    speed: Annotated[
        float | None, typer.Option(min=0, metavar="FACTOR", help="How much faster than it was; 0: at once. Default: 1.")
    ] = None,
    *,
    drawn: options.Drawn,
) -> int:
    """Show a recorded restart again, or with --report write its timeline."""
    from jobset_restart.cli import replaying

    return replaying.replay(file, speed, drawn.report)


_TAKES_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}


@command(
    app,
    add_help_option=False,
    context_settings=_TAKES_ANYTHING,
    short_help="Run the embedded cluster, to try jsr or to rehearse.",
)
def sim(ctx: typer.Context) -> int:
    """Run the embedded cluster: try jsr, or rehearse a JobSet, without a cluster."""
    from jobset_restart.cli.programs import become

    become("jobset_restart.simulator", ctx.args)


@command(
    app,
    add_help_option=False,
    context_settings=_TAKES_ANYTHING,
    short_help="Show both ways of restarting; needs no cluster.",
)
def demo(ctx: typer.Context) -> int:
    """Show both ways of restarting, side by side, on an embedded cluster: two minutes, nothing needed."""
    from jobset_restart.cli.programs import become

    become("jobset_restart.demo", ctx.args)


def run(arguments: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Errors for the person are printed on stderr."""
    from jobset_restart import program
    from jobset_restart.errors import JsrError, told

    try:
        return program.run(app, "jsr", arguments, JsrError)
    except OSError as error:
        if error.filename is None:  # our own output: whoever opened it tells what became of it
            raise
        return program.tell(JsrError(f"{error.filename}: {error.strerror}"))
    except Exception as raised:
        code = program.tell(told(raised))
        if {"-v", "--verbose"} & set(sys.argv if arguments is None else arguments):
            traceback.print_exception(raised)
        return code
