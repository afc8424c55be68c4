"""In-place-restart agents, with the JobSet controller: attempts, the barrier, and what holds it up."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.world import World
from tests.e2e.manifests import access, native
from tests.simulator.test_kubelet import condition, shown, state


def native_world(**more: Any) -> World:
    world = World(nodes=2)
    for manifest in (*access("agent"), native("train", **more)):
        body = {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
        if "subjects" in body:
            body["subjects"] = [{**each, "namespace": "default"} for each in body["subjects"]]
        world.load([body])
    world.settle(30)
    return world


def attempts(world: World) -> set[str]:
    key = "jobset.sigs.k8s.io/in-place-restart-attempt"
    return {pod["metadata"].get("annotations", {}).get(key, "") for pod in world.store.all("pods")}


def outdate(world: World, attempt: int) -> None:
    pod = next(iter(world.store.all("pods")))
    notes = {**pod["metadata"]["annotations"], "jobset.sigs.k8s.io/in-place-restart-attempt": str(attempt)}
    world.store.update("pods", {**pod, "metadata": {**pod["metadata"], "annotations": notes}}, world.now)


def test_agents_take_the_whole_jobset_through_one_round() -> None:
    world = native_world()
    assert attempts(world) == {"0"}
    before = {pod["metadata"]["uid"] for pod in world.store.all("pods")}
    outdate(world, 1)
    world.settle(30)
    pods = list(world.store.all("pods"))
    assert {pod["metadata"]["uid"] for pod in pods} == before
    assert attempts(world) == {"1"}
    assert {shown(pod, name)["restartCount"] for pod in pods for name in ("agent", "worker")} == {1}
    assert all(condition(pod, "Ready")[0] == "True" for pod in pods)
    status = world.store.get("jobsets", "default", "train")["status"]
    assert (status["currentInPlaceRestartAttempt"], status["previousInPlaceRestartAttempt"]) == (1, 0)


def test_barrier_stays_up_while_a_node_is_off() -> None:
    world = native_world(driver_node="node-0", workers_node="node-1", workers=1)
    world.set_power("node-1", False)
    outdate(world, 1)
    world.settle(30)
    waiting = next(pod for pod in world.store.all("pods") if pod["spec"]["nodeName"] == "node-0")
    assert (state(shown(waiting, "agent")), shown(waiting, "agent")["started"]) == ("running", False)
    assert state(shown(waiting)) == "waiting(PodInitializing)"
    assert waiting["status"]["phase"] == "Pending"


def test_waiting_at_the_barrier_ends_with_the_startup_probe() -> None:
    world = native_world(driver_node="node-0", workers_node="node-1", workers=1)
    world.set_power("node-1", False)
    outdate(world, 1)
    world.settle(680)
    waiting = next(pod for pod in world.store.all("pods") if pod["spec"]["nodeName"] == "node-0")
    assert shown(waiting, "agent")["restartCount"] > 1
