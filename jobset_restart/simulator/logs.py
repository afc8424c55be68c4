"""pods/log: what a container printed, from a point on, and followed for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from jobset_restart.simulator.clock import Clock
from jobset_restart.simulator.controllers.kubelet import MOST_LINES
from jobset_restart.simulator.reading import number
from jobset_restart.simulator.routes import Target, is_true
from jobset_restart.simulator.store import Obj, Store, StoreError, micro_timestamp, seconds
from jobset_restart.simulator.world import World

LOOK_AGAIN = 0.3
"""Wall seconds between two looks at a container that is followed: nothing tells when a process prints."""
_FLAGS = ("previous", "follow", "timestamps")
_PARAMETERS = {"container", "tailLines", "limitBytes", "sinceSeconds", "sinceTime", *_FLAGS}
_LEAST = (
    ("tailLines", 0, "greater than or equal to 0"),
    ("sinceSeconds", 1, "greater than 0"),
    ("limitBytes", 1, "greater than 0"),
)
"""What the query's numbers may be, and how the API server says so."""
Lines = list[tuple[float, str]]


async def print_log(request: web.Request, target: Target, world: World, clock: Clock) -> web.StreamResponse:
    """The log as text. Raises StoreError 400, 404, 501."""
    query = request.query
    if unknown := sorted(set(query) - _PARAMETERS):
        raise StoreError(501, "NotImplemented", f"the embedded cluster's logs have no {', '.join(unknown)}")
    previous, follow, timestamps = (is_true(query, name) for name in _FLAGS)
    _validate(target.name, query)
    container, where = query.get("container", ""), (target.namespace, target.name)
    now, ahead = clock.now(), world.clock_ahead(*where, clock.now())
    tail = number(query, "tailLines") if "tailLines" in query and not follow else MOST_LINES
    lines = world.logs(*where, container, previous, now, tail)
    last = max((second for second, _ in lines), default=0.0)
    text = _text(_chosen(lines, query, now + ahead), timestamps)
    if not follow or previous:
        limit = number(query, "limitBytes") or len(text)
        return web.Response(body=text[:limit], content_type="text/plain")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    followed = running = _running(world.store, target, container)
    try:
        await response.write(text)
        while running == followed and followed:
            await asyncio.sleep(LOOK_AGAIN)
            running = _running(world.store, target, container)
            # Where another one took its place, this one's last words are the previous log.
            lines = world.logs(*where, container, bool(running) and running != followed, clock.now())
            fresh = [each for each in lines if each[0] > last]
            last = max((second for second, _ in fresh), default=last)
            await response.write(_text(fresh, timestamps))
    except (StoreError, ConnectionError):
        pass  # the Pod is gone, or its reader
    return response


def _validate(pod: str, query: Mapping[str, str]) -> None:
    """``ValidatePodLogOptions``. Raises StoreError 422."""
    for name, least, words in _LEAST:
        text = query.get(name)
        if text is not None and text.lstrip("-").isdecimal() and int(text) < least:
            message = f'The PodLogOptions "{pod}" is invalid: {name}: Invalid value: {text}: must be {words}'
            raise StoreError(422, "Invalid", message.removeprefix("The "))


def _chosen(lines: Lines, query: Mapping[str, str], now: float) -> Lines:
    """What sinceSeconds, sinceTime and tailLines leave."""
    since = now - number(query, "sinceSeconds") if "sinceSeconds" in query else 0.0
    if "sinceTime" in query:
        try:
            since = seconds(query["sinceTime"])
        except ValueError as error:
            raise StoreError(400, "BadRequest", f"sinceTime: {error}") from None
    lines = [each for each in lines if each[0] >= since]
    return lines[max(len(lines) - number(query, "tailLines"), 0) :] if "tailLines" in query else lines


def _text(lines: Lines, timestamps: bool) -> bytes:
    return "".join(f"{_timestamp(at)} {line}" if timestamps else line for at, line in lines).encode()


def _timestamp(at: float) -> str:
    """Nine digits, whatever they are (RFC3339NanoFixed of cri-client)."""
    return f"{micro_timestamp(at)[:-1]}000Z"


def _running(store: Store, target: Target, container: str) -> str:
    """The ID of the container that runs, "" where none does."""
    pod: Obj = store.find("pods", target.namespace, target.name) or {}
    status = pod.get("status", {})
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if "running" in each.get("state", {}) and each["name"] == (container or pod["spec"]["containers"][0]["name"]):
            return str(each["containerID"])
    return ""
