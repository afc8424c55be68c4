"""`jsr diagnose`: which rank of a training hangs, and that nobody is blamed where nobody can be."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from jobset_restart.workloads.kinds import JOBSET_NAME
from tests.e2e.api import Api
from tests.e2e.cluster import Cluster
from tests.e2e.command import Ended, Jsr
from tests.e2e.facts import Exec
from tests.e2e.manifests import documents
from tests.e2e.place import Place
from tests.e2e.skew import Skew

NAME = "hung"
HANG = "/tmp/hang"
TRIES = 5
STILL_SECONDS = 26.0
"""A step takes a second here: what printed one so long ago stands still, a checkpoint taken into account."""


class Training:
    """The JobSet of manifests/hung.yaml. Its ranks, by their order, are Pods."""

    def __init__(self, cluster: Cluster, place: Place, jsr: Jsr) -> None:
        self._api, self._place, self._jsr = place.api, place, jsr
        self.run = Exec(cluster, place)
        place.create(*documents("hung"))
        place.settled(NAME)
        self.until(lambda: all(self.step(pod) >= 3 for pod in self.pods), "a few steps of every rank")

    @property
    def pods(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self._place.pods(NAME))

    def node(self, pod: str) -> str:
        return str(self._api.get("pods", self._place.namespace, pod)["spec"]["nodeName"])

    def newest(self, pod: str) -> tuple[float, str]:
        """When it printed its newest line, in seconds since the epoch, and the line."""
        line = self._api.log(self._place.namespace, pod, tailLines="1", timestamps="true").strip()
        at, _, text = line.partition(" ")
        return (datetime.fromisoformat(at[:26] + "Z").timestamp(), text) if line else (0.0, "")

    def step(self, pod: str) -> int:
        return int(self.newest(pod)[1].removeprefix("step ") or -1)

    def hang(self, pod: str) -> None:
        """Has this rank hang, and waits until everything has stood still for a while."""
        assert self.run(pod, "touch", HANG).code == 0
        self.until_still()

    def hang_all(self) -> None:
        """Has all ranks hang in the same step. Where one of them had passed by already, it waits for the others, and
        they are to blame: then all begin anew."""
        for _ in range(TRIES):
            with ThreadPoolExecutor(len(self.pods)) as at_once:
                assert not any(done.code for done in at_once.map(lambda pod: self.run(pod, "touch", HANG), self.pods))
            self.until_still()
            if all("load_batch" in self.run(pod, "py-spy", "dump", "--pid", "1").stdout for pod in self.pods):
                return
            before = max(self.newest(pod)[0] for pod in self.pods)
            self._jsr.restart(NAME, "--in-place", "--via", "image").exited(0)
            self.until(partial(self._stepped, before), "steps after a restart")
        raise AssertionError(f"in {TRIES} tries the ranks did not hang in one step")

    def _stepped(self, since: float) -> bool:
        return all(self.newest(pod)[0] > since for pod in self.pods)

    def until_still(self) -> None:
        before, since = self._steps(), time.monotonic()
        end = since + 120
        while time.monotonic() - since < STILL_SECONDS:
            now = self._steps()
            if now != before:
                before, since = now, time.monotonic()
            assert time.monotonic() < end, f"steps go on: {now}"
            time.sleep(0.5)

    def _steps(self) -> list[int]:
        return [self.step(pod) for pod in self.pods]

    def until(self, reached: Callable[[], bool], what: str, within: float = 60) -> None:
        end = time.monotonic() + within
        while not reached():
            assert time.monotonic() < end, f"{what} not within {within:.0f} s"
            time.sleep(0.5)

    def diagnose(self, kubeconfig: str = "") -> Ended:
        kubeconfig = kubeconfig or self._jsr.kubeconfig
        return self._jsr.run("diagnose", NAME, "-o", "json", "--timeout", "55s", within=60, KUBECONFIG=kubeconfig)

    def restart(self, pod: str) -> None:
        """Restarts one rank in place; it is back when it prints steps again."""
        before = self.newest(pod)[0]
        self._jsr.restart(NAME, "--pod", pod, "--in-place", "--via", "image").exited(0)
        self.until(lambda: self.newest(pod)[0] > before, "steps of the restarted rank")

    def assert_blames(self, culprit: str, kubeconfig: str = "") -> None:
        """The diagnosis names this rank, nobody else, and where it is."""
        found = self.diagnose(kubeconfig).exited(7).document
        assert found["verdict"] == "Suspects"
        first = found["suspects"][0]
        assert (first["pod"], first["node"]) == (culprit, self.node(culprit)), found
        assert len(found["suspects"]) == 1, found


@pytest.fixture
def training(cluster: Cluster, place: Place, jsr: Jsr, api: Api) -> Training:
    del api
    return Training(cluster, place, jsr)


@pytest.mark.short
def test_a_training_that_steps_is_healthy(training: Training) -> None:
    found = training.diagnose().exited(0).document
    assert (found["verdict"], found["suspects"]) == ("Healthy", [])


@pytest.mark.short
def test_the_rank_that_hangs_is_named_with_its_node(training: Training) -> None:
    culprit = training.pods[2]
    training.hang(culprit)
    training.assert_blames(culprit)


def test_what_is_suspected_is_restarted_and_nothing_else(training: Training, jsr: Jsr, tmp_path: Path) -> None:
    culprit = training.pods[1]
    training.hang(culprit)
    file = tmp_path / "suspects.json"
    file.write_text(training.diagnose().exited(7).stdout)
    restart = partial(jsr.restart, NAME, "--in-place", "--via", "image", "--suspects", str(file))
    found = restart("-o", "json").exited(0).document
    assert [each["pod"] for each in found["slots"] if each["outcome"] == "restarted"] == [culprit]
    assert training.diagnose().exited(0).document["verdict"] == "Healthy"


def test_pods_chosen_by_their_labels_are_looked_into_as_their_jobset_is(training: Training, jsr: Jsr) -> None:
    culprit = training.pods[2]
    training.hang(culprit)
    by_label = ("pods", "-l", f"{JOBSET_NAME}={NAME}")
    found = jsr.run("diagnose", *by_label, "-o", "json", within=60).exited(7).document
    assert (found["workloadKind"], [suspect["pod"] for suspect in found["suspects"]]) == ("Pod", [culprit])
    command = found["suspects"][0]["commands"][0]
    assert command.startswith(f"jsr restart {' '.join(by_label)} ")
    assert command.endswith(f" --in-place --pod {culprit}")


def test_the_culprit_has_no_py_spy(training: Training) -> None:
    culprit = training.pods[1]
    assert training.run(culprit, "rm", "/usr/bin/py-spy").code == 0
    training.hang(culprit)
    training.assert_blames(culprit)


def test_a_rank_restarted_a_minute_ago_is_not_blamed(training: Training) -> None:
    culprit, other = training.pods[3], training.pods[0]
    training.restart(other)
    training.hang(culprit)
    training.assert_blames(culprit)


@pytest.mark.parametrize("seconds", [5, -5])
def test_clocks_of_nodes_may_differ(training: Training, cluster: Cluster, tmp_path: Path, seconds: int) -> None:
    culprit = training.pods[0]
    node = training.node(culprit)
    with Skew(cluster.kubeconfig, {pod for pod in training.pods if training.node(pod) == node}, seconds) as skew:
        seen_so = skew.write(tmp_path / "skewed")
        assert training.diagnose(seen_so).exited(0).document["verdict"] == "Healthy"
        training.hang(culprit)
        training.assert_blames(culprit, seen_so)


def test_where_all_hang_alike_nobody_is_blamed(training: Training) -> None:
    training.hang_all()
    found = training.diagnose().exited(8).document
    assert (found["verdict"], found["suspects"]) == ("NoSuspects", [])
