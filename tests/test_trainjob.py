"""TrainJobs: what is restarted is their JobSet's, through the TrainJob."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart import claim
from jobset_restart.findings.registry import CHECKS
from jobset_restart.heeding import ANSWERED_SECONDS, SILENT_SECONDS
from jobset_restart.objects import JobSet
from jobset_restart.plan import Plan, Request, make
from jobset_restart.report.jobset import jobset_report
from jobset_restart.restart.watching import Watching
from jobset_restart.snapshot import OPERATION, Snapshot, take
from jobset_restart.track import Tracker
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.workloads.kinds import JOBSET, TRAIN_JOB
from jobset_restart.workloads.trainjob import train_job
from jobset_restart.workloads.workload import Workload
from jobset_restart.writes import Write
from tests import build
from tests import build_trainjob as trainer
from tests.small_cluster import SmallCluster

PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/ns/trainjobs/train"


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1")


def bare(of: Any = None) -> Snapshot:
    """A TrainJob without a JobSet."""
    return take(train_job(of or trainer.trainjob(), None), [], [], {}, build.NOW)


# ---------------------------------------------------------------- slots and triggers


def _alone(made_of: JobSet, **parts: Any) -> Snapshot:
    return build.snapshot(made_of, **parts)


@given(jobs=st.integers(0, 3), pods=st.integers(1, 4), gone=st.sets(st.integers(0, 2)))
def test_its_slots_and_groups_are_those_of_its_jobset(jobs: int, pods: int, gone: set[int]) -> None:
    jobset = trainer.jobset(replicas=jobs, pods=pods)
    there = [build.job(jobset, index) for index in range(jobs) if index not in gone]
    filled = [build.pod(index, job=int(job.metadata.labels.job_index)) for job in there for index in range(pods)]
    alone, whole = (make_(made_of=jobset, jobs=there, pods=filled) for make_ in (_alone, trainer.snapshot))
    assert whole.slots == alone.slots
    assert (whole.jobs, whole.strangers, whole.ended) == (alone.jobs, alone.strangers, alone.ended)
    mine, its = whole.workload, alone.workload
    assert (mine.groups, mine.jobs_wanted, mine.triggers) == (its.groups, its.jobs_wanted, its.triggers)


def test_the_order_is_that_of_its_jobset() -> None:
    below = build.several({"broker": 1, "node": 2}, in_order=True)
    workload = trainer.of_jobset(below).workload
    assert workload.ordered
    slots = list(below.slots)
    assert workload.steps(slots) == below.workload.steps(slots)
    assert workload.held_back("node") == below.workload.held_back("node") != ""


def test_it_is_suspended_itself_and_by_no_other_trigger_passed_over() -> None:
    found = plan(trainer.snapshot(), strategy="recreate")
    assert (found.trigger_name, found.refused) == ("suspend", False)
    assert [(a.path, a.uid, a.body["spec"]) for a in found.actions if isinstance(a, Write)] == [
        (PATH, "trainjob-uid", {"suspend": True}),
        (PATH, "trainjob-uid", {"suspend": False}),
    ]
    assert "JSR502" not in {finding.id for finding in found.findings}


def test_in_place_is_as_for_its_jobset() -> None:
    found, alone = plan(trainer.snapshot(), via="image"), plan(build.snapshot(trainer.jobset()), via="image")
    assert found.actions == alone.actions
    native = trainer.of_jobset(build.native())
    found = plan(native)
    assert (found.trigger_name, found.attempt) == ("native", 3)
    assert [(a.path, a.uid) for a in found.actions if isinstance(a, Write)] == [
        (f"{JOBSET.path('ns', 'train')}/status", "jobset-uid")
    ]


def test_kueue_owns_the_suspend_of_a_queued_one() -> None:
    queued = trainer.snapshot(trainer.trainjob(labels={"kueue.x-k8s.io/queue-name": "q"}))
    found = plan(queued, strategy="recreate")
    assert found.trigger_name == "jobs"
    assert [f.id for f in plan(queued, via="suspend").blockers()] == ["JSR501"]


def test_the_claim_is_on_the_trainjob() -> None:
    snapshot = trainer.snapshot()
    record = claim.opened(plan(snapshot, strategy="recreate"), "me", build.NOW, build.NOW + 60)
    write = claim.write(snapshot.workload, record, suspend=True)
    assert (write.path, write.uid, write.resource_version) == (PATH, "trainjob-uid", "11")
    assert json.loads(write.body["metadata"]["annotations"][OPERATION])["id"] == "op1"
    assert write.body["spec"] == {"suspend": True}


def test_a_record_on_its_jobset_is_not_its_own() -> None:
    made_of = trainer.jobset(annotations={OPERATION: '{"id": "x"}'})
    assert claim.lock(trainer.workload(None, made_of)) is None
    (part,) = trainer.workload(None, made_of).parts
    assert claim.lock(part) is not None


# ---------------------------------------------------------------- what it is


def test_where_it_is_read_from() -> None:
    workload = trainer.workload()
    sources = workload.sources
    assert (sources.itself.path, [part.path for part in sources.parts]) == (PATH, [JOBSET.path("ns", "train")])
    assert workload.version(sources.itself) == "11"
    assert workload.version(sources.parts[0]) == "7"
    assert bare().workload.version(sources.parts[0]) == ""
    assert (workload.title, workload.reference, workload.path) == ("TrainJob train", "trainjob/train", PATH)


@pytest.mark.parametrize(
    "owner",
    [
        {"uid": "another"},
        {"apiVersion": "example.com/v1"},
        {"kind": "JobSet"},
        {"controller": False},
    ],
)
def test_a_jobset_of_its_name_is_its_own_only_by_controller_reference(owner: dict[str, Any]) -> None:
    namesake = build.jobset(metadata={"ownerReferences": [{**trainer.OWNER, **owner}]})
    snapshot = take(train_job(trainer.trainjob(), namesake), [build.job(namesake)], [build.pod(0)], {}, build.NOW)
    assert (snapshot.jobset, snapshot.slots) == (None, {})
    assert snapshot.strangers == ["Job train-workers-0", "Pod train-workers-0-0"]


def test_another_version_of_the_api_is_the_same_owner() -> None:
    owner = {**trainer.OWNER, "apiVersion": "trainer.kubeflow.org/v2"}
    assert train_job(trainer.trainjob(), build.jobset(metadata={"ownerReferences": [owner]})).jobset is not None


@pytest.mark.parametrize(("suspend", "expected"), [(None, False), (False, False), (True, True)])
def test_suspended_is_what_the_trainjob_says(suspend: bool | None, expected: bool) -> None:
    workload = trainer.workload(trainer.trainjob(spec={"suspend": suspend}), trainer.jobset(spec={"suspend": True}))
    assert workload.suspended is expected


def test_who_manages_it() -> None:
    assert trainer.workload().managed_by == ""
    multikueue = "kueue.x-k8s.io/multikueue"
    assert trainer.workload(trainer.trainjob(spec={"managedBy": multikueue})).managed_by == multikueue
    assert trainer.workload(None, trainer.jobset(spec={"managedBy": multikueue})).managed_by == multikueue


@pytest.mark.parametrize(
    ("status", "below", "state", "reason"),
    [
        ({}, {}, None, ""),
        (trainer.over("Suspended"), {}, None, ""),
        (trainer.over("Complete"), {}, "Completed", "Because"),
        (trainer.over("Failed", "DeadlineExceeded"), {}, "Failed", "DeadlineExceeded"),
        ({}, trainer.over("Failed", "FailedJobs"), "Failed", "FailedJobs"),
        ({}, trainer.over("Completed"), "Completed", "Because"),
    ],
)
def test_how_it_ends(status: dict[str, Any], below: dict[str, Any], state: str | None, reason: str) -> None:
    ending = trainer.workload(trainer.trainjob(status=status), trainer.jobset(status=below)).over()
    assert (ending.state if ending else None, ending.reason if ending else "") == (state, reason)


@pytest.mark.parametrize(
    ("status", "made_of", "expected"),
    [
        (trainer.over("Failed", "FailedJobs"), trainer.jobset(), "kubectl delete jobset train -n ns"),
        (trainer.over("Failed", "DeadlineExceeded"), trainer.jobset(), "create it again"),
        (trainer.over("Failed", "TrainingRuntimeNotSupported"), None, "create it again"),
        (trainer.over("Complete"), trainer.jobset(), "create it again"),
    ],
)
def test_one_that_failed_runs_again_without_its_jobset(
    status: dict[str, Any], made_of: JobSet | None, expected: str
) -> None:
    workload = train_job(trainer.trainjob(status=status), made_of)
    (blocker,) = (f for f in plan(take(workload, [], [], {}, build.NOW)).blockers() if f.id == "JSR101")
    assert expected in blocker.todo


# ---------------------------------------------------------------- while it runs


def later(**fields: Any) -> JobSet:
    return trainer.jobset(**fields)


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        (lambda w: w.renewed(later(metadata={"resourceVersion": "8"})), ""),
        (lambda w: w.renewed(later(spec={"suspend": True})), ""),
        (lambda w: w.renewed(trainer.trainjob(resourceVersion="12")), ""),
        (lambda w: w.renewed(later(metadata={"uid": "new"})), "its JobSet was made anew"),
        (lambda w: w.renewed(later(metadata={"deletionTimestamp": build.TIME})), "its JobSet is being deleted"),
        (lambda w: w.without(w.sources.parts[0]), "its JobSet was deleted"),
        (lambda w: w.renewed(later(status={"restarts": 1})), "the JobSet controller restarted it (1 restarts)"),
    ],
)
def test_what_is_another_restart_than_ours(newer: Any, reason: str) -> None:
    before: Workload = trainer.workload()
    after = newer(before)
    assert before.replaced(after) == reason
    tracker = Tracker(plan(trainer.snapshot(), via="image"), build.NOW)
    tracker.observe_workload(after, build.NOW)
    assert (tracker.verdict.reason if tracker.verdict else "") == reason
    assert reason == "" or (tracker.verdict is not None and tracker.verdict.kind == "superseded")


def test_a_newer_version_of_either_object_leaves_the_other() -> None:
    workload = trainer.workload()
    both = workload.renewed(trainer.trainjob(resourceVersion="12")).renewed(later(metadata={"resourceVersion": "8"}))
    sources = both.sources
    assert [both.version(single) for single in (sources.itself, *sources.parts)] == ["12", "8"]


@pytest.mark.parametrize("kind", ["MODIFIED", "DELETED"])
@pytest.mark.parametrize("jobset", [True, False], ids=["its JobSet", "itself"])
def test_both_objects_are_watched(kind: str, jobset: bool) -> None:
    """That its JobSet is gone does not mean that it is."""
    snapshot, seen = trainer.snapshot(), list[Workload | None]()

    async def main() -> None:
        cluster, tracker = SmallCluster(trainer.jobset(), []), Tracker(plan(snapshot, via="image"), build.NOW)
        watching = Watching(cluster, snapshot, tracker, seen.append, lambda _: None, asyncio.Event())
        async with watching.during(snapshot.workload), asyncio.timeout(20):
            newer = later(metadata={"resourceVersion": "8"}) if jobset else trainer.trainjob(resourceVersion="12")
            while not seen:
                cluster.tell(kind, newer)  # until it is watched
                await asyncio.sleep(0.01)

    asyncio.run(main())
    found = seen[0]
    if kind == "DELETED" and not jobset:
        assert found is None
        return
    assert found is not None
    own = found.jobset.metadata.resource_version if found.jobset else ""
    assert (found.metadata.resource_version, own) == {
        ("MODIFIED", True): ("11", "8"),
        ("MODIFIED", False): ("12", "7"),
        ("DELETED", True): ("11", ""),
    }[kind, jobset]


def test_its_jobset_comes_back_after_it_was_missing() -> None:
    before = bare().workload
    assert before.replaced(before.renewed(trainer.jobset())) == ""


def test_the_jobs_its_jobset_cannot_create_are_told() -> None:
    missing = trainer.snapshot(
        None, trainer.jobset(replicas=2), jobs=[build.job(trainer.jobset())], pods=[build.pod(0), build.pod(1)]
    )
    said = structs.replace(missing, refusals={"jobset-uid": build.event("jobset-uid", "JobCreationFailed", "no")})
    assert [row.reason for row in jobset_report(said).not_ready] == ["JobCreationFailed"] * 2
    assert "JSR110" in {f.id for f in plan(said, strategy="recreate").blockers()}


# ---------------------------------------------------------------- without a JobSet


def test_one_without_a_jobset_is_not_running() -> None:
    report = jobset_report(bare())
    assert (report.state, report.expected) == ("Starting", 0)
    assert "JobSet train is missing: no Event says why" in report.notes
    event = build.event("trainjob-uid", "TrainJobResourcesCreationFailed", "no such runtime")
    refused = jobset_report(structs.replace(bare(), refusals={"trainjob-uid": event}))
    assert refused.state == "Degraded"
    assert "JobSet train is missing: TrainJobResourcesCreationFailed: no such runtime" in refused.notes
    assert "JSR104" in {finding.id for finding in plan(bare()).blockers()}


def test_one_that_is_over_or_suspended_lacks_nothing() -> None:
    over = jobset_report(bare(trainer.trainjob(status=trainer.over("Complete"))))
    assert (over.state, [note for note in over.notes if "missing" in note]) == ("Completed", [])
    suspended = jobset_report(bare(trainer.trainjob(spec={"suspend": True})))
    assert (suspended.state, [note for note in suspended.notes if "missing" in note]) == ("Suspended", [])


def test_the_report_names_its_kind() -> None:
    report = jobset_report(trainer.snapshot())
    assert (report.workload_kind, report.workload_group) == ("TrainJob", TRAIN_JOB.group)
    assert (report.state, report.ready, report.max_restarts) == ("Running", 2, 3)


def test_what_was_named_is_told_when_it_belongs_to_a_trainjob() -> None:
    named = structs.replace(trainer.snapshot(), owners=["JobSet train belongs to TrainJob train"])
    (said,) = (f for f in plan(named).findings if f.id == "JSR510")
    assert (said.severity, said.summary) == ("note", "JobSet train belongs to TrainJob train")
    assert "JSR510" in CHECKS
    assert not [f for f in plan(trainer.snapshot()).findings if f.id == "JSR510"]


def test_a_jobset_is_none_of_its_own_parts() -> None:
    assert JobSetWorkload(build.jobset()).parts == ()


# ---------------------------------------------------------------- a suspend that Trainer does not pass on

IMMUTABLE = (
    'TrainJob resources reconciliation failed: admission webhook "vjobset.kb.io" denied the request: '
    'JobSet.jobset.x-k8s.io "train" is invalid: spec.replicatedJobs: Invalid value: '
    '[{"name":"node","template":{"spec":{"containers":[{"command":["a: b"]}]}}}]: field is immutable'
)


def suspending() -> tuple[Tracker, Snapshot]:
    snapshot = trainer.snapshot()
    tracker = Tracker(plan(snapshot, via="suspend"), build.NOW)
    tracker.sent_all(build.NOW)
    tracker.observe_workload(snapshot.workload.renewed(trainer.trainjob(spec={"suspend": True})), build.NOW)
    return tracker, snapshot


def failed(tracker: Tracker) -> set[str]:
    return {track.reason for track in tracker.slots.values() if track.state == "failed"}


def test_a_suspend_that_the_jobset_refuses_is_given_up_with_the_reason_and_resumed() -> None:
    tracker, _ = suspending()
    assert tracker.asks_why
    tracker.refused_creation(
        build.event("trainjob-uid", "TrainJobResourcesCreationFailed", IMMUTABLE, claim.timestamp(build.NOW + 1)),
        build.NOW + 1,
    )
    tracker.tick(build.NOW + ANSWERED_SECONDS - 1)
    assert (tracker.stopped, failed(tracker)) == (False, set())
    tracker.tick(build.NOW + ANSWERED_SECONDS)
    (reason,) = failed(tracker)
    assert reason.startswith(
        "JobSet train was not suspended with it (TrainJobResourcesCreationFailed: admission webhook "
    )
    assert "is invalid: spec.replicatedJobs: field is immutable); --via jobs does without that" in reason
    assert (tracker.stopped, tracker.done) == (True, True), "what was suspended is resumed"


def test_without_a_word_of_trainer_it_is_waited_for_longer() -> None:
    tracker, _ = suspending()
    tracker.tick(build.NOW + SILENT_SECONDS - 1)
    assert not tracker.stopped
    tracker.tick(build.NOW + SILENT_SECONDS)
    assert failed(tracker) == {
        "JobSet train was not suspended with it (no Event says why); --via jobs does without that"
    }


def test_once_the_jobset_is_suspended_the_pods_are_waited_for_as_long_as_it_takes() -> None:
    tracker, snapshot = suspending()
    workload = snapshot.workload.renewed(trainer.trainjob(spec={"suspend": True}))
    tracker.observe_workload(workload.renewed(trainer.jobset(spec={"suspend": True})), build.NOW + 1)
    tracker.tick(build.NOW + 10 * SILENT_SECONDS)
    assert (tracker.stopped, failed(tracker), tracker.asks_why) == (False, set(), False)


def test_an_old_word_of_trainer_is_no_reason() -> None:
    tracker, _ = suspending()
    old = build.event("trainjob-uid", "TrainJobResourcesCreationFailed", IMMUTABLE, claim.timestamp(build.NOW - 5))
    tracker.refused_creation(old, build.NOW)
    tracker.tick(build.NOW + ANSWERED_SECONDS)
    assert failed(tracker) == set()


def test_the_events_that_tell_are_its_own() -> None:
    refusals = trainer.workload().sources.refusals
    mine = "reason=TrainJobResourcesCreationFailed,involvedObject.name=train"
    assert [selector for selector in refusals if selector.endswith(mine)]
