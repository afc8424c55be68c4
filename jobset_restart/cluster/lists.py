"""Lists in which one object that cannot be read does not hide the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from jobset_restart.errors import ApiError
from jobset_restart.objects import Named

if TYPE_CHECKING:
    from jobset_restart.cluster.protocol import Cluster

T = TypeVar("T")


class Unreadable(Struct, frozen=True):
    """An object of a list that is not what the API should send. `jobset` is the name in its label, "" without one;
    `name` and `namespace` are "" where not even these can be read."""

    name: str
    namespace: str
    jobset: str
    error: str


async def each_readable(
    cluster: Cluster, path: str, kind: type[T], label_selector: str = ""
) -> tuple[list[T], list[Unreadable]]:
    """The objects of a list from the API server's cache, and those that cannot be read. Raises what the transport
    raises, but for single objects that cannot be decoded."""
    try:
        return (await cluster.list(path, kind, label_selector=label_selector, consistent=False)).items, []
    except ApiError as error:
        if error.status:
            raise
    found = await cluster.list(path, msgspec.Raw, label_selector=label_selector, consistent=False)
    good: list[T] = []
    bad: list[Unreadable] = []
    for raw in found.items:
        try:
            good.append(msgspec.json.decode(raw, type=kind))
        except (ValueError, RecursionError) as error:  # msgspec's errors and a wrong encoding are ValueErrors
            bad.append(_unreadable(raw, str(error)))
    return good, bad


def _unreadable(raw: msgspec.Raw, error: str) -> Unreadable:
    try:
        meta = msgspec.json.decode(raw, type=Named).metadata
    except (ValueError, RecursionError):
        return Unreadable("", "", "", error)
    return Unreadable(meta.name, meta.namespace, meta.labels.jobset_name, error)
