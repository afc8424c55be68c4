"""How many Pods are down at once, seen from outside while a restart runs."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.e2e.api import Api, Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import container, handles_term, jobset, replicated_job
from tests.e2e.picture import JOBSET_NAME, assert_restarted_in_place
from tests.e2e.place import Place

LEASE_SECONDS = 30


class Watcher:
    """Watches the Pods of a JobSet. `most` is how many of them were ever not Ready, or missing, at the same time."""

    def __init__(self, api: Api, namespace: str, name: str, pods: int) -> None:
        self._api, self._namespace, self._selector, self._pods = api, namespace, f"{JOBSET_NAME}={name}", pods
        self.most, self.seen = 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(30)

    def _watch(self) -> None:
        self._api.until("pods", self._namespace, self._look, within=600, what="the end", selector=self._selector)

    def _look(self, pods: dict[str, Object]) -> bool:
        up = {_place(pod) for pod in pods.values() if _is_ready(pod)}
        self.most, self.seen = max(self.most, self._pods - len(up)), self.seen + 1
        return self._over.is_set()


def _place(pod: Object) -> str:
    labels = pod["metadata"]["labels"]
    return f"{labels['batch.kubernetes.io/job-name']}/{labels['batch.kubernetes.io/job-completion-index']}"


def _is_ready(pod: Object) -> bool:
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp")


def slow(**fields: Any) -> Object:
    """A container that takes a moment to be Ready, so that who watches can see it down."""
    probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 1}
    return container(command=handles_term(), readinessProbe=probe, **fields)


@pytest.mark.parametrize(
    "options", [("--in-place",), ("--via", "pods"), ("--in-place", "--order", "node")], ids=["image", "pods", "by node"]
)
def test_no_more_are_down_than_was_asked_for(place: Place, jsr: Jsr, api: Api, options: tuple[str, ...]) -> None:
    pods, most = (3, 2) if "pods" in options else (4, 1)
    place.create(jobset("train", replicated_job("workers", slow(), pods=pods, backoff_limit=6)))
    before = place.settled("train")
    with Watcher(api, place.namespace, "train", pods) as watcher:
        ended = jsr.restart("train", *options, "--max-unavailable", str(most), within=300).exited(0)
    assert watcher.most == most
    assert watcher.seen > pods
    assert f"at most {most} at once" in ended.stderr
    if "pods" not in options:
        assert_restarted_in_place(before, place.settled("train"))


def test_units_are_counted_where_units_go(place: Place, jsr: Jsr, api: Api) -> None:
    place.create(jobset("train", replicated_job("workers", slow(), pods=2, jobs=3)))
    place.settled("train")
    with Watcher(api, place.namespace, "train", 6) as watcher:
        result = jsr.restart("train", "--via", "jobs", "--max-unavailable", "34%", within=300).exited(0).document
    assert result["outcomes"] == {"recreated": 6}
    assert watcher.most == 2


def test_a_killed_client_leaves_a_window_that_another_carries_on(place: Place, jsr: Jsr, api: Api) -> None:
    place.create(jobset("train", replicated_job("workers", slow(), pods=4)))
    before = place.settled("train")
    with Watcher(api, place.namespace, "train", 4) as watcher:
        running = jsr.start_restart("train", "--in-place", "--max-unavailable", "1", "--min-ready-seconds", "3")
        place.until_pods("train", lambda pods: any(map(_restarts, pods)), "the first is restarted")
        running.kill()
        killed = time.monotonic()
        while time.monotonic() < killed + LEASE_SECONDS + 1:  # nothing but time ends the claim of a dead client
            time.sleep(1)
        result = jsr.restart("train", "--resume", place.record("train")["id"], within=300).exited(0).document
    assert result["outcomes"] == {"restarted": 4}
    assert watcher.most == 1
    assert_restarted_in_place(before, place.settled("train"))


def _restarts(pod: Object) -> int:
    return sum(status["restartCount"] for status in (pod.get("status") or {}).get("containerStatuses") or ())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--max-unavailable", "0"), "lets nothing be restarted"),
        (("--max-unavailable", "150%"), "more than all there are"),
        (("--max-unavailable", "some"), "neither a number nor a percentage"),
        (("--max-unavailable", "1", "--via", "suspend"), "cannot be paced"),
        (("--keep-going",), "needs --max-unavailable"),
        (("--order", "node"), "needs --max-unavailable or --canary"),
        (("--max-unavailable", "1", "--resume", "12345678"), "keeps its pace"),
    ],
)
def test_a_pace_that_makes_no_sense_is_refused_before_anything_begins(
    place: Place, jsr: Jsr, options: tuple[str, ...], told: str
) -> None:
    assert told in jsr.restart("train", *options).exited(2).stderr
