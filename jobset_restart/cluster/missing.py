"""What a 404 on a workload means: no such API, no such namespace, no such name, or one of another kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobset_restart.cluster.discovery import Served, served
from jobset_restart.errors import ApiError, Forbidden, JsrError, NotFound
from jobset_restart.names import suggestion
from jobset_restart.objects import Named
from jobset_restart.workloads.kinds import JOBSET, WORKLOAD_KINDS, WorkloadKind, kind_called, title

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

HINT_SECONDS = 5.0


def not_installed(cluster: Cluster, kind: WorkloadKind, known: Served | None = None) -> NotFound:
    """The error for an API that the cluster does not serve, or in other versions than is known here. `known` is what
    it serves, None where it was not asked."""
    others = known.others(kind) if known else ()
    if others:
        versions = ", ".join(others)
        return NotFound(
            f"the cluster at {cluster.server} serves {kind.group} as {versions} only; jsr knows {kind.kind}s of "
            f"{kind.api_version}",
            f"upgrade it: {kind.install}" if kind.install else "",
            status=404,
        )
    hint = f"install it: {kind.install}" if kind.install else ""
    return NotFound(f"the cluster at {cluster.server} has no {kind.kind} API ({kind.api_version})", hint, status=404)


async def explained(cluster: Cluster, namespace: str, name: str, kind: WorkloadKind, error: NotFound) -> ApiError:
    """The error that says what the answer `error` to a request for this workload means, and what was probably meant."""
    others = [other for other in WORKLOAD_KINDS if other is not kind]
    found = await asyncio.gather(*(_is_there(cluster, other, namespace, name) for other in others))
    hint = namesakes(name, [other for other, there in zip(others, found, strict=True) if there])
    try:
        known = await _names(cluster, namespace, kind)
    except Forbidden:
        return NotFound(error.message, hint or error.hint, status=404, reason=error.reason)
    except NotFound:
        missing = not_installed(cluster, kind, await served(cluster))
        return NotFound(missing.message, hint or missing.hint, status=404)
    if not hint and kind is JOBSET and (typed := kind_called(name)):
        hint = f"{name} is what {typed.kind}s are called: write {name}/NAME"
    none = f"namespace {namespace} has no {kind.kind}s; choose another with -n, or see `jsr status -A`"
    message = f"{kind.kind} {name} not found in namespace {namespace}"
    return NotFound(message, hint or suggestion(name, known) or none, status=404, reason="NotFound")


def namesakes(name: str, kinds: list[WorkloadKind]) -> str:
    """The hint that there are workloads of this name and of these kinds, empty where there are none."""
    if not kinds:
        return ""
    there = " and ".join(f"a {title(kind.kind, kind.group)} {name}" for kind in kinds)
    return f"there {'is' if len(kinds) == 1 else 'are'} {there}: write {' or '.join(f'{k.word}/{name}' for k in kinds)}"


async def _is_there(cluster: Cluster, kind: WorkloadKind, namespace: str, name: str) -> bool:
    """False also for a kind that is not served or may not be read: this is for a hint."""
    try:
        async with asyncio.timeout(HINT_SECONDS):
            await cluster.get(kind.path(namespace, name), Named)
    except (JsrError, TimeoutError):
        return False
    return True


async def _names(cluster: Cluster, namespace: str, kind: WorkloadKind) -> list[str]:
    listing = await cluster.list(kind.collection(namespace), Named, consistent=False)
    return [found.metadata.name for found in listing.items]
