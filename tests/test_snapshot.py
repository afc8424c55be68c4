"""Which slots there are, and whose Pods fill them: from the Jobs as they are, and by controller references alone."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.case import Evidence
from jobset_restart.errors import TooLarge
from jobset_restart.findings.budgets import container_restart_budgets, deletion_budgets
from jobset_restart.objects import Job, JobSet, Pod, number
from jobset_restart.plan import Plan, Request, case_for, make
from jobset_restart.report.jobset import jobset_report
from jobset_restart.slots import Indexes
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.triggers.image import IMAGE
from jobset_restart.triggers.pods import PODS
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build

LATER = "2026-01-01T00:30:00Z"


def look(of: JobSet, jobs: list[Job], pods: list[Pod]) -> Snapshot:
    return take(JobSetWorkload(of), jobs, pods, {"node-0": build.node()}, build.NOW)


def sweep(
    pods: list[Pod], *, parallelism: int = 2, completions: int = 4, completed: str = "", **options: Any
) -> Snapshot:
    """A JobSet whose one Job wants more completions than it runs Pods at once."""
    job_spec = {"parallelism": 2, "completions": completions}
    of = build.jobset(job_spec=job_spec, **options)
    return look(of, [build.job(of, status={"completedIndexes": completed})], pods)


def elastic(pods: list[Pod], *, template: int, now: int, **options: Any) -> Snapshot:
    """A JobSet whose Job was scaled since it was made from the template."""
    of = build.jobset(pods=template, **options)
    return look(of, [build.job(of, spec={"parallelism": now, "completions": now})], pods)


def seated(pods: list[Pod], **spec: Any) -> Snapshot:
    of = build.jobset(job_spec={"completionMode": "NonIndexed", **spec})
    return look(of, [build.job(of, status={"succeeded": sum(p.status.phase == "Succeeded" for p in pods)})], pods)


def seat(name: str, **fields: Any) -> Pod:
    """A Pod of a NonIndexed Job: it has no index."""
    pod = build.pod(0, name=name, **fields)
    pod.metadata.labels.completion_index = ""
    return pod


def names(snapshot: Snapshot, *, expected: bool = True) -> dict[str, str]:
    return {
        str(slot): state.pod.metadata.name if state.pod else ""
        for slot, state in snapshot.slots.items()
        if state.expected == expected
    }


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1")


# ---------------------------------------------------------------- indexes at or above parallelism

SECOND_WAVE = [
    build.pod(0, phase="Succeeded", ready=False),
    build.pod(1, phase="Succeeded", ready=False),
    build.pod(2, spec={"restartPolicy": "OnFailure"}),
    build.pod(3, spec={"restartPolicy": "OnFailure"}),
]


def test_in_its_second_wave_a_job_is_asked_about_its_own_budget() -> None:
    snapshot = sweep(SECOND_WAVE, completed="0,1", restart_policy="OnFailure", backoff_limit=2)
    refused = plan(snapshot, via="image")
    assert refused.refused
    assert "JSR201" in {f.id for f in refused.blockers()}


def test_in_its_second_wave_a_pod_that_is_deleted_fails_its_job() -> None:
    refused = plan(sweep(SECOND_WAVE, completed="0,1", backoff_limit=0), via="pods")
    assert "JSR202" in {f.id for f in refused.blockers()}


def test_in_its_second_wave_recreating_means_what_runs_and_not_what_is_complete() -> None:
    found = plan(sweep(SECOND_WAVE, completed="0,1"), strategy="recreate")
    assert (found.trigger_name, [s.name for s in found.stages]) == ("suspend", ["suspend", "resume"])
    assert [str(s.state.slot) for s in found.scope] == ["workers/0/2", "workers/0/3"]
    jobs = plan(sweep(SECOND_WAVE, completed="0,1"), via="jobs")
    assert len(jobs.actions) == 1


def test_indexes_whose_turn_is_to_come_are_nothing_to_wait_for() -> None:
    first = sweep([build.pod(0), build.pod(1)], completions=100)
    assert names(first) == {"workers/0/0": "train-workers-0-0", "workers/0/1": "train-workers-0-1"}
    assert jobset_report(first).expected == 2


def test_an_index_that_completed_makes_room_for_the_lowest_that_is_pending() -> None:
    found = sweep([build.pod(0), build.pod(1, phase="Succeeded", ready=False)], completed="1")
    assert names(found) == {"workers/0/0": "train-workers-0-0", "workers/0/2": ""}
    lagging = sweep([build.pod(0), build.pod(1, phase="Succeeded", ready=False)])
    assert names(lagging) == names(found)


@pytest.mark.parametrize(("template", "now"), [(2, 4), (4, 2)])
def test_a_job_that_was_scaled_has_the_slots_it_has_now(template: int, now: int) -> None:
    found = elastic([build.pod(i) for i in range(now)], template=template, now=now, backoff_limit=0)
    assert len(names(found)) == now
    assert jobset_report(found).state == "Running"
    assert "JSR202" in {f.id for f in plan(found, via="pods").blockers()}


def test_a_pod_that_scaling_down_takes_away_is_neither_restarted_nor_waited_for() -> None:
    found = elastic([build.pod(0), build.pod(1, deleted=True)], template=2, now=1)
    assert names(found) == {"workers/0/0": "train-workers-0-0"}
    assert names(found, expected=False) == {"workers/0/1": "train-workers-0-1"}
    assert [str(s.state.slot) for s in plan(found, via="image").scope] == ["workers/0/0"]


def test_an_index_that_failed_for_good_is_over() -> None:
    of = build.jobset(pods=3, job_spec={"backoffLimitPerIndex": 1})
    pods = [build.pod(0), build.pod(1, phase="Failed", ready=False), build.pod(2)]
    found = look(of, [build.job(of, status={"failedIndexes": "1"})], pods)
    assert list(names(found)) == ["workers/0/0", "workers/0/2"]


@st.composite
def any_snapshot(draw: st.DrawFn) -> tuple[Snapshot, list[Pod]]:
    """One Job in any state, its Pods at any index, some of somebody else's."""
    parallelism = draw(st.integers(0, 5))
    completions = draw(st.one_of(st.none(), st.integers(0, 8)))
    mode = "NonIndexed" if completions is None or draw(st.booleans()) else "Indexed"
    policy = draw(st.sampled_from(["Never", "OnFailure"]))
    of = build.jobset(
        restart_policy=policy,
        job_spec={"parallelism": parallelism, "completions": completions, "completionMode": mode},
    )
    pods = [
        build.pod(
            draw(st.integers(0, 9)),
            name=f"p{n}",
            phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])),
            deleted=draw(st.booleans()),
            created=draw(st.sampled_from([build.TIME, LATER])),
            spec={"restartPolicy": policy},
            statuses=[build.status(restarts=draw(st.integers(0, 3)))],
            owners=draw(st.sampled_from([None, None, None, []])),
        )
        for n in range(draw(st.integers(0, 10)))
    ]
    status = {"completedIndexes": draw(st.sampled_from(["", "0", "0-2", "1,3"])), "succeeded": draw(st.integers(0, 3))}
    return look(of, [build.job(of, status=status)], pods), [p for p in pods if p.metadata.owner_references]


@given(any_snapshot())
def test_every_slot_with_a_pod_has_its_job_and_every_living_pod_has_one_slot(found: tuple[Snapshot, list[Pod]]) -> None:
    snapshot, own = found
    filled = [p for s in snapshot.slots.values() for p in (s.pod, *s.leftovers) if p]
    assert all(state.job is not None for state in snapshot.slots.values() if state.pod)
    living = {p.metadata.uid for p in own if p.status.phase in ("Pending", "Running")}
    assert living <= {p.metadata.uid for p in filled}
    assert len(filled) == len({p.metadata.uid for p in filled})
    assert {p.metadata.uid for p in snapshot.pods()} == {p.metadata.uid for p in own}


@given(any_snapshot())
def test_budgets_count_every_pod_of_the_job(found: tuple[Snapshot, list[Pod]]) -> None:
    snapshot, own = found
    counted = sum(
        s.restart_count for p in own if p.status.phase in ("Pending", "Running") for s in p.status.container_statuses
    )
    case = case_for(snapshot, Request(), IMAGE, Evidence())
    assert all(budget.before == counted for budget, _ in container_restart_budgets(case))
    case = case_for(snapshot, Request(), PODS, Evidence())
    going = sum(s.pod is not None and s.pod.status.phase in ("Pending", "Running") for s in case.scope)
    assert sum(b.after - b.before for b, _ in deletion_budgets(case)) == going


@given(any_snapshot())
def test_a_job_has_as_many_expected_slots_as_it_wants_pods(found: tuple[Snapshot, list[Pod]]) -> None:
    snapshot, own = found
    (job,) = snapshot.jobs
    expected = [s for s in snapshot.slots.values() if s.expected]
    active = [p for p in own if p.status.phase in ("Pending", "Running") and not p.metadata.deletion_timestamp]
    parallelism = job.spec.parallelism or 0
    assert len(expected) <= max(parallelism, len(active))


# ---------------------------------------------------------------- Pods that are over


def test_a_failed_pod_that_its_job_keeps_holds_no_slot() -> None:
    found = look(
        build.jobset(),
        [build.job(build.jobset())],
        [build.pod(0, name="old", phase="Failed", ready=False), build.pod(0, name="new", created=LATER), build.pod(1)],
    )
    assert names(found) == {"workers/0/0": "new", "workers/0/1": "train-workers-0-1"}
    assert all(not state.leftovers for state in found.slots.values())
    report = jobset_report(found)
    assert (report.state, report.ready, report.expected) == ("Running", 2, 2)


def test_a_failed_pod_of_a_job_without_indexes_takes_no_seat() -> None:
    pods = [seat("old", phase="Failed", ready=False), seat("a"), seat("b", created=LATER)]
    report = jobset_report(seated(pods, parallelism=2, completions=None))
    assert (report.state, report.ready, report.expected) == ("Running", 2, 2)


def test_a_job_without_indexes_waits_for_no_more_than_it_wants() -> None:
    running = [seat("a"), seat("b")]
    assert len(names(seated(running, parallelism=2, completions=5))) == 2
    done = [seat("c", phase="Succeeded", ready=False)]
    assert len(names(seated([seat("a"), *done], parallelism=2, completions=2))) == 1
    assert len(names(seated([seat("a"), *done], parallelism=2, completions=None))) == 1


def test_a_slot_that_waits_for_a_pod_shows_what_became_of_the_last() -> None:
    found = look(build.jobset(pods=1), [build.job(build.jobset(pods=1))], [build.pod(0, phase="Failed", ready=False)])
    (row,) = jobset_report(found).not_ready
    assert row.state == "failed"
    deleting = plan(found, via="pods", allow=("JSR202",))
    assert deleting.actions == []


# ---------------------------------------------------------------- whose Pods


def test_two_pods_in_one_slot_the_living_and_the_younger_counts() -> None:
    older, younger = build.pod(0, name="a"), build.pod(0, name="b", created=LATER)
    going = build.pod(0, name="c", created="2026-01-01T00:40:00Z", deleted=True)
    for pods in ([older, younger, going], [going, younger, older]):
        (state,) = look(build.jobset(pods=1), [build.job(build.jobset(pods=1))], pods).slots.values()
        assert state.pod is younger
        assert {p.metadata.name for p in state.leftovers} == {"a", "c"}


JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "train-workers-0", "uid": "job-0", "controller": True}


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{**JOB, "controller": False}],
        [{**JOB, "uid": "another"}],
        [{**JOB, "kind": "ReplicaSet"}],
        [{**JOB, "apiVersion": "evil.example/v1"}],
    ],
    ids=["none", "no controller", "another Job", "another kind", "another group"],
)
def test_a_pod_with_the_jobset_s_labels_and_another_owner_is_left_alone_and_named(owners: list[Any]) -> None:
    forged = build.pod(0, name="forged", uid="forged", owners=owners, created=LATER)
    found = look(build.jobset(), [build.job(build.jobset())], [build.pod(0), build.pod(1), forged])
    for via in ("image", "pods"):
        acted = plan(found, via=via, allow=("JSR202",))
        assert not any("forged" in action.path for action in acted.actions)
        assert len(acted.scope) == 2
        assert [f.objects for f in acted.findings if f.id == "JSR111"] == [["Pod forged"]]


def test_a_job_of_another_jobset_of_the_same_name_is_none_of_ours() -> None:
    of = build.jobset()
    foreign = build.job(of, uid="foreign", ownerReferences=[{**build.OWNER, "uid": "the-one-before"}])
    found = look(of, [foreign], [build.pod(0, job_uid="foreign")])
    assert found.strangers == ["Job train-workers-0", "Pod train-workers-0-0"]
    assert all(state.job is None and state.pod is None for state in found.slots.values())


# ---------------------------------------------------------------- bounds


def test_indexes_stay_ranges() -> None:
    tracemalloc.start()
    found = sweep([], completions=2**31 - 1, completed="0-2147483647")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000
    assert not names(found)


@pytest.mark.parametrize(
    ("jobset", "job"),
    [
        ({"job_spec": {"parallelism": 2**31 - 1, "completions": 2**31 - 1}}, {}),
        ({}, {"parallelism": 2**31 - 1, "completions": 2**31 - 1}),
        ({"replicas": 2**31 - 1}, {}),
    ],
)
def test_more_slots_than_any_cluster_has_are_an_error_that_says_so(jobset: Any, job: Any) -> None:
    of = build.jobset(**jobset)
    with pytest.raises(TooLarge, match=r"JobSet train asks for [24],.* Pods at once"):
        look(of, [build.job(of, spec=job)] if job else [], [])


@given(st.text(), st.integers(0, 60))
def test_indexes_of_any_text_and_the_lowest_that_are_free(text: str, completions: int) -> None:
    indexes = Indexes.of_status(text, completions)
    free = indexes.without(most=5, below=completions, taken=())
    assert free == [i for i in range(completions) if i not in indexes][:5]


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.integers(0, 10))
def test_indexes_hold_what_was_put_in(members: set[int], taken: set[int], most: int) -> None:
    indexes = Indexes(range(i, i + 1) for i in members)
    assert len(indexes) == len(members)
    assert all((i in indexes) == (i in members) for i in range(45))
    assert (
        indexes.without(most=most, below=41, taken=taken)
        == [i for i in range(41) if i not in members and i not in taken][:most]
    )


@pytest.mark.parametrize("text", ["", "²", "٣", "1" * 5000, "-1", " 1", "1_0", "2147483648", "0x1"])
def test_what_is_no_number_of_the_api_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("text", ["²", "1" * 5000, "99999999999"])
def test_no_number_that_a_pod_or_job_carries_is_a_traceback(text: str) -> None:
    snapshot = build.native(attempts=(text, text))
    for state in snapshot.slots.values():
        assert state.pod
        state.pod.metadata.annotations.index_failure_count = text
    of = build.jobset(job_spec={"backoffLimitPerIndex": 1})
    labels = {"jobset.sigs.k8s.io/replicatedjob-name": "workers", "jobset.sigs.k8s.io/job-index": text}
    job = build.job(of, status={"completedIndexes": text, "failedIndexes": f"0-{text}"}, labels=labels)
    pod = build.pod(0, annotations={"batch.kubernetes.io/job-completion-index": text})
    for each in (snapshot, look(of, [job], [pod])):
        for via in ("", "pods", "native"):
            jobset_report(each, plan(each, via=via))
