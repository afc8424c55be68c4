"""The embedded cluster on a virtual loop: its World, its API server, the requests it got, and what others do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiohttp import web

from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.server import Server
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.world import World
from tests.simulation.virtual import VirtualLoop

START = 1_800_000_000.0
NAME, NAMESPACE = "train", "default"
RESOURCES = {"JobSet": "jobsets", "Job": "jobs"}
OPERATION = "jobset-restart.io/operation"


class Request(NamedTuple):
    """One request the API server got. `time` is seconds since the epoch."""

    time: float
    method: str
    path: str
    query: str

    @property
    def changes(self) -> bool:
        """Whether it changes something for good: neither a review, nor a dry run, nor a command."""
        return (
            self.method in ("POST", "PATCH", "DELETE", "PUT")
            and "authorization.k8s.io" not in self.path
            and "dryRun=All" not in self.query
        )


class Listening(Server):
    """Writes down what it is asked."""

    requests: list[Request]
    now: Callable[[], float]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(Request(self.now(), request.method, request.path, request.query_string))
        return await super()._handle(request)

    def rotate(self, token: str) -> None:
        self._tokens.token = token

    def look(self) -> None:
        """Something was written past the server."""
        self._clock.writing()

    @property
    def token(self) -> str:
        return self._tokens.token


class VirtualCluster:
    """Serves on `loop` once `serve` was called. Files (kubeconfig, token, event files) are kept in `folder`."""

    listening: type[Listening] = Listening

    def __init__(self, loop: VirtualLoop, folder: Path, *, nodes: int, profile: Profile, seed: int) -> None:
        self.loop, self.folder = loop, folder
        self.world = World(nodes=nodes, profile=profile, seed=seed, start=START)
        self.store = self.world.store
        self.requests: list[Request] = []
        self.resource = ""
        self.kubeconfig = str(folder / "kubeconfig")
        self._rotations = 0

    def settle(self, manifests: list[Obj], age: float) -> None:
        """Creates the objects and plays on until the last Pod has been Ready for `age` seconds."""
        self._manifest = manifests[0]
        self.resource = RESOURCES[self._manifest["kind"]]
        self.world.load(manifests)
        for _ in range(600):
            self.world.run_until(self.world.now + 1.0)
            if self.pods() and all(map(is_ready, self.pods())) and self._all_there():
                break
        else:
            raise AssertionError("the workload never became Ready")
        self.world.run_until(self.world.now + age)

    def _all_there(self) -> bool:
        workload = self.workload()
        assert workload is not None
        if self.alone:
            return bool((workload.get("status") or {}).get("ready") == workload["spec"]["parallelism"])
        wanted = {each["name"]: each.get("replicas", 1) for each in workload["spec"]["replicatedJobs"]}
        status = (workload.get("status") or {}).get("replicatedJobsStatus") or ()
        return {each["name"]: each.get("ready", 0) + each.get("succeeded", 0) for each in status} == wanted

    def serve(self) -> None:
        """Begins to listen: from here on the world's time is the loop's."""
        began = self.world.now - self.loop.time()
        self.now: Callable[[], float] = lambda: began + self.loop.time()

        async def start() -> Listening:
            server = self.listening(self.world)
            server.requests, server.now = self.requests, self.now
            await server.start(tls=False)
            return server

        self.server = self.loop.run_until_complete(start())
        config = self.server.kubeconfig()
        token = self.folder / "token"
        token.write_text(self.server.token)
        config["users"][0]["user"] = {"tokenFile": str(token)}
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))

    def rotate_token(self) -> None:
        """The old token is refused from here on; the file has the new one."""
        self._rotations += 1
        token = f"canary-token-{self._rotations}-{self.server.token[:8]}"
        (self.folder / "token").write_text(token)
        self.server.rotate(token)

    def impersonate(self, user: str, rules: list[Obj]) -> None:
        """From here on the kubeconfig is that of a user who may do what the rules of RBAC say, and no more."""
        meta, now = {"name": user}, self.now()
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        self.store.create("clusterroles", {"metadata": meta, "rules": rules}, now)
        self.store.create("clusterrolebindings", {"metadata": meta, "roleRef": role, "subjects": [subject]}, now)
        config = yaml.safe_load(Path(self.kubeconfig).read_text())
        config["users"][0]["user"]["as"] = user
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))

    # What there is

    def workload(self) -> Obj | None:
        """The JobSet or Job that is restarted."""
        return self.store.find(self.resource, NAMESPACE, NAME)

    @property
    def alone(self) -> bool:
        """Whether it is a Job that nothing stands above."""
        return self.resource == "jobs"

    def record(self) -> dict[str, Any] | None:
        workload = self.workload()
        text = (workload["metadata"].get("annotations") or {}).get(OPERATION) if workload else None
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def pods(self) -> list[Obj]:
        label = "batch.kubernetes.io/job-name" if self.alone else "jobset.sigs.k8s.io/jobset-name"
        return list(self.store.by_label("pods", label, NAME))

    def jobs(self) -> list[Obj]:
        if self.alone:
            return [job] if (job := self.workload()) else []
        return list(self.store.by_label("jobs", "jobset.sigs.k8s.io/jobset-name", NAME))

    # What others do

    def somebody(self, deed: str) -> None:
        """Somebody else does something to the workload, if it is there. Each is one of DEEDS."""
        workload = self.workload()
        if workload is None:
            return
        try:
            DEEDS[deed](self, workload)
        except StoreError as error:
            if error.code not in (404, 409, 422):
                raise
        self.server.look()

    def change(self, workload: Obj, spec: Obj | None = None, annotations: dict[str, str] | None = None) -> None:
        meta = {
            **workload["metadata"],
            "annotations": {**workload["metadata"].get("annotations", {}), **(annotations or {})},
        }
        new = {**workload, "metadata": meta, "spec": {**workload["spec"], **(spec or {})}}
        self.store.update(self.resource, new, self.now())

    def delete(self, workload: Obj) -> None:
        self.store.delete(self.resource, NAMESPACE, NAME, self.now(), propagation="Background")

    def recreate(self, workload: Obj) -> None:
        self.delete(workload)
        fresh = {
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {**self._manifest["spec"], "suspend": False},
        }
        self.loop.call_later(20.0, lambda: self._create(fresh))

    def _create(self, fresh: Obj) -> None:
        if self.workload() is None:
            self.store.create(self.resource, fresh, self.now())

    def claim(self, workload: Obj) -> None:
        """By somebody who takes a claim that lives for a dead one. Who finds it suspended would resume it."""
        if workload["spec"].get("suspend"):
            return
        now = _timestamp(self.now())
        record = {"id": "0ther000", "owner": "somebody@else", "state": "running", "started": now, "heartbeat": now}
        self.change(
            workload, annotations={OPERATION: json.dumps({**record, "trigger": "image", "strategy": "in-place"})}
        )


def _timestamp(now: float) -> str:
    from jobset_restart.claim import timestamp

    return timestamp(now)


def is_ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    done = (pod.get("status") or {}).get("phase") == "Succeeded"
    return done or any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


DEEDS: dict[str, Callable[[VirtualCluster, Obj], None]] = {
    "suspends": lambda c, workload: c.change(workload, {"suspend": True}),
    "resumes": lambda c, workload: c.change(workload, {"suspend": False}),
    "annotates": lambda c, workload: c.change(workload, annotations={"example.com/touched": str(c.now())}),
    "deletes": VirtualCluster.delete,
    "recreates": VirtualCluster.recreate,
    "claims": VirtualCluster.claim,
}
