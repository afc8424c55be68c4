"""What a restart costs a JobSet that restarts in place by its own controller, and what would end it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.objects import JobSet, Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.rules import agents_count_attempts, attempt_headroom
from jobset_restart.snapshot import Snapshot
from tests import build

ATTEMPTS = "maxRestarts, in-place attempts"
OF_ONE = "maxRestarts, restarts of one container"
DISABLED = {"jobset.sigs.k8s.io/disable-in-place-restart": "true"}
ONE = Selection(pods=frozenset({"train-workers-0-1"}))
EVERY = ("native", "image", "suspend", "jobs", "pods")


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1", Evidence(probes={("workers", "worker"): Probe(caught=1 << 14)}))


def standing(found: Plan) -> list[str]:
    return [finding.id for finding in found.blockers()]


def spent(found: Plan) -> dict[str, tuple[int, int]]:
    return {budget.name: (budget.before, budget.after) for budget in found.budgets}


@pytest.mark.parametrize("via", ["native", "suspend", "jobs", "pods"])
def test_whatever_starts_agents_anew_spends_an_attempt(via: Any) -> None:
    last = plan(build.native(max_restarts=3, attempts=("2", "2")), via=via)
    assert (standing(last), spent(last)[ATTEMPTS]) == ([], (2, 3))
    refused = plan(build.native(max_restarts=2, attempts=("2", "2"), restarts=0), via=via)
    assert standing(refused) == ["JSR203"]
    (hit,) = refused.blockers()
    assert hit.summary == f"{ATTEMPTS}: 2 of 2 used, one more would fail the JobSet for good"


def test_image_spends_no_attempt_but_a_restart_of_the_containers_it_touches() -> None:
    found = plan(build.native(max_restarts=3, attempts=("3", "3")), via="image")
    assert (standing(found), spent(found)) == ([], {OF_ONE: (2, 3)})
    assert standing(plan(build.native(max_restarts=2), via="image")) == ["JSR203"]


def test_image_counts_from_the_containers_it_touches() -> None:
    """An agent that was restarted more often than the workers has nothing to do with it."""
    snapshot = build.native(max_restarts=5, restarts=1)
    for pod in snapshot.pods():
        pod.status.init_container_statuses = [
            *build.pod(0, statuses=[build.status("agent", 5)]).status.container_statuses
        ]
    assert spent(plan(snapshot, via="image")) == {OF_ONE: (5, 5)}
    assert standing(plan(snapshot, via="native")) == ["JSR203"]


@pytest.mark.parametrize("via", ["suspend", "jobs", "pods"])
def test_new_pods_start_their_counts_again(via: Any) -> None:
    found = plan(build.native(max_restarts=3, restarts=3, attempts=("1", "1"), current=1), via=via)
    assert (standing(found), spent(found)) == ([], {ATTEMPTS: (1, 2)})
    in_place = plan(build.native(max_restarts=3, restarts=3, attempts=("1", "1"), current=1), strategy="in-place")
    assert "--recreate" in in_place.findings[0].todo


def test_the_current_attempt_counts_where_no_pod_is_left_to_tell() -> None:
    """As after a suspend that a dead client left behind: the new agents take the next attempt."""
    snapshot = build.native(max_restarts=3, attempts=("3", "3"), current=3)
    build.jobset_of(snapshot).spec.suspend = True
    for slot, state in snapshot.slots.items():
        snapshot.slots[slot] = structs.replace(state, pod=None)
    carried_on = make(snapshot, Request(), "op2", finishes="op1")
    assert (carried_on.refused, standing(carried_on)) == (True, ["JSR203"])
    allowed = make(snapshot, Request(allow=("JSR203",)), "op2", finishes="op1")
    assert (allowed.refused, spent(allowed)[ATTEMPTS]) == (False, (3, 4))


@pytest.mark.parametrize(
    ("current", "annotations"), [(None, None), (2, DISABLED)], ids=["never in sync", "agents disabled"]
)
@pytest.mark.parametrize("via", ["suspend", "jobs"])
def test_agents_that_write_no_next_attempt_spend_none(via: Any, current: Any, annotations: Any) -> None:
    snapshot = build.native(max_restarts=0, attempts=("", ""), restarts=0, current=current, annotations=annotations)
    found = plan(snapshot, via=via)
    assert (standing(found), ATTEMPTS in spent(found)) == ([], False)


def test_pods_of_a_lost_machine_spend_an_attempt_beside_any_trigger() -> None:
    snapshot = build.native(max_restarts=2, restarts=0, ready=False)
    for via in EVERY:
        refused = plan(snapshot, via=via, node_down=("node-0",))
        assert "JSR203" in standing(refused), via


def test_recreate_is_no_way_out_and_the_remedy_says_what_is() -> None:
    refused = plan(build.native(max_restarts=2, restarts=0), strategy="recreate")
    assert refused.refused
    (finding,) = refused.blockers()
    assert "--recreate" not in finding.todo
    assert "image" in finding.todo
    worn_out = plan(build.native(max_restarts=2, restarts=2))
    assert worn_out.refused
    assert "create the JobSet again" in next(f.todo for f in worn_out.findings if f.id == "JSR203")


@given(
    limit=st.integers(0, 6),
    attempts=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    current=st.none() | st.integers(0, 6),
    uncounted=st.integers(0, 3),
)
def test_headroom_is_what_the_controller_would_bear(
    limit: int, attempts: list[int], current: int | None, uncounted: int
) -> None:
    """exceededMaxRestarts: max(attempts) - (restarts - restartsCountTowardsMax) > maxRestarts fails the JobSet."""
    snapshot = build.native(max_restarts=limit, attempts=tuple(map(str, attempts)), current=current)
    status = build.jobset_of(snapshot).status
    status.restarts, status.restarts_count_towards_max = uncounted + 2, 2
    highest = max([*attempts, current or 0])
    assert attempt_headroom(build.jobset_of(snapshot), snapshot.pods()) == limit - (highest - uncounted)


def test_a_failed_pod_s_attempt_does_not_count() -> None:
    snapshot = build.native(max_restarts=5, attempts=("5", "2"))
    first = next(snapshot.pods())
    first.status.phase = "Failed"
    assert attempt_headroom(build.jobset_of(snapshot), snapshot.pods()) == 3


def test_only_an_in_place_jobset_counts_attempts() -> None:
    other: JobSet = build.jobset(status={"currentInPlaceRestartAttempt": 2})
    assert not agents_count_attempts(other)
    assert spent(plan(build.snapshot(other), via="suspend")) == {}


# ---------------------------------------------------------------- the barrier


@pytest.mark.parametrize(("via", "holds"), [("native", True), ("suspend", True), ("pods", True), ("jobs", False)])
def test_a_completed_index_holds_the_barrier_unless_its_job_runs_again(via: Any, holds: bool) -> None:
    snapshot = build.native(attempts=("2", "2", "2"), done=(1,))
    found = plan(snapshot, via=via, allow=("JSR503",))
    assert ("JSR210" in standing(found)) == holds
    assert not plan(snapshot, via="image").refused


@pytest.mark.parametrize("mode", ["Indexed", "NonIndexed"])
def test_a_pod_that_completed_holds_the_barrier_before_its_job_has_counted_it(mode: str) -> None:
    snapshot = build.native(attempts=("2", "2", "2"))
    pods = list(snapshot.pods())
    pods[1].status.phase = "Succeeded"
    for job in snapshot.jobs:
        job.spec.completion_mode = mode
    again = build.snapshot(build.jobset_of(snapshot), pods, snapshot.jobs)
    assert "JSR210" in standing(plan(again, via="native"))


def test_a_completed_job_holds_the_barrier_when_the_others_are_deleted() -> None:
    snapshot = build.native(attempts=("2", "2"))
    driver = build.job(build.jobset_of(snapshot), 1, status={"conditions": [{"type": "Complete", "status": "True"}]})
    done = build.native(attempts=("2", "2"))
    build.jobset_of(done).spec.replicated_jobs[0].replicas = 2
    again = build.snapshot(build.jobset_of(done), [*done.pods()], [done.jobs[0], driver])
    assert standing(plan(again, via="jobs")) == ["JSR210"]


def test_a_completed_pod_that_was_removed_is_missing_at_the_barrier() -> None:
    whole = build.native(attempts=("2", "2", "2"), done=(1,))
    snapshot = build.snapshot(
        build.jobset_of(whole), [p for p in whole.pods() if p.status.phase == "Running"], whole.jobs
    )
    (finding,) = (f for f in plan(snapshot, via="suspend", allow=("JSR503",)).blockers())
    assert (finding.id, finding.summary) == ("JSR210", "1 Pod of Job train-workers-0 completed")


def test_nothing_holds_a_barrier_that_the_agents_do_not_wait_at() -> None:
    snapshot = build.native(attempts=("", "", ""), annotations=DISABLED, current=None, done=(1,))
    assert standing(plan(snapshot, via="suspend", allow=("JSR503",))) == []


# ---------------------------------------------------------------- rounds of the others


def test_recreating_a_part_restarts_the_others_and_is_refused() -> None:
    refused = plan(build.native(), via="pods", selection=ONE)
    (finding,) = refused.blockers()
    assert (finding.id, finding.objects) == ("JSR211", ["Pod train-workers-0-0"])
    allowed = plan(build.native(), via="pods", selection=ONE, allow=("JSR211",))
    assert spent(allowed) == {ATTEMPTS: (2, 3), OF_ONE: (2, 3)}
    assert standing(plan(build.native(max_restarts=2, attempts=("1", "1"), current=1), via="pods", selection=ONE)) == [
        "JSR203",
        "JSR211",
    ]


@pytest.mark.parametrize("annotations", [None, DISABLED])
def test_restarting_the_agent_itself_sends_everybody_round(annotations: Any) -> None:
    snapshot = build.native(annotations=annotations, restarts=0)
    for pod in snapshot.pods():
        pod.status.init_container_statuses = agent_status()
    found = plan(snapshot, via="image", containers=("agent",))
    assert ("JSR211" in standing(found)) == (annotations is None)
    assert "JSR211" not in standing(plan(snapshot, via="image", containers=("worker",)))


def test_an_agent_among_other_containers_sends_everybody_round_too() -> None:
    snapshot = build.native(restarts=1)
    for pod in snapshot.pods():
        pod.status.init_container_statuses = agent_status()
    found = plan(snapshot, via="image", containers=("agent", "worker"), allow=("JSR211",))
    assert "JSR211" in ids_of(found)
    assert spent(found) == {ATTEMPTS: (2, 3), OF_ONE: (1, 2)}
    alone = plan(snapshot, via="image", containers=("agent",), allow=("JSR211",))
    assert spent(alone)[OF_ONE] == (1, 2), "the round that follows restarts the workers, which have the most"


def test_a_jobset_whose_pods_have_no_agent_is_restarted_by_image() -> None:
    snapshot = build.native(agent=build.container("agent", restartPolicy="Always"), restarts=0)
    found = plan(snapshot, via="image")
    assert (standing(found), spent(found)) == ([], {OF_ONE: (0, 1)})


def test_a_container_that_never_ran_has_no_count() -> None:
    snapshot = build.native(restarts=0)
    for pod in snapshot.pods():
        pod.status.container_statuses = []
    assert "JSR301" in standing(plan(snapshot, via="image"))


def test_completed_pods_hold_the_barrier_beside_a_lost_machine() -> None:
    snapshot = build.native(attempts=("2", "2", "2"), done=(1,), ready=False)
    assert "JSR210" in standing(plan(snapshot, via="image", node_down=("node-0",)))


@pytest.mark.parametrize(
    ("via", "attempt", "restarts", "remedy"),
    [
        ("native", 4, 5, "--recreate: it spends an attempt"),
        ("image", 4, 5, "--recreate: it spends an attempt"),
        ("native", 5, 4, "--via image"),
        ("suspend", 5, 4, "--via image"),
        ("native", 5, 5, "create the JobSet again"),
        ("image", 5, 5, "create the JobSet again"),
        ("suspend", 5, 5, "create the JobSet again"),
    ],
)
def test_the_remedy_is_one_that_is_left(via: Any, attempt: int, restarts: int, remedy: str) -> None:
    """maxRestarts 5, of which so many attempts and restarts of one container are used."""
    snapshot = build.native(max_restarts=5, attempts=(str(attempt),) * 2, current=attempt, restarts=restarts)
    (finding,) = plan(snapshot, via=via).blockers()
    assert finding.id == "JSR203"
    assert finding.todo.startswith(("use ", "create "))
    assert remedy in finding.todo.partition(";")[0]


def test_the_remedy_for_image_is_not_image() -> None:
    """Attempts are used up by the Pods of a lost machine beside it."""
    snapshot = build.native(max_restarts=2, restarts=0, ready=False)
    found = plan(snapshot, via="image", node_down=("node-0",))
    (todo,) = (finding.todo for finding in found.blockers() if finding.id == "JSR203")
    assert "--via image" not in todo


@pytest.mark.parametrize("finding", ["JSR210", "JSR309"])
def test_what_nothing_would_come_of_cannot_be_let_through(finding: str) -> None:
    snapshot = build.native(
        attempts=("2", "2", "2"),
        done=(1,) if finding == "JSR210" else (),
        agent=build.AGENT if finding == "JSR210" else {**build.AGENT, "restartPolicyRules": []},
    )
    assert standing(plan(snapshot, via="native", allow=(finding,))) == [finding]


@pytest.mark.parametrize("via", ["image", "signal"])
def test_pods_of_a_lost_machine_send_the_others_round(via: Any) -> None:
    snapshot = on_two_nodes()
    found = plan(snapshot, via=via, node_down=("node-1",))
    (hit,) = (finding for finding in found.blockers() if finding.id == "JSR211")
    assert hit.objects == ["Pod train-workers-0-0", "Pod train-workers-0-1"]
    assert "JSR211" not in ids_of(plan(snapshot, via="native", node_down=("node-1",)))


def on_two_nodes() -> Snapshot:
    """Two Pods; the machine of the second is off."""
    whole = build.native()
    pods = [*whole.pods()]
    pods[1].spec.node_name = "node-1"
    features = ["RestartAllContainersOnContainerExits"]
    nodes = [build.node("node-0", features=features), build.node("node-1", ready=False, features=features)]
    return build.snapshot(build.jobset_of(whole), pods, whole.jobs, nodes)


def test_one_job_of_several_sends_the_others_round() -> None:
    whole = build.native(attempts=("2", "2"))
    build.jobset_of(whole).spec.replicated_jobs[0].replicas = 2
    jobs = [build.job(build.jobset_of(whole), n) for n in (0, 1)]
    pods = [build.pod(i, job=j, annotations={build.ATTEMPT: "2"}) for j in (0, 1) for i in (0, 1)]
    snapshot = build.snapshot(build.jobset_of(whole), pods, jobs)
    found = plan(snapshot, via="jobs", selection=Selection(job_indexes=(0,)))
    (hit,) = found.blockers()
    assert (hit.id, hit.objects) == ("JSR211", ["Pod train-workers-1-0", "Pod train-workers-1-1"])


def test_slots_without_a_pod_and_completed_ones_have_no_round_to_go() -> None:
    snapshot = build.native(attempts=("2", "2", "2"), done=(2,))
    for slot, state in snapshot.slots.items():
        if slot.indexes[-1] == 0:
            snapshot.slots[slot] = structs.replace(state, pod=None)
    found = plan(snapshot, via="pods", selection=ONE)
    assert "JSR211" not in ids_of(found)
    assert "JSR210" in standing(found)


def ids_of(found: Plan) -> set[str]:
    return {finding.id for finding in found.findings}


def agent_status() -> list[Any]:
    pod: Pod = build.pod(0, statuses=[build.status("agent")])
    return pod.status.container_statuses


# ---------------------------------------------------------------- rules that a Pod must have


def agent_with(**fields: Any) -> dict[str, Any]:
    return {**build.AGENT, **fields}


def rule(action: str, *codes: int) -> list[dict[str, Any]]:
    return [{"action": action, "exitCodes": {"operator": "In", "values": list(codes)}}]


@pytest.mark.parametrize(
    ("agent", "refused"),
    [
        (build.AGENT, False),
        (agent_with(restartPolicyRules=[]), True),
        (agent_with(restartPolicyRules=rule("Restart", 1)), True),
        (agent_with(restartPolicyRules=rule("RestartAllContainers", 7)), True),
        (
            agent_with(
                restartPolicyRules=rule("RestartAllContainers", 7),
                env=[*build.AGENT["env"], {"name": "IN_PLACE_RESTART_EXIT_CODE", "value": "7"}],
            ),
            False,
        ),
    ],
    ids=["as it should be", "rules dropped", "restarts itself", "another code", "its own code"],
)
def test_native_needs_a_rule_that_restarts_every_container(agent: dict[str, Any], refused: bool) -> None:
    found = plan(build.native(agent=agent), via="native", allow=("JSR309",))
    assert standing(found) == (["JSR309"] if refused else [])
    assert plan(build.native(agent=agent), strategy="in-place").trigger_name == ("image" if refused else "native")


@pytest.mark.parametrize(("others", "refused"), [(0, False), (1, True)])
def test_an_agent_that_runs_the_worker_restarts_itself_alone(others: int, refused: bool) -> None:
    snapshot = build.native()
    agent = build.container("worker", env=build.AGENT["env"], restartPolicyRules=rule("Restart", 1))
    for pod in snapshot.pods():
        made = build.pod(0, containers=[agent, *[build.container(f"other-{n}") for n in range(others)]])
        pod.spec.init_containers, pod.spec.containers = [], made.spec.containers
    assert standing(plan(snapshot, via="native")) == (["JSR309"] if refused else [])
