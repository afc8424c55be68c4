"""The kinds of workload by the names people type."""

from __future__ import annotations

import pytest

from jobset_restart.workloads.kinds import (
    JOB,
    JOBSET,
    LEADER_WORKER_SET,
    TRAIN_JOB,
    VOLCANO_JOB,
    WORKLOAD_KINDS,
    WorkloadKind,
    kind_called,
    title,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("js", JOBSET),
        ("JobSets", JOBSET),
        ("jobset.jobset.x-k8s.io", JOBSET),
        ("jobsets.v1alpha2.jobset.x-k8s.io", JOBSET),
        ("job", JOB),
        ("jobs.batch", JOB),
        ("job.v1.batch", JOB),
        ("LWS", LEADER_WORKER_SET),
        ("tj", TRAIN_JOB),
        ("vcjob", VOLCANO_JOB),
        ("jobs.batch.volcano.sh", VOLCANO_JOB),
    ],
)
def test_a_kind_goes_by_what_kubectl_takes(name: str, kind: WorkloadKind) -> None:
    assert kind_called(name) is kind


@pytest.mark.parametrize("name", ["", "jobse", "job.apps", "jobsets.v1.jobset.x-k8s.io", "deploy", ".batch"])
def test_nothing_else_is_a_kind(name: str) -> None:
    assert kind_called(name) is None


@pytest.mark.parametrize("kind", WORKLOAD_KINDS, ids=lambda kind: kind.resource)
def test_every_kind_has_a_name_of_its_own(kind: WorkloadKind) -> None:
    assert kind_called(kind.resource) is kind
    assert kind_called(kind.names[0]) is kind


def test_paths() -> None:
    assert JOBSET.path("team", "demo") == "/apis/jobset.x-k8s.io/v1alpha2/namespaces/team/jobsets/demo"
    assert JOB.collection(None) == "/apis/batch/v1/jobs"


def test_a_title_tells_kinds_of_one_name_apart() -> None:
    titles = [title(kind.kind, kind.group) for kind in WORKLOAD_KINDS]
    assert len(set(titles)) == len(titles)
    assert title("Job", "batch") == "Job"
    assert title("Job", "batch.volcano.sh") == "Job.batch.volcano.sh"
    assert title("JobSet", "") == "JobSet"
