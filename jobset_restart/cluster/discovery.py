"""Which APIs the server serves (GET /apis, an APIGroupList)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from jobset_restart.errors import ApiError
from jobset_restart.objects import ApiStruct
from jobset_restart.workloads.kinds import WorkloadKind

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster


class GroupVersion(ApiStruct):
    version: str = ""


class ApiGroup(ApiStruct):
    name: str = ""
    versions: tuple[GroupVersion, ...] = ()


class ApiGroupList(ApiStruct):
    groups: tuple[ApiGroup, ...] = ()


class Served(Struct, frozen=True):
    """The versions of each API group; None where the server does not tell."""

    versions: dict[str, tuple[str, ...]] | None = None

    def has(self, kind: WorkloadKind) -> bool:
        """Whether the group and version of this kind are served, as far as is known."""
        return self.versions is None or not kind.group or kind.version in self.versions.get(kind.group, ())

    def others(self, kind: WorkloadKind) -> tuple[str, ...]:
        """The versions of the kind's group that are served in place of its own."""
        return () if self.versions is None or self.has(kind) else self.versions.get(kind.group, ())


async def served(cluster: Cluster) -> Served:
    """What the server serves, in one request. A server that does not say is taken to serve everything: what is asked of
    it then tells."""
    try:
        found = await cluster.get("/apis", ApiGroupList)
    except ApiError:
        return Served()
    return Served({group.name: tuple(each.version for each in group.versions) for group in found.groups})
