"""Lists in which one object that cannot be read does not hide the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from jobset_restart.cluster.decoding import UNREADABLE, called, in_words
from jobset_restart.errors import Malformed

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
    except Malformed:
        pass
    found = await cluster.list(path, msgspec.Raw, label_selector=label_selector, consistent=False)
    good: list[T] = []
    bad: list[Unreadable] = []
    for raw in found.items:
        try:
            good.append(msgspec.json.decode(raw, type=kind))
        except UNREADABLE as error:
            bad.append(Unreadable(*called(raw), in_words(error)))
    return good, bad
