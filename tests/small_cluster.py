"""A cluster of one JobSet in this process, whose controllers answer at once, and which can be told to go wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from jobset_restart.cluster.exec import ExecResult
from jobset_restart.cluster.protocol import ActionResult, Listing
from jobset_restart.cluster.watch import WatchBatch
from jobset_restart.errors import Conflict, JsrError, NotFound
from jobset_restart.objects import Event, Job, JobSet, KueueWorkload, Node, Pod
from jobset_restart.snapshot import OPERATION, Snapshot, take
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.writes import Action, Exec, Permission, Write
from tests import build


class SmallCluster:
    """`jobset` and `pods` are what it holds, `kueue` the Workload of its queue, if it is in one, `sent` what was sent
    to it. `point` is called before and after everything that is awaited of it, and may raise. `on_suspend` is what its
    controllers do when somebody sets spec.suspend, `on_active` what Kueue does about its Workload, `restarts` what its
    kubelets do with a PATCH of a Pod. Its clock runs `speed` times as fast as the one on the wall."""

    context = namespace = server = user = "small"

    def __init__(self, jobset: JobSet, pods: list[Pod]) -> None:
        self.jobset = jobset
        self.pods = {pod.metadata.name: pod for pod in pods}
        self.kueue: KueueWorkload | None = None
        self.sent: list[Action] = []
        self.events: list[Event] = []
        self.point: Callable[[str], None] = lambda _: None
        self.on_suspend: Callable[[bool], None] = self._react
        self.on_active: Callable[[bool], None] = self._admit
        self.restarts: Callable[[Write], None] = self._restart
        self.on_retry: Callable[[str, str, float], None] = lambda *_: None
        self.speed = 1.0
        self._began = time.monotonic()
        self._version, self._made = 100, 0
        self._watches: list[tuple[type[Any], asyncio.Queue[tuple[Any, Any]]]] = []

    def now(self) -> float:
        return build.NOW + (time.monotonic() - self._began) * self.speed

    def snapshot(self) -> Snapshot:
        jobs = [build.job(self.jobset)]
        nodes = {"node-0": build.node()}
        found = take(
            JobSetWorkload(self.jobset),
            jobs,
            self.pods.values(),
            nodes,
            self.now(),
            resource_version=str(self._version),
            children_versions=("0",),
        )
        return build.queued(found, active=self.kueue.spec.active) if self.kueue else found

    # ------------------------------------------------------------ what it is asked

    async def get(self, path: str, type: type[Any], *, params: Mapping[str, str] | None = None) -> Any:  # noqa: A002
        self.point(f"get {path}")
        await asyncio.sleep(0)
        name = path.rpartition("/")[2]
        if type is JobSet:
            return self.jobset
        if type is Node:
            return build.node(name)
        if name not in self.pods:
            raise NotFound(f"{path} not found")
        return self.pods[name]

    async def list(self, path: str, item: type[Any], **_: Any) -> Listing[Any]:
        self.point(f"list {path}")
        await asyncio.sleep(0)
        jobs = [build.job(self.jobset)]
        held: dict[type[Any], list[Any]] = {Pod: list(self.pods.values()), Job: jobs, Event: self.events}
        return Listing(held.get(item, []), str(self._version))

    async def allowed(self, permission: Permission, namespace: str, name: str = "") -> bool:
        return True

    async def execute(self, exec_: Exec, *, timeout: float = 30.0) -> ExecResult:  # noqa: ASYNC109
        raise JsrError("there is nothing to run it in")

    async def text(self, path: str, **_: Any) -> bytes:
        raise NotFound(f"{path} not found")

    async def send(self, write: Write, *, type: type[Any] | None = None, **_: Any) -> Any:  # noqa: A002
        self.point(f"before {write.verb} {write.path}")
        await asyncio.sleep(0)
        self.sent.append(write)
        answer = None
        if write.verb == "patch" and "/jobsets/" in write.path:
            answer = self._patch_jobset(write)
        elif write.verb == "patch" and "/workloads/" in write.path:
            self._requeue(write.sent_body()["spec"]["active"])
        elif write.verb == "patch" and "/pods/" in write.path:
            self.restarts(write)
        self.point(f"after {write.verb} {write.path}")
        return answer if type else None

    async def send_all(
        self, actions: Sequence[Action], on_done: Callable[[Action, ActionResult], None], **_: Any
    ) -> None:
        async def one(action: Action) -> None:
            assert isinstance(action, Write)
            error = None
            try:
                await self.send(action)
            except JsrError as failed:
                error = failed
            on_done(action, ActionResult(error))

        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(one(action))

    async def watch(self, path: str, item: type[Any], **_: Any) -> AsyncIterator[WatchBatch[Any]]:
        self.point(f"open watch {path}")
        queue: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
        self._watches.append((item, queue))
        while True:
            change = await queue.get()
            self.point(f"watch {path}")
            yield WatchBatch(changes=[change])

    # ------------------------------------------------------------ what it does

    def tell(self, kind: str, thing: Any) -> None:
        for item, queue in self._watches:
            if isinstance(thing, item):
                queue.put_nowait((kind, thing))

    def change_jobset(self, **fields: Any) -> None:
        """Somebody writes spec fields: a new version and generation, told to who watches."""
        self._version += 1
        meta = self.jobset.metadata
        meta = structs.replace(meta, resource_version=str(self._version), generation=meta.generation + bool(fields))
        self.jobset = structs.replace(self.jobset, metadata=meta, spec=structs.replace(self.jobset.spec, **fields))
        self.tell("MODIFIED", self.jobset)

    def _patch_jobset(self, write: Write) -> JobSet:
        body = write.sent_body()
        version = body["metadata"].get("resourceVersion")
        if version and version != self.jobset.metadata.resource_version:
            raise Conflict("the object has been modified")
        note = body["metadata"].get("annotations", {}).get(OPERATION)
        if note is not None:
            self.jobset = structs.replace(
                self.jobset,
                metadata=structs.replace(
                    self.jobset.metadata, annotations=structs.replace(self.jobset.metadata.annotations, operation=note)
                ),
            )
        before = self.jobset.spec.suspend
        wanted = body.get("spec", {}).get("suspend", before)
        self.change_jobset(**({"suspend": wanted} if wanted != before else {}))
        answer = self.jobset
        if wanted != before:
            self.on_suspend(wanted)
        return answer

    def _requeue(self, active: bool) -> None:
        """Kueue: an inactive Workload is evicted, an active one admitted."""
        assert self.kueue is not None
        self.kueue = structs.replace(self.kueue, spec=structs.replace(self.kueue.spec, active=active))
        self.on_active(active)

    def _admit(self, active: bool) -> None:
        if self.jobset.spec.suspend == active:
            self.change_jobset(suspend=not active)
            self.on_suspend(not active)

    def _react(self, suspended: bool) -> None:
        """The Job controller: no Pods while suspended, new ones after."""
        if suspended:
            self.remove(list(self.pods))
        else:
            self.refill()

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            self.tell("DELETED", self.pods.pop(name))

    def refill(self) -> None:
        """New Pods for the indexes that have none."""
        self._made += 1
        taken = {pod.metadata.labels.completion_index for pod in self.pods.values()}
        for index in range(self.jobset.spec.replicated_jobs[0].template.spec.parallelism or 1):
            if str(index) not in taken:
                pod = build.pod(index, name=f"train-workers-0-{index}-{self._made}", created="2026-01-01T02:00:00Z")
                self.pods[pod.metadata.name] = pod
                self.tell("ADDED", pod)

    def _restart(self, write: Write) -> None:
        name = write.path.rpartition("/")[2]
        raw: dict[str, Any] = msgspec.to_builtins(self.pods[name])
        raw["metadata"]["annotations"] = write.body["metadata"]["annotations"]
        self.pods[name] = msgspec.convert(raw, Pod)
        self.tell("MODIFIED", self.pods[name])
        status = build.status(restarts=raw["status"]["containerStatuses"][0].get("restartCount", 0) + 1)
        raw["status"]["containerStatuses"] = [status]
        self.pods[name] = msgspec.convert(raw, Pod)
        self.tell("MODIFIED", self.pods[name])
