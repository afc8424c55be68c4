"""What somebody in the namespace can and cannot make a restart do: one who may only create Pods, one who may only patch
the JobSet, and one who writes the status of Pods."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from jobset_restart.claim import LEASE_SECONDS, timestamp
from tests.e2e import kubeconfigs
from tests.e2e.api import Api, Object
from tests.e2e.command import Jsr
from tests.e2e.facts import restarts
from tests.e2e.manifests import container, jobset, native, replicated_job
from tests.e2e.picture import COMPLETION_INDEX, JOBSET_NAME, OPERATION, assert_nothing_changed, ready
from tests.e2e.place import Place

NOBODY = "00000000-0000-0000-0000-000000000000"


def acting_as(place: Place, jsr: Jsr, folder: Path, name: str) -> Api:
    """The API server as a ServiceAccount of the manifests reaches it."""
    place.grant(name)
    return Api(kubeconfigs.write(folder, jsr.kubeconfig, user={"token": place.token(name)}))


def impostor(like: Object, name: str, **owner: Any) -> Object:
    """A Pod that looks like another: its labels of JobSet and Job, but for the Job's selector, and an owner."""
    meta = like["metadata"]
    labels = {key: value for key, value in meta["labels"].items() if "jobset" in key or key == COMPLETION_INDEX}
    forged = {**meta["ownerReferences"][0], "blockOwnerDeletion": False, **owner}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container()]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {COMPLETION_INDEX: labels[COMPLETION_INDEX]},
            "ownerReferences": [forged] if owner else [],
        },
        "spec": spec,
    }


@pytest.mark.short
def test_who_may_only_create_pods_steers_no_restart(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    like = place.pods("train")[0]
    podmaker = acting_as(place, jsr, tmp_path, "podmaker")
    for forged in (
        impostor(like, "by-labels"),
        impostor(like, "no-controller", controller=False),
        impostor(like, "not-selected", controller=True),
        impostor(like, "of-a-job-that-never-was", uid=NOBODY),
    ):
        podmaker.create("pods", place.namespace, forged)
    kept = {"by-labels", "no-controller", "not-selected"}
    place.until_pods("train", lambda pods: kept <= {_name(pod) for pod in pods if _is_let_go(pod)}, "the impostors")
    own = {pod.name for pod in before.pods.values()}
    result = jsr.restart("train", "--via", "image").exited(0).document
    assert {slot["pod"] for slot in result["slots"]} == own
    assert result["outcomes"] == {"restarted": 2}
    counts = {_name(pod): restarts(pod)["worker"] for pod in place.pods("train") if _name(pod) in own | kept}
    assert counts == dict.fromkeys(own, 1) | dict.fromkeys(kept, 0)
    found = jsr.restart("train", "--dry-run=client").exited(0).document["findings"]
    strangers = next(finding["objects"] for finding in found if finding["id"] == "JSR111")
    assert {f"Pod {name}" for name in kept} <= set(strangers)


def _is_let_go(pod: Object) -> bool:
    """Whether it runs and the Job controller has looked at it: it takes a controller away that it did not choose."""
    return ready(pod) and not any(owner["controller"] for owner in pod["metadata"].get("ownerReferences", ()))


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def forge(patcher: Api, place: Place, **fields: Any) -> None:
    """Puts a record on the JobSet that this program did not write, as somebody who may patch it."""
    now = time.time()
    record = {
        "id": "forged",
        "owner": "root@bastion (process 1)",
        "state": "detached",
        "started": timestamp(now),
        "heartbeat": timestamp(now - 60),
        "slots": 2,
        **fields,
    }
    annotations = {"metadata": {"annotations": {OPERATION: json.dumps(record)}}}
    patcher.patch("jobsets", place.namespace, "train", annotations)


def test_a_forged_record_deletes_nothing_by_itself(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """It says that every node is down: that has to be said by the person."""
    place.create(jobset("train"))
    place.settled("train")
    nodes = [pod["spec"]["nodeName"] for pod in place.pods("train")]
    patcher = acting_as(place, jsr, tmp_path, "patcher")
    lost = {"lost": ["workers/0/0-1"], "request": {"strategy": "recreate", "nodeDown": nodes}}
    forge(patcher, place, strategy="recreate", trigger="pods", **lost)
    before = place.picture("train")
    refused = jsr.restart("train", "--resume", "forged").exited(3)
    assert "JSR202" in refused.stderr
    assert_nothing_changed(before, place.picture("train"))


@pytest.mark.parametrize("attempt", [-99999999, 0, 2**31, 7])
def test_a_forged_attempt_is_not_restarted_to(place: Place, jsr: Jsr, tmp_path: Path, attempt: int) -> None:
    place.grant("agent")
    place.create(native("train", workers=1))
    place.settled("train")
    patcher = acting_as(place, jsr, tmp_path, "patcher")
    forge(patcher, place, strategy="in-place", trigger="native", attempt=attempt)
    before = place.picture("train")
    refused = jsr.restart("train", "--resume", "forged")
    assert refused.code in (2, 3), str(refused)
    assert str(attempt) in refused.stderr
    assert_nothing_changed(before, place.picture("train"))


def test_a_heartbeat_of_the_year_2999_holds_no_longer_than_any_other(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """Where the API server dates the annotation, that counts, whatever is in it."""
    place.create(jobset("train"))
    place.settled("train")
    patcher = acting_as(place, jsr, tmp_path, "patcher")
    forge(patcher, place, trigger="image", state="running", heartbeat="2999-01-01T00:00:00Z")
    ended = jsr.restart("train", "--in-place")
    lapses = re.search(r"its claim lapses in (\d+) s", ended.stderr)
    if lapses is not None:
        assert int(lapses[1]) <= LEASE_SECONDS
        ended.exited(6)
    else:  # nothing dates the annotation
        assert "in the future: its client counts as dead" in ended.exited(0).stderr


DIGEST = "sha256:" + "d" * 64


@pytest.mark.parametrize(
    "image_id",
    [
        "@evil.example/x:1",
        f"evil.example/busybox@{DIGEST}",
        "docker.io/library/busybox@sha256:12",
        f"busybox@@{DIGEST}",
    ],
)
def test_a_forged_digest_is_patched_into_no_pod(place: Place, jsr: Jsr, image_id: str) -> None:
    """Pods that no scheduler takes have no kubelet either, so their status is ours to write."""
    place.create(jobset("train", replicated_job(pods=1, pod={"schedulerName": "nobody"})))
    (pod,) = place.until_pods("train", lambda pods: len(pods) == 1, "the Pod")
    worker = {"name": "worker", "image": container()["image"], "imageID": image_id, "containerID": "containerd://1"}
    worker |= {"ready": True, "restartCount": 0, "state": {"running": {"startedAt": timestamp(time.time())[:19] + "Z"}}}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [worker],
    }
    place.api.patch("pods", place.namespace, _name(pod), {"status": status}, "status")
    place.until_pods("train", lambda pods: all(map(ready, pods)), "the forged status")
    refused = jsr.restart("train", "--via", "image").exited(3)
    assert "JSR301" in refused.stderr
    (after,) = place.pods("train")
    assert after["spec"]["containers"][0]["image"] == container()["image"]
    assert JOBSET_NAME in after["metadata"]["labels"]
