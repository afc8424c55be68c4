"""A cluster in virtual time whose API server lies: about fields of objects, or with bytes that are no answer at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from jobset_restart.simulator.encoding import Encoded, Form
from jobset_restart.simulator.profile import REALTIME
from jobset_restart.simulator.store import Obj
from tests.fuzz.fields import Field, put
from tests.fuzz.hostile import shown
from tests.fuzz.invariants import GoesRoundInCircles, Ran, Sent, watched_over
from tests.fuzz.shelf import Shelf
from tests.simulation.cluster import NAME, NAMESPACE, Listening, Request, VirtualCluster
from tests.simulation.program import Death, run
from tests.simulation.virtual import StandsStill, VirtualLoop

TIMEOUT = 120.0
Spoil = Callable[[web.Request, web.StreamResponse | None], bytes | None]
"""Given a request, the bytes that are sent for it before the connection is closed; None to answer as usual. It is asked
before the request is carried out, with None for the answer, and after, with the answer."""


class Forgery(Struct, frozen=True):
    """A field and the value it has in every answer and event. `all_of` says whether in each object of the resource
    and each element of its lists, or in one, `late` whether only once a restart has claimed the JobSet."""

    field: Field
    value: Any
    all_of: bool = False
    late: bool = False

    def __str__(self) -> str:
        return f"{self.field} = {shown(self.value)}{', in all' if self.all_of else ''}{', late' if self.late else ''}"


class Forging(Encoded):
    """Encodes objects as they are, but for what is forged."""

    def __init__(self) -> None:
        super().__init__()
        self.forgeries: tuple[Forgery, ...] = ()
        self.claimed = False
        self._victims: dict[str, str] = {}

    def forge(self, *forgeries: Forgery) -> None:
        self.forgeries, self.claimed, self._victims = forgeries, False, {}

    def whole(self, resource: str, obj: Obj) -> bytes:
        return self.forged(resource, obj, super().whole(resource, obj))

    def many(self, resource: str, objects: list[Obj], metadata: Obj, form: Form, now: float) -> bytes:
        if form.name == "table" or not any(each.field.resource == resource for each in self.forgeries):
            return super().many(resource, objects, metadata, form, now)
        head = json.dumps({"kind": "List", "apiVersion": "v1", "metadata": metadata}).encode()
        return head[:-1] + b',"items":[' + b",".join(self.whole(resource, obj) for obj in objects) + b"]}"

    def forged(self, resource: str, obj: Obj, encoded: bytes) -> bytes:
        """The object as it is answered."""
        mine = [
            each
            for each in self.forgeries
            if each.field.resource == resource and (self.claimed or not each.late) and self._is_victim(each, obj)
        ]
        if not mine:
            return encoded
        forged = json.loads(encoded)
        for each in mine:
            put(forged, each.field.path, each.value, every=each.all_of)
        return msgspec.json.encode(forged)

    def _is_victim(self, forgery: Forgery, obj: Obj) -> bool:
        name = obj["metadata"]["name"]
        return forgery.all_of or self._victims.setdefault(forgery.field.resource, name) == name


class _Listening(Listening):
    """Writes down what is sent, and spoils what it answers."""

    sent: list[Sent]
    forging: Forging
    spoil: Spoil | None = None
    shelf: Shelf | None = None
    """What is answered for a workload of a kind that the embedded cluster does not play."""
    late = False
    """Whether answers are spoilt only once a restart has claimed the JobSet."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if Request(0, request.method, request.path, request.query_string).changes and "/exec" not in request.path:
            body = await request.read()
            self.sent.append(Sent(request.method, request.path, json.loads(body) if body else None))
            self.forging.claimed = True
        if self.shelf is not None and request.method == "GET":
            shown = self.shelf.answer(request.path, self.forging.forged)
            if shown is not None:
                return web.Response(body=shown, content_type="application/json")
        spoil = self.spoil if self.forging.claimed >= self.late else None
        raw = spoil(request, None) if spoil else None
        if raw is not None:
            return self._blurt(request, raw)
        answer = await super()._handle(request)
        raw = spoil(request, answer) if spoil and not answer.prepared else None
        return answer if raw is None else self._blurt(request, raw)

    @staticmethod
    def _blurt(request: web.Request, raw: bytes) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.write(raw)
            request.transport.close()
        return web.Response()


class ForgedCluster(VirtualCluster):
    listening = _Listening

    def serve(self) -> None:
        super().serve()
        server = self.server
        assert isinstance(server, _Listening)
        self.lying = server
        self.sent = server.sent = []
        self.forging = server.forging = Forging()
        server._reader._encoded = self.forging
        server._writer._encoded = self.forging

    def command(
        self, verb: str, *options: str, planned: list[dict[str, Any]] | None = None, terminal: bool = False
    ) -> Ran:
        """Runs `jsr VERB train OPTIONS` and says what became of it. The verb `all` is a status without a name."""
        name = () if verb == "all" else (NAME,)
        argv = ("status" if verb == "all" else verb, *name, *(() if "-A" in options else ("-n", NAMESPACE)), *options)
        if verb in ("restart", "wait"):
            argv += ("--timeout", f"{TIMEOUT:.0f}s")
        return self.run(*argv, planned=planned, terminal=terminal)

    def run(
        self,
        *argv: str,
        planned: list[dict[str, Any]] | None = None,
        terminal: bool = False,
        deadline: float = TIMEOUT,
        death: Death | None = None,
    ) -> Ran:
        self.sent.clear()
        crash: BaseException | None = None
        ended = None
        began = self.now()
        with watched_over() as measured:
            try:
                ended = run(self, *argv, terminal=terminal, death=death)
            except (StandsStill, GoesRoundInCircles) as still:
                crash = still
        return Ran(
            argv=argv,
            code=ended.code if ended else None,
            stdout=ended.stdout if ended else "",
            stderr=ended.stderr if ended else "",
            crash=crash or (ended.crash if ended else None),
            seconds=self.now() - began,
            deadline=deadline,
            grew=measured.grew,
            sent=list(self.sent),
            planned=planned,
            suspended=bool((self.workload() or {}).get("spec", {}).get("suspend")),
            terminal=terminal,
        )

    def plan(self, *options: str) -> list[dict[str, Any]]:
        """The actions that a dry run shows."""
        ran = self.command("restart", *options, "--dry-run=client", "-o", "json")
        found: list[dict[str, Any]] = json.loads(ran.stdout)["actions"] if ran.stdout.strip() else []
        return found


@contextlib.contextmanager
def forged_cluster(manifest: Obj, nodes: int = 2) -> Iterator[ForgedCluster]:
    """A cluster with this JobSet, all its Pods Ready."""
    loop = VirtualLoop(1)
    loop.getaddrinfo = _no_such_host  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, _silent("jobset_restart.simulator", "aiohttp.server"):
        try:
            cluster = ForgedCluster(loop, Path(folder), nodes=nodes, profile=REALTIME, seed=1)
            cluster.settle([manifest], age=60.0)
            cluster.serve()
            yield cluster
        finally:
            asyncio.set_event_loop(None)
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


async def _no_such_host(host: Any, *_: Any, **__: Any) -> Any:
    if host == "127.0.0.1":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """What a server logs of its own lies is not said by the program."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, (level, _) in zip(loggers, before, strict=True):
            logger.setLevel(level)
