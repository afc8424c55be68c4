"""Values that nobody would write by accident, by what the field should hold. Every one of them broke something once, or
is a sibling of one that did."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b5m\x00\x7f\r\n\t"
BIDI = "\u202egnp.exe\u2066\u200b\u2028\ufeff"
MARKUP = "[bold red]boom[/] [link=https://evil.example]x[/link] :skull: {0} %s"
DIGITS = ["²", "٣", "９", "1" * 5000, "9" * 20, "-1", "+1", "1_0", " 7", "0x10", "1e3", "1.5"]
PLACES = ["../../nodes?x=#", "a/b", ".", "..", "%2f%00", "a b", "a\nb", "a,b=c!=d"]
TIMES = [
    "tomorrow",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-02-30T00:00:00Z",
    "2026-13-01T25:61:61Z",
    "0000-00-00T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "2026-W01-1T00:00:00Z",
    "٢٠٢٦-01-01T00:00:00Z",
    "2026-01-01T00:00:00." + "9" * 5000 + "Z",
    "20260101T000000Z",
    "1767225600",
]
INDEXES = [
    "0-2147483647",
    "5-1",
    "0,0,0",
    "0-",
    "-",
    ",,,",
    "0-1-2",
    "x",
    "²-³",
    ",".join(map(str, range(0, 20_000, 2))),
]
IMAGES = [
    "@evil.example/x:1",
    "docker.io/library/busybox@sha256:" + "d" * 63,
    "evil.example/busybox@sha256:" + "d" * 64,
    "docker-pullable://docker.io/library/busybox@sha256:" + "d" * 64,
    "@" * 100,
]
RECORDS = [
    "{}",
    "[]",
    "null",
    '{"id":"x"}',
    '{"id":7,"state":{}}',
    '{"id":"op1","before":{"worker":"²"}}',
    '{"id":"op1","before":{"worker":1e400}}',
    '{"id":"op1","state":"running","heartbeat":"9999-12-31T23:59:59Z","owner":"\\u001b[2J"}',
    '{"id":"op1","state":"running","phase":"suspending","heartbeat":"2020-01-01T00:00:00Z","attempt":-99999999}',
    '{"id":"op1","state":"detached","trigger":"pods","started":"2026-01-01T00:00:00Z","lost":["workers/0/0-2147483647"]}',
    "[" * 5_000,
]
TEXTS = [
    ESCAPES,
    BIDI,
    MARKUP,
    "",
    " ",
    "é" * 70_000,
    "\U0001f480" * 300,
    "True",
    *DIGITS,
    *PLACES,
    *TIMES[:4],
    *INDEXES,
    *IMAGES,
    *RECORDS,
]
BIG = [2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30), 10**400]
NUMBERS: list[Any] = [0, -1, 1, 7, *BIG, 1.5, -0.0, 1e308]
DEEP = Raw(b"[" * 20_000 + b"]" * 20_000)
DEEPER = Raw(b'{"a":' * 200_000 + b"1" + b"}" * 200_000)
WRONG_ENCODING = Raw(b'"\xff\xfe\x80"')
LONE_SURROGATE = Raw(b'"\\ud800x"')
MANY_DIGITS = Raw(b"9" * 5000)
TOO_LARGE_A_FLOAT = Raw(b"1e400")
ANYTHING: list[Any] = [
    None,
    True,
    "x",
    5,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": None},
    {"a": {"b": [1, "x", None]}},
    DEEP,
    DEEPER,
    WRONG_ENCODING,
    LONE_SURROGATE,
    MANY_DIGITS,
    TOO_LARGE_A_FLOAT,
]
LISTS: list[Any] = [[], [{}] * 2_000, ["x"] * 2_000, [None], [[]], [0, -1, 10**30], {"a": 1}]
OBJECTS: list[Any] = [{}, {"": {}}, {"name": ESCAPES}, {"type": BIDI, "status": MARKUP, "reason": ESCAPES}]
POLICIES: list[Any] = [
    {"rules": None},
    {"rules": [None]},
    {"rules": 7},
    {"rules": [{"action": 5, "onExitCodes": []}]},
    {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": ["x", None, 10**400]}}]},
    {"rules": [{"action": "Ignore", "onPodConditions": [None, {"type": 1}]}]},
]
_BY_SORT: dict[str, list[Any]] = {
    "text": TEXTS,
    "name": TEXTS,
    "time": [*TIMES, ESCAPES, BIDI, MARKUP, ""],
    "number": NUMBERS,
    "flag": ["true", 1, 0, "false"],
    "list": LISTS,
    "object": OBJECTS,
    "any": [*OBJECTS, *LISTS, *POLICIES, *NUMBERS, ESCAPES],
}


def values_for(sort: str) -> list[Any]:
    """Values for a field of this sort, those that are of a wrong type included."""
    return [*_BY_SORT[sort], *ANYTHING]


def shown(value: Any) -> str:
    """The value in few words, for a message."""
    text = bytes(value)[:60].decode(errors="replace") if isinstance(value, Raw) else repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
