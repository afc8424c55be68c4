"""The seam to a cluster: everything that is asked of one, whatever stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from jobset_restart.cluster.exec import EXEC_SECONDS, ExecResult
from jobset_restart.cluster.watch import WatchBatch
from jobset_restart.errors import JsrError
from jobset_restart.writes import Action, Exec, Permission, Write

T = TypeVar("T")

PAGE = 500


class Listing(Struct, Generic[T]):
    """Everything a LIST found; a WATCH from `resource_version` misses nothing."""

    items: list[T]
    resource_version: str


class ActionResult(Struct, frozen=True):
    """How one action went. `error` is None where it was accepted."""

    error: JsrError | None = None


class Cluster(Protocol):
    """One cluster as one user sees it. Every method may raise the errors of jobset_restart.errors.

    `context`, `namespace` (the context's default), `server` (URL) and `user` name it. `on_retry(request, reason,
    delay)` is told of every request that is tried again after `delay` seconds.
    """

    on_retry: Callable[[str, str, float], None]

    @property
    def context(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def server(self) -> str: ...

    @property
    def user(self) -> str: ...

    def now(self) -> float:
        """Seconds since the epoch by the API server's clock."""

    async def get(self, path: str, type: type[T], *, params: Mapping[str, str] | None = None) -> T:  # noqa: A002
        """The object at `path`. Raises NotFound where there is none."""

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
        """Every object. `consistent` reads what is really there; without it, what the API server has in its cache."""

    async def send(
        self,
        write: Write,
        *,
        dry_run: bool = False,
        type: type[T] | None = None,  # noqa: A002
        deadline: float | None = None,
    ) -> T | None:
        """Sends one write and returns the object it answers with, if a type is given; None also where an earlier try
        had deleted it already. `deadline` is seconds since the epoch."""

    async def allowed(self, permission: Permission, namespace: str, name: str = "") -> bool:
        """Whether this user has the permission in the namespace (SelfSubjectAccessReview)."""

    async def send_all(
        self,
        actions: Sequence[Action],
        on_done: Callable[[Action, ActionResult], None],
        *,
        concurrency: int | None = None,
        stop: asyncio.Event | None = None,
        deadline: float | None = None,
        dry_run: bool = False,
    ) -> None:
        """Sends the actions, many at once, actions on one slot in their order. `on_done` is told of each as it is
        answered. When `stop` is set, what is in flight completes and the rest is left unsent."""

    async def execute(self, exec_: Exec, *, timeout: float = EXEC_SECONDS) -> ExecResult:  # noqa: ASYNC109
        """Runs a command in a container and waits for its end, at most `timeout` seconds.

        Raises ExecFailed where it could not be run."""

    async def text(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        most: int,
        timeout: float = EXEC_SECONDS,  # noqa: ASYNC109
    ) -> bytes:
        """The beginning of what is at `path`, a log for example, at most `most` bytes and for at most `timeout`
        seconds. Raises NotFound, Invalid (a container without a log), Forbidden."""

    def watch(
        self, path: str, item: type[T], *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchBatch[T]]:
        """Every change from `resource_version` on, for as long as it is read from; what may have been missed is listed
        anew and yielded as `relisted`."""
