"""Which fields objects have, and which values, without what is anybody's own: names, times, addresses, hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.agreement.recording import Line

FEW = 8
"""A field with more values than that is compared by the types of its values only."""

OWN = (
    (re.compile(r"jsr-gw[0-9a-z]*-\d+-[a-z0-9-]+"), "<namespace>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
    (re.compile(r"[0-9a-f]{32,}"), "<hash>"),
    (re.compile(r"(\d{1,3}\.){3}\d{1,3}(/\d+)?"), "<address>"),
    (re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}(?![a-z0-9])"), "-<random>"),
    (re.compile(r"\.[0-9a-f]{16}$"), ".<random>"),
    (re.compile(r"\bnode-\d+\b"), "<node>"),
)
UNREAD = {".resourceVersion": "<version>", ".fieldsV1": "<fields>"}
"""Fields of which it is only compared that they are there."""


@dataclass
class Seen:
    """What was seen of one field: its values as text, and their JSON types."""

    values: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)


def paths(lines: Iterable[Line]) -> dict[str, Seen]:
    """Every field of every object, by "RESOURCE PATH". An entry of a list is "[]", a condition "[its type]"."""
    found: dict[str, Seen] = {}
    for line in lines:
        for path, value in _walk(f"{line.resource} ", line.object):
            seen = found.setdefault(path, Seen())
            seen.types.add(type(value).__name__)
            if len(seen.values) <= 4 * FEW:
                seen.values.add(anybodys(value))
    return found


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves. An empty object or list is a leaf of its own."""
    if isinstance(value, dict) and value and not path.endswith(".fieldsV1"):
        for key, below in value.items():
            yield from _walk(f"{path}{'' if path.endswith(' ') else '.'}{_key(key)}", below)
    elif isinstance(value, list) and value:
        for entry in value:
            of_type = isinstance(entry, dict) and path.endswith((".conditions", ".addresses")) and entry.get("type")
            yield from _walk(f"{path}[{of_type or ''}]", entry)
    else:
        own = next((name for end, name in UNREAD.items() if path.endswith(end)), None)
        yield path, own or value


def _key(key: str) -> str:
    return key if key.isidentifier() else f'"{key}"'


def anybodys(value: Any) -> str:
    """A value without what is its cluster's or its run's own."""
    text = value if isinstance(value, str) else repr(value)
    if text.startswith('{"'):
        return "<document>"  # such as the record that jsr keeps on a JobSet
    for pattern, instead in OWN:
        text = pattern.sub(instead, text)
    return text


def differences(real: dict[str, Seen], embedded: dict[str, Seen]) -> Iterator[str]:
    """What clients of one side see and those of the other do not."""
    for path in sorted(real.keys() - embedded.keys()):
        yield f"field only real: {path} = {_some(real[path])}"
    for path in sorted(embedded.keys() - real.keys()):
        yield f"field only embedded: {path} = {_some(embedded[path])}"
    for path in sorted(real.keys() & embedded.keys()):
        there, here = real[path], embedded[path]
        if there.types != here.types:
            yield f"types of {path}: real {sorted(there.types)}, embedded {sorted(here.types)}"
        elif len(there.values) <= FEW and len(here.values) <= FEW and there.values != here.values:
            only_real, only_embedded = _list(there.values - here.values), _list(here.values - there.values)
            yield f"values of {path}: only real {only_real}, only embedded {only_embedded}"


def _some(seen: Seen) -> str:
    return _list(seen.values) if len(seen.values) <= FEW else f"many of {sorted(seen.types)}"


def _list(values: set[str]) -> str:
    return "[" + ", ".join(sorted(value if len(value) < 80 else value[:77] + "..." for value in values)) + "]"
