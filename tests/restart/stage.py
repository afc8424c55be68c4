"""A JobSet on the embedded cluster in virtual time, and operations on it through the public surface of `restart`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from jobset_restart.cluster import HttpCluster, connect
from jobset_restart.cluster.resolve import resolve
from jobset_restart.events import Event
from jobset_restart.plan import Plan, Request, make
from jobset_restart.report import ResultReport
from jobset_restart.restart import Options, Tenure, decide
from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.profile import REALTIME
from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make_
from tests.simulation.cluster import NAME, NAMESPACE, VirtualCluster
from tests.simulation.program import the_time_of
from tests.simulation.virtual import VirtualLoop
from tests.simulation.witness import Witness

T = TypeVar("T")
ANN = "ann@desk (process 1)"


class Came(Struct):
    """What came of an operation: its result, and the events it emitted."""

    result: ResultReport
    events: list[Event]

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


class Stage:
    """`later` has something happen so many seconds after the operation began."""

    def __init__(self, loop: VirtualLoop, folder: Path, manifest: Obj, nodes: int) -> None:
        self.loop = loop
        self.cluster = VirtualCluster(loop, folder, nodes=nodes, profile=REALTIME, seed=1)
        self.cluster.settle([manifest], age=60.0)
        self.cluster.serve()
        self.witness = Witness(self.cluster)

    def do(self, work: Callable[[HttpCluster], Awaitable[T]]) -> T:
        """Does something with a connection to the cluster."""

        async def connected() -> T:
            async with await connect(self.cluster.kubeconfig) as api:
                return await work(api)

        with the_time_of(self.cluster):
            return self.loop.run_until_complete(connected())

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def fault(self, kind: str, **fields: Any) -> None:
        self.cluster.server.add_fault(Fault(kind=kind, **fields))

    def restart(
        self,
        request: Request,
        *,
        id: str = "op1",  # noqa: A002
        owner: str = ANN,
        timeout: float = 300.0,
        meanwhile: Callable[[Tenure], object] | None = None,
        emit: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Came:
        """Plans and carries out. `meanwhile` is given the operation before it runs. Raises what the operation does."""
        events: list[Event] = []

        def sink(event: Event) -> None:
            events.append(event)
            if emit is not None:
                emit(event)

        async def run(api: HttpCluster) -> ResultReport:
            plan = await self.plan(api, request, id)
            assert not plan.refused, plan.findings
            tenure = Tenure(plan, api, sink, Options(owner=owner, timeout=timeout, **options))
            if meanwhile is not None:
                meanwhile(tenure)
            return await tenure.run()

        return Came(self.do(run), events)

    async def plan(self, api: HttpCluster, request: Request, id: str = "op1") -> Plan:  # noqa: A002
        snapshot = await resolve(api, NAMESPACE, NAME)
        return await decide(api, lambda found: make(snapshot, request, id, found))

    @property
    def record(self) -> dict[str, Any]:
        return self.cluster.record() or {}

    @property
    def suspended(self) -> bool:
        return self.witness.is_suspended

    def marked(self) -> int:
        """How many Pods carry an operation's mark."""
        return sum(
            "jobset-restart.io/operation" in pod["metadata"].get("annotations", {}) for pod in self.cluster.pods()
        )


@contextlib.contextmanager
def stage(folder: Path, manifest: Obj | None = None, *, nodes: int = 3) -> Iterator[Stage]:
    loop = VirtualLoop(1)
    try:
        yield Stage(loop, folder, manifest or workers(), nodes)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def workers(pods: int = 4, *, grace: int = 2, **more: Any) -> Obj:
    """Containers that do not handle TERM: each restart takes the grace period."""
    return make_.jobset(
        NAME,
        make_.replicated_job("workers", make_.container(command=make_.IGNORES_TERM), pods=pods, grace=grace, **more),
    )
