"""What a capture reads of a cluster, piece by piece, as it is written: without secrets, and within bounds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import field

from jobset_restart.capture.redact import redacted, scrubbed
from jobset_restart.capture.sample import Item
from jobset_restart.cluster.exec import refusal
from jobset_restart.diagnose.commands import log_request, look
from jobset_restart.errors import JsrError, Unreachable
from jobset_restart.gathering import ANSWER_SECONDS
from jobset_restart.gathering_surroundings import NODES_ASKED_ONE_BY_ONE
from jobset_restart.objects import ApiStruct, Pod
from jobset_restart.writes import CORE, pod_path

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

LOG_LINES = 5_000
LOG_BYTES = 512 * 1024
"""Of each log the newest lines, so many and so much at most."""
TRIES = 8
"""How often fewer lines of a log are asked for until the newest fit."""
MOST_EVENTS = 50
"""Of one object, the newest."""
NODES_AT_ONCE = 16
NODE_STATUS = ("conditions", "allocatable", "capacity", "nodeInfo", "declaredFeatures")
NODE_SPEC = ("taints", "unschedulable", "providerID")

Name = tuple[str, str]
"""Kind and name of an object that an Event is about."""


class Reference(ApiStruct):
    kind: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class Said(ApiStruct):
    """core/v1 Event, as it is written."""

    type: str = ""
    reason: str = ""
    message: str = ""
    count: Any = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: Any = None
    involved_object: Reference = field(default_factory=Reference)
    reporting_component: str = ""
    source: Any = None

    @property
    def at(self) -> str:
        """When it was last said. RFC 3339 in UTC, as the API writes it, sorts as text."""
        return max(self.last_timestamp or "", self.event_time or "", self.first_timestamp or "")


class MachineMeta(ApiStruct):
    name: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


class Machine(ApiStruct):
    """A Node as it is written: neither its annotations nor the list of its images."""

    metadata: MachineMeta
    spec: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {
            "metadata": msgspec.to_builtins(self.metadata),
            "spec": {key: self.spec[key] for key in NODE_SPEC if key in self.spec},
            "status": {key: self.status[key] for key in NODE_STATUS if key in self.status},
        }


def document(value: Any) -> bytes:
    """Something of the API as a file: JSON, without secrets."""
    return msgspec.json.format(msgspec.json.encode(redacted(msgspec.to_builtins(value))), indent=2) + b"\n"


class Reader:
    """Reads pieces of one namespace. What cannot be had is a JsrError that says why."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    async def object(self, path: str) -> bytes:
        """One object, whatever its kind."""
        return document(await self._get(path, ANSWER_SECONDS))

    async def piece(self, pod: Pod, item: Item, within: float) -> tuple[bytes, str]:
        """A file of a Pod, and a remark on it where it needs one. `within` is in seconds."""
        if item.what == "pod":
            return await self._pod(pod, within)
        if item.what == "stacks":
            return await self._stacks(pod, item.container, within), ""
        return await self._log(pod.metadata.name, item.container, within, previous=item.what == "previous log")

    async def _pod(self, pod: Pod, within: float) -> tuple[bytes, str]:
        found = await self._get(pod_path(self._namespace, pod.metadata.name), within)
        another = found.get("metadata", {}).get("uid") != pod.metadata.uid
        return document(found), f"{pod.metadata.name} was replaced by another Pod of this name" if another else ""

    async def _get(self, path: str, within: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within):
                return await self._cluster.get(path, dict[str, Any])
        except TimeoutError:
            raise Unreachable(f"no answer within {within:g} s") from None

    async def _log(self, pod: str, container: str, within: float, *, previous: bool) -> tuple[bytes, str]:
        """The newest lines, as they are. The API server counts bytes from the first of them: where they do not fit,
        fewer are asked for."""
        lines = LOG_LINES
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        for _ in range(TRIES):
            path, query = log_request(self._namespace, pod, container, lines=lines, most=LOG_BYTES, previous=previous)
            body = await self._cluster.text(path, params=query, most=LOG_BYTES, timeout=max(0.1, end - loop.time()))
            if len(body) < LOG_BYTES:
                return body, ""
            if lines == 1:
                break
            lines = max(1, min(lines - 1, body.count(b"\n") * 3 // 4))
        name = "previous log" if previous else "log"
        return (
            body,
            f"{name} of {container}: the newest line has more than {LOG_BYTES // 1024} KiB, only its beginning is here",
        )

    async def _stacks(self, pod: Pod, container: str, within: float) -> bytes:
        exec_ = look(self._namespace, pod.metadata.name, container)
        result = await self._cluster.execute(exec_, timeout=within)
        if refusal(result, exec_) is not None:
            raise JsrError("there is no shell in the container")
        if "=process" not in result.stdout:
            raise JsrError(result.reason or "it ended while it was looked into")
        return scrubbed(result.stdout).encode("utf-8", "replace")

    async def events(self) -> tuple[dict[Name, list[Said]], dict[str, str]]:
        """The Events of the namespace and of Nodes, by what they are about, the newest first; and why those of
        ("Pod" or "Node") could not be read."""
        found: dict[Name, list[Said]] = defaultdict(list)
        failed: dict[str, str] = {}
        for namespace, kind, selector in (
            (self._namespace, "Pod", ""),
            ("default", "Node", "involvedObject.kind=Node"),
        ):
            path = f"{CORE}/namespaces/{namespace}/events"
            try:
                listed = await self._cluster.list(path, Said, field_selector=selector, consistent=False)
            except JsrError as error:
                failed[kind] = error.message
                continue
            for event in listed.items:
                found[event.involved_object.kind, event.involved_object.name].append(event)
        for name, said in found.items():
            found[name] = sorted(said, key=lambda event: event.at, reverse=True)[:MOST_EVENTS]
        return found, failed

    async def machines(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The Nodes of these names, those that are there. Raises Forbidden."""
        among, path = set(names), f"{CORE}/nodes"
        wanted = sorted(among)
        if len(wanted) > NODES_ASKED_ONE_BY_ONE:
            listed = (await self._cluster.list(path, Machine, consistent=False)).items
            return {each.metadata.name: each.document() for each in listed if each.metadata.name in among}
        turn = asyncio.Semaphore(NODES_AT_ONCE)

        async def one(name: str) -> Machine:
            async with turn:
                return await self._cluster.get(f"{path}/{name}", Machine)

        answers = await asyncio.gather(*(one(name) for name in wanted), return_exceptions=True)
        errors = [each for each in answers if isinstance(each, BaseException)]
        if errors and len(errors) == len(wanted):
            raise errors[0]
        return {name: each.document() for name, each in zip(wanted, answers, strict=True) if isinstance(each, Machine)}
