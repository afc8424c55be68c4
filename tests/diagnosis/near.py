"""A cluster without a network: what a diagnosis asks is read from the World in the same process, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from jobset_restart.cluster.exec import EXEC_SECONDS, ExecResult
from jobset_restart.cluster.protocol import PAGE, Listing
from jobset_restart.errors import Forbidden, Invalid, JsrError, NotFound, Unreachable
from jobset_restart.simulator.routes import target_of
from jobset_restart.simulator.selectors import field_selector, label_selector
from jobset_restart.simulator.store import StoreError
from jobset_restart.writes import Exec, Permission
from tests.simulation.cluster import NAMESPACE, VirtualCluster

T = TypeVar("T")
ANSWERS = 0.005
"""Seconds an answer takes."""


class NearCluster:
    """The part of the Cluster protocol that reads."""

    context = "embedded"
    namespace = NAMESPACE
    server = "http://embedded"
    user = "admin"

    def __init__(self, cluster: VirtualCluster) -> None:
        self._world, self._loop = cluster.world, cluster.loop
        self._began = cluster.world.now - cluster.loop.time()

    def on_retry(self, request: str, reason: str, delay: float) -> None:
        """Nothing is tried again."""

    def now(self) -> float:
        now = self._began + self._loop.time()
        self._world.run_until(now)
        return now

    async def get(self, path: str, type: type[T], *, params: Mapping[str, str] | None = None) -> T:  # noqa: A002
        del params
        await asyncio.sleep(ANSWERS)
        self.now()
        target = target_of(path)
        assert target is not None
        found = self._world.store.find(target.resource, target.namespace, target.name)
        if found is None:
            raise NotFound(f"{path} not found", status=404, reason="NotFound")
        return msgspec.convert(found, type)

    async def list(
        self,
        path: str,
        item: type[T],
        *,
        label_selector: str = "",
        field_selector: str = "",
        consistent: bool = True,
        limit: int = PAGE,
    ) -> Listing[T]:
        del consistent, limit
        await asyncio.sleep(ANSWERS)
        self.now()
        target = target_of(path)
        assert target is not None
        by_label, by_field = _matches(target.resource, label_selector, field_selector)
        found = self._world.store.list(
            target.resource, target.namespace or None, lambda obj: by_label(obj) and by_field(obj)
        )
        return Listing([msgspec.convert(each, item) for each in found], str(self._world.store.resource_version))

    async def text(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        most: int,
        timeout: float = EXEC_SECONDS,  # noqa: ASYNC109
    ) -> bytes:
        del timeout
        await asyncio.sleep(ANSWERS)
        target, query = target_of(path), params or {}
        assert target is not None
        try:
            now, tail = self.now(), int(query.get("tailLines", 1000))
            lines = self._world.logs(target.namespace, target.name, query.get("container", ""), False, now, tail)
        except StoreError as error:
            raise _error(error) from None
        text = "".join(f"{_timestamp(at)} {line}" for at, line in lines).encode()
        return text[: min(most, int(query.get("limitBytes", most)))]

    async def execute(self, exec_: Exec, *, timeout: float = EXEC_SECONDS) -> ExecResult:  # noqa: ASYNC109
        await asyncio.sleep(ANSWERS)
        self.now()
        target = target_of(exec_.path)
        assert target is not None
        try:
            out, err, code = self._world.execute(target.namespace, target.name, exec_.container, [*exec_.command])
        except StoreError as error:
            if "dial tcp" in error.message:
                await asyncio.sleep(timeout)  # a machine that is off refuses nothing
                raise Unreachable(f"exec took longer than {timeout:g} s") from None
            return ExecResult(None, "", "", error.message)
        return ExecResult(code, out.decode(), err.decode(), "")

    async def allowed(self, permission: Permission, namespace: str, name: str = "") -> bool:
        del permission, namespace, name
        return True


def _matches(resource: str, labels: str, fields: str) -> tuple[Any, Any]:
    return (
        label_selector(labels) if labels else lambda _obj: True,
        field_selector(resource, fields) if fields else lambda _obj: True,
    )


def _error(error: StoreError) -> JsrError:
    kinds: dict[int, type[Any]] = {400: Invalid, 403: Forbidden, 404: NotFound}
    if error.code in kinds:
        found: JsrError = kinds[error.code](error.message, status=error.code, reason=error.reason)
        return found
    return Unreachable(error.message)


def _timestamp(at: float) -> str:
    from jobset_restart.simulator.store import micro_timestamp

    return f"{micro_timestamp(at)[:-1]}000Z"
