"""Plain Jobs: frozen pictures of them and their Pods, and how to wait for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tests.e2e.api import Object
from tests.e2e.picture import COMPLETION_INDEX, OPERATION, Pod, conditions, pod_of, ready
from tests.e2e.place import Place

JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Picture:
    """`pods` by completion index, `failed` None where the Job has counted no failure."""

    uid: str
    failed: int | None
    suspended: bool
    conditions: frozenset[str]
    pods: dict[int, Pod]
    versions: dict[str, str]


class PlainJob:
    """The Job of this name in a namespace."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name = place, name
        self.selector = f"{JOB_NAME}={name}"

    def get(self) -> Object:
        return self.place.api.get("jobs", self.place.namespace, self.name)

    def record(self) -> Object:
        """The claim or record on the Job."""
        return _record(self.get())

    def until(self, reached: Callable[[Object], bool], what: str) -> Object:
        """Watches the Job."""
        found = self.place.api.until(
            "jobs",
            self.place.namespace,
            lambda jobs: self.name in jobs and reached(jobs[self.name]),
            within=90,
            what=what,
        )
        return found[self.name]

    def until_claimed(self) -> Object:
        """The record of the operation that has just claimed the Job, begun or carried on."""
        return _record(self.until(_claimed, "a claim on the Job"))

    def until_pods(self, reached: Callable[[list[Object]], bool], what: str) -> None:
        """Watches the Job's Pods."""
        self.place.api.until(
            "pods",
            self.place.namespace,
            lambda pods: reached([*pods.values()]),
            within=90,
            what=what,
            selector=self.selector,
        )

    def settled(self) -> Picture:
        """Waits until every Pod is Ready, and the Job has counted them; the picture then."""
        slots = self.get()["spec"]["parallelism"]
        self.until_pods(lambda pods: len(pods) == slots and all(map(ready, pods)), f"{slots} Ready Pods of {self.name}")
        self.until(lambda job: job.get("status", {}).get("ready", 0) == slots, f"Job {self.name} to count its Pods")
        return self.picture()

    def picture(self) -> Picture:
        job, pods = self.get(), self.place.api.list("pods", self.place.namespace, self.selector)["items"]
        staying = sorted(pods, key=lambda pod: "deletionTimestamp" not in pod["metadata"])
        return Picture(
            uid=job["metadata"]["uid"],
            failed=job.get("status", {}).get("failed"),
            suspended=job["spec"].get("suspend", False),
            conditions=conditions(job),
            pods={int(pod["metadata"]["labels"][COMPLETION_INDEX]): pod_of(pod) for pod in staying},
            versions={o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in (job, *pods)},
        )


def _claimed(job: Object) -> bool:
    """What is left out of a record is as by default."""
    record = _record(job)
    return bool(record) and record.get("state", "running") == "running"


def _record(job: Object) -> Object:
    found: Object = json.loads(job["metadata"].get("annotations", {}).get(OPERATION, "{}"))
    return found


def assert_same_job(before: Picture, after: Picture) -> None:
    """Nothing the Job counts has moved, and it is the same one in the same state."""
    assert (after.uid, after.failed) == (before.uid, before.failed)
    assert not after.suspended
    assert not after.conditions & {"Failed", "FailureTarget", "Suspended"}


def assert_in_place(before: Picture, after: Picture, indexes: Collection[int] | None = None) -> None:
    """Same Pods, the containers of these indexes (all without) started once more, all else untouched."""
    assert after.pods.keys() == before.pods.keys()
    for index, old in before.pods.items():
        new = after.pods[index]
        if indexes is not None and index not in indexes:
            assert new == old, index
            continue
        assert (new.uid, new.ip, new.node, new.ready) == (old.uid, old.ip, old.node, True), index
        for name, container in old.containers.items():
            assert new.containers[name].id != container.id, (index, name)
            assert new.containers[name].restarts == container.restarts + 1, (index, name)
    assert_same_job(before, after)


def assert_new_pods(before: Picture, after: Picture, indexes: Collection[int] | None = None) -> None:
    """Other Pods at these indexes (all without), Ready and never restarted, all else untouched."""
    assert after.pods.keys() == before.pods.keys()
    for index, old in before.pods.items():
        new = after.pods[index]
        if indexes is not None and index not in indexes:
            assert new == old, index
            continue
        assert new.ready, index
        assert new.uid != old.uid, index
        assert all(container.restarts == 0 for container in new.containers.values()), index
