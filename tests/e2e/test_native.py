"""In place by the JobSet's own controller and the agents in its Pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.api import Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import exits, native
from tests.e2e.picture import assert_nothing_changed, assert_restarted_in_place, ready, rounds_between
from tests.e2e.place import Place

ATTEMPTS, OF_ONE = "maxRestarts, in-place attempts", "maxRestarts, restarts of one container"
DISABLE = "jobset.sigs.k8s.io/disable-in-place-restart"


def spent(document: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {budget["name"]: (budget["before"], budget["after"]) for budget in document["budgets"]}


def test_agents_over_two_replicated_jobs_and_two_nodes(place: Place, jsr: Jsr, two_nodes: tuple[str, str]) -> None:
    first, second = two_nodes
    place.grant("agent")
    place.create(native("train", driver_node=first, workers_node=second))
    before = place.settled("train")
    assert {pod.node for pod in before.pods.values()} == {first, second}
    assert before.jobset.current_attempt == 0
    last = ""
    for _ in range(2):
        running = jsr.start_restart("train", "--in-place")
        record = place.until_claimed("train", other_than=last)
        during = jsr.status("train")
        assert during["operation"]["id"] == record["id"]
        assert during["operation"]["trigger"] == "native"
        result = running.wait().exited(0).document
        assert (result["trigger"], result["writes"], result["outcomes"]) == ("native", 1, {"restarted": 4})
        assert result["operation"] == record["id"]
        after = place.settled("train")
        rounds = rounds_between(before, after)
        assert rounds == 1
        assert_restarted_in_place(before, after, rounds=rounds)
        assert after.jobs == before.jobs
        assert {pod.attempt for pod in after.pods.values()} == {str(after.jobset.current_attempt)}
        assert (after.jobset.restarts, after.jobset.towards_max) == (0, 0)
        assert after.jobset.conditions == before.jobset.conditions
        before, last = after, record["id"]
    status = jsr.status("train")
    current = before.jobset.current_attempt
    assert current is not None
    assert (status["previousInPlaceAttempt"], status["currentInPlaceAttempt"]) == (current - 1, current)
    assert status["restarts"] == 0


def test_no_restart_left_is_refused(place: Place, jsr: Jsr) -> None:
    place.grant("agent")
    place.create(native("train", workers=1, max_restarts=0))
    before = place.settled("train")
    ended = jsr.restart("train", "--in-place").exited(3)
    assert "JSR203" in ended.stderr
    assert_nothing_changed(before, place.settled("train"))


@pytest.mark.short
@pytest.mark.parametrize("given", [True, False], ids=["agents with a rule", "agents without"])
def test_native_only_where_the_pods_have_the_rule(place: Place, jsr: Jsr, given: bool) -> None:
    """Without a rule that restarts all containers an agent's exit restarts the agent alone. An API server that does not
    know such rules drops them, whatever the JobSet says."""
    place.grant("agent")
    place.create(without_rules(native("train", workers=1), of_agents=not given))
    before = place.settled("train")
    kept = all("restartPolicyRules" in agent for pod in place.pods("train") for agent in pod["spec"]["initContainers"])
    assert not kept or given
    if not kept:
        refused = jsr.restart("train", "--via", "native", "--allow", "JSR309").exited(3)
        assert (
            "JSR309 blocker: 2 Pods without a rule that restarts all containers: worker would run on" in refused.stderr
        )
    result = jsr.restart("train", "--in-place").exited(0).document
    assert (result["trigger"], result["outcomes"]) == ("native" if kept else "image", {"restarted": 2})
    after = place.settled("train")
    assert after.jobset.current_attempt == (1 if kept else 0)
    for slot, pod in before.pods.items():
        assert after.pods[slot].containers["worker"].restarts == pod.containers["worker"].restarts + 1
        assert after.pods[slot].containers["agent"].restarts == (1 if kept else 0)


def without_rules(manifest: Object, *, of_agents: bool) -> Object:
    """The workers' rules are taken away, and the agents' where that is said. A worker may not have a policy of its own
    where rules are not known."""
    for job in manifest["spec"]["replicatedJobs"]:
        spec = job["template"]["spec"]["template"]["spec"]
        dropped = ("restartPolicy", "restartPolicyRules")
        spec["containers"] = [{k: v for k, v in c.items() if k not in dropped} for c in spec["containers"]]
        if of_agents:
            spec["initContainers"] = [
                {k: v for k, v in c.items() if k != "restartPolicyRules"} for c in spec["initContainers"]
            ]
    return manifest


@pytest.mark.parametrize("trigger", ["suspend", "jobs"])
def test_recreating_spends_an_attempt_and_stops_at_the_last(place: Place, jsr: Jsr, trigger: str) -> None:
    """The agents of new Pods take the next attempt. One too many would fail the JobSet for good."""
    place.grant("agent")
    place.create(native("train", workers=1, max_restarts=1))
    before = place.settled("train")
    result = jsr.restart("train", "--recreate", "--via", trigger).exited(0).document
    assert spent(result) == {ATTEMPTS: (0, 1)}
    after = place.settled("train")
    assert not {pod.uid for pod in before.pods.values()} & {pod.uid for pod in after.pods.values()}
    assert after.jobset.current_attempt == 1
    refused = jsr.restart("train", "--recreate", "--via", trigger).exited(3)
    assert "JSR203 blocker: maxRestarts, in-place attempts: 1 of 1 used" in refused.stderr
    assert_nothing_changed(after, place.settled("train"))
    assert spent(jsr.restart("train").exited(0).document) == {OF_ONE: (0, 1)}, "image leaves the agents alone"


def test_disabled_agents_are_the_way_out_when_no_attempt_is_left(place: Place, jsr: Jsr) -> None:
    place.grant("agent")
    place.create(native("train", workers=1, max_restarts=0))
    before = place.settled("train")
    assert "JSR203" in jsr.restart("train", "--recreate").exited(3).stderr
    place.api.patch("jobsets", place.namespace, "train", {"metadata": {"annotations": {DISABLE: "true"}}})
    assert jsr.restart("train", "--recreate").exited(0).document["budgets"] == []
    after = place.settled("train")
    assert not {pod.uid for pod in before.pods.values()} & {pod.uid for pod in after.pods.values()}
    assert after.jobset.conditions == before.jobset.conditions


def test_a_completed_pod_would_hold_the_barrier(place: Place, jsr: Jsr) -> None:
    """It has no agent to take the next attempt, so whoever waits at the barrier would wait for ever."""
    place.grant("agent")
    place.create(with_a_driver_that_completes())
    pods = place.until_pods(
        "train", lambda pods: sorted(map(phase_of, pods)) == ["Running", "Succeeded"], "the end of the driver"
    )
    place.until_jobset("train", lambda found: found["status"].get("currentInPlaceRestartAttempt") == 0, "the barrier")
    for how in (("--via", "native"), ("--recreate",)):
        assert "JSR210" in jsr.restart("train", *how).exited(3).stderr
    result = jsr.restart("train", "--in-place").exited(0).document
    assert (result["trigger"], result["outcomes"]) == ("image", {"restarted": 1, "unchanged": 1})
    assert {pod["metadata"]["uid"] for pod in pods} == {pod["metadata"]["uid"] for pod in place.pods("train")}


def with_a_driver_that_completes() -> Object:
    manifest = native("train", workers=1)
    driver = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    worker = driver["spec"]["containers"][0]
    driver["spec"] = {**driver["spec"], "containers": [{**worker, "command": exits(0, after=1)}]}
    return manifest


def phase_of(pod: Object) -> str:
    return str(pod["status"]["phase"]) if pod["status"]["phase"] != "Running" or ready(pod) else "starting"


def test_recreating_a_part_restarts_the_others_in_place(place: Place, jsr: Jsr) -> None:
    place.grant("agent")
    place.create(native("train", workers=2))
    before = place.settled("train")
    part = ("--replicated-job", "driver", "--recreate")
    assert "JSR211" in jsr.restart("train", *part).exited(3).stderr
    assert_nothing_changed(before, place.settled("train"))
    result = jsr.restart("train", *part, "--allow", "JSR211").exited(0).document
    assert (result["trigger"], spent(result)) == ("jobs", {ATTEMPTS: (0, 1), OF_ONE: (0, 1)})
    after = place.settled("train")
    assert after.jobset.current_attempt == 1
    for slot in ("workers/0/0", "workers/0/1"):
        assert after.pods[slot].uid == before.pods[slot].uid
        assert after.pods[slot].containers["worker"].restarts == 1
