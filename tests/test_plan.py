"""The plan: which trigger is chosen, what is refused and why. Each finding has its case here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.findings import checks
from jobset_restart.objects import Condition, JobSet, Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.snapshot import Snapshot
from jobset_restart.writes import Permission, Write
from tests import build, build_lws, build_pods, build_ray, build_volcano

TERM_HANDLED = {("workers", "worker"): Probe(name="python", caught=1 << 14)}
native_snapshot = build.native


def plan(snapshot: Snapshot, **request: Any) -> Plan:
    return make(snapshot, Request(**request), "op1")


CRON_JOB = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": True}
QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "q"}}


def in_queue(**status: Any) -> Snapshot:
    return build.queued(build.snapshot(build.jobset(metadata=QUEUED)), **status)


def owned_by(kind: str, **fields: Any) -> JobSet:
    owner = {"kind": kind, "name": "t", "uid": "u", "controller": True}
    return build.jobset(metadata={"ownerReferences": [owner]}, **fields)


def ids(found: Plan) -> set[str]:
    return {f.id for f in found.findings}


ON_FAILURE = build_pods.pod("etl-0", build_pods.owner("Job", "etl", "batch/v1"), spec={"restartPolicy": "OnFailure"})
RESTARTS_ALL = [{"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}]


# ---------------------------------------------------------------- the choice


def test_native_is_chosen_for_a_whole_jobset_with_headroom_and_is_one_write() -> None:
    found = plan(build.native())
    assert (found.trigger_name, found.strategy, len(found.actions), found.refused) == ("native", "in-place", 1, False)


def test_image_is_chosen_where_the_jobset_has_no_strategy_of_its_own() -> None:
    found = plan(build.snapshot())
    assert (found.trigger_name, len(found.actions)) == ("image", 2)


def test_signal_is_next_and_asks_for_a_look_first() -> None:
    pods = [
        build.pod(i, spec={"restartPolicy": "OnFailure"}, statuses=[build.status(imageID=build.DIGEST)]) for i in (0, 1)
    ]
    snapshot = build.snapshot(build.jobset(restart_policy="OnFailure", backoff_limit=6), pods)
    first = plan(snapshot, strategy="in-place")
    assert (first.trigger_name, first.needs_probes, first.actions) == ("signal", True, [])
    second = make(snapshot, Request(strategy="in-place"), "op1", Evidence(probes=TERM_HANDLED))
    assert (second.trigger_name, second.needs_probes, len(second.actions)) == ("signal", False, 2)


def test_suspend_is_chosen_to_recreate_a_whole_jobset_and_is_two_writes() -> None:
    found = plan(build.snapshot(), strategy="recreate")
    assert (found.trigger_name, len(found.actions)) == ("suspend", 2)
    assert [stage.name for stage in found.stages] == ["suspend", "resume"]


def test_jobs_is_chosen_where_kueue_owns_suspend() -> None:
    queued = build.jobset(metadata={"labels": {"kueue.x-k8s.io/queue-name": "q"}})
    found = plan(build.snapshot(queued), strategy="recreate")
    assert found.trigger_name == "jobs"
    assert "JSR501" in found.reason


@pytest.mark.parametrize("kind", ["TrainJob", "Workload"])
def test_jobs_is_chosen_where_the_owner_sets_suspend(kind: str) -> None:
    found = plan(build.snapshot(owned_by(kind)), strategy="recreate")
    assert found.trigger_name == "jobs"
    assert "JSR502" in found.reason
    (blocker,) = plan(build.snapshot(owned_by(kind)), via="suspend").blockers()
    assert (blocker.id, blocker.final) == ("JSR502", False)


def test_suspend_is_chosen_under_an_owner_that_is_not_known_to_set_it() -> None:
    assert plan(build.snapshot(owned_by("MyJob")), strategy="recreate").trigger_name == "suspend"


@pytest.mark.parametrize(
    ("jobset", "todo"),
    [
        (
            build.jobset(spec={"suspend": True}, metadata={"labels": {"kueue.x-k8s.io/queue-name": "q"}}),
            "wait until Kueue",
        ),
        (owned_by("TrainJob", spec={"suspend": True}), "resume TrainJob t"),
        (build.jobset(spec={"suspend": True}), "resume it"),
    ],
)
def test_a_suspended_jobset_is_left_to_who_suspended_it(jobset: JobSet, todo: str) -> None:
    (blocker,) = [f for f in plan(build.snapshot(jobset, [])).blockers() if f.id == "JSR102"]
    assert todo in blocker.todo
    assert todo == "resume it" or "spec.suspend false" not in blocker.todo


def test_in_place_never_turns_into_recreate_by_itself() -> None:
    snapshot = build.snapshot(build.jobset(restart_policy="OnFailure"))
    refused = plan(snapshot, strategy="in-place")
    assert (refused.refused, refused.actions, refused.trigger_name) == (True, [], "")
    assert plan(snapshot, strategy="in-place", fallback=True).trigger_name == "suspend"
    assert plan(snapshot).trigger_name == "suspend"


def test_a_part_of_the_jobset_goes_pod_by_pod() -> None:
    found = plan(build.native(), selection=Selection(pods=frozenset({"train-workers-0-1"})))
    assert found.trigger_name == "image"
    assert [str(s.state.slot) for s in found.scope] == ["workers/0/1"]


@pytest.mark.parametrize(
    ("selection", "absent"),
    [
        (Selection(pods=frozenset({"train-workers-0-1", "train-workers-0-7"})), ["Pod train-workers-0-7"]),
        (Selection(nodes=("node-0", "node-9")), ["Node node-9"]),
        (Selection(job_indexes=(0, 4)), ["Job index 4"]),
        (Selection(replicated_jobs=("workers", "wokers")), ["ReplicatedJob wokers"]),
    ],
)
def test_a_part_that_is_not_there_is_not_passed_over(selection: Selection, absent: list[str]) -> None:
    refused = plan(build.snapshot(), selection=selection)
    assert [(finding.id, finding.objects) for finding in refused.blockers()] == [("JSR106", absent)]
    allowed = plan(build.snapshot(), selection=selection, allow=("JSR106",))
    assert allowed.trigger_name == "image"
    assert {s.state.slot.indexes[-1] for s in allowed.scope} <= {0, 1}


@pytest.mark.parametrize(
    ("asked", "todo"),
    [
        (Request(containers=("wroker",)), "did you mean worker?"),
        (Request(containers=("x",)), "there is worker"),
        (Request(selection=Selection(replicated_jobs=("wokers",))), "did you mean workers?"),
        (Request(selection=Selection(pods=frozenset({"train-workers-0-l"}))), "train-workers-0-1"),
        (Request(selection=Selection(nodes=("nod-0",))), "did you mean node-0?"),
        (Request(selection=Selection(job_indexes=(4,))), "there is 0"),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(asked: Request, todo: str) -> None:
    for allow in ((), ("JSR106",)):
        refused = make(build.snapshot(), structs.replace(asked, allow=allow), "op")
        assert refused.refused  # nothing of what was named is there, so nothing is left to restart
        (finding,) = [finding for finding in refused.findings if finding.id == "JSR106"]
        assert todo in finding.todo


def test_where_some_containers_named_are_there_they_can_be_restarted_alone() -> None:
    named = Request(containers=("worker", "wroker"))
    assert [finding.id for finding in make(build.snapshot(), named, "op").blockers()] == ["JSR106"]
    allowed = make(build.snapshot(), structs.replace(named, allow=("JSR106",)), "op")
    assert (allowed.trigger_name, len(allowed.actions)) == ("image", 2)


def test_pods_without_the_container_are_left_alone() -> None:
    other = build.pod(1, containers=[build.container("driver")], statuses=[build.status("driver")])
    found = plan(build.snapshot(pods=[build.pod(0), other]), containers=("worker",))
    assert [str(slot.state.slot) for slot in found.scope] == ["workers/0/0"]
    assert [slot.reason for slot in found.slots if not slot.trigger] == ["no container worker"]
    assert len(found.actions) == 1


def test_a_refusal_tells_of_the_trigger_that_can_be_let_through() -> None:
    refused = plan(native_snapshot(), strategy="recreate", selection=Selection(pods=frozenset({"train-workers-0-1"})))
    assert [finding.id for finding in refused.blockers()] == ["JSR211"]
    assert "suspend (JSR505" in refused.reason


def test_completed_indexes_are_never_touched() -> None:
    jobset = build.jobset(pods=3)
    jobs = [build.job(jobset, status={"completedIndexes": "1"})]
    pods = [build.pod(0), build.pod(1, phase="Succeeded", ready=False), build.pod(2)]
    found = plan(build.snapshot(jobset, pods, jobs))
    assert [str(s.state.slot) for s in found.scope] == ["workers/0/0", "workers/0/2"]


# ---------------------------------------------------------------- every finding


def status_of(kind: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "reason": "R", "message": "M"}]}


def on_failure(backoff_limit: int, restarts: int) -> Snapshot:
    jobset = build.jobset(restart_policy="OnFailure", backoff_limit=backoff_limit)
    spec = {"restartPolicy": "OnFailure"}
    return build.snapshot(jobset, [build.pod(i, spec=spec, statuses=[build.status(restarts=restarts)]) for i in (0, 1)])


def crashed_lately() -> Pod:
    last = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:59:50Z"}}
    return build.pod(0, spec={"restartPolicy": "OnFailure"}, statuses=[build.status(restarts=2, lastState=last)])


def one(pod: Pod, **jobset: Any) -> Snapshot:
    return build.snapshot(build.jobset(pods=1, **jobset), [pod])


DEAD = build.node(ready=False)
NO_RULES = {**build.AGENT, "restartPolicyRules": []}
"""As an API server that does not know the rules keeps the agent."""
UNSCHEDULABLE = build.pod(0, phase="Pending", ready=False, node="", statuses=[])
UNSCHEDULABLE.status.conditions.append(
    Condition(type="PodScheduled", status="False", reason="Unschedulable", message="0/2 nodes are available")
)
SHELL_LESS = {("workers", "worker"): Probe(error="no shell")}
SLEEP = {("workers", "worker"): Probe(name="sleep")}


def jobs_refused() -> Snapshot:
    """One of two Jobs is there; the other is refused by the API server."""
    jobset = build.jobset(replicas=2)
    snapshot = build.snapshot(jobset, [build.pod(0), build.pod(1)], jobs=[build.job(jobset)])
    refused = build.event(jobset.metadata.uid, "JobCreationFailed", "no such action")
    return structs.replace(snapshot, refusals={jobset.metadata.uid: refused})


CASES: dict[str, tuple[Snapshot, Request, Evidence, str]] = {
    "JSR101": (build.snapshot(build.jobset(status=status_of("Failed"))), Request(), Evidence(), "blocker"),
    "JSR102": (build.snapshot(build.jobset(spec={"suspend": True}), []), Request(), Evidence(), "blocker"),
    "JSR103": (
        build.snapshot(build.jobset(metadata={"deletionTimestamp": build.TIME})),
        Request(),
        Evidence(),
        "blocker",
    ),
    "JSR104": (build.snapshot(pods=[]), Request(), Evidence(), "blocker"),
    "JSR105": (
        build.snapshot(build.jobset(spec={"managedBy": "kueue.x-k8s.io/multikueue"})),
        Request(),
        Evidence(),
        "blocker",
    ),
    "JSR106": (
        build.snapshot(),
        Request(via="image", selection=Selection(nodes=("node-0", "node-9"))),
        Evidence(),
        "blocker",
    ),
    "JSR107": (one(build.pod(0, phase="Pending", ready=False)), Request(via="image"), Evidence(), "blocker"),
    "JSR109": (build.native(attempts=("3", "2")), Request(via="native"), Evidence(), "blocker"),
    "JSR110": (jobs_refused(), Request(strategy="recreate"), Evidence(), "blocker"),
    "JSR111": (
        build.snapshot(pods=[build.pod(0), build.pod(1), build.pod(0, name="forged", uid="f", owners=[])]),
        Request(via="image"),
        Evidence(),
        "note",
    ),
    "JSR112": (
        one(
            build.pod(
                0,
                ready=False,
                containers=[build.container(), build.container("notify")],
                statuses=[build.status(), build.status("notify", state={"terminated": {"exitCode": 0}})],
            )
        ),
        Request(via="image", containers=("worker",)),
        Evidence(),
        "note",
    ),
    "JSR113": (
        build.snapshot(jobs=[build.job(build.jobset(), spec={"parallelism": 3, "completions": 3})]),
        Request(via="jobs"),
        Evidence(),
        "warning",
    ),
    "JSR201": (on_failure(6, 2), Request(via="image"), Evidence(), "blocker"),
    "JSR202": (build.snapshot(), Request(via="pods"), Evidence(), "blocker"),
    "JSR203": (build.native(max_restarts=2), Request(via="native"), Evidence(), "blocker"),
    "JSR204": (build.snapshot(), Request(via="signal"), Evidence(probes=TERM_HANDLED), "blocker"),
    "JSR205": (
        one(crashed_lately(), restart_policy="OnFailure", backoff_limit=6),
        Request(via="signal"),
        Evidence(probes=TERM_HANDLED),
        "warning",
    ),
    "JSR206": (
        one(
            build.pod(
                0,
                containers=[build.container(), build.container("side")],
                statuses=[build.status(), build.status("side", state={"terminated": {"exitCode": 0}})],
            )
        ),
        Request(via="image"),
        Evidence(),
        "blocker",
    ),
    "JSR207": (
        build.snapshot(build.jobset(replacement="Failed", backoff_limit=6)),
        Request(via="pods"),
        Evidence(),
        "warning",
    ),
    "JSR208": (build.snapshot(build.jobset(backoff_limit=6)), Request(via="pods"), Evidence(), "warning"),
    "JSR210": (
        build.native(attempts=("2", "2", "2"), done=(1,)),
        Request(via="native"),
        Evidence(),
        "blocker",
    ),
    "JSR211": (
        build.native(),
        Request(via="pods", selection=Selection(pods=frozenset({"train-workers-0-1"}))),
        Evidence(),
        "blocker",
    ),
    "JSR212": (one(crashed_lately(), restart_policy="OnFailure", backoff_limit=6), Request(), Evidence(), "note"),
    "JSR301": (
        one(build.pod(0, statuses=[build.status(imageID=build.DIGEST)])),
        Request(via="image"),
        Evidence(),
        "blocker",
    ),
    "JSR302": (
        one(build.pod(0, containers=[build.container(imagePullPolicy="Always")])),
        Request(via="image"),
        Evidence(),
        "warning",
    ),
    "JSR303": (on_failure(6, 0), Request(via="signal"), Evidence(probes=SHELL_LESS), "blocker"),
    "JSR304": (on_failure(6, 0), Request(via="signal"), Evidence(probes=SLEEP), "blocker"),
    "JSR314": (on_failure(6, 0), Request(via="force"), Evidence(probes=SLEEP), "blocker"),
    "JSR305": (build.native(attempts=("2", "")), Request(via="native"), Evidence(), "blocker"),
    "JSR306": (build.native(features=["Other"]), Request(via="native"), Evidence(), "blocker"),
    "JSR307": (
        one(build.pod(0, spec={"terminationGracePeriodSeconds": 600})),
        Request(via="image"),
        Evidence(),
        "note",
    ),
    "JSR308": (
        build.native(rules=RESTARTS_ALL),
        Request(via="signal"),
        Evidence(probes=TERM_HANDLED),
        "blocker",
    ),
    "JSR309": (build.native(agent=NO_RULES), Request(via="native"), Evidence(), "blocker"),
    "JSR310": (
        build.snapshot(nodes=[build.node(runtime="cri-o://1.31.0")]),
        Request(via="image"),
        Evidence(),
        "warning",
    ),
    "JSR311": (build.snapshot(nodes=[build.node(runtime="docker://24.0.7")]), Request(), Evidence(), "note"),
    "JSR312": (
        build.snapshot(
            build.jobset(pods=1),
            [build.pod(0, containers=[build.container(image=f"docker.io/library/app@{build.DIGEST}")])],
            nodes=[build.node(runtime="cri-o://1.31.0")],
        ),
        Request(via="image"),
        Evidence(),
        "blocker",
    ),
    "JSR313": (build.job_snapshot(), Request(via="jobs"), Evidence(), "blocker"),
    "JSR401": (build.snapshot(nodes=[DEAD]), Request(), Evidence(), "blocker"),
    "JSR402": (build.snapshot(nodes=[]), Request(), Evidence(), "blocker"),
    "JSR403": (build.snapshot(nodes=[build.node(unschedulable=True)]), Request(via="suspend"), Evidence(), "warning"),
    "JSR405": (build.snapshot(), Request(node_down=("node-0",)), Evidence(), "blocker"),
    "JSR406": (build.snapshot(nodes=[DEAD]), Request(via="suspend", node_down=("node-0",)), Evidence(), "warning"),
    "JSR408": (one(UNSCHEDULABLE), Request(via="suspend"), Evidence(), "warning"),
    "JSR501": (
        build.snapshot(build.jobset(metadata={"labels": {"kueue.x-k8s.io/queue-name": "q"}})),
        Request(via="suspend"),
        Evidence(),
        "blocker",
    ),
    "JSR502": (build.snapshot(owned_by("MyJob")), Request(via="suspend"), Evidence(), "warning"),
    "JSR503": (
        build.snapshot(jobs=[build.job(build.jobset(), status={"completedIndexes": "0"})]),
        Request(via="suspend"),
        Evidence(),
        "blocker",
    ),
    "JSR504": (
        build.snapshot(jobs=[build.job(build.jobset(), status={"completedIndexes": "0"})]),
        Request(via="jobs"),
        Evidence(),
        "warning",
    ),
    "JSR505": (build.snapshot(), Request(via="suspend", containers=("worker",)), Evidence(), "blocker"),
    "JSR506": (build.several({"broker": 1, "node": 2}, in_order=True), Request(), Evidence(), "note"),
    "JSR507": (build.snapshot(), Request(via="suspend", canary=1), Evidence(), "blocker"),
    "JSR517": (build.snapshot(), Request(via="suspend", max_unavailable="1"), Evidence(), "blocker"),
    "JSR510": (
        structs.replace(build.snapshot(), owners=["JobSet train belongs to TrainJob train"]),
        Request(),
        Evidence(),
        "note",
    ),
    "JSR508": (
        build_lws.snapshot(build_lws.lws(policy="RecreateGroupOnPodRestart")),
        Request(via="image"),
        Evidence(),
        "blocker",
    ),
    "JSR512": (build.job_snapshot(build.plain_job(ownerReferences=[CRON_JOB])), Request(), Evidence(), "note"),
    "JSR513": (in_queue(), Request(via="requeue"), Evidence(), "warning"),
    "JSR514": (build.snapshot(build.jobset(metadata=QUEUED)), Request(via="requeue"), Evidence(), "blocker"),
    "JSR515": (in_queue(conditions=[{"type": "PodsReady", "status": "True"}]), Request(), Evidence(), "note"),
    "JSR521": (build_pods.snapshot(), Request(), build_pods.evidence(build_pods.mixed()), "warning"),
    "JSR522": (
        build_pods.snapshot(),
        Request(),
        build_pods.evidence(build_pods.mixed(), build_pods.read("Job", "etl", answers="it makes them anew")),
        "blocker",
    ),
    "JSR523": (
        build_pods.snapshot(),
        Request(),
        build_pods.evidence(build_pods.mixed(), build_pods.read("Job", "etl"), held="etl"),
        "blocker",
    ),
    "JSR524": (
        build_pods.snapshot([ON_FAILURE]),
        Request(),
        build_pods.evidence([ON_FAILURE], build_pods.read("Job", "etl", backoffLimit=6)),
        "warning",
    ),
    "JSR525": (
        build_pods.snapshot(),
        Request(node_down=("node-0",)),
        build_pods.evidence(build_pods.mixed()),
        "blocker",
    ),
    "JSR711": (build_volcano.snapshot(), Request(via="image"), Evidence(), "warning"),
    "JSR712": (
        build_volcano.snapshot(build_volcano.job(policies=[build_volcano.policy("RestartJob", "PodEvicted")])),
        Request(via="pods"),
        Evidence(),
        "blocker",
    ),
    "JSR713": (build_volcano.snapshot(build_volcano.job(maxRetry=1)), Request(via="restart"), Evidence(), "blocker"),
    "JSR601": (
        build.snapshot(),
        Request(via="image"),
        Evidence(denied={"image": [Permission("patch", "", "pods")]}),
        "blocker",
    ),
    "JSR509": (build_lws.snapshot(build_lws.lws(partition=1)), Request(via="rollout"), Evidence(), "blocker"),
    "JSR701": (
        build_ray.snapshot(),
        Request(selection=Selection(replicated_jobs=("head",))),
        Evidence(),
        "warning",
    ),
    "JSR702": (build_ray.snapshot(job=build_ray.job()), Request(), Evidence(), "warning"),
    "JSR703": (
        build_ray.snapshot(
            build_ray.cluster(metadata={"annotations": {"ray.io/disable-provisioned-head-restart": "true"}})
        ),
        Request(via="pods"),
        Evidence(),
        "blocker",
    ),
}
CASES |= {
    "JSR409": (build.on_two_nodes(), Request(via="image", replace_nodes=("node-1",)), build.around(), "blocker"),
    "JSR410": (
        build.on_two_nodes(),
        Request(via="image", replace_nodes=("node-1",), cordon=True),
        build.around(build.place("node-0", unschedulable=True), build.place("node-1")),
        "blocker",
    ),
    "JSR411": (
        build.on_two_nodes(),
        Request(via="image", replace_nodes=("node-7",), cordon=True),
        build.around(),
        "blocker",
    ),
    "JSR412": (
        build.on_two_nodes(),
        Request(via="image", replace_nodes=("node-1",), cordon=True),
        build.around(),
        "warning",
    ),
    "JSR413": (
        build.on_two_nodes(None, build.node("node-0"), build.node("node-1", ready=False)),
        Request(via="image", node_down=("node-1",), taint=True),
        build.around(tenants={"node-1": [("ns", "train-workers-0-1"), ("other", "web")]}),
        "warning",
    ),
    "JSR414": (
        build.on_two_nodes(),
        Request(via="image", node_down=("node-1",), taint=True),
        build.around(),
        "blocker",
    ),
}
ELSEWHERE = {"JSR108", "JSR404"}


@pytest.mark.parametrize("finding", CASES)
def test_the_finding_is_made_and_a_blocker_stops_everything(finding: str) -> None:
    snapshot, request, evidence, severity = CASES[finding]
    found = make(snapshot, request, "op1", evidence)
    hit = next((f for f in found.findings if f.id == finding), None)
    assert hit is not None, ids(found)
    assert hit.severity == severity
    assert hit.summary
    assert hit.todo
    assert found.refused == any(f.severity == "blocker" for f in found.findings)
    assert not (found.refused and found.actions)


def test_every_finding_has_a_case_a_text_and_a_source() -> None:
    assert {check.id for check in checks()} == CASES.keys() | ELSEWHERE
    for check in checks():
        assert len(check.text) > 80, check.id
        assert check.source
        assert check.todo
        assert check.title


FINAL = {check.id for check in checks() if check.final}


@pytest.mark.parametrize("finding", [name for name, case in CASES.items() if case[3] == "blocker"])
def test_a_blocker_can_be_let_through_by_its_id_unless_it_is_final(finding: str) -> None:
    snapshot, request, evidence, _ = CASES[finding]
    via: dict[str, Any] = {
        "via": request.via or "suspend",
        "containers": request.containers,
        "node_down": request.node_down,
        "replace_nodes": request.replace_nodes,
        "cordon": request.cordon,
        "taint": request.taint,
        "selection": request.selection,
        "canary": request.canary,
        "max_unavailable": request.max_unavailable,
    }
    everything = tuple(CASES)
    allowed = make(snapshot, Request(**via, allow=everything), "op1", evidence)
    assert allowed.refused == bool(ids(allowed) & FINAL)
    others = tuple(name for name in everything if name != finding)
    not_allowed = make(snapshot, Request(**via, allow=others), "op1", evidence)
    assert not_allowed.refused
    assert finding in {f.id for f in not_allowed.blockers()}


def test_pulls_that_could_fail_pods_are_refused_only_where_none_goes_first() -> None:
    snapshot = build.snapshot(
        pods=[build.pod(i, containers=[build.container(imagePullPolicy="Always")]) for i in (0, 1)]
    )
    (warned,) = (f for f in plan(snapshot, via="image").findings if f.id == "JSR302")
    assert warned.severity == "warning"
    (stopped,) = plan(snapshot, via="image", canary=0).blockers()
    assert stopped.id == "JSR302"
    assert not plan(snapshot, via="image", canary=0, allow=("JSR302",)).refused


def test_a_canary_rules_out_what_restarts_all_at_once() -> None:
    found = plan(build.native(), canary=1)
    assert found.trigger_name == "image"
    assert "JSR507" in found.reason


def test_a_pod_of_two_containers_is_one_that_a_signal_would_restart() -> None:
    snapshot = build.native(rules=RESTARTS_ALL)
    for pod in snapshot.pods():
        pod.spec.containers.append(pod.spec.containers[0])
    found = make(snapshot, Request(via="signal"), "op1", Evidence(probes=TERM_HANDLED))
    (hit,) = (f for f in found.findings if f.id == "JSR308")
    assert hit.summary.startswith("2 Pods ")
    assert len(hit.objects) == 2


def test_a_signal_that_restarts_one_container_alone_sets_off_no_round() -> None:
    alone = [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}}]
    found = make(build.native(rules=alone), Request(via="signal"), "op1", Evidence(probes=TERM_HANDLED))
    assert (found.refused, len(found.actions)) == (False, 2)


def test_a_node_that_cannot_be_seen_is_a_note() -> None:
    snapshot = structs.replace(build.snapshot(), nodes=None)
    assert "JSR404" in ids(plan(snapshot))


@pytest.mark.parametrize(("became_ready", "lives"), [("2026-01-01T00:59:59Z", False), ("2026-01-01T01:00:01Z", True)])
def test_a_pod_that_became_ready_after_its_node_was_given_up_is_the_word_of_a_living_kubelet(
    became_ready: str, lives: bool
) -> None:
    node, pod = build.node(ready=False), build.pod(0)
    node.status.conditions[0].last_transition_time = build.at("2026-01-01T01:00:00Z")
    pod.status.conditions[0].last_transition_time = build.at(became_ready)
    snapshot = build.snapshot(build.jobset(pods=1), [pod], nodes=[node])
    assert ("JSR401" in ids(plan(snapshot))) != lives
    assert ("JSR405" in ids(plan(snapshot, strategy="recreate", node_down=("node-0",)))) == lives


def test_jobs_that_are_refused_are_named_with_the_reason_and_recreating_them_is_not_advised() -> None:
    (hit,) = (f for f in plan(jobs_refused(), strategy="recreate").findings if f.id == "JSR110")
    assert hit.objects == ["Job train-workers-1"]
    assert hit.summary == "1 Job missing: JobCreationFailed: no such action"
    assert "refused again" in hit.todo
    for ways in (f.todo for f in plan(jobs_refused()).findings):
        assert "--recreate brings them back" not in ways


# ---------------------------------------------------------------- ways out, continuation, permissions


def test_a_lost_machine_needs_no_write_to_its_pods_when_the_jobset_is_suspended() -> None:
    found = plan(build.snapshot(nodes=[DEAD]), strategy="recreate", node_down=("node-0",))
    assert [stage.name for stage in found.stages] == ["suspend", "resume"]
    assert all(slot.lost for slot in found.scope)


def test_a_lost_machine_s_pods_are_released_where_the_job_waits_for_their_end() -> None:
    snapshot = build.snapshot(build.jobset(replacement="Failed"), nodes=[DEAD])
    found = plan(snapshot, strategy="recreate", node_down=("node-0",))
    assert [stage.name for stage in found.stages] == ["suspend", "release", "resume"]


def test_a_dead_client_s_suspend_is_finished_whatever_was_asked() -> None:
    snapshot = build.snapshot(build.jobset(spec={"suspend": True}))
    found = make(snapshot, Request(strategy="in-place"), "op2", finishes="op1")
    assert (found.trigger_name, found.finishes, found.refused) == ("suspend", "op1", False)
    assert [stage.name for stage in found.stages] == ["resume"]
    assert "JSR108" in ids(found)


def test_permissions_cover_every_action_the_claim_and_the_watch() -> None:
    asked = permissions(plan(build.snapshot()))
    assert {str(p) for p in asked} >= {
        "patch pods",
        "patch jobsets.jobset.x-k8s.io",
        "watch pods",
        "watch jobsets.jobset.x-k8s.io",
    }


def ended(index: int, phase: str, at: str, **fields: Any) -> Pod:
    state = {"terminated": {"exitCode": 3 if phase == "Failed" else 0, "finishedAt": at}}
    return build.pod(
        index, name=f"{phase}-{at}", phase=phase, ready=False, statuses=[build.status(state=state)], **fields
    )


def waits(snapshot: Snapshot, **request: Any) -> str:
    found = plan(snapshot, allow=("JSR202", "JSR401"), **request)
    return next((f.summary for f in found.findings if f.id == "JSR208"), "")


ONE_POD = Selection(pods=frozenset({"train-workers-0-0"}))


def test_failures_before_the_restart_lengthen_its_wait() -> None:
    jobset = build.jobset(backoff_limit=60)
    failed_before = build.snapshot(jobset, jobs=[build.job(jobset, status={"failed": 3})])
    assert waits(build.snapshot(jobset), via="pods", selection=ONE_POD) == "up to 10 s without a new Pod"
    assert waits(failed_before, via="pods", selection=ONE_POD) == "up to 80 s without a new Pod"
    assert plan(failed_before, via="pods", selection=ONE_POD).prediction.likely > 80


def test_a_success_ends_the_row_of_failures_that_a_job_waits_for() -> None:
    jobset = build.jobset(backoff_limit=60, job_spec={"parallelism": 2, "completions": 9})
    job = build.job(jobset, status={"failed": 3, "succeeded": 1, "completedIndexes": "2"})
    kept = [
        ended(0, "Failed", "2026-01-01T00:10:00Z"),
        ended(2, "Succeeded", "2026-01-01T00:20:00Z"),
        ended(1, "Failed", "2026-01-01T00:30:00Z"),
    ]
    snapshot = build.snapshot(jobset, [build.pod(0), build.pod(1), *kept], [job])
    assert waits(snapshot, via="pods", selection=ONE_POD) == "up to 20 s without a new Pod"


def test_an_index_with_a_limit_of_its_own_waits_for_itself() -> None:
    jobset = build.jobset(backoff_limit=60, job_spec={"backoffLimitPerIndex": 9})
    counts = {
        "batch.kubernetes.io/job-index-failure-count": "1",
        "batch.kubernetes.io/job-index-ignored-failure-count": "1",
    }
    snapshot = build.snapshot(jobset, [build.pod(0, annotations=counts), build.pod(1)])
    assert waits(snapshot, via="pods") == "up to 40 s without a new Pod"


@pytest.mark.parametrize("via", ["image", "signal"])
def test_pods_of_lost_machines_make_their_job_wait_whatever_restarts_the_others(via: str) -> None:
    """The Pods there failed, for their Job, when they stopped being Ready."""
    jobset = build.jobset(pods=6, backoff_limit=60, restart_policy="OnFailure")
    spec = {"restartPolicy": "OnFailure"}
    pods = [build.pod(i, spec=spec, node="node-0" if i else "node-1", ready=not i) for i in range(6)]
    for pod in pods[1:]:
        pod.status.conditions[0].status = "False"
        pod.status.conditions[0].last_transition_time = build.at("2026-01-01T00:59:30Z")
    snapshot = build.snapshot(jobset, pods, nodes=[DEAD, build.node("node-1")])
    request: dict[str, Any] = {"via": via, "node_down": ("node-0",), "allow": ("JSR202", "JSR401", "JSR107")}
    found = make(snapshot, Request(**request), "op1", Evidence(probes=TERM_HANDLED))
    (hit,) = (f for f in found.findings if f.id == "JSR208")
    assert hit.summary == "up to 130 s without a new Pod"
    assert found.prediction.likely > 130


def test_a_suspended_or_deleted_job_waits_for_nothing() -> None:
    jobset = build.jobset(backoff_limit=60)
    snapshot = build.snapshot(jobset, jobs=[build.job(jobset, status={"failed": 3})])
    assert not waits(snapshot, via="suspend")
    assert not waits(snapshot, via="jobs")


def test_a_pod_that_spends_the_last_failure_of_its_index_is_not_deleted() -> None:
    jobset = build.jobset(backoff_limit=60, job_spec={"backoffLimitPerIndex": 1})
    counts = {"batch.kubernetes.io/job-index-failure-count": "1"}
    spent = build.snapshot(jobset, [build.pod(0, annotations=counts), build.pod(1)])
    assert "JSR202" in {f.id for f in plan(spent, via="pods").blockers()}
    assert "JSR202" not in ids(plan(build.snapshot(jobset), via="pods"))


def test_a_policy_that_fails_the_job_for_the_exit_code_of_a_stopped_pod_forbids_its_deletion() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [143]}}
    jobset = build.jobset(backoff_limit=60, job_spec={"podFailurePolicy": {"rules": [rule]}})
    assert "JSR202" in {f.id for f in plan(build.snapshot(jobset), via="pods").blockers()}


@given(
    limit=st.integers(0, 40),
    restarts=st.lists(st.integers(0, 8), min_size=1, max_size=8),
)
def test_no_plan_for_on_failure_ever_reaches_the_backoff_limit(limit: int, restarts: list[int]) -> None:
    jobset = build.jobset(pods=len(restarts), restart_policy="OnFailure", backoff_limit=limit)
    spec = {"restartPolicy": "OnFailure"}
    pods = [build.pod(i, spec=spec, statuses=[build.status(restarts=n)]) for i, n in enumerate(restarts)]
    found = plan(build.snapshot(jobset, pods), strategy="in-place")
    after = sum(restarts) + len(restarts)
    assert found.refused == (after > 0 if limit == 0 else after >= limit)


@pytest.mark.parametrize("via", ["native", "image", "signal", "suspend", "jobs", "pods"])
@pytest.mark.parametrize("node_down", [(), ("node-1",)])
def test_a_draft_counts_what_the_plan_sends(via: Any, node_down: tuple[str, ...]) -> None:
    snapshot = native_snapshot(attempts=("2", "2", "2")) if via == "native" else on_failure(100, 0)
    (first, *_), nodes = snapshot.slots.values(), [build.node("node-0"), build.node("node-1", ready=False)]
    if node_down and first.pod:
        first.pod.spec.node_name = "node-1"
        snapshot.slots[first.slot] = structs.replace(first, node=nodes[1])
    probed = make(snapshot, Request(via=via, node_down=node_down), "op1", Evidence(probes=TERM_HANDLED))
    for evidence in (Evidence(), Evidence(probes=TERM_HANDLED)):
        draft = make(snapshot, Request(via=via, node_down=node_down), "op1", evidence, draft=True)
        assert draft.actions == []
        assert draft.writes == len(probed.actions) > 0


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["image", "suspend", "jobs", "pods"]))
def test_every_slot_is_in_the_plan_once_and_written_at_most_once(replicas: int, pods: int, via: Any) -> None:
    found = plan(build.snapshot(build.jobset(replicas=replicas, pods=pods, backoff_limit=100)), via=via)
    assert len({s.state.slot for s in found.slots}) == len(found.slots) == replicas * pods
    slots = [a.slot for a in found.actions if isinstance(a, Write) and a.slot]
    assert len(slots) == len(set(slots))


def test_a_pull_that_would_end_the_pod_is_said_to() -> None:
    always = [build.container(imagePullPolicy="Always")]
    for policy in ("Never", "OnFailure"):
        jobset = build.jobset(backoff_limit=100, restart_policy=policy, pods=1)
        pod = build.pod(0, containers=always, spec={"restartPolicy": policy})
        (pulls,) = [
            f for f in make(build.snapshot(jobset, [pod]), Request(via="image"), "op").findings if f.id == "JSR302"
        ]
        assert ("would fail" in pulls.summary) == (policy == "Never")
