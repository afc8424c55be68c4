"""Facts of the signal trigger: what ends PID 1 from inside its container, and what its exit code leads to."""

from __future__ import annotations

import pytest

from tests.e2e.api import Object
from tests.e2e.cluster import Cluster
from tests.e2e.facts import (
    Exec,
    catches,
    has_condition,
    last_exit,
    pin_images,
    restarts,
    running,
    state,
    until_restarted,
)
from tests.e2e.manifests import IGNORES_TERM, container, handles_term, jobset, replicated_job
from tests.e2e.picture import assert_restarted_in_place, assert_same_jobset, assert_untouched
from tests.e2e.place import Place

WAITING_SHELL = ["sh", "-c", "sleep 1000; exit 7"]
TERM, KILL = 15, 9


def rule(action: str, *codes: int) -> Object:
    return {"action": action, "exitCodes": {"operator": "In", "values": [*codes]}}


def one_pod(place: Place, *containers: Object, policy: str = "OnFailure", backoff_limit: int = 9) -> str:
    """The name of the one Ready Pod of JobSet train."""
    job = replicated_job("workers", *containers, pods=1, restart_policy=policy, backoff_limit=backoff_limit)
    place.create(jobset("train", job, max_restarts=0))
    return place.settled("train").pods["workers/0/0"].name


@pytest.mark.parametrize("command", [IGNORES_TERM, WAITING_SHELL], ids=["sleep", "sh"])
@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_pid_1_without_a_handler_ignores(place: Place, cluster: Cluster, command: list[str], signal: str) -> None:
    """TERM, which everyone recommends, and even KILL do nothing when they come from inside: kill says it went well, and
    PID 1 goes on."""
    run = Exec(cluster, place)
    name = one_pod(place, container(command=command))
    before = place.settled("train")
    assert run(name, "sh", "-c", f"kill -{signal} 1").code == 0
    assert "Pid:\t1\n" in run(name, "cat", "/proc/1/status").stdout
    pin_images(place, place.pods("train")[0])
    (pod,) = until_restarted(place, pods=1).values()
    assert last_exit(pod)["containerID"] == before.pods["workers/0/0"].containers["worker"].id


def test_term_ends_a_pid_1_with_a_handler(place: Place, cluster: Cluster) -> None:
    """The handler's exit code goes to the restart policy, and only the one container that got the exec restarts."""
    run = Exec(cluster, place)
    place.create(
        jobset(
            "train",
            replicated_job(
                "workers", container(), container("log"), pods=1, restart_policy="OnFailure", backoff_limit=9
            ),
        )
    )
    before = place.settled("train")
    run(before.pods["workers/0/0"].name, "sh", "-c", "kill -TERM 1")
    (pod,) = until_restarted(place, pods=1).values()
    assert last_exit(pod)["exitCode"] == 143
    after = place.settled("train")
    assert_restarted_in_place(before, after, containers={"worker"})
    assert_same_jobset(before, after)


def test_mask_of_caught_signals(place: Place, cluster: Cluster) -> None:
    """SigCgt of PID 1 has the bit of TERM where it is handled and only there, and never that of KILL."""
    run = Exec(cluster, place)
    name = one_pod(
        place,
        container("handles"),
        container("sleeps", IGNORES_TERM),
        container("shell", WAITING_SHELL),
    )
    found = {
        each: (catches(run, name, TERM, each), catches(run, name, KILL, each))
        for each in ("handles", "sleeps", "shell")
    }
    assert found == {"handles": (True, False), "sleeps": (False, False), "shell": (False, False)}


def test_kill_of_everything_ends_a_shell_that_waits(place: Place, cluster: Cluster) -> None:
    """All but PID 1 is killed; the shell that waited for its child goes on to its own exit."""
    run = Exec(cluster, place)
    name = one_pod(place, container(command=WAITING_SHELL))
    run(name, "sh", "-c", "kill -9 -1")
    (pod,) = until_restarted(place, pods=1).values()
    assert last_exit(pod)["exitCode"] == 7


def test_kill_of_everything_leaves_a_pid_1_without_children(place: Place, cluster: Cluster) -> None:
    """There is nothing it waits for, so it stays what it was."""
    run = Exec(cluster, place)
    name = one_pod(place, container(command=IGNORES_TERM))
    before = place.settled("train")
    run(name, "sh", "-c", "kill -9 -1")
    assert "State:\tS" in run(name, "cat", "/proc/1/status").stdout
    assert_untouched(before, place.settled("train"))


def test_exit_0_under_on_failure_completes(place: Place, cluster: Cluster) -> None:
    """It is no failure, so nothing restarts: the Pod has Succeeded and the Job counts its index as done."""
    run = Exec(cluster, place)
    name = one_pod(place, container(command=handles_term(0)))
    run(name, "sh", "-c", "kill -TERM 1")
    done = place.until_jobset("train", lambda found: has_condition(found, "Completed"), "the end of the JobSet")
    assert done["status"]["terminalState"] == "Completed"
    (pod,) = place.pods("train")
    assert (pod["status"]["phase"], restarts(pod), state(pod)["terminated"]["exitCode"]) == (
        "Succeeded",
        {"worker": 0},
        0,
    )
    job = place.api.get("jobs", place.namespace, "train-workers-0")
    assert (job["status"]["succeeded"], job["status"]["completedIndexes"]) == (1, "0")


def test_exit_under_never_fails_the_pod(place: Place, cluster: Cluster) -> None:
    """The signal needs a policy or a rule that restarts on that exit code."""
    run = Exec(cluster, place)
    name = one_pod(place, container(), policy="Never", backoff_limit=0)
    run(name, "sh", "-c", "kill -TERM 1")
    place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    job = place.api.get("jobs", place.namespace, "train-workers-0")
    assert (job["status"]["failed"], has_condition(job, "Failed")) == (1, True)


def test_rule_comes_before_the_policy(place: Place, cluster: Cluster) -> None:
    """A container that is never restarted by its policy restarts on the exit code of its rule."""
    run = Exec(cluster, place)
    worker = container(restartPolicy="Never", restartPolicyRules=[rule("Restart", 143)])
    name = one_pod(place, worker, policy="Never", backoff_limit=0)
    before = place.settled("train")
    run(name, "sh", "-c", "kill -TERM 1")
    until_restarted(place, pods=1)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


def test_policy_of_the_container_comes_before_that_of_the_pod(place: Place, cluster: Cluster) -> None:
    """Where no rule fits, Never of the container fails a Pod that would restart others."""
    run = Exec(cluster, place)
    worker = container(restartPolicy="Never", restartPolicyRules=[rule("Restart", 42)])
    name = one_pod(place, worker, policy="OnFailure", backoff_limit=0)
    run(name, "sh", "-c", "kill -TERM 1")
    place.until_jobset("train", lambda found: has_condition(found, "Failed"), "the end of the JobSet")
    job = place.api.get("jobs", place.namespace, "train-workers-0")
    assert (job["status"]["failed"], has_condition(job, "Failed")) == (1, True)


@pytest.mark.parametrize(
    ("actions", "restarted"),
    [
        (["Restart", "RestartAllContainers"], {"worker": 1, "log": 0}),
        (["RestartAllContainers", "Restart"], {"worker": 1, "log": 1}),
    ],
    ids=["restart-first", "restart-all-first"],
)
def test_first_rule_that_fits_decides(
    place: Place, cluster: Cluster, actions: list[str], restarted: dict[str, int]
) -> None:
    """Of two rules for one exit code the one that stands first is followed."""
    run = Exec(cluster, place)
    worker = container(
        restartPolicy="Never", restartPolicyRules=[rule("Restart", 42), *(rule(a, 143) for a in actions)]
    )
    name = one_pod(place, worker, container("log"), policy="Never", backoff_limit=0)
    run(name, "sh", "-c", "kill -TERM 1")
    until_restarted(place, pods=1)
    (pod,) = place.until_pods("train", lambda pods: running(pods[0]) and running(pods[0], "log"), "both to run")
    assert restarts(pod) == restarted
