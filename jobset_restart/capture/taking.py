"""Takes a capture: reads a workload, its Pods, logs, processes, Nodes and Events, and writes them as it goes.

Reads only. Whatever a cluster, a container or a disk does, it ends in time, and says what could not be had.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from jobset_restart.capture.files import Writer, opened
from jobset_restart.capture.paths import safe
from jobset_restart.capture.reading import Name, Reader, Said, document
from jobset_restart.capture.redact import scrubbed
from jobset_restart.capture.sample import Chosen, Item, choose, items, oddities
from jobset_restart.errors import Forbidden, JsrError, NotFound, Overloaded, Unreachable, told
from jobset_restart.gathering import ANSWER_SECONDS, SUSPECT_SECONDS, Gathering, Tell
from jobset_restart.gathering import Options as Looks
from jobset_restart.objects import Pod
from jobset_restart.pods import node_ready
from jobset_restart.report.capture import CapturedSlotReport, CaptureReport, MissingReport
from jobset_restart.report.diagnosis import DiagnosisReport
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import job_path

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster

SLOTS_AT_ONCE = 32
LEFTOVERS = 2
"""Of a slot, so many Pods that go besides the one that counts."""
SHARE = 0.5
"""Of the time, for the diagnosis, where it has to say which slots are looked at."""
CLOSING, MOST_CLOSING = 0.1, 3.0
MOST_SHARE = 0.8
"""The same where it runs beside."""

Diagnosed = Callable[[Gathering, float, str], tuple[DiagnosisReport, str]]
"""Makes the document and the text of a diagnosis from what was gathered in so many seconds, cut short by what."""


class Bounds(Struct, frozen=True, kw_only=True):
    """At most so many slots, for so many seconds in all, with so many of them at once."""

    slots: int = 32
    seconds: float = 30.0
    concurrency: int | None = None

    @property
    def closing(self) -> float:
        """Seconds of them that are kept for the end, when the index is written."""
        return min(MOST_CLOSING, CLOSING * self.seconds)


class Into(Struct, frozen=True):
    """Where a capture goes, and the option that says so, for errors."""

    path: str
    option: str


class Part(Struct):
    """Files that belong together: those of a slot, or of the whole. `wanted` are their names, each with what it holds
    and of what; `reasons` why one could not be had; `lacking` what is missing in one that is there; `notes` are remarks
    on those that could."""

    wanted: dict[str, Name] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    lacking: list[MissingReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def had(self, written: Collection[str]) -> list[str]:
        return [name for name in self.wanted if name in written]

    def missing(self, written: Collection[str], otherwise: str) -> list[MissingReport]:
        files = [
            MissingReport(what=what, of=of, reason=_words(self.reasons.get(name, otherwise)))
            for name, (what, of) in self.wanted.items()
            if name not in written
        ]
        return self.lacking + files


class Entry(Part, kw_only=True):
    """A slot of the sample, and what is to be had of its Pods."""

    chosen: Chosen
    pods: list[tuple[Pod, list[Item]]] = field(default_factory=list)


class Taking:
    """Takes a capture of these slots of a workload; those in `scope` come first. `tell` hears how far it is.
    `cut_short` is why it ended before everything was had, "" where it did not; `verdict` the diagnosis's."""

    def __init__(
        self,
        cluster: Cluster,
        snapshot: Snapshot,
        writer: Writer,
        bounds: Bounds,
        diagnosed: Diagnosed,
        *,
        states: Iterable[SlotState] | None = None,
        scope: Collection[Slot] = (),
    ) -> None:
        self._cluster, self._snapshot, self._writer, self._bounds = cluster, snapshot, writer, bounds
        self._states = list(snapshot.slots.values() if states is None else states)
        self._scope, self._diagnosed = frozenset(scope), diagnosed
        self._reader = Reader(cluster, snapshot.namespace)
        self._not_ready = {name for name, node in (snapshot.nodes or {}).items() if not node_ready(node)}
        self._denied: dict[str, str] = {}
        self._suspects: dict[Slot, str] = {}
        self._events: dict[Name, list[Said]] = {}
        self._no_events: dict[str, str] = {}
        self.whole = Part()
        self.entries: list[Entry] = []
        self.tell: Tell = lambda *_: None
        self.cut_short = self.verdict = ""

    @property
    def expected(self) -> int:
        """The slots there are to choose from."""
        return sum(state.expected for state in self._states)

    async def run(self, stop: asyncio.Event) -> None:
        """Ends when everything was had, the time is up, the disk takes no more, or `stop` is set."""
        within = self._bounds.seconds - self._bounds.closing
        work = asyncio.ensure_future(self._all())
        leaving = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({work, leaving}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = work.done()
            work.cancel()
            leaving.cancel()
            raised, _ = await asyncio.gather(work, leaving, return_exceptions=True)
        if ended and isinstance(raised, Exception):
            self.cut_short = self._writer.failed or told(raised).message
        elif not ended:
            self.cut_short = "interrupted" if stop.is_set() else f"the {self._bounds.seconds:g} s for it were over"

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            samples = self.expected > self._bounds.slots
            diagnosis = group.create_task(self._diagnose(SHARE if samples else MOST_SHARE))
            events = group.create_task(self._read_events())
            if samples:
                await asyncio.wait({diagnosis})
            self._choose()
            group.create_task(self._objects(events))
            group.create_task(self._machines(events))
            await self._slots(events)
            self.tell("waiting for the diagnosis", 0, 0)

    # ------------------------------------------------------------ the slots

    def _choose(self) -> None:
        names = set[str]()
        for chosen in choose(self._states, self._bounds.slots, self._suspects, self._scope):
            entry, state = Entry(chosen=chosen), chosen.state
            pods = {each.metadata.uid: each for each in (state.pod, *state.leftovers[:LEFTOVERS]) if each is not None}
            for pod in pods.values():
                folder = f"pods/{safe(pod.metadata.name)}"
                if folder in names:
                    continue
                names.add(folder)
                wanted = items(pod, folder)
                entry.pods.append((pod, wanted))
                entry.wanted |= {each.file: (each.what, each.container or pod.metadata.name) for each in wanted}
            self.entries.append(entry)

    async def _slots(self, events: asyncio.Task[None]) -> None:
        left = deque(self.entries)
        total, done = len(left), 0

        async def work() -> None:
            nonlocal done
            while left:
                entry = left.popleft()
                for pod, wanted in entry.pods:
                    await self._pod(entry, pod, wanted)
                    await asyncio.wait({events})
                    for item in (each for each in wanted if each.what == "events"):
                        await self._about(entry, item.file, "Pod", pod.metadata.name)
                done += 1
                self.tell("capturing Pods", done, total)

        self.tell("capturing Pods", 0, total)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._bounds.concurrency or SLOTS_AT_ONCE, total)):
                group.create_task(work())

    async def _pod(self, entry: Entry, pod: Pod, wanted: list[Item]) -> None:
        """All of a Pod but its Events. One on a node that is not Ready is asked for nothing more once it did not
        answer."""
        lost = pod.spec.node_name in self._not_ready
        within = SUSPECT_SECONDS if lost else ANSWER_SECONDS
        silent = False
        for item in wanted:
            denied = self._denied.get(item.what, "")
            if item.what == "events":
                continue
            if denied or (silent and item.what != "pod"):
                entry.reasons[item.file] = denied or f"node {pod.spec.node_name} does not answer"
                continue
            try:
                data, note = await self._reader.piece(pod, item, within)
                entry.notes += [note] if note else []
                await self._writer.write(item.file, data)
            except JsrError as error:
                silent = silent or (lost and isinstance(error, Unreachable | Overloaded))
                entry.reasons[item.file] = self._why(item.what, error)

    def _why(self, what: str, error: JsrError) -> str:
        """Why something could not be had. What is forbidden once is asked for no more."""
        if isinstance(error, Forbidden):
            self._denied[what] = f"no permission: {error.message}"
            return self._denied[what]
        return "it is gone" if isinstance(error, NotFound) else error.message

    # ------------------------------------------------------------ what is around them

    async def _read_events(self) -> None:
        self._events, self._no_events = await self._reader.events()

    async def _about(self, part: Part, file: str, kind: str, name: str) -> None:
        if "Pod" in self._no_events:
            part.reasons[file] = self._no_events["Pod"]
            return
        await self._writer.write(file, document(self._events.get((kind, name), [])))

    async def _objects(self, events: asyncio.Task[None]) -> None:
        """The workload itself, what it consists of besides, and the Jobs of the slots, each with its Events."""
        workload, namespace = self._snapshot.workload, self._snapshot.namespace
        singles = [(workload.carrier.kind, workload.name, workload.path)]
        singles += [(each.type.__name__, each.name, each.path) for each in workload.sources.parts]
        jobs = {e.chosen.state.job.metadata.name for e in self.entries if e.chosen.state.job}
        singles += [("Job", name, job_path(namespace, name)) for name in sorted(jobs)]
        for kind, name, path in dict.fromkeys(singles):
            file = f"objects/{safe(f'{kind.lower()}-{name}')}"
            self.whole.wanted[f"{file}.json"] = ("object", f"{kind} {name}")
            try:
                await self._writer.write(f"{file}.json", await self._reader.object(path))
            except NotFound:
                del self.whole.wanted[f"{file}.json"]
            except JsrError as error:
                self.whole.reasons[f"{file}.json"] = error.message
            await asyncio.wait({events})
            if self._events.get((kind, name)):
                self.whole.wanted[f"{file}.events.json"] = ("events", f"{kind} {name}")
                await self._about(self.whole, f"{file}.events.json", kind, name)

    async def _machines(self, events: asyncio.Task[None]) -> None:
        names = {pod.spec.node_name for entry in self.entries for pod, _ in entry.pods} - {""}
        files = {name: f"nodes/{safe(name)}.json" for name in sorted(names)}
        self.whole.wanted |= {file: ("node", name) for name, file in files.items()}
        try:
            found = await self._reader.machines(names)
        except JsrError as error:
            self.whole.reasons |= dict.fromkeys(files.values(), error.message)
            return
        await asyncio.wait({events})
        for name, file in files.items():
            if name in found:
                said = self._no_events.get("Node") or self._events.get(("Node", name), [])
                await self._writer.write(file, document({"node": found[name], "events": said}))
            else:
                self.whole.reasons[file] = "there is no such Node"

    # ------------------------------------------------------------ the diagnosis

    async def _diagnose(self, share: float) -> None:
        """Which Pod the others wait for, as far as it can be told in this share of the time."""
        gathering = Gathering(self._cluster, self._snapshot, Looks(concurrency=self._bounds.concurrency))
        if not any(not seen.state for seen in gathering.pods):
            self.whole.notes.append("no container runs, so there is no diagnosis")
            return
        self.whole.wanted |= {f"diagnosis.{form}": ("diagnosis", "") for form in ("json", "txt")}
        gathering.tell = self.tell
        loop = asyncio.get_running_loop()
        began, within, late = loop.time(), share * self._bounds.seconds, ""
        try:
            async with asyncio.timeout(within):
                await gathering.run()
        except TimeoutError:
            late = f"{within:g} s were over"
        except JsrError as error:
            self.whole.reasons |= dict.fromkeys(("diagnosis.json", "diagnosis.txt"), error.message)
            return
        report, text = self._diagnosed(gathering, loop.time() - began, late)
        self.verdict = report.verdict
        if report.verdict == "Incomplete":
            self.whole.lacking.append(MissingReport(what="diagnosis", reason=f"not enough was seen when {late}"))
        suspects = {each.slot: each.signals[0].text for each in report.suspects if each.signals}
        self._suspects = {slot: suspects[str(slot)] for slot in gathering.observation.slots if str(slot) in suspects}
        await self._writer.write("diagnosis.json", document(report))
        await self._writer.write("diagnosis.txt", scrubbed(text).encode("utf-8", "replace"))

    # ------------------------------------------------------------ what came of it

    def report(self, path: str, started: float, seconds: float) -> CaptureReport:
        """The index, of what has been written by now. `started` is in seconds since the epoch."""
        written, workload = self._writer.written, self._snapshot.workload
        otherwise = self._writer.failed or self.cut_short or "the capture ended before it"
        slots = [_slot(entry, written, otherwise, self._suspects) for entry in self.entries]
        missing = self.whole.missing(written, otherwise)
        lacking = len(missing) + sum(len(each.missing) for each in slots)
        cut_short = self._writer.failed or self.cut_short
        return CaptureReport(
            workload_kind=workload.kind.kind,
            workload_group=workload.kind.group,
            name=self._snapshot.name,
            namespace=self._snapshot.namespace,
            context=self._snapshot.context,
            path=path,
            started=datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(seconds, 1),
            expected=self.expected,
            complete=not lacking and not cut_short,
            cut_short=cut_short,
            verdict=self.verdict,
            bytes=self._writer.bytes,
            missing_count=lacking,
            files=self.whole.had(written),
            missing=missing,
            slots=slots,
            notes=[*self._snapshot.notes, *self.whole.notes],
        )


@lru_cache(maxsize=1024)
def _words(text: str) -> str:
    """Words of a cluster, without secrets. Thousands of slots lack something for the same reason."""
    return scrubbed(text)


def _slot(entry: Entry, written: Collection[str], otherwise: str, suspects: Mapping[Slot, str]) -> CapturedSlotReport:
    state = entry.chosen.state
    odd = oddities(state, suspects.get(state.slot, ""))  # a diagnosis may have come after the choice
    return CapturedSlotReport(
        slot=str(state.slot),
        pod=state.pod.metadata.name if state.pod else "",
        node=state.node_name,
        odd=[_words(each.text) for each in odd],
        files=entry.had(written),
        missing=entry.missing(written, otherwise),
        notes=entry.notes,
    )


async def take(
    cluster: Cluster,
    snapshot: Snapshot,
    into: Into,
    bounds: Bounds,
    diagnosed: Diagnosed,
    *,
    stop: asyncio.Event,
    tell: Tell,
    states: Iterable[SlotState] | None = None,
    scope: Collection[Slot] = (),
) -> CaptureReport:
    """Takes a capture of these slots (None: all), those in `scope` first, and returns its index. It is over when
    `bounds` say so, or soon after `stop` is set. Raises UsageError where nothing can be written to `into`; whatever
    happens after that is in the index."""
    writer = Writer(opened(into.path, into.option))
    taking = Taking(cluster, snapshot, writer, bounds, diagnosed, states=states, scope=scope)
    taking.tell = tell
    loop = asyncio.get_running_loop()
    started, began = cluster.now(), loop.time()
    await taking.run(stop)

    def report() -> CaptureReport:
        return taking.report(into.path, started, loop.time() - began)

    def index() -> bytes:
        return msgspec.json.format(msgspec.json.encode(report()), indent=2) + b"\n"

    indexed = await writer.close("index.json", index, bounds.closing)
    found = report()
    if not indexed:
        found.complete, found.notes = False, [*found.notes, "there is no index.json: it could not be written"]
    return found
