"""Pods that leave a node beside a restart in place: what is sent and when, what it spends, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.events import Ready
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make, permissions, still_to_leave
from jobset_restart.report.operation import operation_of
from jobset_restart.resume import carry_on
from jobset_restart.scheduling import OUT_OF_SERVICE, NodeSelector, Surroundings
from jobset_restart.track import Tracker
from jobset_restart.writes import Permission, Write
from tests import build, build_lws

REPLACE: dict[str, Any] = {"strategy": "in-place", "replace_nodes": ("node-1",), "cordon": True}
LATER = "2026-01-01T01:00:05Z"


def plan(snapshot: Any, evidence: Evidence | None = None, **request: Any) -> Plan:
    return make(snapshot, Request(**{**REPLACE, **request}), "op1", evidence or build.around())


def on_two(**native: Any) -> Any:
    """An InPlaceRestart JobSet whose two Pods are on a node each."""
    of = build.native(**native)
    features = ["RestartAllContainersOnContainerExits"]
    nodes = {f"node-{i}": build.node(f"node-{i}", features=features) for i in (0, 1)}
    slots = {
        slot: structs.replace(
            state,
            pod=structs.replace(state.pod, spec=structs.replace(state.pod.spec, node_name=f"node-{index}")),
            node=nodes[f"node-{index}"],
        )
        for index, (slot, state) in enumerate(of.slots.items())
        if state.pod is not None
    }
    return structs.replace(of, slots=slots, nodes=nodes)


def sent(found: Plan) -> list[tuple[str, str]]:
    return [(action.verb, action.path.rpartition("/")[2]) for action in found.actions if isinstance(action, Write)]


def ids(found: Plan) -> set[str]:
    return {f.id for f in found.findings}


def summary(found: Plan, finding: str) -> str:
    return next(f.summary for f in found.findings if f.id == finding)


# ---------------------------------------------------------------- what is sent


def test_image_restarts_the_others_and_deletes_the_pods_there_after_the_cordon() -> None:
    found = plan(build.on_two_nodes())
    assert not found.refused, ids(found)
    assert sent(found) == [("patch", "node-1"), ("delete", "train-workers-0-1"), ("patch", "train-workers-0-0")]
    assert found.stages[0].name == "cordon"
    assert [(str(s.state.slot), s.trigger_name, s.leaves) for s in found.slots] == [
        ("workers/0/0", "image", ""),
        ("workers/0/1", "pods", "node-1"),
    ]


def test_native_deletes_first_and_then_restarts_the_others_in_one_attempt() -> None:
    found = plan(on_two())
    assert found.trigger_name == "native"
    assert "wait at the barrier for ever" in summary(found, "JSR207")
    assert sent(found) == [("patch", "node-1"), ("delete", "train-workers-0-1"), ("patch", "status")]
    (attempts,) = [b for b in found.budgets if b.name == "maxRestarts, in-place attempts"]
    assert attempts.after == attempts.before + 1
    assert found.prediction.likely > 10, "the new Pod comes after its Job's back-off"


def test_signal_looks_into_the_others_first() -> None:
    snapshot = build.on_two_nodes(
        build.jobset(backoff_limit=6, restart_policy="OnFailure"), spec={"restartPolicy": "OnFailure"}
    )
    first = plan(snapshot, via="signal")
    assert (first.refused, first.needs_probes) == (False, True)
    looked = structs.replace(build.around(), probes={("workers", "worker"): Probe(name="python", caught=1 << 14)})
    found = plan(snapshot, looked, via="signal")
    assert [type(action).__name__ for action in found.actions] == ["Write", "Exec", "Write"]
    assert [stage.canary for stage in found.stages] == [False, True, False], "the first signal shows that it works"
    drafted = make(snapshot, Request(**REPLACE, via="signal"), "op1", build.around(), draft=True)
    assert drafted.writes == 3


def test_image_on_an_in_place_jobset_would_restart_the_others_twice() -> None:
    assert "JSR211" in ids(plan(on_two(), via="image"))


@pytest.mark.parametrize("via", ["suspend", "jobs"])
def test_recreating_avoids_the_node_for_all(via: Any) -> None:
    found = plan(build.on_two_nodes(), strategy="recreate", via=via)
    assert not found.refused, ids(found)
    assert found.stages[0].name == "cordon"
    assert {s.trigger_name for s in found.slots} == {via}


def test_a_node_that_is_cordoned_already_is_not_written_to() -> None:
    cordoned = build.on_two_nodes(None, build.node("node-0"), build.node("node-1", unschedulable=True))
    for cordon in (True, False):
        found = plan(cordoned, build.around(build.place(), build.place("node-1", unschedulable=True)), cordon=cordon)
        assert not found.refused, ids(found)
        assert [stage.name for stage in found.stages] == ["trigger"]
        assert "JSR412" not in ids(found)


def test_the_steps_of_a_jobset_are_kept_for_those_that_leave_as_well() -> None:
    snapshot = build.several({"broker": 1, "node": 2}, in_order=True)
    away = [s for s in snapshot.slots.values() if s.slot.group == "node"][1]
    moved = structs.replace(away, pod=build.pod(1, replicated_job="node", node="node-1"), node=build.node("node-1"))
    nodes = {f"node-{i}": build.node(f"node-{i}") for i in (0, 1)}
    snapshot = structs.replace(snapshot, slots={**snapshot.slots, away.slot: moved}, nodes=nodes)
    found = plan(snapshot, via="image", allow=("JSR202",))
    assert [[str(slot) for slot in stage.slots] for stage in found.stages[1:]] == [
        ["broker/0/0"],
        ["node/0/0", "node/0/1"],
    ]


def test_the_permissions_name_the_nodes_and_what_is_deleted() -> None:
    needed = permissions(plan(build.on_two_nodes()))
    assert {Permission("patch", "", "nodes"), Permission("delete", "", "pods")} <= set(needed)


# ---------------------------------------------------------------- what it spends


def test_a_deleted_pod_is_asked_about_as_via_pods_would() -> None:
    assert "JSR202" in ids(plan(build.on_two_nodes(build.jobset(backoff_limit=0))))
    found = plan(build.on_two_nodes(build.jobset(backoff_limit=6, replacement="Failed")))
    assert "JSR207" in ids(found)
    (budget,) = found.budgets
    assert (budget.before, budget.after) == (0, 1)


def test_a_pod_that_leaves_takes_its_restarts_along() -> None:
    snapshot = on_two(max_restarts=5)
    slot = next(slot for slot in snapshot.slots if slot.indexes[-1] == 1)
    state = snapshot.slots[slot]
    many = structs.replace(
        state.pod.status,
        container_statuses=[*build.pod(1, statuses=[build.status(restarts=5)]).status.container_statuses],
    )
    worn = structs.replace(state, pod=structs.replace(state.pod, status=many))
    snapshot = structs.replace(snapshot, slots={**snapshot.slots, slot: worn})
    assert "JSR203" in ids(make(snapshot, Request(via="native"), "op1"))
    found = plan(snapshot)
    assert not found.refused, ids(found)


def test_only_the_containers_that_stay_count_as_restarts() -> None:
    of = build.jobset(backoff_limit=6, restart_policy="OnFailure")
    found = plan(build.on_two_nodes(of, spec={"restartPolicy": "OnFailure"}), via="image")
    assert [(b.before, b.after) for b in found.budgets] == [(0, 1), (0, 1)]


# ---------------------------------------------------------------- where it would land


@pytest.mark.parametrize(
    ("place", "open_"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"ready": False}, False),
        ({"taints": [{"key": "bad", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "bad", "effect": "PreferNoSchedule"}]}, True),
        ({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, True),
    ],
)
def test_without_cordon_the_node_must_be_shut_to_these_pods(place: dict[str, Any], open_: bool) -> None:
    pod = build.demanding(tolerations=[{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}])
    evidence = build.around(build.place("node-0"), build.place("node-1", **place), pod=pod)
    assert ("JSR409" in ids(plan(build.on_two_nodes(), evidence, cordon=False))) == open_


def test_pods_that_tolerate_everything_come_back_to_a_cordoned_node_too() -> None:
    found = plan(build.on_two_nodes(), build.around(pod=build.demanding(tolerations=[{"operator": "Exists"}])))
    assert "tolerate" in summary(found, "JSR409")
    assert found.refused


SSD = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
    }
}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, "lacks the label disk=ssd"),
        ({"affinity": {"nodeAffinity": SSD}}, "does not match the node affinity"),
        (
            {"annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "rack"}},
            "is in another domain of rack",
        ),
        ({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}, "cannot use the volume of claim data"),
    ],
)
def test_pods_that_fit_nowhere_else_are_refused(spec: dict[str, Any], why: str) -> None:
    pod = build.demanding(**spec)
    here = build.place("node-1", labels={"disk": "ssd", "rack": "b"})
    only_here = {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]
    }
    volumes = {"data": msgspec.convert(only_here, NodeSelector)}
    found = plan(build.on_two_nodes(), build.around(build.place(labels={"rack": "a"}), here, pod=pod, volumes=volumes))
    assert found.refused
    assert why in summary(found, "JSR410")
    other = build.place("node-2", labels={"disk": "ssd", "rack": "b"})
    if "volumes" not in spec:
        found = plan(build.on_two_nodes(), build.around(build.place(labels={"rack": "a"}), here, other, pod=pod))
        assert not found.refused
        assert "only node-2" in summary(found, "JSR410")


def test_nodes_that_cannot_be_listed_are_no_obstacle_and_said() -> None:
    evidence = Evidence(surroundings=Surroundings(notes=("no permission to list Nodes",)))
    found = plan(build.on_two_nodes(), evidence)
    assert not found.refused
    assert "no permission" in summary(found, "JSR410")
    assert "JSR409" in ids(plan(build.on_two_nodes(), evidence, cordon=False))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"replace_nodes": ("node-9",)}, "no Pod of JobSet train is on node-9 (did you mean"),
        ({"replace_nodes": ("node-0", "node-1")}, "none is left to be restarted in place"),
        ({"selection": Selection(nodes=("node-0",))}, "the Pods on node-1 are not among those selected"),
    ],
)
def test_what_cannot_be_replaced_is_refused(request_: dict[str, Any], said: str) -> None:
    found = plan(build.on_two_nodes(), **request_)
    assert found.refused
    assert said in summary(found, "JSR411")


def test_a_pod_that_does_not_come_back_alone_is_not_deleted() -> None:
    found = plan(build_lws.snapshot(build_lws.lws(policy="None")), replace_nodes=("node-0",))
    assert found.refused
    assert "JSR411" in ids(found)


def test_a_dead_node_is_not_one_to_leave() -> None:
    dead = build.on_two_nodes(None, build.node("node-0"), build.node("node-1", ready=False))
    assert "JSR401" in ids(plan(dead))


# ---------------------------------------------------------------- the taint

DEAD = build.on_two_nodes(None, build.node("node-0"), build.node("node-1", ready=False))


def tainting(*taints: dict[str, str], **request: Any) -> Plan:
    down = build.place("node-1", ready=False, taints=list(taints))
    asked = Request(**{"strategy": "in-place", "via": "image", "node_down": ("node-1",), "taint": True, **request})
    return make(DEAD, asked, "op1", build.around(build.place(), down, tenants={"node-1": [("other", "web")]}))


def test_the_taint_is_added_to_those_there_are_in_one_write() -> None:
    unreachable = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    found = tainting(unreachable)
    assert not found.refused, ids(found)
    write = found.stages[-1].actions[0]
    assert isinstance(write, Write)
    assert (found.stages[-1].name, write.path) == ("taint", "/api/v1/nodes/node-1")
    assert write.body == {"spec": {"taints": [unreachable, OUT_OF_SERVICE]}}
    assert (write.resource_version, write.uid) == ("5", "uid-node-1")
    assert summary(found, "JSR413") == "1 Pod on node-1 go: 1 in other"


def test_a_machine_that_is_out_of_service_already_is_not_tainted_again() -> None:
    assert [stage.name for stage in tainting(OUT_OF_SERVICE).stages] == ["trigger"]


def test_the_taint_comes_after_the_suspend_so_that_no_job_counts_it() -> None:
    names = [stage.name for stage in tainting(strategy="recreate", via="suspend").stages]
    assert names == ["suspend", "taint", "resume"]


# ---------------------------------------------------------------- carrying on


def recorded(found: Plan) -> claim.Record:
    return claim.opened(found, "ann", build.NOW, build.NOW + 600)


def test_the_record_says_which_slots_leave_which_node() -> None:
    said = recorded(plan(build.on_two_nodes()))
    assert (said.scope, said.replaced) == (("workers/0/0",), {"node-1": ("workers/0/1",)})
    assert said.request.cordon


def test_nothing_sent_yet_is_sent_by_whoever_carries_on() -> None:
    before = plan(build.on_two_nodes())
    again = carry_on(before.snapshot, recorded(before), build.around(), cordon=True)
    assert not again.refused, ids(again)
    assert sent(again) == sent(before)
    refused = carry_on(before.snapshot, recorded(before), build.around())
    assert {f.id for f in refused.blockers()} == {"JSR409"}, "whether to cordon is never taken from the record"


def test_what_left_already_is_not_deleted_again() -> None:
    before = plan(build.on_two_nodes())
    fresh = build.pod(1, node="node-0", uid="new", name="train-workers-0-1-b", created=LATER)
    now = build.snapshot(
        build.jobset(backoff_limit=6), [build.pod(0), fresh], nodes=[build.node(), build.node("node-1")]
    )
    again = carry_on(
        now, recorded(before), Evidence(surroundings=Surroundings(places={"node-1": build.place("node-1")}))
    )
    assert not again.refused, ids(again)
    assert sent(again) == [("patch", "train-workers-0-0")]
    assert [(str(s.state.slot), s.sent, s.leaves) for s in again.scope] == [
        ("workers/0/0", False, ""),
        ("workers/0/1", True, "node-1"),
    ]
    tracker = Tracker(again, build.NOW + 10)
    tracker.begin(build.NOW + 10)
    assert tracker.slots[again.scope[1].state.slot].state == "ready"
    assert recorded(again).replaced == recorded(before).replaced


def test_a_pod_that_is_going_is_waited_for() -> None:
    before = plan(build.on_two_nodes())
    now = build.snapshot(
        build.jobset(backoff_limit=6),
        [build.pod(0), build.pod(1, node="node-1", deleted=True)],
        nodes=[build.node(), build.node("node-1", unschedulable=True)],
    )
    again = carry_on(now, recorded(before), build.around(build.place(), build.place("node-1", unschedulable=True)))
    assert sent(again) == [("patch", "train-workers-0-0")]


def test_native_goes_on_with_the_write_for_the_others() -> None:
    before = plan(on_two())
    said = recorded(before)
    gone = dict(before.snapshot.slots)
    slot = next(s for s in gone if s.indexes[-1] == 1)
    gone[slot] = structs.replace(gone[slot], pod=None, node=None)
    again = carry_on(structs.replace(before.snapshot, slots=gone), said, build.around(), cordon=True)
    assert not again.refused, ids(again)
    assert sent(again) == [("patch", "node-1"), ("patch", "status")]


def test_a_further_round_does_not_ask_for_what_was_left() -> None:
    request = Request(replace_nodes=("node-1", "node-5"), cordon=True)
    assert still_to_leave(request, build.on_two_nodes()).replace_nodes == ("node-1",)


# ---------------------------------------------------------------- what is told of it


def test_the_tracker_tells_where_the_slot_went() -> None:
    found = plan(build.on_two_nodes())
    tracker = Tracker(found, build.NOW)
    leaving = found.scope[1].state.slot
    tracker.sent(leaving, build.NOW)
    tracker.observe(build.pod(1, node="node-1", deleted=True), build.NOW + 1)
    tracker.observe(build.pod(1, node="node-1", deleted=True), build.NOW + 2, deleted=True)
    events = tracker.observe(build.pod(1, node="node-0", uid="new", name="new", created=LATER), build.NOW + 12)
    assert [(e.node, e.previous_node, e.recreated) for e in events if isinstance(e, Ready)] == [
        ("node-0", "node-1", True)
    ]


def test_status_tells_which_slot_left_which_node() -> None:
    before = plan(build.on_two_nodes())
    said = structs.replace(recorded(before), state="finished", ended="2026-01-01T00:59:00Z", exit_code=0)
    of = build.jobset(backoff_limit=6, annotations=claim.written(said))
    fresh = build.pod(1, node="node-0", uid="new", name="train-workers-0-1-b", created=LATER)
    report = operation_of(build.snapshot(of, [build.pod(0), fresh]))
    assert report is not None
    assert [(row.slot, row.previous_node, row.node) for row in report.replaced] == [("workers/0/1", "node-1", "node-0")]
    assert report.cordoned == ["node-1"]


def test_whoever_carries_on_knows_which_nodes_were_cordoned() -> None:
    before = plan(build.on_two_nodes())
    shut = build.around(build.place(), build.place("node-1", unschedulable=True))
    assert carry_on(before.snapshot, recorded(before), shut).written_to == (("cordon", "node-1"),)
    assert carry_on(before.snapshot, recorded(before), build.around()).written_to == ()
