"""Workloads in a queue of Kueue: what is seen of them, what restarts them, and what a requeue leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.claim import Record
from jobset_restart.cluster.protocol import Listing
from jobset_restart.cluster.queued import admission
from jobset_restart.errors import Forbidden, JsrError, NotFound, Unreachable
from jobset_restart.events import Event, Noticed, Phase
from jobset_restart.findings import checks
from jobset_restart.objects import KueueWorkload
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.report import ResultReport
from jobset_restart.restart import Options, Tenure
from jobset_restart.resume import carry_on
from jobset_restart.snapshot import Snapshot
from jobset_restart.workloads.job import JobWorkload
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.workloads.kueue import admission_of
from jobset_restart.writes import Write
from tests import build
from tests.small_cluster import SmallCluster

QUEUE: dict[str, Any] = {"labels": {"kueue.x-k8s.io/queue-name": "q"}}
OBJECT = f"{build.WORKLOADS}/jobset-train-12345"


def in_queue(suspended: bool = False, **fields: Any) -> Snapshot:
    return build.queued(build.snapshot(build.jobset(metadata=QUEUE, spec={"suspend": suspended})), **fields)


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1")


# ---------------------------------------------------------------- the Workload that stands for it


def test_the_workload_is_known_by_its_controller_reference() -> None:
    workload = JobSetWorkload(build.jobset(metadata=QUEUE))
    other = build.kueue_workload("somebody-else")
    mine = build.kueue_workload(workload.metadata.uid)
    assert admission_of(workload, [other], build.WORKLOADS) is None
    found = admission_of(workload, [other, mine], build.WORKLOADS)
    assert found is not None
    assert (found.path, found.uid, found.active, found.watches_pods) == (OBJECT, "kueue-uid", True, False)


def test_of_several_the_newest_that_is_not_finished_counts() -> None:
    workload = JobSetWorkload(build.jobset(metadata=QUEUE))

    def one(name: str, created: str, *, finished: bool) -> KueueWorkload:
        conditions = [{"type": "Finished", "status": "True"}] if finished else []
        meta = {"name": name, "creationTimestamp": created}
        return build.kueue_workload(workload.metadata.uid, metadata=meta, conditions=conditions)

    old = one("old", "2026-01-01T00:00:00Z", finished=False)
    new = one("new", "2026-01-01T00:00:01Z", finished=False)
    over = one("over", "2026-01-01T00:00:02Z", finished=True)
    found = admission_of(workload, [new, over, old], build.WORKLOADS)
    assert found is not None
    assert found.object is new


class Served:
    """What is served of the Workload API: `lists` and `gets` by path; what is not among them is not found."""

    def __init__(self, lists: Mapping[str, list[KueueWorkload] | JsrError], gets: Mapping[str, KueueWorkload]) -> None:
        self.lists, self.gets, self.asked = lists, gets, list[str]()

    async def list(self, path: str, item: type[Any], **options: Any) -> Listing[Any]:
        self.asked.append(f"{path}?{options['label_selector']}")
        answer = self.lists.get(path, NotFound("no such API"))
        if isinstance(answer, JsrError):
            raise answer
        return Listing(answer, "1")

    async def get(self, path: str, type: type[Any]) -> KueueWorkload:  # noqa: A002
        if path not in self.gets:
            raise NotFound(path)
        return self.gets[path]


OLD = build.WORKLOADS.replace("v1beta2", "v1beta1")


def seen(served: Served, **labels: str) -> tuple[str, list[str]]:
    meta = {"labels": {**QUEUE["labels"], **{f"kueue.x-k8s.io/{name}": value for name, value in labels.items()}}}
    workload = JobSetWorkload(build.jobset(metadata=meta))
    found, notes = asyncio.run(admission(served, workload))  # type: ignore[arg-type]
    return found.path if found else "", notes


def test_it_is_looked_for_by_label_in_the_version_that_is_served() -> None:
    mine = build.kueue_workload()
    assert seen(Served({build.WORKLOADS: [mine]}, {})) == (OBJECT, [])
    older = Served({OLD: [mine]}, {})
    assert seen(older) == (OBJECT.replace("v1beta2", "v1beta1"), [])
    assert older.asked[-1] == f"{OLD}?kueue.x-k8s.io/job-uid=jobset-uid"


def test_one_made_beforehand_is_looked_for_by_its_name() -> None:
    served = Served({build.WORKLOADS: []}, {f"{build.WORKLOADS}/mine": build.kueue_workload(metadata={"name": "mine"})})
    assert seen(served, **{"prebuilt-workload-name": "mine"}) == (f"{build.WORKLOADS}/mine", [])
    assert seen(served, **{"prebuilt-workload-name": "other"}) == ("", [])
    assert seen(served) == ("", [])


def test_what_cannot_be_seen_is_a_note() -> None:
    assert seen(Served({build.WORKLOADS: Forbidden("no")}, {}))[1] == [
        "no permission to list Kueue's Workloads: what it does with the queue cannot be seen"
    ]
    assert "no Workload API" in seen(Served({}, {}))[1][0]
    nobody = Served({}, {})
    assert asyncio.run(admission(nobody, JobWorkload(build.plain_job()))) == (None, [])  # type: ignore[arg-type]
    assert nobody.asked == [], "what is in no queue is not asked about"


# ---------------------------------------------------------------- the plan


def test_requeue_is_taken_only_when_asked_for_and_is_two_writes() -> None:
    assert plan(in_queue(), strategy="recreate").trigger_name == "jobs"
    found = plan(in_queue(), via="requeue")
    assert [(stage.name, stage.after) for stage in found.stages] == [("evict", ""), ("readmit", "stopped")]
    assert [(a.path, a.uid, a.body) for a in found.actions if isinstance(a, Write)] == [
        (OBJECT, "kueue-uid", {"spec": {"active": False}}),
        (OBJECT, "kueue-uid", {"spec": {"active": True}}),
    ]
    assert "JSR513" in {f.id for f in found.findings}
    assert not {"JSR501", "JSR502"} & {f.id for f in found.findings}
    assert "patch workloads.kueue.x-k8s.io" in {str(p) for p in permissions(found)}


def test_requeue_is_for_the_whole_of_what_is_in_a_queue() -> None:
    part = plan(in_queue(), via="requeue", selection=Selection(pods=frozenset({"train-workers-0-1"})))
    assert "JSR505" in {f.id for f in part.blockers()}
    for snapshot in (build.snapshot(), build.job_snapshot()):
        refused = plan(snapshot, via="requeue", allow=tuple(check.id for check in checks()))
        (found,) = (f for f in refused.blockers() if f.id == "JSR313")
        assert "no queue of Kueue" in found.summary


def test_suspend_stays_refused_with_what_else_there_is() -> None:
    (blocker,) = plan(in_queue(), via="suspend").blockers()
    assert (blocker.id, "--via jobs" in blocker.todo, "--via requeue" in blocker.todo) == ("JSR501", True, True)
    job = build.queued(build.job_snapshot(build.plain_job(**QUEUE)))
    (blocker,) = plan(job, via="suspend").blockers()
    assert (blocker.id, "--via jobs" in blocker.todo, "--via requeue" in blocker.todo) == ("JSR501", False, True)


@pytest.mark.parametrize("via", ["image", "jobs", "requeue"])
def test_that_kueue_watches_is_a_warning_where_its_default_would_be_exceeded(via: Any) -> None:
    watched: dict[str, Any] = {"conditions": [{"type": "PodsReady", "status": "True"}]}
    short, long = in_queue(**watched), in_queue(**watched)
    for pod in long.pods():
        pod.spec.termination_grace_period_seconds = 600
    for snapshot, severity in ((short, "note"), (long, "warning")):
        (found,) = (f for f in plan(snapshot, via=via).findings if f.id == "JSR515")
        assert (found.severity, found.objects) == (severity, ["Workload jobset-train-12345"])
        assert "cannot be seen" in found.summary
    assert "JSR515" not in {f.id for f in plan(in_queue(), via=via).findings}


def test_who_deactivated_it_is_asked_to_bring_it_back() -> None:
    waiting = plan(in_queue(suspended=True)).blockers()
    (found,) = (f for f in waiting if f.id == "JSR102")
    assert "wait until Kueue admits it" in found.todo
    (found,) = (f for f in plan(in_queue(suspended=True, active=False)).blockers() if f.id == "JSR102")
    assert "Workload jobset-train-12345 is deactivated" in found.todo


# ---------------------------------------------------------------- clients that die


def test_a_dead_client_s_requeue_is_finished_by_kueue_and_not_by_spec_suspend() -> None:
    found = make(in_queue(suspended=True, active=False), Request(strategy="in-place"), "op2", finishes="op1")
    assert (found.trigger_name, found.finishes, found.refused) == ("requeue", "op1", False)
    assert [stage.name for stage in found.stages] == ["readmit"]
    assert claim.opened(found, "me", build.NOW, build.NOW + 60).phase == "evicting"


@pytest.mark.parametrize(
    ("suspended", "active", "pods", "stages"),
    [
        (False, True, 2, ["evict", "readmit"]),
        (False, False, 2, ["readmit"]),
        (True, False, 2, ["readmit"]),
        (True, False, 0, ["readmit"]),
        (True, True, 0, []),
    ],
)
def test_a_requeue_is_carried_on_where_it_was_left(suspended: bool, active: bool, pods: int, stages: list[str]) -> None:
    """The last waits for its quota: there is nothing to be sent, and nothing speaks against waiting for it."""
    record = Record(id="op1", trigger="requeue", phase="evicting", started=claim.timestamp(build.NOW))
    jobset = build.jobset(metadata=QUEUE, spec={"suspend": suspended})
    left = [build.pod(index) for index in range(pods)]
    found = carry_on(build.queued(build.snapshot(jobset, left), active=active), record)
    assert not found.refused
    assert [stage.name for stage in found.stages] == stages


def test_what_was_readmitted_and_is_back_needs_nothing_more() -> None:
    new = [build.pod(index, created="2026-01-01T02:00:00Z") for index in (0, 1)]
    snapshot = build.queued(build.snapshot(build.jobset(metadata=QUEUE), new))
    record = Record(id="op1", trigger="requeue", phase="evicting", started=claim.timestamp(build.NOW))
    assert carry_on(snapshot, record).stages == []


@pytest.mark.parametrize("phase", ["evicting", "readmitting"])
@pytest.mark.parametrize("suspended", [True, False])
def test_that_kueue_suspends_and_resumes_contradicts_nobody(phase: str, suspended: bool) -> None:
    record = Record(id="op1", phase=phase)
    annotations = claim.written(record)
    workload = JobSetWorkload(build.jobset(spec={"suspend": suspended}, annotations=annotations))
    assert claim.contradicted(workload, "op1") == ""


# ---------------------------------------------------------------- carried out


class Run:
    """One requeue on a small cluster; `errors` are raised at the points, counted from 1, or named by a part."""

    def __init__(self, errors: Mapping[int | str, Exception] | None = None, timeout: float = 20.0) -> None:
        jobset = build.jobset(metadata={"generation": 1, **QUEUE})
        self.cluster = SmallCluster(jobset, [build.pod(index) for index in (0, 1)])
        self.cluster.kueue = build.kueue_workload()
        self.plan = make(self.cluster.snapshot(), Request(via="requeue"), "op1")
        self.errors, self.points, self.timeout = errors or {}, list[str](), timeout
        self.cluster.point = self._point
        self.events: list[Event] = []
        self.result: ResultReport | None = None

    def _point(self, what: str) -> None:
        self.points.append(what)
        error = self.errors.get(len(self.points)) or self.errors.get(what)
        if error is not None:
            raise error

    def go(self) -> Run:
        async def carry_out() -> None:
            options = Options(owner="me", timeout=self.timeout)
            try:
                self.result = await Tenure(self.plan, self.cluster, self.events.append, options).run()
            except Exception:
                assert len(self.cluster.sent) <= 1, "more than the claim was sent"

        asyncio.run(carry_out())
        return self

    @property
    def active(self) -> bool:
        assert self.cluster.kueue is not None
        return self.cluster.kueue.spec.active

    @property
    def record(self) -> Record:
        found = claim.read(JobSetWorkload(self.cluster.jobset))
        assert found is not None
        return found


def test_it_is_evicted_and_admitted_again() -> None:
    run = Run().go()
    assert run.result is not None
    assert (run.result.exit_code, run.result.outcomes, run.result.writes) == (0, {"recreated": 2}, 2)
    assert [event.phase for event in run.events if isinstance(event, Phase)] == ["evicting", "readmitting"]
    assert (run.active, run.cluster.jobset.spec.suspend, run.record.state) == (True, False, "finished")


def test_the_record_says_evicting_before_anything_is_evicted() -> None:
    run = Run()
    phases = list[str]()

    def point(what: str) -> None:
        if what == f"before patch {OBJECT}":
            phases.append(run.record.phase)

    run.cluster.point = point
    run.go()
    assert phases == ["evicting", "evicting"]


@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("unhandled", [RuntimeError("y")])])
def test_a_fault_of_our_own_anywhere_leaves_nothing_evicted(error: Exception) -> None:
    points = len(Run().go().points)
    assert points > 8
    for number in range(1, points + 1):
        run = Run({number: error}).go()
        assert run.active, number
        assert not run.cluster.jobset.spec.suspend, number


def test_what_cannot_be_readmitted_is_said_to_be_so_and_the_next_run_finishes_it() -> None:
    run = Run(timeout=0.5)
    evicted = False

    def point(what: str) -> None:
        nonlocal evicted
        if evicted and what == f"before patch {OBJECT}":
            raise Unreachable("no answer")
        evicted = evicted or what == f"after patch {OBJECT}"

    run.cluster.point = point
    run.go()
    assert not run.active
    assert any(isinstance(e, Noticed) and "may stay suspended" in e.message for e in run.events)
    later = run.cluster.now() + claim.LEASE_SECONDS + 1
    left = claim.left_suspended(JobSetWorkload(run.cluster.jobset), later)
    assert left is not None
    run.cluster.point = lambda _: None
    snapshot = structs.replace(run.cluster.snapshot(), time=later)
    run.plan, run.timeout = make(snapshot, Request(), "op2", finishes=left.id), 20.0
    run.go()
    assert run.result is not None
    assert (run.result.exit_code, run.active, run.record.state) == (0, True, "finished")


def test_the_deadline_while_kueue_does_not_act_leaves_it_active() -> None:
    run = Run(timeout=0.5)
    run.cluster.on_suspend = lambda _: None
    run.go()
    assert run.result is not None
    assert (run.result.exit_code, run.active) == (124, True)


def test_what_ends_before_kueue_has_acted_leaves_it_active_too() -> None:
    """The JobSet controller restarts it for a failure of its own, before it is seen to be suspended."""
    run = Run()

    def restart(active: bool) -> None:
        jobset = run.cluster.jobset
        if not active:
            run.cluster.jobset = structs.replace(jobset, status=structs.replace(jobset.status, restarts=1))
            run.cluster.tell("MODIFIED", run.cluster.jobset)

    run.cluster.on_active = restart
    run.go()
    assert run.result is not None
    assert (run.result.exit_code, run.active) == (6, True)
