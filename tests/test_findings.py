"""Where each finding applies and where it does not, and what exactly it says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.findings import checks, finding
from jobset_restart.objects import Condition, Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.rules import in_place_exit_code, index_failures, max_restarts
from jobset_restart.snapshot import Snapshot
from tests import build

TERM_CAUGHT = {("workers", "worker"): Probe(name="python", caught=1 << 14)}
RESTART_ALL = "RestartAllContainersOnContainerExits"
ALL_RULE = [{"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}]
DEAD = build.node(ready=False)
ONE = Selection(pods=frozenset({"train-workers-0-1"}))


def plan(snapshot: Snapshot, probes: Any = TERM_CAUGHT, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1", Evidence(probes=probes))


def said(found: Plan, finding: str) -> str:
    """The severity and summary of the finding, "" where it was not made."""
    return next((f"{f.severity}: {f.summary}" for f in found.findings if f.id == finding), "")


def healthy(**jobset: Any) -> Snapshot:
    return build.snapshot(build.jobset(backoff_limit=100, restart_policy="OnFailure", **jobset))


def alone(pod: Pod, **jobset: Any) -> Snapshot:
    return build.snapshot(build.jobset(pods=1, backoff_limit=100, **jobset), [pod])


@pytest.mark.parametrize(("via", "ids"), [("image", []), ("signal", ["JSR311"]), ("suspend", []), ("jobs", [])])
def test_nothing_is_found_where_nothing_is_wrong(via: Any, ids: list[str]) -> None:
    """But that the first signal is tried on one slot."""
    assert [finding.id for finding in plan(healthy(), via=via).findings] == ids


def test_nothing_is_found_against_a_native_restart_where_nothing_is_wrong() -> None:
    assert plan(build.native(), via="native").findings == []


def test_deleting_pods_is_never_without_a_wait() -> None:
    assert {f.id for f in plan(healthy(), via="pods").findings} == {"JSR208"}


def test_the_blockers_that_cannot_be_let_through() -> None:
    """There would be nothing to send, or nothing would come of it."""
    final = {check.id for check in checks() if check.final}
    assert final >= {"JSR101", "JSR103", "JSR104", "JSR210", "JSR301", "JSR303", "JSR304", "JSR305", "JSR309", "JSR505"}
    assert not final & {"JSR102", "JSR105", "JSR107", "JSR201", "JSR202", "JSR203", "JSR211", "JSR306", "JSR401"}


# ---------------------------------------------------------------- state


def test_how_it_ended_is_told_in_the_controller_s_words() -> None:
    for message, expected in (("all done", "all done"), ("", "Because")):
        over = {"conditions": [{"type": "Failed", "status": "True", "reason": "Because", "message": message}]}
        assert said(plan(build.snapshot(build.jobset(status=over))), "JSR101").endswith(f"failed: {expected}")


def test_no_pod_among_some_slots_and_no_slot_at_all() -> None:
    assert said(plan(build.snapshot(pods=[])), "JSR104") == "blocker: 2 slots in scope, none with a Pod"
    nowhere = plan(build.snapshot(), selection=Selection(nodes=("node-9",)))
    assert said(nowhere, "JSR104") == "blocker: no slot is in scope"
    assert not said(plan(build.snapshot(pods=[build.pod(0)])), "JSR104"), "one Pod is something to restart"


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (None, "workers/0/0 missing"),
        (build.pod(0, deleted=True), "workers/0/0 terminating"),
        (build.pod(0, phase="Pending", ready=False), "workers/0/0 Pending"),
        (build.pod(0, phase="", ready=False), "workers/0/0 unknown"),
    ],
)
def test_a_slot_that_nothing_runs_in_is_told_with_its_state(pod: Pod | None, expected: str) -> None:
    snapshot = build.snapshot(build.jobset(pods=2), [*filter(None, [pod]), build.pod(1)])
    assert said(plan(snapshot, via="image"), "JSR107") == f"blocker: 1 slot of 2 without a running Pod: {expected}"


def test_an_attempt_declared_outdated_is_a_restart_under_way() -> None:
    for previous, under_way in ((None, False), (0, False), (1, False), (2, True), (3, True)):
        snapshot = build.native()
        build.jobset_of(snapshot).status.previous_in_place_restart_attempt = previous
        assert bool(said(plan(snapshot, via="native"), "JSR109")) == under_way


def test_a_pod_that_restarts_all_its_containers_is_in_the_middle_of_it() -> None:
    snapshot = build.native()
    first = next(snapshot.pods())
    first.status.conditions.append(Condition(type="AllContainersRestarting", status="True"))
    assert said(plan(snapshot, via="native"), "JSR109") == "blocker: 1 Pod of 2 in the middle of it"


# ---------------------------------------------------------------- means


def test_an_image_of_unknown_digest_is_told_with_what_the_api_shows() -> None:
    for statuses, expected in (([build.status(imageID=build.DIGEST)], build.DIGEST), ([], "no imageID yet")):
        assert expected in said(plan(alone(build.pod(0, statuses=statuses)), via="image"), "JSR301")


def test_only_pulls_are_counted() -> None:
    pods = [build.pod(0, containers=[build.container(imagePullPolicy="Always")]), build.pod(1)]
    assert "1 pull" in said(plan(build.snapshot(pods=pods), via="image"), "JSR302")
    assert not said(plan(build.snapshot(), via="image"), "JSR302")


def test_a_container_that_was_not_looked_into_gets_no_signal() -> None:
    assert "could not be looked into" in said(plan(healthy(), {}, via="signal"), "JSR303")
    no_shell = {("workers", "worker"): Probe(error="no such file: sh")}
    assert said(plan(healthy(), no_shell, via="signal"), "JSR303") == "blocker: container worker: no such file: sh"
    assert not said(plan(healthy(), no_shell, via="signal"), "JSR304"), "once is enough"


@pytest.mark.parametrize("shared", [{"shareProcessNamespace": True}, {"hostPID": True}])
def test_pid_1_of_a_shared_namespace_is_somebody_else_s(shared: dict[str, Any]) -> None:
    pod = build.pod(0, spec={"restartPolicy": "OnFailure", **shared})
    assert "process namespace is shared" in said(plan(alone(pod, restart_policy="OnFailure"), via="signal"), "JSR304")


def test_the_signal_that_is_missing_is_named() -> None:
    assert "SIGUSR1" in said(plan(healthy(), via="signal", signal="USR1"), "JSR304")
    assert "TERM" in said(plan(healthy(), {("workers", "worker"): Probe(name="sleep")}, via="signal"), "JSR304")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([["Other"], [RESTART_ALL]], f"blocker: node-0 does not declare {RESTART_ALL}"),
        ([["Other"], ["Other"]], f"blocker: node-0, node-1 do not declare {RESTART_ALL}"),
        ([[], []], f"warning: node-0, node-1 do not declare {RESTART_ALL}"),
        ([["Other"], []], f"blocker: node-0 does not declare {RESTART_ALL}"),
        ([[RESTART_ALL], [RESTART_ALL, "Other"]], ""),
        ([[RESTART_ALL], None], ""),
    ],
)
def test_nodes_that_lack_the_feature_are_told_from_those_that_say_nothing(
    features: list[list[str] | None], expected: str
) -> None:
    whole = build.native()
    pods = [*whole.pods()]
    pods[1].spec.node_name = "node-1"
    nodes = [build.node(f"node-{n}", features=declared) for n, declared in enumerate(features) if declared is not None]
    found = plan(build.snapshot(build.jobset_of(whole), pods, whole.jobs, nodes), via="native", allow=("JSR402",))
    assert said(found, "JSR306") == expected


@pytest.mark.parametrize(("grace", "told"), [(9, False), (10, True), (600, True)])
@pytest.mark.parametrize("via", ["image", "suspend", "jobs", "pods", "native", "signal"])
def test_a_long_grace_period_is_told_where_one_is_given(via: Any, grace: int, told: bool) -> None:
    pods = [build.pod(0), build.pod(1, spec={"terminationGracePeriodSeconds": grace})]
    found = plan(build.snapshot(build.jobset(backoff_limit=9), pods), via=via)
    waits = told and via not in ("native", "signal")
    assert bool(said(found, "JSR307")) == waits
    assert f"up to {grace} s" in said(found, "JSR307") or not waits


def test_a_prediction_names_the_grace_period_where_one_is_given() -> None:
    pods = [build.pod(0), build.pod(1, spec={"terminationGracePeriodSeconds": 30})]
    for via in ("image", "suspend", "jobs", "pods"):
        found = plan(build.snapshot(build.jobset(backoff_limit=9), pods), via=via)
        assert found.prediction.likely < 30 < found.prediction.high, via
        assert "up to 30 s if a container does not end on TERM" in found.prediction.grounds, via
    for found in (plan(build.native(), via="native"), plan(healthy(), via="signal")):
        assert 0 < found.prediction.low < found.prediction.likely < found.prediction.high < 30
        assert not any("TERM" in ground for ground in found.prediction.grounds)


def test_a_signal_sets_off_rounds_only_where_agents_follow_it() -> None:
    assert "2 Pods" in said(plan(build.native(rules=ALL_RULE), via="signal"), "JSR308")
    no_agent = build.container("agent", restartPolicy="Always")
    assert not said(plan(build.native(rules=ALL_RULE, agent=no_agent), via="signal"), "JSR308")
    other = build.native(rules=ALL_RULE)
    build.jobset_of(other).spec.failure_policy = None
    assert not said(plan(other, via="signal"), "JSR308")


def test_native_is_for_jobsets_that_restart_in_place() -> None:
    found = plan(build.snapshot(), via="native")
    assert "restartStrategy is not InPlaceRestart" in said(found, "JSR305")


# ---------------------------------------------------------------- nodes


def on_nodes(*nodes: Any, **jobset: Any) -> Snapshot:
    """A Pod on each of these nodes; None for one that is gone."""
    pods = [build.pod(n, node=f"node-{n}") for n in range(len(nodes))]
    of = build.jobset(pods=len(nodes), backoff_limit=100, **jobset)
    return build.snapshot(of, pods, nodes=[node for node in nodes if node is not None])


def test_why_a_node_is_not_ready_is_told() -> None:
    assert "(NodeStatusUnknown)" in said(plan(on_nodes(DEAD)), "JSR401")
    silent = build.node(ready=False)
    silent.status.conditions[0].reason = ""
    assert "(Ready is Unknown)" in said(plan(on_nodes(silent)), "JSR401")
    new = build.node()
    new.status.conditions.clear()
    assert "(no Ready condition)" in said(plan(on_nodes(new)), "JSR401")


@pytest.mark.parametrize(("snapshot", "price"), [(build.snapshot(nodes=[DEAD]), "spends nothing")])
def test_the_way_out_of_a_dead_node_has_its_price(snapshot: Snapshot, price: str) -> None:
    def todo(of: Snapshot) -> str:
        return next(f.todo for f in plan(of).findings if f.id == "JSR401")

    assert price in todo(snapshot)
    assert "spends an in-place attempt" in todo(build.native(ready=False))


def test_a_pod_without_a_node_is_on_none_that_is_gone() -> None:
    assert said(plan(on_nodes(build.node("node-0"), None)), "JSR402") == "blocker: node-1: 1 slot"
    waiting = build.pod(0, phase="Pending", ready=False, node="")
    assert not said(plan(alone(waiting), via="suspend"), "JSR402")


@pytest.mark.parametrize("via", ["suspend", "jobs", "pods"])
def test_only_slots_on_cordoned_nodes_would_move(via: Any) -> None:
    found = plan(on_nodes(build.node("node-0"), build.node("node-1", unschedulable=True)), via=via)
    assert said(found, "JSR403") == "warning: node-1: 1 slot"
    assert not said(plan(on_nodes(build.node("node-0")), via=via), "JSR403")


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([build.node("node-0", unschedulable=True), build.node("node-1")], ""),
        ([build.node("node-0", ready=False), build.node("node-1")], ""),
        ([build.node("node-0", unschedulable=True)], "node-0 is cordoned"),
        (
            [build.node("node-0", unschedulable=True), build.node("node-1", ready=False)],
            "node-0 is cordoned, node-1 is not Ready",
        ),
        ([None], ""),
    ],
)
def test_new_pods_need_a_node_that_takes_them(nodes: list[Any], expected: str) -> None:
    found = plan(on_nodes(*nodes), via="suspend", allow=("JSR401", "JSR402"))
    assert bool(said(found, "JSR408")) == bool(expected)
    assert expected in said(found, "JSR408")
    assert not said(plan(on_nodes(*nodes), via="image", allow=("JSR401",)), "JSR408"), "nothing is scheduled"


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("Unschedulable", "0/2 nodes are available", "warning: 1 Pod cannot be scheduled now: 0/2 nodes are available"),
        ("Unschedulable", "", "warning: 1 Pod cannot be scheduled now: Unschedulable"),
        ("SchedulingGated", "waits for a gate", ""),
    ],
)
def test_what_the_scheduler_said_is_passed_on(reason: str, message: str, expected: str) -> None:
    pod = build.pod(0, phase="Pending", ready=False, node="", statuses=[])
    pod.status.conditions.append(Condition(type="PodScheduled", status="False", reason=reason, message=message))
    assert said(plan(alone(pod), via="suspend"), "JSR408") == expected
    pod.metadata.deletion_timestamp = build.at(build.TIME)
    assert not said(plan(alone(pod), via="suspend"), "JSR408"), "it is on its way out"


def test_nodes_that_cannot_be_read_are_a_note_and_declared_ones_are_believed() -> None:
    snapshot = on_nodes(DEAD)
    slots = {slot: structs.replace(state, node=None) for slot, state in snapshot.slots.items()}
    snapshot = structs.replace(snapshot, nodes=None, slots=slots)
    found = plan(snapshot, via="suspend", node_down=("node-0",))
    assert said(found, "JSR404") == "note: no permission to read Nodes"
    assert not said(found, "JSR405")
    assert not said(plan(on_nodes(build.node("node-0")), via="suspend"), "JSR404")


def test_why_a_declared_node_is_not_down() -> None:
    snapshot = on_nodes(build.node("node-0"), build.node("node-1", ready=False))
    assert said(plan(snapshot, node_down=("node-0",)), "JSR405") == "blocker: node-0 is Ready"
    assert "node-7 has no Pod" in said(plan(snapshot, node_down=("node-7",)), "JSR405")
    assert not said(plan(snapshot, via="suspend", node_down=("node-1",)), "JSR405")


@pytest.mark.parametrize(
    ("via", "replacement", "expected"),
    [
        ("suspend", "TerminatingOrFailed", "left Terminating"),
        ("suspend", "Failed", "set to Failed and deleted"),
        ("image", "TerminatingOrFailed", "set to Failed and deleted"),
        ("jobs", "TerminatingOrFailed", "set to Failed and deleted"),
    ],
)
def test_what_becomes_of_pods_that_are_given_up(via: Any, replacement: str, expected: str) -> None:
    snapshot = on_nodes(build.node("node-0"), build.node("node-1", ready=False), replacement=replacement)
    assert expected in said(plan(snapshot, via=via, node_down=("node-1",)), "JSR406")
    assert not said(plan(on_nodes(build.node("node-0")), via=via), "JSR406")


# ---------------------------------------------------------------- neighbours


def test_how_many_indexes_have_completed() -> None:
    jobset = build.jobset(pods=3)
    for done, expected in (("0", "1 completed index"), ("0-1", "2 completed indexes")):
        snapshot = build.snapshot(jobset, [build.pod(2)], [build.job(jobset, status={"completedIndexes": done})])
        assert said(plan(snapshot, via="suspend"), "JSR503") == f"blocker: {expected}"
        assert said(plan(snapshot, via="jobs"), "JSR504") == f"warning: {expected}"


def test_a_job_that_is_complete_as_a_whole_stays_so() -> None:
    jobset = build.jobset(replicas=2, pods=1)
    done = {"conditions": [{"type": "Complete", "status": "True"}], "completedIndexes": "0"}
    snapshot = build.snapshot(jobset, [build.pod(0, job=1)], [build.job(jobset, 0, status=done), build.job(jobset, 1)])
    for via in ("suspend", "jobs"):
        assert plan(snapshot, via=via).findings == []


def test_jobs_restart_every_pod_of_a_job() -> None:
    jobset = build.jobset(replicas=2)
    found = plan(build.snapshot(jobset), via="jobs", selection=ONE)
    assert said(found, "JSR505") == "blocker: jobs would restart 1 other slot too"
    assert not said(plan(build.snapshot(jobset), via="jobs", selection=Selection(job_indexes=(1,))), "JSR505")


@pytest.mark.parametrize("via", ["native", "suspend", "jobs", "pods"])
def test_single_containers_are_for_image_and_signal(via: Any) -> None:
    found = plan(healthy(), via=via, containers=("worker",))
    assert said(found, "JSR505") == f"blocker: {via} cannot restart single containers"
    assert not said(plan(healthy(), via="image", containers=("worker",)), "JSR505")


# ---------------------------------------------------------------- rules read from texts


@pytest.mark.parametrize(("text", "code"), [("7", 7), ("255", 255), ("", 1), ("x", 1), ("²", 1), ("1" * 400, 1)])
def test_the_agent_s_exit_code_is_read_within_bounds(text: str, code: int) -> None:
    env = [{"name": "IN_PLACE_RESTART_EXIT_CODE", "value": text}]
    (agent,) = build.pod(0, containers=[build.container("agent", env=env)]).spec.containers
    assert in_place_exit_code(agent) == code
    (bare,) = build.pod(0, containers=[build.container("agent")]).spec.containers
    assert in_place_exit_code(bare) == 1


def test_counts_that_are_not_there_are_none() -> None:
    assert index_failures(build.pod(0)) == 0
    assert index_failures(build.pod(0, annotations={"batch.kubernetes.io/job-index-failure-count": "x"})) == 0
    without = build.jobset()
    without.spec.failure_policy = None
    assert (max_restarts(without), max_restarts(build.jobset())) == (0, 3)


def test_two_checks_cannot_have_one_id() -> None:
    again = finding("JSR101", "note", "the same again", source="nowhere", todo="nothing")
    with pytest.raises(ValueError, match="two checks have the id JSR101"):
        again(lambda _: None)
