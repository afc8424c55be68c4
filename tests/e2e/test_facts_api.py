"""What the API tells: about nodes and Pods, and how exec speaks."""

from __future__ import annotations

import pytest

from tests.e2e.api import Answer
from tests.e2e.cluster import Cluster
from tests.e2e.facts import STDERR, STDOUT, V4, V5, Exec
from tests.e2e.manifests import jobset, replicated_job
from tests.e2e.place import Place


def test_nodes_declare_that_they_restart_all_containers(place: Place, two_nodes: tuple[str, str]) -> None:
    """Where the kubelet follows such rules it says so in the Node's status."""
    for name in two_nodes:
        node = place.api.get("nodes", "", name)
        assert "RestartAllContainersOnContainerExits" in node["status"]["declaredFeatures"]


def test_labels_of_pods_tell_their_slot(place: Place) -> None:
    """JobSet, ReplicatedJob, the Job's index in it and over all, completion index and restart attempt."""
    place.create(jobset("train", replicated_job("driver", pods=1), replicated_job("workers", jobs=2, pods=2)))
    place.settled("train")
    keys = [
        *(
            f"jobset.sigs.k8s.io/{key}"
            for key in ("jobset-name", "replicatedjob-name", "job-index", "job-global-index", "restart-attempt")
        ),
        "batch.kubernetes.io/job-completion-index",
    ]
    found = sorted(tuple(pod["metadata"]["labels"][key] for key in keys) for pod in place.pods("train"))
    assert found == [
        ("train", "driver", "0", "0", "0", "0"),
        ("train", "workers", "0", "1", "0", "0"),
        ("train", "workers", "0", "1", "0", "1"),
        ("train", "workers", "1", "2", "0", "0"),
        ("train", "workers", "1", "2", "0", "1"),
    ]


@pytest.mark.parametrize("protocol", [V5, V4])
def test_exec_speaks_websocket_in_channels(place: Place, cluster: Cluster, protocol: str) -> None:
    """The first byte of a frame tells its stream; the last one on channel 3 is a Status with the exit code."""
    run = Exec(cluster, place)
    place.create(jobset("train", replicated_job(pods=1)))
    name = place.settled("train").pods["workers/0/0"].name
    done = run(name, "sh", "-c", "echo out; no-such-program; exit 3", protocols=[protocol])
    assert done.protocol == protocol
    assert done.output[STDOUT] == b"out\n"
    assert done.output[STDERR] == b"sh: no-such-program: not found\n"
    assert (done.status["status"], done.status["reason"], done.code) == ("Failure", "NonZeroExitCode", 3)
    words = {V5: "command terminated with exit code 3", V4: "exit 3], exit code 3"}[protocol]
    assert done.status["message"].startswith("command terminated with non-zero exit code: ")
    assert done.status["message"].endswith(words)
    good = run(name, "true", protocols=[protocol])
    assert (good.status["status"], good.code) == ("Success", 0)


@pytest.mark.parametrize("protocol", [V5, V4])
def test_exec_of_a_program_that_is_not_there(place: Place, cluster: Cluster, protocol: str) -> None:
    """The streams open, and the Status at their end says it; v5 says that it is internal twice."""
    run = Exec(cluster, place)
    place.create(jobset("train", replicated_job(pods=1)))
    done = run(place.settled("train").pods["workers/0/0"].name, "no-such-program", protocols=[protocol])
    assert (done.status["status"], done.status["reason"], done.status["code"]) == ("Failure", "InternalError", 500)
    message = done.status["message"]
    assert message.endswith('exec: "no-such-program": executable file not found in $PATH: unknown')
    assert message.count("Internal error occurred: ") == (2 if protocol == V5 else 1)
    assert done.status["details"]["causes"] == [{"message": message.removeprefix("Internal error occurred: ")}]


def test_exec_takes_the_newest_protocol_it_knows(place: Place, cluster: Cluster) -> None:
    """Offered both, the API server chooses v5."""
    run = Exec(cluster, place)
    place.create(jobset("train", replicated_job(pods=1)))
    name = place.settled("train").pods["workers/0/0"].name
    assert run(name, "true", protocols=[V5, V4]).protocol == V5


def test_exec_of_what_is_not_there(place: Place, cluster: Cluster) -> None:
    """A container or Pod of another name is refused before the streams open."""
    run = Exec(cluster, place)
    place.create(jobset("train", replicated_job(pods=1)))
    name = place.settled("train").pods["workers/0/0"].name
    for pod, container, status in ((name, "wroker", 400), (f"{name}x", "worker", 404)):
        with pytest.raises(Answer) as refused:
            run(pod, "true", container=container)
        assert refused.value.status == status
