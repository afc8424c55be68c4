"""A namespace of a scenario's own, what is in it, and how to wait for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.e2e import picture
from tests.e2e.api import Answer, Api, Object, path
from tests.e2e.manifests import access
from tests.e2e.picture import JOBSET_NAME, OPERATION, Picture

KINDS = {
    "JobSet": "jobsets",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Pod": "pods",
    "Job": "jobs",
    "ConfigMap": "configmaps",
}


class Place:
    """One namespace. Everything a scenario makes is in it and goes with it."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def create(self, *manifests: Object) -> None:
        for manifest in manifests:
            self.api.create(KINDS[manifest["kind"]], self.namespace, manifest)

    def grant(self, name: str) -> None:
        """A ServiceAccount with its Role, from the manifests."""
        self.create(*access(name))

    def token(self, service_account: str) -> str:
        """A token of the ServiceAccount (TokenRequest)."""
        where = path("serviceaccounts", self.namespace, service_account, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return str(self.api.request("POST", where, body)["status"]["token"])

    def jobset(self, name: str) -> Object:
        return self.api.get("jobsets", self.namespace, name)

    def record(self, name: str) -> Object:
        """The claim or record on the JobSet."""
        found: Object = json.loads(self.jobset(name)["metadata"]["annotations"][OPERATION])
        return found

    def pods(self, name: str) -> list[Object]:
        items: list[Object] = self.api.list("pods", self.namespace, f"{JOBSET_NAME}={name}")["items"]
        return items

    def picture(self, name: str) -> Picture:
        jobs = self.api.list("jobs", self.namespace, f"{JOBSET_NAME}={name}")["items"]
        return picture.take(self.jobset(name), jobs, self.pods(name))

    # ------------------------------------------------------------ waiting

    def until_pods(
        self, name: str, reached: Callable[[list[Object]], bool], what: str, within: float = 90
    ) -> list[Object]:
        """Watches the JobSet's Pods."""
        selector = f"{JOBSET_NAME}={name}"
        found = self.api.until(
            "pods", self.namespace, lambda pods: reached([*pods.values()]), within=within, what=what, selector=selector
        )
        return [*found.values()]

    def until_jobset(self, name: str, reached: Callable[[Object], bool], what: str, within: float = 90) -> Object:
        """Watches the JobSet."""
        found = self.api.until(
            "jobsets",
            self.namespace,
            lambda jobsets: name in jobsets and reached(jobsets[name]),
            within=within,
            what=what,
        )
        return found[name]

    def until_event(self, reason: str, within: float = 90) -> None:
        """Waits until a controller has written an Event with this reason."""
        self.api.until(
            "events",
            self.namespace,
            lambda events: any(event["reason"] == reason for event in events.values()),
            within=within,
            what=f"an Event {reason}",
        )

    def until_claimed(self, name: str, other_than: str = "") -> Object:
        """The record of the operation that has just claimed the JobSet."""
        jobset = self.until_jobset(
            name,
            lambda jobset: _record(jobset).get("id", other_than) != other_than,
            "a claim on the JobSet",
        )
        return _record(jobset)

    def until_usable(self, node: str, within: float) -> None:
        """Waits until a node that was broken is Ready again and takes Pods."""
        self.api.until(
            "nodes",
            "",
            lambda nodes: node in picture.usable(nodes),
            within=within,
            what=f"node {node} to be well again",
        )

    def settled(self, name: str, within: float = 120) -> Picture:
        """Waits until every Pod is Ready and every controller has said its last word about it; the picture then."""
        slots = sum(pods_expected(self.jobset(name)).values())
        self.until_pods(
            name,
            lambda pods: len(pods) == slots and all(map(picture.ready, pods)),
            f"{slots} Ready Pods of {name}",
            within,
        )
        self.api.until(
            "jobs",
            self.namespace,
            lambda jobs: _counted(jobs.values(), slots),
            within=within,
            what=f"the Jobs of {name} to count them",
            selector=f"{JOBSET_NAME}={name}",
        )
        self.until_jobset(name, _summed, f"the status of JobSet {name}", within)
        return self.picture(name)

    def close(self) -> None:
        """Asks for the namespace to go. What is in it goes at once, as far as there is somebody to stop it."""
        try:
            self.api.delete("namespaces", "", self.namespace)
        except Answer as answer:
            if answer.status not in (404, 409):
                raise


def pods_expected(jobset: Object) -> dict[str, int]:
    """Jobs by ReplicatedJob times their Pods."""
    return {
        job["name"]: job.get("replicas", 1) * job["template"]["spec"].get("parallelism", 1)
        for job in jobset["spec"]["replicatedJobs"]
    }


def _record(jobset: Object) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(jobset["metadata"].get("annotations", {}).get(OPERATION, "{}"))
    return record


def _counted(jobs: Iterable[Object], slots: int) -> bool:
    ready: int = sum(job.get("status", {}).get("ready", 0) for job in jobs)
    return ready == slots


def _summed(jobset: Object) -> bool:
    """Whether the JobSet's status counts every Job ready, and, where there are agents, all attempts are in sync."""
    status = jobset.get("status", {})
    ready = {job["name"]: job.get("ready", 0) for job in status.get("replicatedJobsStatus", ())}
    replicas = {job["name"]: job.get("replicas", 1) for job in jobset["spec"]["replicatedJobs"]}
    native = jobset["spec"].get("failurePolicy", {}).get("restartStrategy") == "InPlaceRestart"
    previous, current = picture.attempts(jobset)
    synced = not native or (current is not None and (previous is None or previous < current))
    return bool(ready == replicas and synced)


def namespace_for(test: str, worker: str) -> str:
    """A generateName for the namespace of a test: what it is for and who runs it."""
    words = re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_")).strip("-")
    return f"jsr-{worker}-{words}"[:52].rstrip("-") + "-"
