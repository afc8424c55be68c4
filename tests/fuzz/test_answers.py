"""Answers and streams that are none: cut, endless, in another encoding, of another type, larger than they seem."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz
from tests.fuzz.forging import ForgedCluster, Spoil, forged_cluster
from tests.fuzz.hostile import BIDI, DIGITS, ESCAPES, MARKUP
from tests.fuzz.invariants import broken
from tests.simulation.cluster import NAME

MIB = 1024 * 1024
WORKERS = make.replicated_job("workers", pods=2, restart_policy="OnFailure", backoff_limit=make.UNLIMITED)
MANIFEST: Obj = make.jobset(NAME, WORKERS)
LOOKS: list[tuple[str, ...]] = [("status",), ("all", "-A"), ("restart", "--dry-run=server", "--in-place")]
RESTARTS = ["image", "suspend", "jobs", "signal"]
STATUS = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "gone"}


@pytest.fixture(scope="module")
def looked_at() -> Iterator[ForgedCluster]:
    with forged_cluster(MANIFEST) as found:
        yield found


# ---------------------------------------------------------------- whole answers

HEADERS = [
    "Content-Type: application/json",
    "Content-Type: text/html; charset=utf-16",
    "Content-Type: application/vnd.kubernetes.protobuf",
    "Content-Encoding: gzip",
    "Content-Encoding: deflate",
    "Content-Encoding: br",
    "Content-Encoding: \x1b[2J",
    "Transfer-Encoding: chunked",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Retry-After: 99999999999999999999",
    "Retry-After: ²".encode().decode("latin-1"),
    "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",
    "Date: Fri, 31 Dec 9999 23:59:59 GMT",
    "Date: tomorrow",
    "Location: http://127.0.0.1:1/elsewhere",
    "Set-Cookie: a=\x1b[31m",
    "Warning: 299 - " + MARKUP,
    "X: " + "y" * 9_000,
    "X\x1b: y",
]
STATUSES = ["200 OK", "200 \x1b[2J", "201 Created", "204 No Content", "206 Partial", "301 Moved", "304 Not Modified"]
STATUSES += ["401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict", "410 Gone", "418 Teapot", "422 No"]
STATUSES += ["429 Slow", "500 Oh", "503 Away", "599 What", "999 Nine", "0 Zero", "100 Continue", "101 Switching"]
LONG = "x" * 100_000
BODIES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"' + ESCAPES.encode() + b'"',
    b"<html>\x1b[31mlog in first</html>",
    b"\xff\xfe" + "{}".encode("utf-16"),
    b"[" * 300_000,
    b'{"metadata":{"continue":"again"},"items":[]}',
    b'{"metadata":{"resourceVersion":"' + BIDI.encode() + b'"},"items":[{"metadata":{}}]}',
    b'{"items":' + b"[[]]" * 10 + b"}",
    gzip.compress(b" " * 40 * MIB),
    gzip.compress(gzip.compress(b" " * 40 * MIB)),
    zlib.compress(b"{}")[:-3],
    *(json.dumps({**STATUS, "code": 403, "message": text, "reason": text}).encode() for text in (ESCAPES, BIDI, LONG)),
    json.dumps({**STATUS, "details": {"retryAfterSeconds": 10**400, "causes": [{"message": ESCAPES}]}}).encode(),
]


class Lie(NamedTuple):
    """What is made of an answer: other headers before it, another body or None for its own, `cut` after so many bytes,
    `bit` written into it at so many, and a Content-Length that differs by `off`."""

    status: str
    headers: list[str]
    body: bytes | None
    cut: int | None
    bit: tuple[int, bytes] | None
    off: int | None

    def of(self, usual: bytes) -> bytes:
        body = usual if self.body is None else self.body
        if self.cut is not None:
            body = body[: self.cut % (len(body) + 1)]
        if self.bit is not None:
            at = self.bit[0] % (len(body) + 1)
            body = body[:at] + self.bit[1] + body[at + 1 :]
        length = [] if self.off is None else [f"Content-Length: {len(body) + self.off}"]
        head = "\r\n".join([f"HTTP/1.1 {self.status}", *self.headers, *length])
        return head.encode("latin-1", "replace") + b"\r\n\r\n" + body


LIES = st.builds(
    Lie,
    st.just("200 OK") | st.sampled_from(STATUSES),
    st.lists(st.sampled_from(HEADERS), max_size=2, unique=True),
    st.none() | st.sampled_from(BODIES) | st.binary(max_size=40),
    st.none() | st.integers(0, 20_000),
    st.none() | st.tuples(st.integers(0, 20_000), st.binary(max_size=4)),
    st.none() | st.sampled_from([-1, 0, 0, 1, 10**6]),
)
NO_ANSWERS = st.binary(max_size=60) | st.sampled_from([b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x01"])
ANSWERS = st.one_of(LIES, LIES, LIES, NO_ANSWERS)
ASKED = st.sampled_from(
    ["sets/train", "/jobsets", "/jobs", "/pods", "/nodes", "/pods/", "accessreviews", "/events", ""]
)
"""What part of the path of a request has for its answer to be spoilt."""
TIMES = st.sampled_from([1, 3, 10**6])


def spoilt(lie: Lie | bytes, asked: str, times: int) -> Spoil:
    """Spoils the answers to the next requests for what is asked."""
    left = times

    def spoil(request: web.Request, answer: web.StreamResponse | None) -> bytes | None:
        nonlocal left
        if answer is None or not left or asked not in request.path:
            return None
        left -= 1
        usual = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"
        return lie if isinstance(lie, bytes) else lie.of(usual)

    return spoil


@given(lie=ANSWERS, command=st.sampled_from(LOOKS), asked=ASKED, times=TIMES)
@fuzz(150)
def test_any_answer(
    looked_at: ForgedCluster, lie: Lie | bytes, command: tuple[str, ...], asked: str, times: int
) -> None:
    looked_at.lying.spoil = spoilt(lie, asked, times)
    try:
        ran = looked_at.command(*command)
    finally:
        looked_at.lying.spoil = None
    assert not broken(ran)


@given(lie=ANSWERS, via=st.sampled_from(RESTARTS), asked=ASKED, times=TIMES, late=st.booleans())
@fuzz(60)
def test_any_answer_during_a_restart(lie: Lie | bytes, via: str, asked: str, times: int, late: bool) -> None:
    with forged_cluster(MANIFEST) as cluster:
        planned = cluster.plan("--via", via)
        cluster.forging.forge()
        cluster.lying.spoil, cluster.lying.late = spoilt(lie, asked, times), late
        ran = cluster.command("restart", "--yes", "--via", via, planned=planned)
        assert not broken(ran)


# ---------------------------------------------------------------- streams

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
POD = {"kind": "Pod", "metadata": {"name": "x", "namespace": "default", "resourceVersion": "5"}}
LINES = [
    b"",
    b"{}",
    b"null",
    b"\xff\xfe\x00",
    b'{"type":"ADDED"}',
    b'{"type":"ADDED","object":null}',
    b'{"type":"' + ESCAPES.encode() + b'","object":{}}',
    b'{"type":"BOOKMARK","object":{}}',
    b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"' + b"9" * 5000 + b'"}}}',
    b'{"type":"MODIFIED","object":' + b"[" * 100_000,
    b" " * 17 * MIB,
    b'{"type":"ADDED","object":' + json.dumps(POD).encode() + b"}",
    b'{"type":"DELETED","object":' + json.dumps(POD).encode() + b"}",
    b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"-1"}}}\r',
    *(json.dumps({"type": "ERROR", "object": {**STATUS, "message": text}}).encode() for text in (ESCAPES, LONG, "")),
    *(json.dumps({"type": "ERROR", "object": {**STATUS, "code": code}}).encode() for code in (0, 500, 401, -1)),
]


@given(
    lines=st.lists(st.sampled_from(LINES) | st.binary(max_size=30), max_size=4),
    cut=st.integers(0, 40),
    via=st.sampled_from(RESTARTS),
    watched=st.sampled_from(["/pods", "/jobs", "/jobsets", "/nodes", ""]),
    times=TIMES,
)
@fuzz(60)
def test_any_stream_of_a_watch(lines: list[bytes], cut: int, via: str, watched: str, times: int) -> None:
    body = b"\n".join([*lines, b""])
    body = body[: len(body) - cut] if cut < len(body) else body
    left = times

    def spoil(request: web.Request, answer: web.StreamResponse | None) -> bytes | None:
        nonlocal left
        if answer is not None or request.query.get("watch") != "1" or watched not in request.path or not left:
            return None
        left -= 1
        return STREAM + body

    with forged_cluster(MANIFEST) as cluster:
        planned = cluster.plan("--via", via)
        cluster.lying.spoil = spoil
        ran = cluster.command("restart", "--yes", "--via", via, planned=planned)
        assert not broken(ran), f"{via}, {watched} watched: {body[:200]!r}"


# ---------------------------------------------------------------- commands in a container


def frame(opcode: int, payload: bytes, *, length: int | None = None, flags: int = 0x80) -> bytes:
    """A WebSocket frame of a server (RFC 6455). `length` is what it claims to hold."""
    size = len(payload) if length is None else length
    head = bytes([flags | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + bytes([126]) + struct.pack(">H", size) + payload
    return head + bytes([127]) + struct.pack(">Q", size) + payload


def ended(**details: object) -> bytes:
    return b"\x03" + json.dumps({"status": "Failure", "reason": "NonZeroExitCode", **details}).encode()


FRAMES = [
    frame(2, b""),
    frame(2, b"\x01" + ESCAPES.encode()),
    frame(2, b"\x01" + b"jsr-probe " + BIDI.encode()),
    frame(2, b"\x01\xff\xfe"),
    frame(2, b"\x02" + MARKUP.encode()),
    frame(2, b"\x01" + b"x" * 70_000),
    frame(2, b"\x01" + b"x" * 2 * MIB),
    frame(2, b"\x63?"),
    frame(2, b"\xff\x01"),
    frame(2, b"\x03"),
    frame(2, b"\x03{"),
    frame(2, b"\x03" + b"[" * 100_000),
    frame(2, b'\x03{"status":"Success"}'),
    frame(2, ended(message=ESCAPES)),
    *(frame(2, ended(details={"causes": [{"reason": "ExitCode", "message": text}]})) for text in (*DIGITS, ESCAPES)),
    frame(1, b"text \x1b[2J"),
    frame(1, b"\xff"),
    frame(8, struct.pack(">H", 1000) + ESCAPES.encode()),
    frame(8, b"\x00"),
    frame(9, b"ping"),
    frame(10, b"pong"),
    frame(3, b"reserved"),
    frame(2, b"", length=1 << 62),
    frame(2, b"\x01a", flags=0),
    frame(0, b"b"),
    frame(2, b"\x01zzz", flags=0xC0),
    frame(9, b"x" * 200),
    b"\x82\xff",
    b"HTTP/1.1 400 Bad\r\n\r\n",
]


def upgraded(request: web.Request, protocol: str) -> bytes:
    key = request.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()


@given(
    frames=st.lists(st.sampled_from(FRAMES) | st.binary(max_size=12), max_size=5),
    protocol=st.sampled_from(["v5.channel.k8s.io", "v4.channel.k8s.io", "", "x\x1b"]),
    late=st.booleans(),
    times=TIMES,
)
@fuzz(60)
def test_any_frames_of_a_command(frames: list[bytes], protocol: str, late: bool, times: int) -> None:
    left = times

    def spoil(request: web.Request, answer: web.StreamResponse | None) -> bytes | None:
        nonlocal left
        wanted = answer is None and request.path.endswith("/exec")
        if not wanted or not left:
            return None
        left -= 1
        return upgraded(request, protocol) + b"".join(frames)

    with forged_cluster(MANIFEST) as cluster:
        planned = cluster.plan("--via", "signal")
        cluster.forging.forge()
        cluster.lying.spoil, cluster.lying.late = spoil, late
        ran = cluster.command("restart", "--yes", "--via", "signal", planned=planned)
        assert not broken(ran), f"{protocol!r}: {[each[:60] for each in frames]}"
