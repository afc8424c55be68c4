"""Objects that came out of the store, or went into it, are never changed in place: a watcher would be told of changes
that nobody wrote, or not of those that were."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from jobset_restart.simulator.patch import merge
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.world import World
from tests.e2e.manifests import container, exits, handles_term, jobset, native, replicated_job
from tests.simulator.stage import START


class Watched(World):
    """Keeps every version of every object, and what it was when it was written."""

    def __init__(self) -> None:
        super().__init__(nodes=2, start=START, seed=7)
        self._versions: list[tuple[str, Obj, bytes]] = []
        self.store.subscribe(self._keep)

    def _keep(self, resource: str, change: str, obj: Obj, old: Obj | None) -> None:
        name = f"{change} {resource} {obj['metadata']['name']} {obj['metadata']['resourceVersion']}"
        self._versions.append((name, obj, msgspec.json.encode(obj)))

    def mutated(self) -> list[str]:
        return [name for name, obj, written in self._versions if msgspec.json.encode(obj) != written]

    def patch(self, resource: str, name: str, body: Obj) -> None:
        old = self.store.get(resource, "" if resource == "nodes" else "default", name)
        self.store.update(resource, merge(old, body), self.now)

    def running(self) -> list[Obj]:
        return self.store.list("pods", "default", lambda pod: bool(pod["status"]["phase"] == "Running"))


def suspends(world: Watched) -> None:
    world.patch("jobsets", "train", {"spec": {"suspend": True}})
    world.settle(5)
    world.patch("jobsets", "train", {"spec": {"suspend": False}})


def loses_a_node(world: Watched) -> None:
    world.set_power("node-0", False)
    world.settle(400)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    world.patch("nodes", "node-0", {"spec": {"taints": [taint]}})
    world.settle(60)
    world.set_power("node-0", True)


def deletes_pods(world: Watched) -> None:
    for pod in world.running()[:2]:
        world.store.delete("pods", "default", pod["metadata"]["name"], world.now)


def deletes_jobs(world: Watched) -> None:
    for job in world.store.list("jobs", "default"):
        world.store.delete("jobs", "default", job["metadata"]["name"], world.now, propagation="Foreground")


def changes_images(world: Watched) -> None:
    for pod in world.running():
        containers = [{**each, "image": "busybox:2"} for each in pod["spec"]["containers"]]
        world.patch("pods", pod["metadata"]["name"], {"spec": {"containers": containers}})


def tells_one_to_end(world: Watched) -> None:
    for pod in world.running()[:1]:
        world.execute("default", pod["metadata"]["name"], "worker", ["sh", "-c", "kill -TERM 1"])


def deletes_the_jobset(world: Watched) -> None:
    world.store.delete("jobsets", "default", "train", world.now, propagation="Background")


JOBSETS = {
    "never": jobset("train", replicated_job("driver", pods=1), replicated_job(jobs=2, backoff_limit=3)),
    "on-failure": jobset(
        "train", replicated_job("workers", container(command=handles_term(1)), restart_policy="OnFailure")
    ),
    "native": native("train"),
    "completes": jobset("train", replicated_job("workers", container(command=exits(0, after=1)))),
    "fails": jobset("train", replicated_job("workers", container(command=exits(3, after=1))), max_restarts=1),
}
DEEDS = (suspends, loses_a_node, deletes_pods, deletes_jobs, changes_images, tells_one_to_end, deletes_the_jobset)


@pytest.mark.parametrize("manifest", JOBSETS)
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_nothing_is_changed_in_place(manifest: str, deed: Callable[[Watched], None]) -> None:
    world = Watched()
    world.load([JOBSETS[manifest]])
    world.settle(1 if manifest in ("completes", "fails") else 20)
    deed(world)
    world.settle(60)
    assert not world.mutated()
