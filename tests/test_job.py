"""A plain Job as a workload: its slots, its end, what it offers, and what is said of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart import claim
from jobset_restart.errors import TooLarge
from jobset_restart.findings import checks
from jobset_restart.objects import ClaimedJob, LabelSelector
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.report.jobset import jobset_report
from jobset_restart.report.plan import plan_report
from jobset_restart.resume import carry_on
from jobset_restart.snapshot import Snapshot
from jobset_restart.track import Tracker
from jobset_restart.verdict import verdict_of
from jobset_restart.workloads.job import JobWorkload, sources
from tests import build

IN_QUEUE: dict[str, Any] = {"labels": {"kueue.x-k8s.io/queue-name": "q"}}


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1")


def slots(snapshot: Snapshot) -> list[str]:
    return [str(slot) for slot in snapshot.slots]


# ---------------------------------------------------------------- slots


def test_a_slot_is_the_completion_index() -> None:
    snapshot = build.job_snapshot(build.plain_job(pods=3))
    assert slots(snapshot) == ["etl/0", "etl/1", "etl/2"]
    assert [each.metadata.name for each in snapshot.jobs] == ["etl"]
    assert all(state.job is not None and state.ready for state in snapshot.slots.values())


def test_a_job_without_indexes_has_seats() -> None:
    job = build.plain_job(pods=3, spec={"completionMode": "NonIndexed", "completions": None})
    snapshot = build.job_snapshot(job, [build.job_pod(0), build.job_pod(1)])
    assert slots(snapshot) == ["etl/0", "etl/1", "etl/2"]
    assert [state.pod is None for state in snapshot.slots.values()] == [False, False, True]


def test_waves_and_completed_indexes_are_those_of_the_job_as_it_is() -> None:
    job = build.plain_job(pods=2, spec={"completions": 6}, status={"completedIndexes": "0,2", "succeeded": 2})
    snapshot = build.job_snapshot(job, [build.job_pod(1), build.job_pod(3)])
    assert slots(snapshot) == ["etl/1", "etl/3"]
    assert not [f for f in plan(snapshot, via="suspend").findings if f.id == "JSR503"]


def test_what_only_carries_its_labels_is_a_stranger() -> None:
    snapshot = build.job_snapshot(pods=[build.job_pod(0), build.job_pod(1), build.job_pod(2, owners=[], name="x")])
    assert (slots(snapshot), snapshot.strangers) == (["etl/0", "etl/1"], ["Pod x"])


def test_more_pods_than_there_can_be_are_refused() -> None:
    with pytest.raises(TooLarge, match="Job etl asks for 300,000 Pods"):
        build.job_snapshot(build.plain_job(pods=300_000), [])


# ---------------------------------------------------------------- where it is read


def test_its_pods_are_found_by_its_own_selector() -> None:
    found = sources(build.plain_job())
    assert found.pods.labels == "batch.kubernetes.io/controller-uid=etl-uid"
    assert (found.itself.path, found.children, found.parts) == ("/apis/batch/v1/namespaces/ns/jobs/etl", (), ())
    raw = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "c"]}]}
    assert sources(build.plain_job(spec={"selector": raw})).pods.labels == "app=a,tier in (b,c)"


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        ({"key": "a.io/b", "operator": "NotIn", "values": ["x"]}, "a.io/b notin (x)"),
        ({"key": "a", "operator": "Exists"}, "a"),
        ({"key": "a", "operator": "DoesNotExist"}, "!a"),
    ],
)
def test_requirements_of_a_selector(requirement: dict[str, Any], text: str) -> None:
    assert msgspec.convert({"matchExpressions": [requirement]}, LabelSelector).text() == text


@pytest.mark.parametrize("bad", [{"a,b": "c"}, {"a": "b,c"}, {"a": "b c"}, {"a": "b)"}, {"": "a"}, {"a": "b\n"}])
def test_a_selector_that_is_none_is_not_read(bad: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        build.plain_job(spec={"selector": {"matchLabels": bad}})


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        ("Complete", "Completed"),
        ("Failed", "Failed"),
        ("FailureTarget", "Failed"),
        ("SuccessCriteriaMet", "Completed"),
    ],
)
def test_a_job_is_over_when_it_makes_no_pod_any_more(condition: str, state: str) -> None:
    def job(status: str) -> ClaimedJob:
        return build.plain_job(status={"conditions": [{"type": condition, "status": status, "reason": "Why"}]})

    assert JobWorkload(job("False")).over() is None
    over = JobWorkload(job("True")).over()
    assert over is not None
    assert (over.state, over.reason) == (state, "Why")
    refused = plan(build.job_snapshot(job("True")))
    assert "JSR101" in {f.id for f in refused.blockers()}
    verdict = verdict_of(JobWorkload(job("True")), JobWorkload(build.plain_job()), restarts_expected=False)
    assert verdict is not None
    assert verdict.reason.startswith("the Job ")


def test_a_job_managed_by_another_controller_is_left_to_it() -> None:
    assert JobWorkload(build.plain_job(spec={"managedBy": "kubernetes.io/job-controller"})).managed_by == ""
    refused = plan(build.job_snapshot(build.plain_job(spec={"managedBy": "kueue.x-k8s.io/multikueue"})))
    assert "JSR105" in {f.id for f in refused.blockers()}


# ---------------------------------------------------------------- what restarts it


def test_image_first_and_suspend_to_recreate() -> None:
    snapshot = build.job_snapshot()
    assert plan(snapshot).trigger_name == "image"
    recreate = plan(snapshot, strategy="recreate")
    assert (recreate.trigger_name, [stage.name for stage in recreate.stages]) == ("suspend", ["suspend", "resume"])
    assert {action.path for action in recreate.actions} == {"/apis/batch/v1/namespaces/ns/jobs/etl"}
    assert plan_report(recreate).survives == ["the Job", "persistent volumes"]
    assert {str(p) for p in permissions(recreate)} == {"patch jobs.batch", "watch jobs.batch", "watch pods"}


@pytest.mark.parametrize("via", ["native", "jobs"])
def test_a_trigger_that_is_not_for_a_job_is_refused_with_those_that_are(via: Any) -> None:
    refused = plan(build.job_snapshot(), via=via, allow=tuple(check.id for check in checks()))
    (found,) = (f for f in refused.blockers() if f.id == "JSR313")
    assert (found.final, found.todo) == (True, "use --via image, signal, force, suspend or pods, or none of them")
    assert (refused.refused, refused.actions) == (True, [])


@pytest.mark.parametrize("via", ["native", "jobs"])
def test_a_record_that_names_such_a_trigger_is_not_carried_on(via: str) -> None:
    snapshot = build.job_snapshot()
    record = claim.Record(id="op1", trigger=via, started=claim.timestamp(build.NOW), attempt=1)
    with pytest.raises(ValueError, match=f"it restarts by {via}, which is not for a Job"):
        carry_on(snapshot, record)


def test_pods_where_there_are_failures_to_spare() -> None:
    assert not plan(build.job_snapshot(), via="pods").refused
    refused = plan(build.job_snapshot(build.plain_job(spec={"backoffLimit": 0})), via="pods")
    (blocker,) = refused.blockers()
    assert (blocker.id, blocker.todo) == ("JSR202", "recreate with --via suspend: no failure is counted")


def test_the_index_that_is_selected_is_the_completion_index() -> None:
    job = build.plain_job(pods=3, spec={"completions": 9})
    found = plan(build.job_snapshot(job), selection=Selection(job_indexes=(1,)))
    assert [str(s.state.slot) for s in found.scope] == ["etl/1"]
    later = plan(build.job_snapshot(job), selection=Selection(job_indexes=(7,)))
    assert {f.id for f in later.blockers()} == {"JSR104"}, "it is there, and has its turn later"
    assert "JSR106" in {f.id for f in plan(build.job_snapshot(job), selection=Selection(job_indexes=(9,))).blockers()}


def test_completed_indexes_stay_and_the_ways_out_are_those_of_a_job() -> None:
    job = build.plain_job(status={"completedIndexes": "0", "succeeded": 1})
    refused = plan(build.job_snapshot(job, [build.job_pod(1)]), strategy="recreate", via="suspend")
    (blocker,) = refused.blockers()
    assert blocker.id == "JSR503"
    assert "--via jobs" not in blocker.todo


def test_on_failure_restarts_count_towards_its_backoff_limit() -> None:
    job = build.plain_job(pods=3, restart_policy="OnFailure", spec={"backoffLimit": 3})
    refused = plan(build.job_snapshot(job), strategy="in-place", via="image")
    assert [f.id for f in refused.blockers()] == ["JSR201"]
    assert plan(build.job_snapshot(job)).trigger_name == "suspend"


def test_a_run_of_a_cron_job_can_be_restarted_and_says_whose_it_is() -> None:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": True}
    snapshot = build.job_snapshot(build.plain_job(ownerReferences=[owner]))
    for via in ("image", "suspend", "pods"):
        found = plan(snapshot, via=via)
        assert not found.refused
        assert [f.objects for f in found.findings if f.id == "JSR512"] == [["CronJob nightly"]]
        assert "JSR502" not in {f.id for f in found.findings}


def test_a_job_of_a_jobset_is_not_suspended_behind_its_back() -> None:
    owner = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "train", "controller": True}
    refused = plan(build.job_snapshot(build.plain_job(ownerReferences=[owner])), via="suspend")
    todo = "restart JobSet train itself: jsr restart train -n ns --context test --recreate"
    assert [(f.id, f.todo) for f in refused.blockers()] == [("JSR502", todo)]


def test_a_queued_job_is_not_suspended() -> None:
    refused = plan(build.job_snapshot(build.plain_job(**IN_QUEUE)), via="suspend")
    (blocker,) = refused.blockers()
    assert (blocker.id, blocker.objects) == ("JSR501", ["Job etl"])
    assert "--via jobs" not in blocker.todo


OF_JOBSETS = {"JSR109", "JSR110", "JSR113", "JSR203", "JSR210", "JSR211", "JSR305", "JSR308", "JSR309", "JSR506"}
"""Findings about what only a JobSet has."""

STATES = st.fixed_dictionaries(
    {},
    optional={
        "completedIndexes": st.sampled_from(["0", "1"]),
        "failed": st.integers(0, 9),
        "conditions": st.sampled_from(
            [[{"type": "Failed", "status": "True"}], [{"type": "Complete", "status": "True"}]]
        ),
    },
)


@given(
    STATES,
    st.fixed_dictionaries(
        {},
        optional={
            "suspend": st.booleans(),
            "backoffLimit": st.integers(0, 9),
            "backoffLimitPerIndex": st.integers(0, 3),
            "podReplacementPolicy": st.sampled_from(["Failed", "TerminatingOrFailed"]),
            "managedBy": st.sampled_from(["", "x"]),
        },
    ),
    st.sampled_from(["Never", "OnFailure"]),
    st.sampled_from(["", "image", "signal", "suspend", "pods", "native", "jobs"]),
    st.sets(st.integers(0, 1)),
    st.booleans(),
    st.booleans(),
)
def test_nothing_said_of_a_job_speaks_of_a_jobset(
    status: dict[str, Any],
    spec: dict[str, Any],
    policy: str,
    via: Any,
    there: set[int],
    queued: bool,
    dead: bool,
) -> None:
    job = build.plain_job(spec=spec, status=status, restart_policy=policy, **(IN_QUEUE if queued else {}))
    snapshot = build.job_snapshot(
        job,
        [build.job_pod(index, spec={"restartPolicy": policy}, deleted=index == 1 and dead) for index in there],
        nodes=[build.node(ready=not dead)],
    )
    made = plan(snapshot, via=via)
    for found in made.findings:
        if found.id not in OF_JOBSETS:
            said = f"{found.summary} {found.todo}"
            assert "JobSet" not in said, said
            assert "ReplicatedJob" not in said, said
            assert "--via jobs" not in said, said
    assert (made.trigger_name in ("", *snapshot.workload.triggers)) is True
    report = jobset_report(snapshot, made)
    assert report.workload_kind == "Job"
    assert "JobSet" not in msgspec.json.encode([report.notes, report.budgets, made.reason]).decode()


# ---------------------------------------------------------------- while it is restarted


def test_what_the_job_says_of_its_indexes_is_heard_from_the_job_itself() -> None:
    """An index that completes while its Pod is being replaced has nothing more to wait for."""
    snapshot = build.job_snapshot(build.plain_job(spec={"backoffLimit": 6}))
    tracker = Tracker(plan(snapshot, via="pods"), build.NOW)
    for slot in snapshot.slots:
        tracker.sent(slot, build.NOW)
    tracker.observe(build.job_pod(0), build.NOW + 1, deleted=True)
    done = build.plain_job(status={"completedIndexes": "0", "succeeded": 1})
    tracker.observe_workload(JobWorkload(done), build.NOW + 2)
    (first, second) = snapshot.slots
    assert tracker.outcome(first, timed_out=False) == "unchanged"
    assert tracker.slots[second].state != "ready"


def test_a_jobset_that_a_trainjob_owns_is_restarted_through_it() -> None:
    owner = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "name": "llama", "controller": True}
    refused = plan(build.snapshot(build.jobset(metadata={"ownerReferences": [owner]})), via="suspend")
    through = "restart TrainJob llama itself: jsr restart trainjob/llama -n ns --context test --recreate"
    assert [(f.id, f.todo) for f in refused.blockers()] == [("JSR502", f"recreate with --via jobs, or {through}")]
