"""An option is declared once: as a field of its group. The command line, its help and the command follow from it."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer

from jobset_restart import program
from jobset_restart.cli import options
from jobset_restart.cli.groups import before_commands, command, fill
from jobset_restart.errors import JsrError
from jobset_restart.plan import Request, Selection
from jobset_restart.restart import Options
from jobset_restart.triggers.registry import TRIGGERS


@dataclass(frozen=True, kw_only=True)
class Place:
    zone: Annotated[str | None, typer.Option("--zone", "-z", help="Which zone.")] = None


@dataclass(frozen=True, kw_only=True)
class Chosen(Place):
    kind: Annotated[Literal["a", "b"], typer.Option(help="Which kind.")] = "a"
    number: Annotated[tuple[int, ...], typer.Option("-n", "--number", help="Which numbers.")] = ()
    fast: Annotated[bool, typer.Option("--fast")] = False


@dataclass(frozen=True, kw_only=True)
class Whole:
    chosen: Chosen
    often: Annotated[int, typer.Option()] = 1


class Program:
    """A command line of three commands that notes what they were called with."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.app = program.program(name="test")

        @before_commands(self.app)
        def root(place: Place) -> int:
            return 0

        @command(self.app)
        def take(what: Annotated[str, typer.Argument()], chosen: Chosen) -> int:
            """Take it."""
            self.said.append((what, chosen))
            return len(chosen.number)

        @command(self.app)
        def carry(whole: Whole) -> int:
            self.said.append(whole)
            return 0

        @command(self.app)
        def leave(ctx: typer.Context, often: int = 1) -> int:
            self.said.append((ctx.info_name, often))
            return 0

    def run(self, *words: str) -> int:
        return program.run(self.app, "test", list(words), JsrError)


def test_a_command_is_given_its_groups_and_its_result_is_the_exit_code() -> None:
    line = Program()
    assert line.run("take", "it", "-n", "4", "--number", "5", "--kind", "b", "-z", "east") == 2
    assert line.run("take", "that") == 0
    assert line.run("leave", "--often", "3") == 0
    assert line.said == [
        ("it", Chosen(zone="east", kind="b", number=(4, 5))),
        ("that", Chosen()),
        ("leave", 3),
    ]


def test_groups_in_a_group_are_filled_in_turn() -> None:
    line = Program()
    assert line.run("carry", "--number", "5", "-z", "east", "--often", "2") == 0
    assert line.said == [Whole(chosen=Chosen(zone="east", number=(5,)), often=2)]


def test_the_help_has_what_the_fields_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert Program().run("take", "--help") == 0
    shown = capsys.readouterr().out
    for words in ("Take it.", "-z, --zone", "Which numbers.", "<a|b>", "[default: a]", "--fast"):
        assert words in shown


def test_what_stands_before_the_command_counts_as_if_it_stood_after_it() -> None:
    line = Program()
    line.run("-z", "east", "take", "it")
    line.run("-z", "east", "take", "it", "-z", "east")
    assert line.said == [("it", Chosen(zone="east"))] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-z", "east", "leave"), "`jsr leave` has no option --zone"),
        (("-z", "east", "take", "it", "-z", "west"), "--zone east before the command and --zone west after it"),
        (("take", "it", "-z", " "), "--zone was given an empty value"),
        (("-z", "", "take", "it"), "--zone was given an empty value"),
    ],
)
def test_nothing_given_is_passed_over(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = Program()
    assert line.run(*words) == 2
    assert said in capsys.readouterr().err
    assert line.said == []


# ---------------------------------------------------------------- the options of jsr


GROUPS = [
    group
    for group in vars(options).values()
    if inspect.isclass(group) and is_dataclass(group) and group.__module__.startswith(f"{options.__name__}.")
]


def types_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@pytest.mark.parametrize(
    ("kind", "groups", "converted"),
    [
        (Request, (options.How,), {"via", "signal", "fallback"}),
        (Selection, (options.Selected,), {"pods"}),
        (Options, (options.Limits,), {"timeout"}),
    ],
)
def test_an_option_has_the_type_of_what_it_fills(kind: type, groups: tuple[type, ...], converted: set[str]) -> None:
    """`fill` goes by names, where no type checker looks."""
    wanted = types_of(kind)
    given = {name: hint for group in groups for name, hint in types_of(group).items()}
    both = wanted.keys() & given.keys()
    assert both >= converted
    assert {name: given[name] for name in both - converted} == {name: wanted[name] for name in both - converted}


def test_fill_takes_what_fits_and_others_first() -> None:
    how = options.How(node_down=("node-0",), in_place=True, signal="TERM")
    asked = fill(Request, how, via="image", signal="INT", fallback=False)
    assert asked == Request(node_down=("node-0",), via="image", signal="INT")


def test_every_option_is_declared_once() -> None:
    """A group may give an option another default, but not declare it anew."""
    declared = Counter(
        name
        for group in GROUPS
        for name, written in group.__annotations__.items()
        if written.startswith("Annotated[") and "typer.Option(" in written
    )
    assert len(declared) > 20
    assert {name for name, times in declared.items() if times > 1} == set()
    for group in GROUPS:
        for name, hint in get_type_hints(group, include_extras=True).items():
            assert get_origin(hint) is Annotated, f"{group.__name__}.{name} is no option"


def test_every_trigger_can_be_asked_for() -> None:
    (literal, _) = get_args(types_of(options.How)["via"])
    assert get_args(literal) == tuple(trigger.name for trigger in TRIGGERS)


@pytest.mark.parametrize(("option", "field"), [("--group", "replicated_jobs"), ("--index", "job_indexes")])
def test_other_kinds_have_words_of_their_own_for_parts(option: str, field: str) -> None:
    names = {name: get_args(hint)[1] for name, hint in get_type_hints(options.Selected, include_extras=True).items()}
    assert option in (names[field].default, *names[field].param_decls)
