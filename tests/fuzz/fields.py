"""Every field that is decoded of a type, as a path through the JSON, found by walking the types themselves."""

from __future__ import annotations

import copy
import functools
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from jobset_restart.objects import Event, Job, JobSet, Node, Pod

KINDS: dict[str, type[Struct]] = {"jobsets": JobSet, "jobs": Job, "pods": Pod, "nodes": Node, "events": Event}
EACH = 0
"""In a path: an element of a list."""
Sort = Literal["text", "name", "time", "number", "flag", "list", "object", "any"]


class Field(NamedTuple):
    """A field of a resource: the keys that lead to it, what it should hold, and whether its type bounds it."""

    resource: str
    path: tuple[str | int, ...]
    sort: Sort
    bounded: bool

    def __str__(self) -> str:
        return f"{self.resource} {'.'.join(map(str, self.path))}"


def fields_of(resource: str) -> list[Field]:
    """The fields of a resource, those that hold others included."""
    return fields_in(KINDS[resource], resource)


def fields_in(kind: type[Struct], name: str = "") -> list[Field]:
    """The fields of any type."""
    return [Field(name, *found) for found in _walk(kind, ()) if found[0]]


def every_field() -> list[Field]:
    return [field for resource in KINDS for field in fields_of(resource)]


def _walk(
    kind: Any, path: tuple[str | int, ...], bounded: bool = False
) -> Iterator[tuple[tuple[str | int, ...], Sort, bool]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield path, "object", True
        hints = _hints(kind)
        for each in msgspec.structs.fields(kind):
            yield from _walk(hints[each.name], (*path, each.encode_name))
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from _walk(arguments[0], path, bounded=True)
    elif origin in (types.UnionType, typing.Union):
        inner = next(each for each in arguments if each is not types.NoneType)
        yield from _walk(inner, path)
    elif origin in (list, tuple):
        yield path, "list", True
        yield from _walk(arguments[0], (*path, EACH))
    else:
        yield path, _sort(kind, bounded), bounded


def _sort(kind: Any, bounded: bool) -> Sort:
    if kind is str:
        return "name" if bounded else "text"
    return {datetime: "time", bool: "flag", int: "number"}.get(kind, "any")  # type: ignore[return-value]


@functools.cache
def _hints(kind: type[Struct]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def put(obj: Any, path: tuple[str | int, ...], value: Any, *, every: bool = False) -> None:
    """Sets the field in a JSON object, to a copy of the value; what leads to it is made where it is missing. Of a list
    it is set in the first element, or in every one."""
    key, rest = path[0], path[1:]
    if not rest:
        fresh = copy.deepcopy(value) if isinstance(value, list | dict) else value
        if isinstance(key, int):
            obj[:1] = [fresh]
        else:
            obj[key] = fresh
        return
    empty: Any = [] if isinstance(rest[0], int) else {}
    if isinstance(key, int):
        if not obj:
            obj.append(empty)
        for each in obj if every else obj[:1]:
            if isinstance(each, type(empty)):  # what was forged before may be anything
                put(each, rest, value, every=every)
        return
    if not isinstance(obj.get(key), type(empty)):
        obj[key] = empty
    put(obj[key], rest, value, every=every)
