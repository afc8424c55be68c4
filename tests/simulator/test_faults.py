"""Faults as data: what is read, what a share hits, and what each kind does to a World."""

from __future__ import annotations

import pytest

from jobset_restart.simulator.faults import KINDS, Fault, Faults, read
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.world import World
from tests.e2e.manifests import jobset, replicated_job

START = 1_800_000_000.0


def test_faults_are_read_from_data() -> None:
    found = read([{"kind": "node", "at": 5, "lasts": 60, "target": "node-1"}, {"kind": "error", "share": 0.5}])
    assert found == [Fault(kind="node", at=5, lasts=60, target="node-1"), Fault(kind="error", share=0.5)]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "a list of mappings"),
        (["error"], "fault 1 is not a mapping"),
        ([{"kind": "error"}, {"at": 1}], "fault 2 is not a mapping with a kind"),
        ([{"kind": "eror"}], "there is no fault 'eror': there are unauthorized"),
        ([{"kind": "error", "when": 3}], "unknown fields: when"),
        ([{"kind": "error", "at": "soon"}], "at of 'error' is not a number"),
        ([{"kind": "error", "at": -1}], "at of 'error' is not a number of 0 or more"),
        ([{"kind": "error", "lasts": float("inf")}], "lasts of 'error' is not a number"),
        ([{"kind": "error", "share": 1.5}], "share of 'error' is above 1"),
        ([{"kind": "error", "target": 3}], "target of 'error' is not a text"),
    ],
)
def test_what_cannot_be_read_is_told(document: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(document)


def test_a_request_is_hit_while_the_fault_lasts_and_where_its_target_matches() -> None:
    faults = Faults()
    faults.add(Fault(kind="error", at=10, lasts=5, target="patch pods default/*"), START)

    def hit(what: str, at: float) -> bool:
        return faults.request(what, START + at) is not None

    assert [hit("patch pods default/a", at) for at in (9.9, 10, 14.9, 15)] == [False, True, True, False]
    assert not hit("get pods default/a", 12)
    assert not hit("patch jobsets default/a", 12)


def test_a_share_of_requests_is_drawn_and_of_pods_always_the_same() -> None:
    def hits(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(Fault(kind="error", share=0.3), START)
        return [faults.request("get pods default/a", START) is not None for _ in range(1000)]

    assert 200 < sum(hits(1)) < 400
    assert hits(1) == hits(1) != hits(2)
    faults = Faults(3)
    faults.add(Fault(kind="crash", share=0.5), START)
    hit = [faults.pod("crash", "default", f"pod-{n}", START) is not None for n in range(200)]
    assert 60 < sum(hit) < 140
    assert hit == [faults.pod("crash", "default", f"pod-{n}", START) is not None for n in range(200)]


def test_every_kind_says_what_it_does() -> None:
    assert all(about and group for group, about in KINDS.values())


# What they do to a World


def _world(pods: int = 2, **job: object) -> World:
    world = World(nodes=2, profile=INSTANT, start=START)
    world.load([jobset("train", replicated_job(pods=pods, backoff_limit=100, **job))])  # type: ignore[arg-type]
    world.run_until(START + 10)
    return world


def _pods(world: World) -> list[Obj]:
    return list(world.store.by_label("pods", "jobset.sigs.k8s.io/jobset-name", "train"))


def _failed(world: World) -> int:
    return sum(job["status"].get("failed", 0) for job in world.store.all("jobs"))


def _ready_nodes(world: World) -> list[str]:
    return [
        node["metadata"]["name"]
        for node in world.store.all("nodes")
        if any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
    ]


def test_a_node_goes_and_comes_back() -> None:
    world = _world()
    world.add_fault(Fault(kind="node", at=5, lasts=30, target="node-1"))
    seen = []
    for at in (4, 20, 50):
        world.run_until(START + 10 + at)
        seen.append(_ready_nodes(world))
    assert seen == [["node-0", "node-1"], ["node-0"], ["node-0", "node-1"]]


def test_containers_exit_once_and_their_pods_are_replaced() -> None:
    world = _world()
    before = {pod["metadata"]["uid"] for pod in _pods(world)}
    world.add_fault(Fault(kind="exit", at=1, lasts=30))
    world.run_until(START + 100)
    assert _failed(world) == len(before) == 2
    running = [pod for pod in _pods(world) if pod["status"]["phase"] == "Running"]
    assert len(running) == 2
    assert not before & {pod["metadata"]["uid"] for pod in running}


def test_containers_crash_for_as_long_as_it_lasts() -> None:
    world = _world(restart_policy="OnFailure")
    world.add_fault(Fault(kind="exit", lasts=1))
    world.add_fault(Fault(kind="crash", lasts=25))
    world.run_until(START + 200)
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in _pods(world)]
    assert restarts == [3, 3]  # at once, after 10 s, and after 20 s, when it is over
    assert all(pod["status"]["containerStatuses"][0]["ready"] for pod in _pods(world))


@pytest.mark.parametrize(("kind", "reason"), [("stuck", "ContainerCreating"), ("pull", "ContainerCreating")])
def test_containers_do_not_start_while_it_lasts(kind: str, reason: str) -> None:
    world = World(nodes=2, profile=INSTANT, start=START)
    world.add_fault(Fault(kind=kind, lasts=30))
    world.load([jobset("train", replicated_job(pods=1))])
    world.run_until(START + 29)
    waits = _pods(world)[0]["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waits["reason"] == reason
    world.run_until(START + 32)
    assert _pods(world)[0]["status"]["phase"] == "Running"


def test_pulls_fail_and_are_tried_again() -> None:
    world = World(nodes=1, profile=INSTANT, start=START)
    world.add_fault(Fault(kind="pull-error", lasts=15))
    world.load([jobset("train", replicated_job(pods=1))])
    world.run_until(START + 14)
    waits = _pods(world)[0]["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waits["reason"] in ("ErrImagePull", "ImagePullBackOff")
    world.run_until(START + 60)
    assert _pods(world)[0]["status"]["phase"] == "Running"
