"""What a diagnosis is made of, fetched: logs and stacks, and what is around them. Reads only; what it has so far is
there at any moment, so that an interrupted look still tells something."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from jobset_restart import claim, history
from jobset_restart.cluster.exec import refusal
from jobset_restart.commands import jsr
from jobset_restart.diagnose.commands import DEEP_BYTES, DEEP_LINES, TAIL_BYTES, TAIL_LINES, log_request, look
from jobset_restart.diagnose.judge import Diagnosis, judge, moves
from jobset_restart.diagnose.logs import Tail, read_tail
from jobset_restart.diagnose.observation import Observation, Progress, Seen, progress
from jobset_restart.diagnose.past import restarted_before
from jobset_restart.diagnose.processes import read_look
from jobset_restart.errors import Forbidden, JsrError, Overloaded, Unreachable
from jobset_restart.gathering_surroundings import Surroundings
from jobset_restart.objects import ContainerStatus, Pod, seconds
from jobset_restart.pods import agent, node_ready, why
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Permission

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

LOGS_IN_FLIGHT = 64
EXECS_IN_FLIGHT = 64
"""Each is a TLS connection of its own; more of them only wait for the client."""
ANSWER_SECONDS = 8.0
"""How long one Pod may take to answer."""
SUSPECT_SECONDS = 3.0
"""The same where its node is not Ready: it hardly will."""
LOOK_AGAIN_SECONDS = 3.0
"""Between two looks at the logs."""
DECIDE_SECONDS = 4.0
AGAIN_SECONDS = (1.0, 3.0, 6.0)
"""Pauses between looks into a container. Where no steps are seen, what is well may stand at one place for a while."""
SAMPLED = 128
"""So many logs are read again where all have stood still for longer than their rhythm allows."""
DEEP = 64
"""So many logs without a step are read farther back."""
TWICE = 32
"""So many Pods are looked into a second time."""
BESIDE = 8
"""So many others at least, as far as that goes, with which the suspects are compared."""

STATUS_SECONDS = 2.0
"""How long a status waits for the logs it samples."""
OLD_SECONDS = 300.0
"""A log is called old from here on, where its own rhythm does not allow more."""
SAMPLES = 8

Tell = Callable[[str, int, int], None]
"""Told what is done, how many of how many."""


class Options(Struct, frozen=True, kw_only=True):
    """`stacks` None: where the logs stand still. `pattern` finds the step in a line, `silent_after` (seconds) is how
    long a silence means nothing; None: what the Pod's own rhythm tells. `container` is the one to look at, "" for the
    first."""

    stacks: bool | None = None
    concurrency: int | None = None
    pattern: re.Pattern[str] | None = None
    silent_after: float | None = None
    container: str = ""


class Gathering:
    """One look at a workload. `observation` has what is known so far; `decided` tells that this includes whether it
    advances. `tell` hears how far it is."""

    def __init__(self, cluster: Cluster, snapshot: Snapshot, options: Options) -> None:
        self._cluster, self._options = cluster, options
        self.tell: Tell = _say_nothing
        self.decided = False
        self._namespace = snapshot.namespace
        self._not_ready = {name for name, node in (snapshot.nodes or {}).items() if not node_ready(node)}
        self._no_more_execs = False
        self._deep: set[Slot] = set()
        self.observation = Observation()
        for state in snapshot.slots.values():
            if state.expected:
                seen = seen_of(state, options.container)
                self.observation.slots[state.slot] = seen
        self.observation.earlier = restarted_before(_scopes(snapshot), self.observation.slots)

    @property
    def pods(self) -> list[Seen]:
        return [seen for seen in self.observation.slots.values() if seen.pod]

    def judged(self) -> Diagnosis:
        """What can be said with what is known so far."""
        return judge(self.observation, self._options.silent_after)

    async def run(self) -> None:
        """Looks until it is decided whether the workload advances, and at everything else where it does not."""
        if not await self._may(Permission("get", "", "pods", "log")):
            self.observation.notes.append("no permission to read logs (get pods/log): stacks alone have to tell")
        else:
            await self._advance()
        self.decided = True
        going = self._progress()
        if self._options.stacks is None and going.advance == "advances" and not going.guessed:
            return
        around = Surroundings(self._cluster, self._namespace, self.observation)
        await asyncio.gather(self._stacks(), around.machines(), around.events())
        if self._progress().wait:  # the clocks are known now, and a log may be younger than it looked
            await self._settle(0.0)
        await self._again()

    def _progress(self) -> Progress:
        return progress(self.observation, self._options.silent_after)

    # ------------------------------------------------------------ logs

    async def _advance(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._logs(self.pods, "logs")
        await self._deeper()
        for seen in self.pods:
            seen.before, seen.before_at = seen.tail, seen.tail_at
        await self._settle(LOOK_AGAIN_SECONDS - (loop.time() - began))

    async def _settle(self, rest: float) -> None:
        """Looks at the logs after so many seconds, and on until they say whether they go on. Where all have stood for
        long, a sample tells whether they still do."""
        pods = [seen for seen in self.pods if not seen.unreachable]
        going = self._progress()
        sample = spread(pods, SAMPLED) if going.old and not going.guessed and len(pods) > 2 * SAMPLED else []
        while True:
            self.tell("waiting whether the logs go on", 0, 0)
            await asyncio.sleep(max(0.0, rest))
            said = [seen.tail and seen.tail.newest for seen in sample]
            await self._logs(sample or pods, "logs again")
            if said != [seen.tail and seen.tail.newest for seen in sample]:
                sample = []
                await self._logs(pods, "logs again")
            for seen in pods if sample else ():
                seen.tail_at = max(seen.tail_at, sample[0].tail_at)
            rest = min(self._progress().wait, DECIDE_SECONDS)
            if not rest:
                return

    async def _deeper(self) -> None:
        """Steps may stand behind other lines: some of the logs without any are read farther back."""
        without = [s for s in self.pods if s.tail and s.tail.lines >= TAIL_LINES and s.tail.marks < TAIL_LINES // 2]
        some = spread(without, DEEP)
        self._deep = {seen.slot for seen in some}
        await self._logs(some, "longer logs")

    async def _logs(self, pods: list[Seen], what: str) -> None:
        await self._each(pods, self._options.concurrency or LOGS_IN_FLIGHT, what, self._log)

    async def _log(self, seen: Seen) -> None:
        within = self._within(seen)
        try:
            body = await self._tail(seen, within)
            seen.tail = read_tail(body, self._options.pattern)
            seen.unreachable = False
        except JsrError as error:
            seen.unreachable = isinstance(error, Unreachable)
            if seen.tail is None or seen.tail.newest is None:
                seen.tail = Tail(error=error.message)
        seen.tail_at = self._cluster.now()

    async def _tail(self, seen: Seen, within: float) -> bytes:
        """The newest lines. Where long lines do not leave room for the newest, that one alone."""
        if seen.slot in self._deep:
            path, query = log_request(self._namespace, seen.pod, seen.container, lines=DEEP_LINES, most=DEEP_BYTES)
            body = await self._cluster.text(path, params=query, most=DEEP_BYTES, timeout=within)
            if len(body) < DEEP_BYTES:
                return body
        path, query = log_request(self._namespace, seen.pod, seen.container)
        body = await self._cluster.text(path, params=query, most=TAIL_BYTES, timeout=within)
        if len(body) < TAIL_BYTES:
            return body
        path, query = log_request(self._namespace, seen.pod, seen.container, lines=1)
        return await self._cluster.text(path, params=query, most=TAIL_BYTES, timeout=within)

    def _within(self, seen: Seen) -> float:
        return SUSPECT_SECONDS if seen.node in self._not_ready else ANSWER_SECONDS

    # ------------------------------------------------------------ stacks

    async def _stacks(self) -> None:
        if self._options.stacks is False:
            self.observation.notes.append("stacks were not looked at (--no-stacks)")
            return
        if not await self._may(Permission("create", "", "pods", "exec")):
            self.observation.notes.append("no permission to look into containers (create pods/exec): no stacks")
            for seen in self.pods:
                seen.look_error = "no permission"
            return
        running = [seen for seen in self.pods if not seen.state]
        limit = self._options.concurrency or EXECS_IN_FLIGHT
        await self._each([s for s in running if self._can_be_asked(s)], limit, "stacks", self._look)

    def _can_be_asked(self, seen: Seen) -> bool:
        if seen.node in self._not_ready and seen.unreachable:
            seen.look_error = f"node {seen.node} is not Ready"
            return False
        return True

    async def _look(self, seen: Seen, *, again: bool = False) -> None:
        if self._no_more_execs:
            return
        exec_ = look(self._namespace, seen.pod, seen.container)
        began = self._cluster.now()
        try:
            result = await self._cluster.execute(exec_, timeout=self._within(seen))
            refused = refusal(result, exec_)
            if refused is not None:
                raise refused
        except JsrError as error:
            self._note(seen, error, again)
            return
        found = read_look(result.stdout)
        if not found.processes:
            seen.look_error = seen.look_error or result.reason or "it ended while it was looked into"
        elif again:
            seen.again = found
        else:
            seen.look, seen.look_at, seen.look_error = found, (began + self._cluster.now()) / 2, ""

    def _note(self, seen: Seen, error: JsrError, again: bool) -> None:
        if isinstance(error, Forbidden) and not self._no_more_execs:
            self._no_more_execs = True
            self.observation.notes.append(f"no stacks: {error.message}")
        if not again:
            seen.look_error = error.message
            seen.unreachable = isinstance(error, Unreachable | Overloaded)

    async def _again(self) -> None:
        """A second look into those that are suspected, and into some others: how much CPU they use is compared, and
        where no log tells whether anything moves, they tell it."""
        found = self.judged()
        suspected = {suspect.slot: self.observation.slots[suspect.slot] for suspect in found.suspects[:TWICE]}
        others = [s for slot, s in self.observation.slots.items() if slot not in suspected and s.look is not None]
        beside = BESIDE if suspected else 0
        if found.progress.guessed:
            beside = max(beside, TWICE - len(suspected))
        chosen = [*(seen for seen in suspected.values() if seen.look is not None), *spread(others, beside)]
        for pause in AGAIN_SECONDS[: None if found.progress.guessed else 1] if chosen else ():
            await asyncio.sleep(pause)
            limit = self._options.concurrency or EXECS_IN_FLIGHT
            await self._each(chosen, limit, "stacks again", lambda seen: self._look(seen, again=True))
            if moves(chosen):
                return

    # ------------------------------------------------------------ all of them

    async def _may(self, permission: Permission) -> bool:
        try:
            return await self._cluster.allowed(permission, self._namespace)
        except JsrError:
            return True  # whoever cannot ask finds out by trying

    async def _each(self, pods: Iterable[Seen], limit: int, what: str, do: Callable[[Seen], Awaitable[None]]) -> None:
        """Does it for every Pod, so many at once."""
        left = deque(pods)
        total, done = len(left), 0

        async def work() -> None:
            nonlocal done
            while left:
                await do(left.popleft())
                done += 1
                self.tell(what, done, total)

        self.tell(what, 0, total)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, total)):
                group.create_task(work())


def spread(pods: list[Seen], most: int) -> list[Seen]:
    """At most so many of them, evenly, with the last and the first: often only one of these prints."""
    return [*pods[-1:], *pods[: -1 : max(1, len(pods) // max(1, most))]][:most]


def _scopes(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """The slots of the operations that are on the workload's record, that of a client which is at it now excepted."""
    found = claim.lock(snapshot.workload)
    newest = history.last(found, snapshot.time) if found else None
    past = history.read(snapshot.workload.metadata).entries
    return [each.scope for each in (*past, *([newest] if newest else [])) if each.state != "running" and each.scope]


def seen_of(state: SlotState, container: str = "") -> Seen:
    """What the API tells of a slot. `container` is the one to look at, "" for the first that is no restart agent."""
    pod = state.pod
    if pod is None or pod.metadata.deletion_timestamp:
        return Seen(
            slot=state.slot, state="there is no Pod" if pod is None else "its Pod is being deleted", ready=False
        )
    chosen = container or _container(pod)
    status = next((each for each in pod.status.container_statuses if each.name == chosen), ContainerStatus())
    running = status.state.running
    return Seen(
        slot=state.slot,
        pod=pod.metadata.name,
        uid=pod.metadata.uid,
        node=state.node_name,
        container=chosen,
        state="" if running else (why(status) or pod.status.reason or pod.status.phase or "not running"),
        ready=state.ready,
        started=seconds(running.started_at) if running and running.started_at else None,
        restarts=status.restart_count,
    )


def _container(pod: Pod) -> str:
    restarter = agent(pod.spec)
    main = [each.name for each in pod.spec.containers if restarter is None or each.name != restarter.name]
    return next(iter(main or [each.name for each in pod.spec.containers]), "")


def _say_nothing(what: str, done: int, total: int) -> None:
    pass


async def silence(cluster: Cluster, snapshot: Snapshot) -> list[str]:
    """What a few logs say of a workload that looks well: a note where the newest of all is old. Two of each group are
    read, of 8 at most: often only the first or the last rank prints. Nothing where they cannot be read at once."""
    by_group: dict[str, list[Seen]] = {}
    for state in snapshot.slots.values():
        seen = seen_of(state)
        if state.expected and not seen.state:
            by_group.setdefault(seen.slot.group, []).append(seen)
    chosen = [each for some in by_group.values() for each in (some[:1] if len(some) == 1 else (some[0], some[-1]))]

    async def tail(seen: Seen) -> Tail:
        path, query = log_request(snapshot.namespace, seen.pod, seen.container)
        return read_tail(await cluster.text(path, params=query, most=TAIL_BYTES, timeout=STATUS_SECONDS))

    answers = await asyncio.gather(*(tail(seen) for seen in chosen[:SAMPLES]), return_exceptions=True)
    tails = [each for each in answers if isinstance(each, Tail) and each.newest is not None]
    if not tails:
        return []
    tail_ = max([each for each in tails if each.steps] or tails, key=lambda each: each.last)
    old = cluster.now() - tail_.last
    if old <= max(OLD_SECONDS, tail_.allowed_silence):
        return []
    what = (
        f"step {tail_.step:,}, the newest that was found,"
        if tail_.step is not None and tail_.steps
        else "the newest log line that was found"
    )
    command = jsr("diagnose", snapshot.workload.reference, snapshot.namespace, snapshot.context)
    return [f"{what} is {old / 60:.0f} minutes old: `{command}` says whether it stands still"]
