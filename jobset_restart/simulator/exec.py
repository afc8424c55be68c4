"""pods/exec: one command, its streams over a WebSocket (v5.channel.k8s.io, v4.channel.k8s.io)."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from jobset_restart.simulator.clock import Clock
from jobset_restart.simulator.encoding import encode, status_of
from jobset_restart.simulator.routes import Target, is_true
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.world import World

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
"""The first byte of a frame. CLOSE is followed by the channel that ends (v5 only)."""
STDIN_LIMIT = 1 << 20
_FRAME = 32 * 1024
_OPEN_SECONDS = 600


async def execute(request: web.Request, target: Target, world: World, clock: Clock) -> web.StreamResponse:
    """Upgrade, run the command in the model, send what it printed and how it ended.

    Raises StoreError 400, 404, 500 or 501 before the upgrade; after it, errors go down the error channel.
    """
    query = request.query
    command = query.getall("command", [])
    pod = world.store.get("pods", target.namespace, target.name)
    if not command:
        raise StoreError(400, "BadRequest", "you must specify at least 1 container, and the command to run in it")
    if is_true(query, "tty"):
        raise StoreError(501, "NotImplemented", "the embedded cluster has no terminals: exec without a tty")
    container = query.get("container") or _default_container(pod)
    if request.headers.get("Upgrade", "").lower().startswith("spdy"):
        # kubectl asks again this way when a WebSocket was refused, and shows only what this answer says.
        _run(world, clock, target, container, ["true"], b"")
        raise StoreError(501, "NotImplemented", "the embedded cluster speaks exec over WebSockets, not SPDY")
    socket = _socket(request)
    wants_stdin = is_true(query, "stdin")
    if wants_stdin and V5 not in request.headers.get("Sec-WebSocket-Protocol", ""):
        message = f"the embedded cluster takes stdin over {V5} only, which can say where it ends"
        raise StoreError(501, "NotImplemented", message)
    await clock.sleep(world.profile.exec)
    cut = await _suffer(world, clock, target)
    protocol = socket.can_prepare(request).protocol
    stdin = b""
    if wants_stdin:
        await _open(socket, request)
    try:
        if wants_stdin:
            stdin = await _stdin(socket)
        stdout, stderr, code = _run(world, clock, target, container, command, stdin)
        status = _ended(code, command, protocol)
    except StoreError as error:
        if not wants_stdin and "causes" not in error.details and error.code != 501:
            raise  # the kubelet's own, before it upgrades; the runtime's come after
        stdout, stderr, status = b"", b"", _failed(error, protocol)
    if not wants_stdin:
        await _open(socket, request)
    if cut and request.transport is not None:
        request.transport.abort()
        return socket
    await _finish(socket, request, stdout, stderr, status)
    return socket


async def _suffer(world: World, clock: Clock, target: Target) -> bool:
    """What a fault does to a command: whether it is cut off from its end. Raises StoreError 500."""
    fault = world.faults.exec(target.named("create"), clock.now())
    if fault is None:
        return False
    if fault.fault.kind == "exec-hang":
        await clock.sleep(fault.ends - clock.now())
    if fault.fault.kind != "exec-cut":
        raise StoreError(500, "InternalError", "error dialing backend: dial tcp: i/o timeout")
    return True


def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=(V5, V4), max_msg_size=STDIN_LIMIT, timeout=1.0)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise StoreError(400, "BadRequest", "Upgrade request required")
    if not socket.can_prepare(request).protocol:
        asked = request.headers.get("Sec-WebSocket-Protocol", "none")
        raise StoreError(400, "BadRequest", f"no known WebSocket protocol in {asked!r}: there are {V5} and {V4}")
    return socket


def _default_container(pod: Obj) -> str:
    """The container a request without one means (pods with several need the annotation; kubectl reads it itself)."""
    containers = pod["spec"]["containers"]
    if len(containers) > 1:
        names = " ".join(each["name"] for each in containers)
        message = f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{names}]"
        raise StoreError(400, "BadRequest", message)
    return str(containers[0]["name"])


def _run(
    world: World, clock: Clock, target: Target, container: str, command: list[str], stdin: bytes
) -> tuple[bytes, bytes, int]:
    clock.writing()
    return world.execute(target.namespace, target.name, container, command, stdin)


async def _stdin(socket: web.WebSocketResponse) -> bytes:
    """Everything the client sends until it closes the channel. Raises StoreError 413 for more than fits."""
    received = b""
    async with asyncio.timeout(_OPEN_SECONDS):
        async for message in socket:
            if message.type != WSMsgType.BINARY or message.data == bytes((CLOSE, STDIN)):
                break
            if message.data[:1] == bytes((STDIN,)):
                received += message.data[1:]
            if len(received) > STDIN_LIMIT:
                raise StoreError(413, "RequestEntityTooLarge", f"more than {STDIN_LIMIT} bytes on stdin")
    return received


async def _open(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Upgrade; an empty frame tells the client that the streams are there (wsstream)."""
    await socket.prepare(request)
    channel = STDOUT if is_true(request.query, "stdout") else STDERR
    await socket.send_bytes(bytes((channel,)))


async def _finish(
    socket: web.WebSocketResponse, request: web.Request, stdout: bytes, stderr: bytes, status: Obj
) -> None:
    for channel, name, output in ((STDOUT, "stdout", stdout), (STDERR, "stderr", stderr)):
        if is_true(request.query, name):
            for start in range(0, len(output), _FRAME):
                await socket.send_bytes(bytes((channel,)) + output[start : start + _FRAME])
    await socket.send_bytes(bytes((ERROR,)) + encode(status))
    await socket.close()


def _ended(code: int, command: list[str], protocol: str | None) -> Obj:
    """How a command ended. Under v5 the API server translates for the kubelet, and says it in its own words."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    words = f"command terminated with exit code {code}"
    if protocol != V5:
        words = f"error executing command [{' '.join(command)}], exit code {code}"
    message = f"command terminated with non-zero exit code: {words}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    status: Obj = {"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode"}
    return status | {"details": {"causes": causes}}


def _failed(error: StoreError, protocol: str | None) -> Obj:
    """A command that did not start. Under v5 the API server wraps the kubelet's Status in another one."""
    if protocol == V5 and "causes" in error.details:
        causes = {"causes": [{"message": error.message}]}
        error = StoreError(error.code, error.reason, f"Internal error occurred: {error.message}", causes)
    return status_of(error)
