"""Where bytes of a server become objects, and where it is told in words that they cannot. No I/O."""

from __future__ import annotations

import re
import typing
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from jobset_restart.errors import Malformed
from jobset_restart.objects import NAME, ObjectList
from jobset_restart.workloads.kinds import JOBSET_NAME

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What decoding may raise: wrong JSON, wrong types, bytes that are not UTF-8 (a ValueError), numbers and times out of
range, nesting without end."""
MOST_WORDS = 300
_AT = re.compile(r"(?P<what>.*?) - at `(?P<where>.*)`", re.DOTALL)
_EXPECTED = {"matching regex": "this is not a name", "RFC3339": "this is not a time (RFC 3339)"}
"""The library's words for what a person need not know the pattern of."""


class _LooseMeta(Struct, frozen=True):
    name: Any = ""
    namespace: Any = ""
    labels: Any = None


class _Loose(Struct):
    metadata: _LooseMeta = _LooseMeta()


def decode(decoder: msgspec.json.Decoder[T], body: bytes | bytearray, path: str) -> T:
    """The object in the answer to `path`. Raises Malformed, which names the object of a list and the field at fault."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        words = _of_list(decoder.type, body) or in_words(error)
        raise Malformed(f"the answer to {path} is not what the Kubernetes API sends: {words}") from None


def in_words(error: Exception) -> str:
    """What is wrong with what could not be decoded: the field, and what it should have been."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    found = _AT.fullmatch(str(error))
    if found is None:
        return str(error)[:MOST_WORDS]
    what = next((words for mark, words in _EXPECTED.items() if mark in found["what"]), found["what"])
    field = found["where"].removeprefix("$").removeprefix(".").removeprefix("object.")  # of a watch's event
    return f"{field}: {what}"[:MOST_WORDS] if field else what[:MOST_WORDS]


def named(raw: msgspec.Raw, error: Exception) -> str:
    """The same with the name of the object, as far as that can be read."""
    name, _, _ = called(raw)
    return f"{name}: {in_words(error)}" if name else in_words(error)


def called(raw: msgspec.Raw) -> tuple[str, str, str]:
    """Name, namespace and JobSet (by its label) of an object that cannot be read otherwise, "" for what is none."""
    try:
        meta = msgspec.json.decode(raw, type=_Loose).metadata
    except UNREADABLE:
        return "", "", ""
    labels = meta.labels if isinstance(meta.labels, dict) else {}
    return _name(meta.name), _name(meta.namespace), _name(labels.get(JOBSET_NAME))


def _name(value: Any) -> str:
    return value if isinstance(value, str) and re.match(NAME, value) else ""


def _of_list(kind: Any, body: bytes | bytearray) -> str:
    """What is wrong with the first object of a list that cannot be read; "" where this is no list, or all can."""
    if typing.get_origin(kind) is not ObjectList:
        return ""
    item = msgspec.json.Decoder(typing.get_args(kind)[0])
    try:
        items = msgspec.json.decode(body, type=ObjectList[msgspec.Raw]).items
    except UNREADABLE:
        return ""
    for raw in items:
        try:
            item.decode(raw)
        except UNREADABLE as error:
            return named(raw, error)
    return ""
