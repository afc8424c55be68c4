"""What would take the job away, told beforehand: each rule of Kubernetes that ends a Job or a JobSet, from both sides
of its edge."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.case import Evidence
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.snapshot import Snapshot
from tests import build

TERM_CAUGHT = Evidence(probes={("workers", "worker"): Probe(name="python", caught=1 << 14)})
INT_CAUGHT = Evidence(probes={("workers", "worker"): Probe(name="python", caught=1 << 1)})
FAILURES = "batch.kubernetes.io/job-index-failure-count"
DEAD = build.node(ready=False)


def plan(snapshot: Snapshot, evidence: Evidence | None = None, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1", evidence)


def standing(found: Plan) -> list[str]:
    return [finding.id for finding in found.blockers()]


# ---------------------------------------------------------------- deleted Pods and their Job (JSR202)


def with_failures(so_far: int, *, limit: int = 100, **job_spec: Any) -> Snapshot:
    """One Job of two Pods, the first of which has failed before."""
    jobset = build.jobset(backoff_limit=limit, job_spec=job_spec)
    pods = [build.pod(0, annotations={FAILURES: str(so_far)}), build.pod(1, annotations={FAILURES: "0"})]
    return build.snapshot(jobset, pods)


@pytest.mark.parametrize(("so_far", "refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_deletion_counts_towards_the_limit_of_its_index(so_far: int, refused: bool) -> None:
    """backoffLimitPerIndex 2: the index fails with its third failure, and with it, in the end, the Job."""
    found = plan(with_failures(so_far, backoffLimitPerIndex=2), via="pods")
    assert standing(found) == (["JSR202"] if refused else [])


def test_the_limit_of_an_index_is_that_of_the_pods_deleted() -> None:
    other = Selection(pods=frozenset({"train-workers-0-1"}))
    assert standing(plan(with_failures(2, backoffLimitPerIndex=2), via="pods", selection=other)) == []


@pytest.mark.parametrize("limit", [0, 1])
def test_no_failure_is_spared_where_an_index_may_have_none(limit: int) -> None:
    assert (standing(plan(with_failures(0, backoffLimitPerIndex=limit), via="pods")) == ["JSR202"]) == (limit == 0)


@pytest.mark.parametrize(("limit", "refused"), [(0, True), (1, True), (2, False), (3, False)])
def test_deletions_count_towards_the_limit_of_the_job(limit: int, refused: bool) -> None:
    """Two Pods at once; the Job fails when its failures exceed the limit (syncJob, exceedsBackoffLimit)."""
    found = plan(build.snapshot(build.jobset(backoff_limit=limit)), via="pods")
    assert standing(found) == (["JSR202"] if refused else [])


def test_earlier_failures_of_the_job_count_with_those_to_come() -> None:
    jobset = build.jobset(backoff_limit=3)
    for failed, refused in ((1, False), (2, True)):
        snapshot = build.snapshot(jobset, jobs=[build.job(jobset, status={"failed": failed})])
        assert standing(plan(snapshot, via="pods")) == (["JSR202"] if refused else [])


def policy(action: str, operator: str, *codes: int, container: str | None = None) -> dict[str, Any]:
    on = {"operator": operator, "values": list(codes), **({"containerName": container} if container else {})}
    return {"rules": [{"action": action, "onExitCodes": on}]}


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        (policy("FailJob", "In", 143), True),
        (policy("FailJob", "In", 137), True),
        (policy("FailJob", "NotIn", 0), True),
        (policy("FailJob", "In", 143, container="worker"), True),
        (policy("FailJob", "In", 143, container="other"), False),
        (policy("FailJob", "In", 42), False),
        (policy("FailJob", "NotIn", 137, 143), False),
        (policy("Count", "In", 143), False),
        ({"rules": [*policy("Ignore", "In", 137, 143)["rules"], *policy("FailJob", "NotIn", 0)["rules"]]}, False),
        ({"rules": [*policy("Count", "In", 143)["rules"], *policy("FailJob", "NotIn", 0)["rules"]]}, True),
        ({"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}]}, False),
    ],
)
def test_a_failure_policy_may_fail_the_job_at_the_first_pod_that_is_stopped(rules: Any, refused: bool) -> None:
    """143 after TERM, 137 after KILL; the first rule that matches decides (matchPodFailurePolicy)."""
    snapshot = build.snapshot(
        build.jobset(backoff_limit=100, replacement="Failed", job_spec={"podFailurePolicy": rules})
    )
    assert standing(plan(snapshot, via="pods")) == (["JSR202"] if refused else [])


def test_failures_that_a_policy_ignores_spend_nothing() -> None:
    jobset = build.jobset(replacement="Failed", job_spec={"podFailurePolicy": policy("Ignore", "In", 137, 143)})
    found = plan(build.snapshot(jobset), via="pods")
    assert standing(found) == []
    assert [(budget.before, budget.after) for budget in found.budgets] == [(0, 0)]


@pytest.mark.parametrize("via", ["image", "signal"])
def test_pods_given_up_beside_a_restart_in_place_count_as_failures(via: Any) -> None:
    """The Pod of the dead node is deleted, the other one restarted."""
    jobset = build.jobset(backoff_limit=0, restart_policy="OnFailure" if via == "signal" else "Never")
    spec = {"restartPolicy": "OnFailure" if via == "signal" else "Never"}
    pods = [build.pod(0, spec=spec), build.pod(1, spec=spec, node="node-1")]
    nodes = [build.node("node-0"), build.node("node-1", ready=False)]
    found = plan(build.snapshot(jobset, pods, nodes=nodes), TERM_CAUGHT, via=via, node_down=("node-1",))
    assert "JSR202" in standing(found)
    roomy = plan(build.snapshot(build.jobset(backoff_limit=1), pods, nodes=nodes), via="image", node_down=("node-1",))
    assert standing(roomy) == []


@pytest.mark.parametrize("via", ["suspend", "jobs"])
def test_a_suspended_or_deleted_job_counts_no_failure(via: Any) -> None:
    found = plan(build.snapshot(build.jobset(backoff_limit=0)), via=via)
    assert (standing(found), found.budgets) == ([], [])


def test_a_deletion_that_does_not_take_place_is_no_failure() -> None:
    jobset = build.jobset(pods=3, backoff_limit=9)
    found = plan(build.snapshot(jobset, [build.pod(0), build.pod(1)]), via="pods")
    assert [(b.before, b.after) for b in found.budgets] == [(0, 2)]
    (refused,) = plan(build.snapshot(build.jobset(backoff_limit=1)), via="pods").blockers()
    assert refused.objects == ["Job train-workers-0"]
    assert refused.summary == "Job train-workers-0 backoffLimit 1: 0 failures now, 2 after; the Job would fail"


@pytest.mark.parametrize("via", ["suspend", "jobs"])
def test_a_lost_machine_costs_no_failure_where_the_job_is_suspended_or_gone(via: Any) -> None:
    snapshot = build.snapshot(build.jobset(backoff_limit=0), nodes=[DEAD])
    found = plan(snapshot, via=via, node_down=("node-0",))
    assert (standing(found), found.budgets) == ([], [])


def test_a_failure_policy_counts_beside_a_native_restart_too() -> None:
    whole = build.native()
    whole.jobs[0].spec.pod_failure_policy = policy("FailJob", "In", 137)
    pods = [*whole.pods()]
    pods[1].spec.node_name = "node-1"
    features = ["RestartAllContainersOnContainerExits"]
    nodes = [build.node("node-0", features=features), build.node("node-1", ready=False, features=features)]
    lost = build.snapshot(whole.jobset, pods, whole.jobs, nodes)
    assert standing(plan(lost, via="native", node_down=("node-1",))) == ["JSR202"]


def test_the_job_s_back_off_is_that_of_the_worst_job() -> None:
    jobset = build.jobset(replicas=2, pods=3, backoff_limit=9)
    pods = [build.pod(0, job=0), *(build.pod(i, job=1) for i in range(3))]
    found = plan(build.snapshot(jobset, pods), via="pods")
    (waits,) = (f for f in found.findings if f.id == "JSR208")
    assert waits.summary == "up to 40 s without a new Pod"
    assert found.prediction.likely > 40


# ---------------------------------------------------------------- restarts in place and their Job (JSR201)


def on_failure(limit: int, restarts: int, **pod: Any) -> Snapshot:
    jobset = build.jobset(restart_policy="OnFailure", backoff_limit=limit)
    spec = {"restartPolicy": "OnFailure"}
    pods = [build.pod(i, spec=spec, statuses=[build.status(restarts=restarts)], **pod) for i in (0, 1)]
    return build.snapshot(jobset, pods)


@pytest.mark.parametrize(
    ("limit", "restarts", "refused"), [(0, 0, True), (2, 0, True), (3, 0, False), (5, 1, False), (4, 1, True)]
)
@pytest.mark.parametrize("via", ["image", "signal"])
def test_restarts_count_towards_the_limit_of_an_on_failure_job(
    via: Any, limit: int, restarts: int, refused: bool
) -> None:
    """Summed over all Pods of the Job, and the Job fails AT the limit, or at any restart where it is 0."""
    found = plan(on_failure(limit, restarts), TERM_CAUGHT, via=via)
    assert standing(found) == (["JSR201"] if refused else [])


def test_restarts_of_pods_that_are_left_alone_count_as_well() -> None:
    one = Selection(pods=frozenset({"train-workers-0-0"}))
    assert standing(plan(on_failure(4, 1), via="image", selection=one)) == []
    assert standing(plan(on_failure(3, 1), via="image", selection=one)) == ["JSR201"]


def test_every_container_counts() -> None:
    """Two containers in each of two Pods: four restarts."""
    two = [build.container("a"), build.container("b")]
    for limit, refused in ((4, True), (5, False)):
        jobset = build.jobset(restart_policy="OnFailure", backoff_limit=limit)
        pods = [
            build.pod(
                i,
                spec={"restartPolicy": "OnFailure"},
                containers=two,
                statuses=[build.status("a"), build.status("b")],
            )
            for i in (0, 1)
        ]
        assert standing(plan(build.snapshot(jobset, pods), via="image")) == (["JSR201"] if refused else [])


def test_the_limit_is_each_job_s_own() -> None:
    """Four Jobs of one Pod: one restart each, and none is near its limit of 2."""
    jobset = build.jobset(replicas=4, pods=1, restart_policy="OnFailure", backoff_limit=2)
    assert standing(plan(build.snapshot(jobset), via="image")) == []
    tight = build.jobset(replicas=4, pods=1, restart_policy="OnFailure", backoff_limit=1)
    (finding,) = plan(build.snapshot(tight), via="image").blockers()
    assert (finding.id, len(finding.objects)) == ("JSR201", 4)
    assert "3 other Jobs" in finding.summary


@pytest.mark.parametrize(
    ("phase", "counts"), [("Running", True), ("Pending", True), ("Failed", False), ("Succeeded", False)]
)
def test_restarts_of_pods_that_are_over_count_no_more(phase: str, counts: bool) -> None:
    """pastBackoffLimitOnFailure sums over Running and Pending Pods."""
    jobset = build.jobset(restart_policy="OnFailure", backoff_limit=4)
    spec = {"restartPolicy": "OnFailure"}
    pods = [build.pod(0, spec=spec), build.pod(1, spec=spec, phase=phase, statuses=[build.status(restarts=3)])]
    one = Selection(pods=frozenset({"train-workers-0-0"}))
    assert standing(plan(build.snapshot(jobset, pods), via="image", selection=one)) == (["JSR201"] if counts else [])


def test_a_rule_without_exit_codes_is_passed_over() -> None:
    container = build.container(
        restartPolicy="Never", restartPolicyRules=[{"action": "Restart"}, *rules("Restart", "In", 143)]
    )
    jobset = build.jobset(pods=1, backoff_limit=100)
    found = plan(build.snapshot(jobset, [build.pod(0, containers=[container])]), TERM_CAUGHT, via="signal")
    assert standing(found) == []


def test_restarts_of_a_never_pod_count_nowhere() -> None:
    assert standing(plan(build.snapshot(build.jobset(backoff_limit=0)), via="image")) == []


def test_what_is_spent_is_what_is_refused_for() -> None:
    found = plan(on_failure(100, 3), via="image")
    assert [(b.name, b.limit, b.before, b.after) for b in found.budgets] == [
        ("Job train-workers-0 backoffLimit", 100, 6, 8)
    ]
    (finding,) = plan(on_failure(8, 3), via="image").blockers()
    assert finding.objects == ["Job train-workers-0"]
    assert finding.summary == "Job train-workers-0 backoffLimit 8: 6 restarts now, 8 after; the Job would fail"


def test_two_jobs_at_their_limits_are_both_named() -> None:
    jobset = build.jobset(replicas=2, pods=1, restart_policy="OnFailure", backoff_limit=1)
    (finding,) = plan(build.snapshot(jobset), via="image").blockers()
    assert finding.objects == ["Job train-workers-0", "Job train-workers-1"]
    assert finding.summary.endswith("(and 1 other Job)")


def test_pods_that_are_not_restarted_add_no_restart() -> None:
    """One Pod is on a lost machine, the slot of another is empty."""
    jobset = build.jobset(pods=3, restart_policy="OnFailure", backoff_limit=6)
    spec = {"restartPolicy": "OnFailure"}
    pods = [build.pod(0, spec=spec), build.pod(1, spec=spec, node="node-1")]
    nodes = [build.node("node-0"), build.node("node-1", ready=False)]
    found = plan(build.snapshot(jobset, pods, nodes=nodes), via="image", node_down=("node-1",), allow=("JSR107",))
    assert [(b.before, b.after) for b in found.budgets] == [(0, 1), (0, 1)], "a restart, and a failure"


# ---------------------------------------------------------------- what follows an exit (JSR204, JSR206, JSR207)


def rules(action: str, operator: str, *codes: int) -> list[dict[str, Any]]:
    return [{"action": action, "exitCodes": {"operator": operator, "values": list(codes)}}]


@pytest.mark.parametrize(
    ("pod_policy", "container", "evidence", "refused"),
    [
        ("OnFailure", {}, TERM_CAUGHT, False),
        ("Never", {}, TERM_CAUGHT, True),
        ("Never", {"restartPolicy": "OnFailure"}, TERM_CAUGHT, False),
        ("Never", {"restartPolicy": "Always"}, TERM_CAUGHT, False),
        ("OnFailure", {"restartPolicy": "Never"}, TERM_CAUGHT, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": rules("Restart", "In", 143)}, TERM_CAUGHT, False),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": rules("Restart", "In", 130)}, TERM_CAUGHT, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": rules("Restart", "In", 130)}, INT_CAUGHT, False),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": rules("Restart", "NotIn", 0)}, TERM_CAUGHT, False),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": rules("Restart", "NotIn", 143)}, TERM_CAUGHT, True),
    ],
)
def test_a_signal_needs_an_exit_that_is_followed_by_a_restart(
    pod_policy: str, container: Any, evidence: Evidence, refused: bool
) -> None:
    jobset = build.jobset(pods=1, backoff_limit=100, restart_policy=pod_policy)
    pod = build.pod(0, spec={"restartPolicy": pod_policy}, containers=[build.container(**container)])
    found = plan(build.snapshot(jobset, [pod]), evidence, via="signal")
    assert standing(found) == (["JSR204"] if refused else [])


@pytest.mark.parametrize(
    ("pod_policy", "exit_code", "phase", "refused"),
    [
        ("Never", 0, "Running", True),
        ("Never", 1, "Running", True),
        ("OnFailure", 0, "Running", True),
        ("OnFailure", 1, "Running", False),
    ],
)
@pytest.mark.parametrize("via", ["image", "signal"])
def test_a_container_that_has_ended_for_good_is_not_restarted_in_place(
    via: Any, pod_policy: str, exit_code: int, phase: str, refused: bool
) -> None:
    jobset = build.jobset(pods=1, backoff_limit=100, restart_policy=pod_policy)
    pod = build.pod(
        0,
        phase=phase,
        spec={"restartPolicy": pod_policy},
        containers=[build.container(), build.container("side")],
        statuses=[build.status(), build.status("side", state={"terminated": {"exitCode": exit_code}})],
    )
    evidence = Evidence(probes={("workers", name): Probe(name="python", caught=1 << 14) for name in ("worker", "side")})
    found = plan(build.snapshot(jobset, [pod]), evidence, via=via, allow=("JSR204",))
    assert ("JSR206" in standing(found)) == refused
    alone = plan(build.snapshot(jobset, [pod]), evidence, via=via, containers=("worker",), allow=("JSR204",))
    assert "JSR206" not in standing(alone)


@pytest.mark.parametrize(
    ("restarts", "ended", "waits"),
    [
        ((1, 3), "2026-01-01T00:59:50Z", "2 containers would wait up to 40 s"),
        ((0, 1), "2026-01-01T00:59:50Z", "1 container would wait up to 10 s"),
        ((12, 12), "2026-01-01T00:59:50Z", "2 containers would wait up to 300 s"),
        ((1, 1), "2026-01-01T00:50:00Z", "2 containers would wait up to 10 s"),
        ((1, 1), "2026-01-01T00:49:59Z", ""),
    ],
)
def test_a_signal_waits_in_back_off_where_there_was_a_crash_in_the_last_ten_minutes(
    restarts: tuple[int, int], ended: str, waits: str
) -> None:
    jobset = build.jobset(restart_policy="OnFailure", backoff_limit=100)
    last = {"terminated": {"exitCode": 1, "finishedAt": ended}}
    pods = [
        build.pod(i, spec={"restartPolicy": "OnFailure"}, statuses=[build.status(restarts=n, lastState=last)])
        for i, n in enumerate(restarts)
    ]
    found = plan(build.snapshot(jobset, pods), TERM_CAUGHT, via="signal")
    assert [f.summary for f in found.findings if f.id == "JSR205"] == ([waits] if waits else [])


def test_a_container_that_has_no_status_yet_has_no_back_off() -> None:
    jobset = build.jobset(pods=1, restart_policy="OnFailure", backoff_limit=100)
    pod = build.pod(0, spec={"restartPolicy": "OnFailure"}, statuses=[])
    assert standing(plan(build.snapshot(jobset, [pod]), TERM_CAUGHT, via="signal")) == []


@pytest.mark.parametrize(("replacement", "warned"), [("Failed", True), ("TerminatingOrFailed", False)])
def test_a_clean_exit_completes_an_index_only_where_its_end_is_waited_for(replacement: str, warned: bool) -> None:
    found = plan(build.snapshot(build.jobset(backoff_limit=100, replacement=replacement)), via="pods")
    assert ("JSR207" in {finding.id for finding in found.findings}) == warned


# ---------------------------------------------------------------- a JobSet that is to be resumed after a dead client


def suspended(**node: Any) -> Snapshot:
    return build.snapshot(build.jobset(spec={"suspend": True}), nodes=[build.node(**node)])


def test_a_dead_node_does_not_keep_a_jobset_suspended() -> None:
    """It is finished all the same, and the node is named."""
    found = make(suspended(ready=False), Request(), "op2", finishes="op1")
    assert (found.refused, [stage.name for stage in found.stages]) == (False, ["resume"])
    assert [(f.id, f.allowed) for f in found.findings if f.severity == "blocker"] == [("JSR401", True)]


def test_completed_indexes_do_not_keep_a_jobset_suspended() -> None:
    jobset = build.jobset(spec={"suspend": True})
    jobs = [build.job(jobset, status={"completedIndexes": "0"})]
    assert not make(build.snapshot(jobset, [build.pod(1)], jobs), Request(), "op2", finishes="op1").refused


@pytest.mark.parametrize(
    "jobset",
    [
        {"status": {"conditions": [{"type": "Failed", "status": "True"}]}},
        {"metadata": {"deletionTimestamp": build.TIME}},
        {"spec": {"suspend": True, "managedBy": "kueue.x-k8s.io/multikueue"}},
    ],
    ids=["failed", "being deleted", "managed by another"],
)
def test_what_is_over_is_not_resumed(jobset: dict[str, Any]) -> None:
    merged = {**jobset, "spec": {"suspend": True, **jobset.get("spec", {})}}
    assert make(build.snapshot(build.jobset(**merged)), Request(), "op2", finishes="op1").refused


# ---------------------------------------------------------------- what is asked before anything is sent


@pytest.mark.parametrize("probed", [False, True])
def test_a_signal_asks_for_exec_before_it_looks_and_before_it_sends(probed: bool) -> None:
    found = make(on_failure(100, 0), Request(via="signal"), "op1", TERM_CAUGHT if probed else None)
    assert found.needs_probes != probed
    asked = {str(permission) for permission in permissions(found)}
    assert asked >= {"create pods/exec", "get pods/exec", "watch pods", "patch jobsets.jobset.x-k8s.io"}


@pytest.mark.parametrize("via", ["image", "suspend", "jobs", "pods"])
def test_who_sends_no_exec_asks_for_none(via: Any) -> None:
    asked = {str(p) for p in permissions(plan(build.snapshot(build.jobset(backoff_limit=9)), via=via))}
    assert not {p for p in asked if "exec" in p}
    assert {"image": "patch pods", "suspend": "watch pods", "jobs": "delete jobs.batch", "pods": "delete pods"}[
        via
    ] in asked


def test_a_machine_declared_down_needs_its_pods_released() -> None:
    snapshot = build.snapshot(build.jobset(backoff_limit=9), nodes=[DEAD])
    asked = {str(p) for p in permissions(plan(snapshot, via="image", node_down=("node-0",)))}
    assert asked >= {"patch pods/status", "delete pods"}


# ---------------------------------------------------------------- agents that do nothing (JSR305)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"annotations": {"jobset.sigs.k8s.io/disable-in-place-restart": "true"}}, "annotation"),
        ({"annotations": {"jobset.sigs.k8s.io/disable-in-place-restart": ""}}, "annotation"),
        ({"current": None}, "currentInPlaceRestartAttempt is not set"),
        ({"attempts": ("2", "")}, "has not written its attempt"),
        ({"agent": build.container("agent", restartPolicy="Always")}, "without the agent"),
    ],
    ids=["all well", "disabled", "disabled by an empty value", "never in sync", "late", "no agent"],
)
def test_agents_that_are_not_all_there_restart_nothing(changed: dict[str, Any], said: str) -> None:
    found = plan(build.native(**changed), via="native")
    assert standing(found) == (["JSR305"] if said else [])
    assert said in "".join(finding.summary for finding in found.blockers())
