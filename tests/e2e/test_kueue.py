"""JobSets and Jobs in a queue of Kueue. The embedded cluster has no Kueue: these run on a real cluster that has."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jobset_restart.claim import LEASE_SECONDS
from tests.e2e.api import MERGE_PATCH, Answer, Api, Object
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, Manifest, container, job, jobset, replicated_job
from tests.e2e.picture import assert_recreated, assert_restarted_in_place, assert_same_jobset
from tests.e2e.place import Place
from tests.e2e.plain import PlainJob, assert_in_place, assert_new_pods, assert_same_job

KUEUE = "/apis/kueue.x-k8s.io/v1beta2"
QUEUE = "kueue.x-k8s.io/queue-name"
JOB_UID = "kueue.x-k8s.io/job-uid"


class Queue:
    """A LocalQueue of the scenario's namespace, with a ClusterQueue of its own that has room for one CPU."""

    def __init__(self, place: Place) -> None:
        self.api, self.namespace, self.name = place.api, place.namespace, place.namespace

    def open(self) -> None:
        meta = {"name": self.name}
        self._make(f"{KUEUE}/resourceflavors", {"kind": "ResourceFlavor", "metadata": meta})
        spec: Object = {"namespaceSelector": {}, "resourceGroups": [self._group("1")]}
        self._make(f"{KUEUE}/clusterqueues", {"kind": "ClusterQueue", "metadata": meta, "spec": spec})
        local = {"kind": "LocalQueue", "metadata": {"name": "q"}, "spec": {"clusterQueue": self.name}}
        self._make(f"{KUEUE}/namespaces/{self.namespace}/localqueues", local)

    def _group(self, cpus: str) -> Object:
        flavor = {"name": self.name, "resources": [{"name": "cpu", "nominalQuota": cpus}]}
        return {"coveredResources": ["cpu"], "flavors": [flavor]}

    def set_quota(self, cpus: str) -> None:
        body = {"spec": {"resourceGroups": [self._group(cpus)]}}
        self.api.request("PATCH", f"{KUEUE}/clusterqueues/{self.name}", body, kind=MERGE_PATCH)

    def _make(self, where: str, body: Object) -> None:
        self.api.request("POST", where, {"apiVersion": "kueue.x-k8s.io/v1beta2", **body})

    def close(self) -> None:
        for plural in ("clusterqueues", "resourceflavors"):
            self.api.request("DELETE", f"{KUEUE}/{plural}/{self.name}")

    def workload(self, of: Object) -> Object:
        """Kueue's Workload of this object."""
        found = self.api.request("GET", f"{KUEUE}/namespaces/{self.namespace}/workloads")["items"]
        (mine,) = [each for each in found if each["metadata"]["labels"].get(JOB_UID) == of["metadata"]["uid"]]
        workload: Object = mine
        return workload


@pytest.fixture
def queue(place: Place, api: Api) -> Iterator[Queue]:
    queue = Queue(place)
    try:
        queue.open()
    except Answer as answer:
        if answer.status == 404:
            pytest.skip("the cluster has no Kueue")
        raise
    yield queue
    queue.close()


def queued(manifest: Manifest) -> Manifest:
    manifest["metadata"]["labels"] = {QUEUE: "q"}
    return manifest


ASKS = {"requests": {"cpu": "100m"}}


def a_job(**fields: object) -> Manifest:
    command = fields.pop("command", None)
    return queued(job("etl", container(command=command, resources=ASKS), **fields))  # type: ignore[arg-type]


def a_jobset() -> Manifest:
    return queued(jobset("train", replicated_job("workers", container(resources=ASKS), jobs=2)))


def test_image_leaves_the_workload_of_a_job_alone(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_job(pods=3, backoff_limit=0))
    etl = PlainJob(place, "etl")
    before, workload = etl.settled(), queue.workload(etl.get())
    assert jsr.restart("job/etl").exited(0).document["trigger"] == "image"
    assert_in_place(before, etl.settled())
    assert queue.workload(etl.get())["metadata"]["resourceVersion"] == workload["metadata"]["resourceVersion"]


def test_image_and_jobs_leave_the_workload_of_a_jobset_alone(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_jobset())
    before, workload = place.settled("train"), queue.workload(place.jobset("train"))
    jsr.restart("train", "--in-place").exited(0)
    between = place.settled("train")
    assert_restarted_in_place(before, between)
    assert_same_jobset(before, between)
    assert jsr.restart("train", "--recreate").exited(0).document["trigger"] == "jobs"
    assert_recreated(between, place.settled("train"), same_jobs=False)
    after = queue.workload(place.jobset("train"))
    assert after["metadata"]["uid"] == workload["metadata"]["uid"]
    assert after["status"]["conditions"] == workload["status"]["conditions"]


def test_suspend_is_refused(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_jobset(), a_job(backoff_limit=0))
    etl = PlainJob(place, "etl")
    place.settled("train")
    before = etl.settled()
    for name in ("train", "job/etl"):
        refused = jsr.restart(name, "--via", "suspend").exited(3).stderr
        assert "JSR501" in refused
        assert "--via requeue" in refused
    assert etl.picture() == before


def test_requeue_of_a_jobset(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_jobset())
    before, workload = place.settled("train"), queue.workload(place.jobset("train"))
    ended = jsr.restart("train", "--via", "requeue").exited(0)
    assert "JSR513 warning" in ended.stderr
    assert (ended.document["outcomes"], ended.document["writes"]) == ({"recreated": 4}, 2)
    assert_recreated(before, place.settled("train"), same_jobs=True)
    after = queue.workload(place.jobset("train"))
    assert (after["metadata"]["uid"], after["spec"]["active"]) == (workload["metadata"]["uid"], True)
    assert "requeueState" not in after["status"]


def test_requeue_of_a_job(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_job(pods=3, backoff_limit=0))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    assert jsr.restart("job/etl", "--via", "requeue").exited(0).document["outcomes"] == {"recreated": 3}
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)


def test_requeue_waits_for_the_quota_and_can_be_carried_on(place: Place, jsr: Jsr, queue: Queue) -> None:
    """As if others had taken it: what was admitted keeps a quota that has shrunk meanwhile, until it is evicted."""
    place.create(a_job(pods=3, backoff_limit=0))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    queue.set_quota("0")
    ended = jsr.restart("job/etl", "--via", "requeue", "--timeout", "20s").exited(124).document
    assert "waiting in Kueue's queue q" in ended["reason"]
    assert queue.workload(etl.get())["spec"]["active"] is True
    assert "it waits in Kueue's queue q" in jsr.restart("job/etl").exited(3).stderr
    running = jsr.start_restart("job/etl", "--resume", etl.record()["id"])
    etl.until_claimed()
    queue.set_quota("1")
    carried_on = running.wait().exited(0).document
    assert (carried_on["outcomes"], carried_on["writes"]) == ({"recreated": 3}, 0)
    assert_new_pods(before, etl.settled())


def test_next_restart_has_what_a_killed_client_evicted_admitted_again(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_job(command=IGNORES_TERM, backoff_limit=0, grace=6))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    running = jsr.start_restart("job/etl", "--via", "requeue")
    etl.until(lambda found: found["spec"].get("suspend") is True, "Kueue to evict it")
    running.kill()
    assert queue.workload(etl.get())["spec"]["active"] is False
    assert etl.record()["phase"] == "evicting"
    end = time.monotonic() + 3 * LEASE_SECONDS
    while (ended := jsr.restart("job/etl")).code == 6 and time.monotonic() < end:
        time.sleep(2)
    result = ended.exited(0).document
    assert (result["trigger"], result["reason"].startswith("finished operation")) == ("requeue", True)
    after = etl.settled()
    assert_new_pods(before, after)
    assert_same_job(before, after)


def test_interrupted_while_evicted_leaves_it_in_the_queue(place: Place, jsr: Jsr, queue: Queue) -> None:
    place.create(a_job(command=IGNORES_TERM, backoff_limit=0, grace=8))
    etl = PlainJob(place, "etl")
    before = etl.settled()
    running = jsr.start_restart("job/etl", "--via", "requeue")
    etl.until(lambda found: found["spec"].get("suspend") is True, "Kueue to evict it")
    running.interrupt()
    running.wait().exited(130)
    assert queue.workload(etl.get())["spec"]["active"] is True
    assert_new_pods(before, etl.settled())
