"""The yardstick: the same PATCHes in a bare aiohttp loop, with nothing else running."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from typing import NamedTuple

import aiohttp
import msgspec

from jobset_restart.cli.targets import Target
from jobset_restart.cluster.access import Access
from jobset_restart.events import Triggered, decode
from jobset_restart.objects import ObjectList, Pod
from jobset_restart.triggers.image import fresh, running_digest
from jobset_restart.writes import CORE, STRATEGIC_MERGE_PATCH, pod_path

IN_FLIGHT = 64
EVENTS = tempfile.gettempdir() + "/jsr-benchmark-events.jsonl"


class Sent(NamedTuple):
    writes: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.writes / self.seconds if self.seconds else 0.0


async def patch_all(kubeconfig: str, namespace: str, target: Target) -> Sent:
    """PATCHes every Pod of the workload to another reference of its image, as the image trigger does."""
    access = Access(kubeconfig, None, None)
    await access.load()
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=access.ssl or False)
    async with aiohttp.ClientSession(connector=connector, headers=access.headers()) as session:
        listing = f"{access.server}{CORE}/namespaces/{namespace}/pods?labelSelector={target.kind.label}%3D{target.name}"
        async with session.get(listing) as response:
            operation = secrets.token_hex(4)
            pods = msgspec.json.decode(await response.read(), type=ObjectList[Pod]).items
        todo = iter([(pod_path(namespace, pod.metadata.name), _body(pod, operation)) for pod in pods])

        async def work() -> None:
            for path, body in todo:
                url, headers = f"{access.server}{path}?fieldManager=jsr", {"Content-Type": STRATEGIC_MERGE_PATCH}
                async with session.patch(url, data=body, headers=headers) as answer:
                    await answer.read()
                    answer.raise_for_status()

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return Sent(len(pods), time.monotonic() - began)


def _body(pod: Pod, operation: str) -> bytes:
    statuses = {status.name: status for status in pod.status.container_statuses}
    spec = [
        {"name": c.name, "image": fresh(c.image, running_digest(c, statuses.get(c.name)), operation)}
        for c in pod.spec.containers
    ]
    return msgspec.json.encode({"metadata": {"uid": pod.metadata.uid}, "spec": {"containers": spec}})


def triggered(path: str) -> Sent:
    """How many writes an event file tells of, and in what time."""
    with open(path, "rb") as file:
        times = [event.time for event in map(decode, file) if isinstance(event, Triggered)]
    return Sent(len(times), max(times) - min(times)) if times else Sent(0, 0.0)
