"""A Stage for JobSets: their controller and that of their Jobs; the test plays kubelet and garbage collector."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.controllers.job import JobController
from jobset_restart.simulator.controllers.jobset import JobSetController
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Key, Obj, Objs, Store
from tests.simulator.stage import Stage

ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"
PREFIX = "jobset.sigs.k8s.io/"
UNLIMITED = 2**31 - 1


class Looked(JobSetController):
    """Counts how often it looked."""

    looks = 0

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        self.looks += 1
        return super().reconcile(store, key, now)


class Cluster(Stage):
    """The two controllers; the test plays kubelet and garbage collector."""

    def __init__(self) -> None:
        self.controller = Looked(INSTANT)
        super().__init__(self.controller, JobController(INSTANT))

    # What the API's clients see and do

    def create(self, name: str, *replicated_jobs: Obj, **spec: Any) -> None:
        body: Obj = {"metadata": {"name": name, "namespace": "default"}}
        self.store.create("jobsets", {**body, "spec": {"replicatedJobs": list(replicated_jobs), **spec}}, self.now)
        self.run()

    def jobset(self, name: str = "train") -> Obj:
        return self.store.get("jobsets", "default", name)

    def state(self, name: str = "train") -> Obj:
        found: Obj = self.jobset(name).get("status") or {}
        return found

    def counts(self, replicated_job: str) -> Obj:
        return next(each for each in self.state()["replicatedJobsStatus"] if each["name"] == replicated_job)

    def conditions(self, name: str = "train") -> dict[str, tuple[str, str]]:
        found = self.state(name).get("conditions") or ()
        return {each["type"]: (each["status"], each["reason"]) for each in found}

    def jobs(self) -> dict[str, Obj]:
        return {job["metadata"]["name"]: job for job in self.store.list("jobs")}

    def pods_of(self, job: str = "") -> Objs:
        def match(pod: Obj) -> bool:
            return job in ("", pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])

        return self.store.list("pods", match=match)

    def told(self) -> list[tuple[str, str]]:
        """The JobSet's Events, oldest first."""
        events = (each for each in self.store.all("events") if each["involvedObject"]["kind"] == "JobSet")
        return [(each["type"], each["reason"]) for each in events]

    def suspend(self, value: bool) -> None:
        jobset = self.jobset()
        self.store.update("jobsets", {**jobset, "spec": {**jobset["spec"], "suspend": value}}, self.now)
        self.run()

    # Kubelet and garbage collector

    def ready(self, job: str = "", restarts: int = 0) -> None:
        conditions = [{"type": "Ready", "status": "True"}]
        containers = [{"name": "worker", "restartCount": restarts, "state": {"running": {}}}]
        for pod in self.pods_of(job):
            status = {"phase": "Running", "conditions": conditions, "containerStatuses": containers}
            self.store.update("pods", {**pod, "status": status}, self.now, subresource="status")
        self.run()

    def end(self, job: str, phase: str = "Failed") -> None:
        for pod in self.pods_of(job):
            self.store.update("pods", {**pod, "status": {"phase": phase}}, self.now, subresource="status")
        self.run()

    def annotate(self, attempts: list[int | str]) -> None:
        for pod, attempt in zip(self.pods_of(), attempts, strict=True):
            annotations = pod["metadata"]["annotations"] | {ATTEMPT: str(attempt)}
            self.store.update("pods", {**pod, "metadata": pod["metadata"] | {"annotations": annotations}}, self.now)
        self.run()

    def collect(self) -> None:
        for job in self.store.list("jobs", match=lambda job: "deletionTimestamp" in job["metadata"]):
            for pod in self.store.by_owner(job["metadata"]["uid"]):
                self.store.delete("pods", "default", pod["metadata"]["name"], self.now, grace=0)
            self.run()
            left = self.store.get("jobs", "default", job["metadata"]["name"])
            self.store.update("jobs", {**left, "metadata": left["metadata"] | {"finalizers": []}}, self.now)
        self.run()


def replicated_job(name: str = "workers", jobs: int = 1, pods: int = 2, *, job: Obj | None = None, **more: Any) -> Obj:
    containers = [{"name": "worker", "image": "busybox"}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    spec = {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": template, **(job or {})}
    return {"name": name, "replicas": jobs, "template": {"spec": spec}, **more}


def in_place(jobs: int = 1, pods: int = 3) -> Obj:
    return replicated_job(jobs=jobs, pods=pods, job={"backoffLimit": UNLIMITED, "podReplacementPolicy": "Failed"})


def policy(max_restarts: int = 3, strategy: str = "Recreate", **more: Any) -> Obj:
    return {"maxRestarts": max_restarts, "restartStrategy": strategy, **more}
