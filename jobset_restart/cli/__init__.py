"""The command line: options in, exit code out. Nothing is decided here, and nothing heavy is imported before it is
needed."""

from __future__ import annotations

import sys
import traceback
from enum import StrEnum
from typing import Annotated

import typer

from jobset_restart.cli import complete
from jobset_restart.program import program

app = program(
    name="jsr",
    help="Restart a Kubernetes JobSet: in place in seconds, or by recreating its Pods. Exit codes: 0 all ready, "
    "1 error, 2 usage, 3 refused or declined, nothing changed, 4 some slots did not come back, 5 the JobSet failed or "
    "finished, 6 superseded, 124 deadline, 130 interrupted.",
    no_args_is_help=True,
)


class Form(StrEnum):
    table = "table"
    wide = "wide"
    json = "json"
    yaml = "yaml"
    name = "name"


class TriggerName(StrEnum):
    native = "native"
    image = "image"
    signal = "signal"
    suspend = "suspend"
    jobs = "jobs"
    pods = "pods"


class DryRun(StrEnum):
    none = "none"
    client = "client"
    server = "server"


class Fallback(StrEnum):
    recreate = "recreate"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The JobSet.", autocompletion=complete.jobset_names)]
AnyName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The JobSet; all of the namespace without.", autocompletion=complete.jobset_names
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Default: the context's.", autocompletion=complete.namespaces
    ),
]
Context = Annotated[
    str | None, typer.Option(metavar="NAME", help="The kubeconfig context to use.", autocompletion=complete.contexts)
]
Kubeconfig = Annotated[str | None, typer.Option(metavar="FILE", help="The kubeconfig file to use.")]
As = Annotated[str | None, typer.Option("--as", metavar="USER", help="Act as this user (impersonation).")]
Output = Annotated[
    Form | None, typer.Option("--output", "-o", help="The form of the result on stdout. Default: table.")
]
All = Annotated[bool, typer.Option("-A", "--all-namespaces", help="JobSets of all namespaces.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: every finding, every retry.")]


SHARED = ("--namespace", "--context", "--kubeconfig", "--as", "--output")
"""What every command that looks at a cluster takes, before its name or after it."""


def _version(wanted: bool) -> None:
    if wanted:
        from jobset_restart import __version__

        typer.echo(f"jsr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    namespace: Namespace = None,
    all_namespaces: All = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_: As = None,
    output: Output = None,
    verbose: Verbose = False,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    from jobset_restart.cli.shared import Before

    ctx.obj = Before(
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        impersonate=as_,
        output=output.value if output else None,
        all_namespaces=all_namespaces,
        verbose=verbose,
    )


@app.command()
def restart(
    ctx: typer.Context,
    name: Name,
    in_place: Annotated[bool, typer.Option("--in-place", help="Keep the Pods: restart their containers.")] = False,
    recreate: Annotated[bool, typer.Option("--recreate", help="Make new Pods.")] = False,
    via: Annotated[TriggerName | None, typer.Option(help="Use this trigger instead of the plan's choice.")] = None,
    container: Annotated[
        list[str], typer.Option("-c", "--container", metavar="NAME", help="Only this container (repeatable).")
    ] = [],  # noqa: B006
    signal: Annotated[
        str | None, typer.Option(metavar="SIGNAL", help="The signal for --via signal, such as TERM.")
    ] = None,
    node_down: Annotated[
        list[str], typer.Option("--node-down", metavar="NODE", help="Assert that this machine is off (repeatable).")
    ] = [],  # noqa: B006
    allow: Annotated[
        list[str], typer.Option("--allow", metavar="ID", help="Let this blocker through, such as JSR201 (repeatable).")
    ] = [],  # noqa: B006
    replicated_job: Annotated[
        list[str], typer.Option(metavar="NAME", help="Only this ReplicatedJob (repeatable).")
    ] = [],  # noqa: B006
    job_index: Annotated[list[int], typer.Option(metavar="INDEX", help="Only Jobs of this index (repeatable).")] = [],  # noqa: B006
    pod: Annotated[list[str], typer.Option(metavar="NAME", help="Only this Pod (repeatable).")] = [],  # noqa: B006
    node: Annotated[list[str], typer.Option(metavar="NODE", help="Only Pods on this node (repeatable).")] = [],  # noqa: B006
    selector: Annotated[
        str | None, typer.Option("-l", "--selector", metavar="LABELS", help="Only Pods with these: a=b,c.")
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="So many slots go first, the rest when they are back. Default: 1 where unproven."
        ),
    ] = None,
    fallback: Annotated[Fallback | None, typer.Option(help="If it cannot be done in place: recreate.")] = None,
    dry_run: Annotated[
        DryRun, typer.Option(help="Show the plan and change nothing; server: also let it check.")
    ] = DryRun.none,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed without a terminal.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Deadline for everything, such as 90s or 10m.")
    ] = "10m",
    min_ready_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="How long a Pod must stay Ready to count. Default: 0, longer after a crash."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is back.")] = True,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Carry on this operation.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many requests in flight.")
    ] = None,
    events: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write every event to this new file, JSON lines.")
    ] = None,
    events_append: Annotated[
        bool, typer.Option("--events-append", help="Add to the file of --events if there is one.")
    ] = False,
    output: Output = None,
    verbose: Verbose = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_: As = None,
) -> None:
    """Restart a JobSet. Without --in-place or --recreate the plan chooses; --dry-run=client shows what it would do."""
    from jobset_restart.cli import restarting, shared
    from jobset_restart.cli.wish import Wish, jobset_name

    shared.refuse_before(ctx, *SHARED, "--verbose")
    wish = Wish(
        name=jobset_name(name),
        in_place=in_place,
        recreate=recreate,
        via=via.value if via else "",
        containers=tuple(container),
        signal=signal,
        node_down=tuple(node_down),
        allow=tuple(allow),
        replicated_jobs=tuple(replicated_job),
        job_indexes=tuple(job_index),
        pods=tuple(pod),
        nodes=tuple(node),
        selector=selector,
        canary=canary,
        fallback=fallback is not None,
        dry_run=dry_run.value,
        yes=yes,
        timeout=timeout,
        min_ready_seconds=min_ready_seconds,
        wait=wait,
        resume=resume,
        concurrency=concurrency,
        events=events,
        events_append=events_append,
        output=shared.output(ctx, output),
        verbose=verbose or shared.before(ctx).verbose,
    )
    _finish(restarting.restart(wish, shared.where(ctx, namespace, context, kubeconfig, as_)))


@app.command(short_help="Show JobSets: what runs, what does not, and why.")
def status(
    ctx: typer.Context,
    name: AnyName = None,
    all_namespaces: All = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Show it again whenever it changes.")] = False,
    output: Output = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_: As = None,
) -> None:
    """Show JobSets: what runs, what does not and why, and what a restart would do."""
    from jobset_restart.cli import looking, shared
    from jobset_restart.cli.wish import jobset_name

    shared.refuse_before(ctx, *SHARED, "--all-namespaces")
    where = shared.where(ctx, namespace, context, kubeconfig, as_)
    everywhere = all_namespaces or shared.before(ctx).all_namespaces
    known = None if name is None else jobset_name(name)
    _finish(looking.status(known, where, all_namespaces=everywhere, watch=watch, form=shared.output(ctx, output)))


@app.command(short_help="Wait until every Pod is Ready and no restart runs.")
def wait(
    ctx: typer.Context,
    name: Name,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long at most, such as 90s or 10m.")] = "10m",
    output: Output = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_: As = None,
) -> None:
    """Wait until every Pod is Ready and no restart is under way; 5 if the JobSet is over, 124 if it takes too long."""
    from jobset_restart.cli import looking, shared
    from jobset_restart.cli.wish import jobset_name, timeout_seconds

    shared.refuse_before(ctx, *SHARED)
    where = shared.where(ctx, namespace, context, kubeconfig, as_)
    form = shared.output(ctx, output)
    _finish(looking.wait(jobset_name(name), where, timeout=timeout_seconds(timeout), form=form))


@app.command(short_help="Print what a finding means and what to do about it.")
def explain(
    ctx: typer.Context,
    finding: Annotated[str | None, typer.Argument(metavar="ID", help="A finding such as JSR201; all without.")] = None,
) -> None:
    """Print what a finding means, where the rule comes from and what to do."""
    from jobset_restart.cli import looking, shared

    shared.refuse_before(ctx)
    _finish(looking.explain(finding))


@app.command()
def replay(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What --events wrote.")],
    speed: Annotated[
        float, typer.Option(min=0, metavar="FACTOR", help="How much faster than it was; 0: at once.")
    ] = 1.0,
) -> None:
    """Show a recorded restart again."""
    from jobset_restart.cli import replaying, shared

    shared.refuse_before(ctx)
    _finish(replaying.replay(file, speed))


_TAKES_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}


@app.command(
    add_help_option=False,
    context_settings=_TAKES_ANYTHING,
    short_help="Run the embedded cluster, to try jsr or to rehearse.",
)
def sim(ctx: typer.Context) -> None:
    """Run the embedded cluster: try jsr, or rehearse a JobSet, without a cluster."""
    from jobset_restart.cli import shared
    from jobset_restart.cli.programs import become

    shared.refuse_before(ctx)
    become("jobset_restart.simulator", ctx.args)


@app.command(
    add_help_option=False,
    context_settings=_TAKES_ANYTHING,
    short_help="Show both ways of restarting; needs no cluster.",
)
def demo(ctx: typer.Context) -> None:
    """Show both ways of restarting, side by side, on an embedded cluster: two minutes, nothing needed."""
    from jobset_restart.cli import shared
    from jobset_restart.cli.programs import become

    shared.refuse_before(ctx)
    become("jobset_restart.demo", ctx.args)


def _finish(code: int) -> None:
    if code:
        raise typer.Exit(code)


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
