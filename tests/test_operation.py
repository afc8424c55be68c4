"""An operation from the claim to its record, on a cluster in this process: what stays behind, whatever goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.errors import Forbidden, Invalid, JsrError, OwnFault, Unreachable, told
from jobset_restart.events import Event, Noticed, Starting
from jobset_restart.plan import Plan, Request, make
from jobset_restart.report import ResultReport
from jobset_restart.restart import Options, Tenure
from jobset_restart.snapshot import OPERATION
from jobset_restart.workloads.jobset import JobSetWorkload
from jobset_restart.writes import Write
from tests import build
from tests.small_cluster import SmallCluster


def cluster_of(pods: int = 2, metadata: dict[str, Any] | None = None, **fields: Any) -> SmallCluster:
    jobset = build.jobset(pods=pods, metadata={"generation": 1, **(metadata or {})}, **fields)
    return SmallCluster(jobset, [build.pod(index) for index in range(pods)])


def plan_for(cluster: SmallCluster, via: str) -> Plan:
    """By this trigger; "fallback": in place, which is refused, and then by recreating, which is allowed."""
    if via == "fallback":
        cluster.restarts = refuses
        return make(cluster.snapshot(), Request(strategy="in-place", fallback=True), "op1")
    return make(cluster.snapshot(), Request(via=via), "op1")  # type: ignore[arg-type]


def refuses(_: Write) -> None:
    raise Invalid("admission webhook denied the request")


class Run:
    """One operation: its result, or what it raised before it had the claim, and the events it told."""

    def __init__(self, cluster: SmallCluster, plan: Plan, timeout: float = 20.0) -> None:
        self.cluster, self.plan, self.timeout = cluster, plan, timeout
        self.events: list[Event] = []
        self.emit: Callable[[Event], None] = self.events.append
        self.raised: Exception | None = None
        self.result: ResultReport | None = None

    def go(self) -> Run:
        async def carry_out() -> None:
            operation = Tenure(self.plan, self.cluster, self.emit, self.options)
            try:
                self.result = await operation.run()
            except Exception as raised:
                self.raised = raised

        asyncio.run(carry_out())
        return self

    @property
    def options(self) -> Options:
        return Options(owner="me", timeout=self.timeout)

    @property
    def record(self) -> claim.Record | None:
        return claim.read(JobSetWorkload(self.cluster.jobset))


def fails_at(number: int, error: Exception) -> Callable[[str], None]:
    points = itertools.count(1)

    def point(_: str) -> None:
        if next(points) == number:
            raise error

    return point


@pytest.mark.parametrize("via", ["suspend", "image", "fallback"])
def test_a_restart_without_faults_ends_with_every_slot_back(via: str) -> None:
    cluster = cluster_of()
    run = Run(cluster, plan_for(cluster, via)).go()
    assert run.result is not None
    assert (run.result.exit_code, run.result.reason) == (0, "every slot is back")
    assert run.record is not None
    assert run.record.state == "finished"


def points_of(via: str) -> int:
    cluster = cluster_of()
    seen: list[str] = []
    cluster.point = seen.append
    Run(cluster, plan_for(cluster, via)).go()
    return len(seen)


@pytest.mark.parametrize("via", ["suspend", "image", "fallback"])
@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("unhandled", [RuntimeError("y")])])
def test_a_fault_of_our_own_anywhere_leaves_nothing_suspended_and_is_told(via: str, error: Exception) -> None:
    """Raised at everything that is awaited of the cluster, before it took effect and after."""
    count = points_of(via)
    assert count > 8
    for number in range(1, count + 1):
        cluster = cluster_of()
        cluster.point = fails_at(number, error)
        run = Run(cluster, plan_for(cluster, via)).go()
        assert not cluster.jobset.spec.suspend, number
        if run.result is None:
            assert run.raised is not None, number
            assert len(cluster.sent) <= 1, f"{number}: more than the claim was sent"
            continue
        if run.result.exit_code != 0:
            assert run.result.exit_code == 1, number
            assert "a fault in jsr itself" in run.result.reason, number
            assert "report it" in run.result.reason
            assert "is not left suspended" in run.result.reason, number
        else:
            told_of = [e.message for e in run.events if isinstance(e, Noticed)]
            assert any("a fault in jsr itself" in message for message in told_of), f"{number}: nothing was said"


def test_a_fault_in_a_view_s_callback_is_told_too() -> None:
    for number in range(2, 12):
        cluster = cluster_of()
        run = Run(cluster, plan_for(cluster, "suspend"))
        point = fails_at(number, KeyError("view"))

        def emit(event: Event, point: Callable[[str], None] = point) -> None:
            point("")

        run.emit = emit
        run.go()
        assert not cluster.jobset.spec.suspend, number


def test_a_fault_leaves_a_record_to_carry_on_from() -> None:
    cluster = cluster_of()
    run = Run(cluster, plan_for(cluster, "image"))

    def point(what: str) -> None:
        if what.startswith("watch") and "pods" in what:
            raise KeyError("x")

    cluster.point = point
    run.go()
    assert run.result is not None
    assert run.result.exit_code == 1
    assert run.result.follow == "jsr restart train -n ns --resume op1"
    assert run.record is not None
    assert run.record.state == "detached"


def test_a_jobset_that_cannot_be_resumed_is_said_to_be_so_and_its_record_stays() -> None:
    cluster = cluster_of()
    suspended = False

    def react(wanted: bool) -> None:
        nonlocal suspended
        suspended = wanted

    def point(what: str) -> None:
        if suspended and what.startswith("before patch"):
            raise Unreachable("no answer")

    cluster.on_suspend, cluster.point = react, point
    run = Run(cluster, plan_for(cluster, "suspend"), timeout=0.5).go()
    assert cluster.jobset.spec.suspend
    left = claim.left_suspended(JobSetWorkload(cluster.jobset), cluster.now() + claim.LEASE_SECONDS + 1)
    assert left is not None
    assert left.id == "op1"
    assert any(isinstance(e, Noticed) and "may stay suspended" in e.message for e in run.events)


def test_what_somebody_else_suspended_is_not_resumed() -> None:
    cluster = cluster_of(spec={"suspend": True})
    plan = make(cluster.snapshot(), Request(via="image", allow=("JSR102",)), "op1")
    assert not plan.refused
    run = Run(cluster, plan)
    cluster.point = fails_at(3, KeyError("x"))
    run.go()
    assert cluster.jobset.spec.suspend
    assert claim.left_suspended(JobSetWorkload(cluster.jobset), cluster.now() + 100) is None


def test_what_a_dry_run_shows_of_a_suspend_is_what_is_sent() -> None:
    cluster = cluster_of()
    plan = plan_for(cluster, "suspend")
    shown = claim.as_sent(plan, claim.opened(plan, "me", cluster.now(), cluster.now() + 20))
    run = Run(cluster, plan).go()
    assert run.result is not None
    sent = [write for write in cluster.sent if isinstance(write, Write) and "spec" in write.body]

    def form(action: Any) -> Any:
        """Everything but the times and the resourceVersion, which is there."""
        body = action.sent_body()
        record = json.loads(body["metadata"]["annotations"].pop(OPERATION))
        timeless = {key: value for key, value in record.items() if key not in ("started", "heartbeat", "deadline")}
        assert body["metadata"].pop("resourceVersion")
        return action.verb, action.path, body, timeless

    assert [form(action) for action in shown.actions] == [form(action) for action in sent]
    assert len(sent) == 2


def test_what_a_webhook_refuses_never_left() -> None:
    cluster = cluster_of()

    cluster.restarts = refuses
    run = Run(cluster, plan_for(cluster, "image")).go()
    assert run.result is not None
    assert run.result.exit_code == 4
    assert run.result.reason.startswith("2 slots never left, what was sent was refused: admission webhook denied")
    assert "did not come back" not in run.result.reason


# ---------------------------------------------------------------- somebody else sets spec.suspend


def owned_by_a_train_job() -> dict[str, Any]:
    owned: dict[str, Any] = {"f:spec": {"f:suspend": {}}}
    return {
        "ownerReferences": [{"kind": "TrainJob", "name": "tj", "uid": "u", "controller": True}],
        "managedFields": [{"manager": "trainer", "time": build.TIME, "fieldsV1": owned}],
    }


@pytest.mark.parametrize("replaced", [2, 1, 0])
def test_an_owner_that_resumes_the_jobset_is_noticed_and_it_is_no_clean_restart(replaced: int) -> None:
    cluster = cluster_of(metadata=owned_by_a_train_job())
    cluster.speed = 20.0

    def owner_reacts(suspended: bool) -> None:
        if suspended:
            cluster.remove(list(cluster.pods)[:replaced])
            cluster.change_jobset(suspend=False)
            cluster.refill()

    cluster.on_suspend = owner_reacts
    plan = make(cluster.snapshot(), Request(via="suspend", allow=("JSR502",)), "op1")
    run = Run(cluster, plan, timeout=200.0).go()
    assert run.result is not None
    assert "resumed by its owner TrainJob tj, by trainer" in run.result.reason
    assert run.result.exit_code == (6 if replaced == 2 else 4)
    if replaced == 2:
        assert "side by side" in run.result.reason
        assert run.result.outcomes == {"recreated": 2}
    else:
        assert run.result.reason.endswith("kept: workers/0/1" if replaced else "kept: workers/0/0, workers/0/1")
        assert f"only {replaced} of 2" in run.result.reason
        assert run.result.outcomes.get("failed") == 2 - replaced
    assert any(isinstance(e, Noticed) and "resumed by" in e.message for e in run.events)
    assert run.record is not None
    assert (run.record.state, run.record.phase, run.record.exit_code) == ("finished", "", run.result.exit_code)
    assert sum("spec" in write.body for write in cluster.sent if isinstance(write, Write)) == 1


@pytest.mark.parametrize("via", ["suspend", "image"])
def test_somebody_who_suspends_the_jobset_meanwhile_ends_the_operation(via: str) -> None:
    cluster = cluster_of()
    react = cluster.on_suspend

    def evict(*_: Any) -> None:
        cluster.change_jobset(suspend=True)
        cluster.remove(list(cluster.pods))

    def resumed(suspended: bool) -> None:
        react(suspended)
        if not suspended:
            evict()

    if via == "suspend":
        cluster.on_suspend = resumed
    else:
        cluster.restarts = evict
    run = Run(cluster, plan_for(cluster, via)).go()
    assert run.result is not None
    assert run.result.exit_code == 6
    assert "suspended by somebody else" in run.result.reason
    assert cluster.jobset.spec.suspend, "it is not ours to resume"
    assert claim.left_suspended(JobSetWorkload(cluster.jobset), cluster.now() + 100) is None


# ---------------------------------------------------------------- a machine that dies meanwhile


def test_a_machine_that_dies_is_named_with_the_way_out() -> None:
    cluster = cluster_of()
    cluster.speed = 50.0

    def dies(_: Write) -> None:
        gone = build.node(ready=False)
        gone.status.conditions[0].last_transition_time = build.at(cluster.now())
        cluster.tell("MODIFIED", gone)

    cluster.restarts = dies
    run = Run(cluster, plan_for(cluster, "image"), timeout=60.0).go()
    assert run.result is not None
    assert run.result.exit_code == 124
    assert "node node-0 is down" in run.result.reason
    assert "jsr restart train -n ns --resume op1 --node-down node-0" in run.result.reason
    assert "--node-down" not in run.result.follow, "that the machine is off is for the person to say"
    assert {slot.reason for slot in run.result.slots} == {"node node-0 is down: NodeStatusUnknown"}


# ---------------------------------------------------------------- Pods that cannot be created


@pytest.mark.parametrize("when", ["before the watch", "after it"])
def test_a_pod_that_cannot_be_created_is_told_in_the_job_s_own_words(when: str) -> None:
    cluster = cluster_of()
    cluster.speed = 4.0
    react = cluster.on_suspend

    def refuses(suspended: bool) -> None:
        react(suspended)
        if not suspended:
            cluster.remove([name for name in cluster.pods if "-1-" in name])
            said = build.event(
                "job-0", "FailedCreate", 'Error creating: pods "train-x" is forbidden: exceeded quota: q'
            )
            said.last_timestamp = build.at(cluster.now() + 1)
            if when == "before the watch":
                cluster.events.append(said)
            else:
                asyncio.get_running_loop().call_later(3.0, cluster.tell, "ADDED", said)

    cluster.on_suspend = refuses
    run = Run(cluster, plan_for(cluster, "suspend"), timeout=20.0).go()
    assert run.result is not None
    assert run.result.exit_code == 124
    assert "workers/0/1 (FailedCreate: exceeded quota: q)" in run.result.reason
    assert run.result.outcomes == {"recreated": 1, "gone": 1}
    told_of = [e for e in run.events if isinstance(e, Starting) and e.slot == "workers/0/1"]
    assert told_of[-1].reason == "FailedCreate: exceeded quota: q"


def test_events_that_cannot_be_watched_end_nothing() -> None:
    cluster = cluster_of()

    def point(what: str) -> None:
        if what.startswith("list") and what.endswith("/events"):
            raise Forbidden("events is forbidden")

    def slow(suspended: bool) -> None:
        if suspended:
            cluster.remove(list(cluster.pods))
        else:
            asyncio.get_running_loop().call_later(2.5, cluster.refill)

    cluster.point, cluster.on_suspend = point, slow
    run = Run(cluster, plan_for(cluster, "suspend")).go()
    assert run.result is not None
    assert run.result.exit_code == 0
    assert any(isinstance(e, Noticed) and "why Pods are missing cannot be told" in e.message for e in run.events)


@pytest.mark.parametrize("known", [True, False])
def test_nodes_that_cannot_be_watched_end_nothing(known: bool) -> None:
    cluster = cluster_of()

    def point(what: str) -> None:
        if what.startswith("open watch") and what.endswith("/nodes"):
            raise Forbidden("nodes is forbidden")

    cluster.point = point
    plan = plan_for(cluster, "suspend")
    if not known:
        plan = structs.replace(plan, snapshot=structs.replace(plan.snapshot, nodes=None))
    run = Run(cluster, plan).go()
    assert run.result is not None
    assert run.result.exit_code == 0
    said = [e.message for e in run.events if isinstance(e, Noticed)]
    assert any("cannot be watched" in message for message in said) == known


@pytest.mark.parametrize(
    ("raised", "own"),
    [
        (KeyError("x"), True),
        (Invalid("no"), False),
        (ExceptionGroup("g", [Invalid("no"), ExceptionGroup("h", [ValueError("y")])]), True),
        (ExceptionGroup("g", [Invalid("no")]), False),
    ],
)
def test_only_what_nobody_foresaw_is_a_fault_of_ours(raised: Exception, own: bool) -> None:
    error = told(raised)
    assert isinstance(error, OwnFault) == own
    assert isinstance(error, JsrError)
    assert error.exit_code == 1


def test_a_fault_s_words_are_few() -> None:
    assert len(told(ValueError("x" * 10_000)).message) < 400
