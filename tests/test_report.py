"""Reports: what is said of a JobSet, from the objects as they are."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from jobset_restart.objects import Job, JobSet, Pod
from jobset_restart.plan import Request, make
from jobset_restart.report import JobSetReport, JobSetReportList
from jobset_restart.report.jobset import jobset_report, line_report, refine, unreadable
from jobset_restart.report.plan import plan_report
from jobset_restart.snapshot import Snapshot
from jobset_restart.view import table
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build
from tests.test_plan import jobs_refused

STARTED = "2026-01-01T00:59:00.250Z"
"""A minute before build.NOW: a claim last heard of then has lapsed."""


def record(**fields: Any) -> dict[str, str]:
    known = {
        "id": "op1",
        "owner": "ann@laptop",
        "strategy": "in-place",
        "trigger": "image",
        "started": STARTED,
        "heartbeat": STARTED,
        "slots": 2,
    }
    return {"jobset-restart.io/operation": json.dumps({**known, **fields})}


def shown(snapshot: Snapshot) -> str:
    screen = Console(file=io.StringIO(), width=10_000, color_system=None)
    table.show_status(screen, jobset_report(snapshot, make(snapshot, Request(), "not-started", draft=True)))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


# ---------------------------------------------------------------- states


def waiting_pod(index: int, reason: str) -> Pod:
    status = build.status(ready=False, containerID="", state={"waiting": {"reason": reason}})
    return build.pod(index, ready=False, phase="Pending", statuses=[status])


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ([build.pod(0), build.pod(1)], "Running"),
        ([build.pod(0), waiting_pod(1, "ContainerCreating")], "Starting"),
        ([build.pod(0), waiting_pod(1, "ImagePullBackOff")], "Degraded"),
        ([build.pod(0)], "Starting"),
        ([build.pod(0), build.pod(1, ready=False)], "Degraded"),
    ],
    ids=["running", "creating", "pulling", "missing", "unready"],
)
def test_a_line_of_a_list_and_the_page_of_one_tell_the_same_state(pods: list[Pod], state: str) -> None:
    jobset = build.jobset()
    ready = sum(any(c.status == "True" for c in pod.status.conditions) for pod in pods)
    jobs = [build.job(jobset, status={"ready": ready, "active": 2})]
    line = line_report(JobSetWorkload(jobset), jobs, build.NOW)
    assert line.state == ("Running" if state == "Running" else "NotReady"), "what only Pods can tell is not guessed"
    snapshot = build.snapshot(jobset, pods, jobs)
    if line.state == "NotReady":
        refine(line, snapshot)
    page = jobset_report(snapshot)
    assert line.state == page.state == state
    assert (line.ready, line.expected) == (page.ready, page.expected)


@pytest.mark.parametrize(
    ("jobset", "state"),
    [
        (build.jobset(metadata={"deletionTimestamp": build.TIME}), "Deleting"),
        (build.jobset(status={"conditions": [{"type": "Failed", "status": "True"}]}), "Failed"),
        (build.jobset(spec={"suspend": True}), "Suspended"),
        (build.jobset(spec={"suspend": True}, annotations=record(heartbeat="2026-01-01T00:59:55Z")), "Restarting"),
        (build.jobset(spec={"suspend": True}, annotations=record()), "Suspended"),
    ],
    ids=["deleting", "failed", "suspended", "held", "left"],
)
def test_what_holds_whatever_the_pods_do_is_told_without_them(jobset: JobSet, state: str) -> None:
    jobs = [build.job(jobset)]
    assert line_report(JobSetWorkload(jobset), jobs, build.NOW).state == state
    assert jobset_report(build.snapshot(jobset, [], jobs)).state == state


# ---------------------------------------------------------------- what is missing


def test_pods_that_the_job_may_not_create_are_missing_for_the_jobs_own_reason() -> None:
    snapshot = build.snapshot(pods=[build.pod(0)])
    message = 'Error creating: pods "train-workers-0-1-x7k2p" is forbidden: exceeded quota: q'
    refused = build.event("job-0", "FailedCreate", message, "2026-01-01T00:58:00Z")
    snapshot = structs.replace(snapshot, refusals={"job-0": refused})
    report = jobset_report(snapshot)
    (row,) = report.not_ready
    assert (row.slot, row.state, row.reason, row.message) == (
        "workers/0/1",
        "missing",
        "FailedCreate",
        "exceeded quota: q",
    )
    assert row.age == 120.0
    assert report.state == "Degraded", "it does not come by itself"
    assert "exceeded quota: q" in shown(snapshot)


def test_jobs_are_counted_as_they_are_and_what_refuses_them_is_quoted() -> None:
    report = jobset_report(jobs_refused())
    assert [(r.jobs, r.expected_jobs) for r in report.replicated_jobs] == [(1, 2)]
    assert report.notes == ["1 Job is missing: JobCreationFailed: no such action"]
    assert {row.reason for row in report.not_ready} == {"JobCreationFailed"}
    text = shown(jobs_refused())
    assert "1/2" in text
    assert "no such action" in text


@pytest.mark.parametrize(
    ("spec", "second", "words"),
    [
        ({"startupPolicy": {"startupPolicyOrder": "InOrder"}}, {}, "startupPolicy InOrder: waits for broker to be"),
        ({}, {"dependsOn": [{"name": "broker", "status": "Ready"}]}, "dependsOn: waits for broker to be Ready"),
        ({}, {}, ""),
    ],
    ids=["in order", "depends", "neither"],
)
def test_jobs_that_are_held_back_are_not_taken_for_lost(
    spec: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    template = {"spec": {"parallelism": 1, "completions": 1}}
    both = [{"name": "broker", "template": template}, {"name": "workers", "template": template, **second}]
    jobset = build.jobset(spec={"replicatedJobs": both, **spec})
    report = jobset_report(build.snapshot(jobset, [], []))
    messages = {row.slot: row.message for row in report.not_ready}
    assert messages["broker/0/0"] == ""
    assert messages["workers/0/0"].startswith(words)
    assert (messages["workers/0/0"] == "") == (words == "")


def test_jobs_that_are_just_not_there_are_said_to_be() -> None:
    jobset = build.jobset(replicas=2)
    report = jobset_report(build.snapshot(jobset, [build.pod(0), build.pod(1)], jobs=[build.job(jobset)]))
    assert report.notes == ["1 Job is missing: no Event says why"]
    assert jobset_report(build.snapshot(jobset)).notes == []


# ---------------------------------------------------------------- operations


def test_a_finished_operation_counts_what_it_brought_back() -> None:
    jobset = build.jobset(
        annotations=record(
            state="finished", slots=5, exitCode=4, outcomes={"restarted": 3, "recreated": 1, "failed": 1}
        )
    )
    operation = jobset_report(build.snapshot(jobset)).operation
    assert operation is not None
    assert (operation.done, operation.total) == (4, 5)


def test_native_counts_containers_and_not_attempts_alone() -> None:
    """A kubelet that knows no container rules restarts only the agents, and all attempts advance."""
    attempt = {"jobset.sigs.k8s.io/in-place-restart-attempt": "1"}
    jobset = build.jobset(annotations=record(trigger="native", attempt=1))
    new = build.status(state={"running": {"startedAt": "2026-01-01T00:59:00Z"}})
    pods = [build.pod(0, annotations=attempt), build.pod(1, annotations=attempt, statuses=[new])]
    operation = jobset_report(build.snapshot(jobset, pods)).operation
    assert operation is not None
    assert operation.done == 1


def test_a_signal_counts_the_containers_that_were_meant() -> None:
    jobset = build.jobset(annotations=record(trigger="signal", request={"containers": ["log"]}))
    both = [build.container("worker"), build.container("log")]
    old, new = build.status("worker"), build.status("log", state={"running": {"startedAt": "2026-01-01T00:59:00Z"}})
    pods = [build.pod(0, containers=both, statuses=[old, new]), build.pod(1, containers=both)]
    operation = jobset_report(build.snapshot(jobset, pods)).operation
    assert operation is not None
    assert operation.done == 1


@pytest.mark.parametrize("trigger", ["image", "signal", "suspend", "jobs", "pods", "of another version"])
def test_a_pod_that_came_since_is_back_whatever_it_replaced(trigger: str) -> None:
    jobset = build.jobset(annotations=record(trigger=trigger))
    pods = [build.pod(0), build.pod(1, created="2026-01-01T00:59:00Z")]
    operation = jobset_report(build.snapshot(jobset, pods)).operation
    assert operation is not None
    assert operation.done == 1


@given(st.text(max_size=30))
def test_a_start_that_is_no_time_is_long_ago(started: str) -> None:
    jobset = build.jobset(annotations=record(trigger="pods", started=started))
    pods = [build.pod(0), build.pod(1)]
    assert line_report(JobSetWorkload(jobset), [], build.NOW).operation is not None
    assert jobset_report(build.snapshot(jobset, pods)).operation is not None


def test_during_a_restart_no_other_is_advised() -> None:
    jobset = build.jobset(annotations=record(heartbeat="2026-01-01T00:59:55Z"))
    text = shown(build.snapshot(jobset))
    assert "jsr restart train -n ns --context test would be refused: ann@laptop is restarting it, operation op1" in text
    assert "follow it: jsr status train -n ns --context test --watch" in text


@pytest.mark.parametrize(("state", "words"), [("running", "its client is gone"), ("detached", "its client left it")])
def test_an_unfinished_operation_is_told_of_with_the_way_to_carry_it_on(state: str, words: str) -> None:
    snapshot = build.snapshot(build.jobset(annotations=record(state=state)))
    assert "carry on what was left unfinished: jsr restart train -n ns --context test --resume op1" in shown(snapshot)
    report = plan_report(make(snapshot, Request(), "op2"))
    assert report.unfinished is not None
    assert (report.unfinished.id, report.unfinished.done, report.unfinished.total) == ("op1", 0, 2)
    screen = Console(file=io.StringIO(), width=10_000, color_system=None)
    table.show_plan(screen, report)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    for part in ("operation op1 of ann@laptop (in-place by image, begun", words, "0 of 2", "--resume op1"):
        assert part in text
    assert plan_report(make(snapshot, Request(), "op1")).unfinished is None, "it is the one that is carried on"
    over = build.snapshot(build.jobset(annotations=record(state="finished")))
    assert plan_report(make(over, Request(), "op2")).unfinished is None


# ---------------------------------------------------------------- which cluster


def test_every_page_names_the_context() -> None:
    snapshot = build.snapshot()
    assert shown(snapshot).startswith("JobSet ns/train (context test): ")
    screen = Console(file=io.StringIO(), width=10_000, color_system=None)
    rows = [
        line_report(JobSetWorkload(build.jobset()), [], build.NOW),
        unreadable("odd", "ns", "Expected `int`, got `str`"),
    ]
    table.show_status(screen, JobSetReportList(context="prod-eu", namespace="ns", items=rows))
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert lines[0] == "context prod-eu, namespace ns"
    assert lines[1].split()[0] == "NAME"
    assert "Unreadable" in lines[3]
    assert lines[3].endswith("cannot be read: Expected `int`, got `str`")


def test_jobs_of_another_jobset_are_not_counted() -> None:
    jobset = build.jobset()
    stranger: Job = build.job(build.jobset(metadata={"uid": "another"}))
    report: JobSetReport = line_report(JobSetWorkload(jobset), [stranger], build.NOW)
    assert [row.jobs for row in report.replicated_jobs] == [0]
