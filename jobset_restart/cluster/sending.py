"""Many actions at once, over anything that can send one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jobset_restart.cluster.exec import EXEC_SECONDS, ExecResult, refusal
from jobset_restart.cluster.pace import Pace
from jobset_restart.cluster.protocol import ActionResult
from jobset_restart.errors import JsrError, NotFound, Overloaded
from jobset_restart.writes import Action, Exec, Write

WRITES_IN_FLIGHT = 64
EXECS_IN_FLIGHT = 128
"""Each is a TLS connection of its own with half a MB of buffers. One core opens some 550 a second, so even where an
exec takes 0.2 s more of them would only wait for the client."""


class Sender(Protocol):
    """What one action is sent by: the `send` and `execute` of a Cluster."""

    async def send(
        self,
        write: Write,
        *,
        dry_run: bool = False,
        type: None = None,  # noqa: A002
        deadline: float | None = None,
    ) -> Any: ...

    async def execute(self, exec_: Exec, *, timeout: float = EXEC_SECONDS) -> ExecResult: ...  # noqa: ASYNC109


class SendsAll:
    """A mix-in: the `send_all` of a Cluster, made of its `send` and `execute`."""

    async def send_all(
        self: Sender,
        actions: Sequence[Action],
        on_done: Callable[[Action, ActionResult], None],
        *,
        concurrency: int | None = None,
        stop: asyncio.Event | None = None,
        deadline: float | None = None,
        dry_run: bool = False,
    ) -> None:
        """Sends the actions, many at once, actions on one slot in their order. `on_done` is told of each as it is
        answered. When `stop` is set, what is in flight completes and the rest is left unsent. What `on_done` raises
        ends it, and is raised."""
        default = EXECS_IN_FLIGHT if actions and isinstance(actions[0], Exec) else WRITES_IN_FLIGHT
        round_ = _Round(self, actions, on_done, Pace(concurrency or default), stop, deadline, dry_run)
        try:
            await round_.run()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None


class _Round:
    """One `send_all`: as many chains at work as the pace allows."""

    def __init__(
        self,
        sender: Sender,
        actions: Sequence[Action],
        on_done: Callable[[Action, ActionResult], None],
        pace: Pace,
        stop: asyncio.Event | None,
        deadline: float | None,
        dry_run: bool,
    ) -> None:
        self._sender, self._on_done, self._pace, self._stop = sender, on_done, pace, stop
        self._deadline, self._dry_run = deadline, dry_run
        self._chains = deque(by_slot(actions))
        self._at_work = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._workers:
            self._put_to_work()

    def _put_to_work(self) -> None:
        for _ in range(min(self._pace.limit - self._at_work, len(self._chains))):
            self._at_work += 1
            self._workers.create_task(self._work())

    async def _work(self) -> None:
        while self._chains and self._at_work <= self._pace.limit and not self._stopped:
            for action in self._chains.popleft():
                if not await self._act(action) or self._stopped:
                    break
            self._put_to_work()
        self._at_work -= 1

    @property
    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    async def _act(self, action: Action) -> bool:
        """Whether the next action of the chain may follow."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        error: JsrError | None = None
        try:
            if isinstance(action, Exec):
                error = refusal(await self._sender.execute(action), action)
            else:
                await self._sender.send(action, dry_run=self._dry_run, deadline=self._deadline)
        except JsrError as failed:
            error = failed
        now = loop.time()
        self._pace.answered(now, now - began, overloaded=isinstance(error, Overloaded))
        self._on_done(action, ActionResult(error))
        return error is None or isinstance(error, NotFound)


def by_slot(actions: Sequence[Action]) -> list[list[Action]]:
    """Chains of actions: the writes on one slot in their order, the others each alone."""
    chains: dict[str, list[Action]] = {}
    for number, action in enumerate(actions):
        writes_in_order = isinstance(action, Write) and action.slot
        chains.setdefault(action.slot if writes_in_order else f"#{number}", []).append(action)
    return list(chains.values())
