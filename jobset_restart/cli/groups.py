"""Options that belong together are declared once, as the fields of a frozen dataclass; a command takes the dataclass.

    @dataclass(frozen=True, kw_only=True)
    class Where:
        namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")] = None

    @command(app)
    def status(where: Where) -> int: ...

Typer is given a parameter for each field and the command the dataclass, filled. A field that is a dataclass itself is
filled in turn. Options that the program itself takes may stand before the command, as with kubectl, or after it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from jobset_restart.errors import UsageError

T = TypeVar("T")
Command = Callable[..., int]
"""What a command does; it returns the exit code."""


def command(app: typer.Typer, **settings: Any) -> Callable[[Command], Command]:
    """Registers a function as a command of its name. Each of its parameters is a typer.Context, an option or argument
    as Typer takes them, or a dataclass of those."""

    def register(function: Command) -> Command:
        app.command(**settings)(_spread(function, _merged))
        return function

    return register


def before_commands(app: typer.Typer, **settings: Any) -> Callable[[Command], Command]:
    """Registers the function whose options may stand before every command."""

    def register(function: Command) -> Command:
        app.callback(**settings)(_spread(function, lambda _, values: values))
        return function

    return register


def fill(kind: type[T], *groups: object, **others: Any) -> T:
    """An object made of the options of these groups: each of its fields that a group has by the same name, and
    `others`, which count first."""
    wanted = set(get_type_hints(kind))
    found = {name: value for group in groups for name, value in vars(group).items()}
    return kind(**{name: value for name, value in found.items() if name in wanted} | others)


# ---------------------------------------------------------------- dataclasses, as Typer sees them


def _spread(function: Command, given: Callable[[typer.Context, dict[str, Any]], dict[str, Any]]) -> Callable[..., None]:
    """The function with a parameter for each field of the dataclasses it takes."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    asked = inspect.signature(function).parameters
    parameters: dict[str, inspect.Parameter] = {"ctx": _parameter("ctx", typer.Context)}
    for name, hint in hints.items():
        if is_dataclass(hint):
            parameters |= _parameters(hint)
        elif hint is not typer.Context:
            parameters[name] = _parameter(name, hint, asked[name].default)

    @functools.wraps(function)
    def spread(ctx: typer.Context, **values: Any) -> None:
        values = given(ctx, {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
        values |= {name: ctx for name, hint in hints.items() if hint is typer.Context}
        code = function(
            **{name: _of(hint, values) if is_dataclass(hint) else values[name] for name, hint in hints.items()}
        )
        if code:
            raise typer.Exit(code)

    spread.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    spread.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return spread


def _parameters(group: Any) -> dict[str, inspect.Parameter]:
    """A parameter for each field of the dataclass and of the dataclasses in it."""
    types = get_type_hints(group, include_extras=True)
    found: dict[str, inspect.Parameter] = {}
    for field in fields(group):
        if is_dataclass(types[field.name]):
            found |= _parameters(types[field.name])
        else:
            found[field.name] = _parameter(field.name, types[field.name], _default(field.default))
    return found


def _of(group: Any, values: dict[str, Any]) -> object:
    types = get_type_hints(group)
    return group(
        **{
            field.name: _of(types[field.name], values) if is_dataclass(types[field.name]) else values[field.name]
            for field in fields(group)
        }
    )


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter by name. Typer's word for an option that may be repeated is list."""
    kind, *about = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if get_origin(kind) is tuple:
        annotation = Annotated[(list[get_args(kind)[0]], *about)]  # type: ignore[misc]
        default = list(default) if isinstance(default, tuple) else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(value: Any) -> Any:
    return inspect.Parameter.empty if value is MISSING else value


# ---------------------------------------------------------------- before the command and after it


def _merged(ctx: typer.Context, after: dict[str, Any]) -> dict[str, Any]:
    """The options of the command, with those that stand before it. Raises UsageError for one before it that it does
    not have, for two that contradict each other, and for empty values."""
    first, known = ctx.find_root(), {parameter.name: parameter for parameter in ctx.command.params}
    values = dict(after)
    for parameter in first.command.params:
        name = parameter.name or ""
        if first is ctx or not _was_given(first, name):
            continue
        option, value = _called(parameter.opts), first.params[name]
        if name not in known:
            raise UsageError(f"`jsr {ctx.info_name}` has no option {option}", f"see `jsr {ctx.info_name} --help`")
        if _was_given(ctx, name) and value != after[name]:
            raise UsageError(
                f"{option} {value} before the command and {option} {after[name]} after it contradict each other",
                "nothing was done: give it once",
            )
        values[name] = value
    for name, parameter in known.items():
        if parameter.param_type_name == "option" and name in values and _is_empty(values[name]):
            raise UsageError(
                f"{_called(parameter.opts)} was given an empty value; nothing was changed",
                "leave it out, or check the variable it comes from",
            )
    return values


def _is_empty(value: Any) -> bool:
    """An empty value comes from a variable that is not set. Taken for no value at all it would restart more than was
    meant, ask another cluster, or begin anew what was to be carried on."""
    values: Iterable[Any] = value if isinstance(value, tuple) else (value,)
    return any(isinstance(each, str) and not each.strip() for each in values)


def _was_given(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _called(names: Iterable[str]) -> str:
    """The long name of an option."""
    return max(names, key=len)
