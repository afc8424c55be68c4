"""Any Pods: who is meant, where the claim sits, what is known of their owners, and what a Pod that is gone means."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.cli.targets import one
from jobset_restart.commands import jsr
from jobset_restart.containers import marked
from jobset_restart.errors import JsrError, UsageError
from jobset_restart.objects import Pod
from jobset_restart.pid1 import Probe
from jobset_restart.plan import Plan, Request, Selection, make, permissions
from jobset_restart.pod_owners import Found, above, collection_of
from jobset_restart.resume import carry_on, unfinished
from jobset_restart.track import Tracker
from jobset_restart.workloads.kinds import reference
from jobset_restart.workloads.pods import canonical, lease_name, workload
from jobset_restart.writes import Permission, Write
from tests import build
from tests.build_pods import LABELS, evidence, lease, mixed, owner, pod, read, snapshot

BEGAN = build.NOW
KNOWN = read("ReplicaSet", "web", owner("Deployment", "web")) | read("Deployment", "web") | read("Job", "etl")


def plan(pods: list[Pod] | None = None, known: Evidence | None = None, **request: Any) -> Plan:
    pods = mixed() if pods is None else pods
    return make(snapshot(pods), Request(**request), "op1", known or evidence(pods, KNOWN))


def ids(found: Plan) -> set[str]:
    return {finding.id for finding in found.findings}


# ---------------------------------------------------------------- who is meant


def test_every_pod_is_a_slot_of_its_own_name() -> None:
    over = pod("done", owner("Job", "etl", "batch/v1"), phase="Succeeded")
    assert [*map(str, snapshot([*mixed(), over]).slots)] == ["alone", "etl-0", "web-x", "web-y"]


PARTS = st.lists(st.sampled_from(["a=b", "c!=d", "e in (f,g)", "!h", "i"]), min_size=1, unique=True)


@given(PARTS.flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))), st.sampled_from(["", " ", "  "]))
def test_the_same_labels_are_one_selection_however_they_are_typed(
    pair: tuple[list[str], list[str]], space: str
) -> None:
    parts, other = pair
    typed = f"{space},{space}".join(part.replace("=", f"{space}=") if "!" not in part else part for part in other)
    assert canonical(typed) == canonical(",".join(parts))
    assert lease_name(canonical(typed)) == lease_name(canonical(",".join(parts)))


def test_a_selection_of_everything_is_refused() -> None:
    with pytest.raises(UsageError):
        one("pods", None, " ")
    assert one("po", None, "c=d, a=b").name == "a=b,c=d"


def test_commands_name_it_so_that_a_shell_takes_it() -> None:
    of = workload(lease())
    assert shlex.split(jsr("status", of.reference, "ns", "")) == ["jsr", "status", "pods", "-l", LABELS, "-n", "ns"]
    assert shlex.split(reference("Pod", "", "a in (b, c)"))[-1] == "a in (b, c)"


# ---------------------------------------------------------------- the plan


def test_one_write_a_pod_whoever_owns_it() -> None:
    found = plan()
    assert (found.trigger_name, found.refused, len(found.actions)) == ("image", False, 4)
    assert not ids(found) & {"JSR521", "JSR522", "JSR523", "JSR524"}


def test_pods_of_one_owner_prove_each_other() -> None:
    stubborn = [build.status(imageID=build.DIGEST)]
    pods = [
        pod("web-x", owner("ReplicaSet", "web"), statuses=stubborn, spec={"restartPolicy": "Always"}),
        pod("web-y", owner("ReplicaSet", "web"), statuses=stubborn, spec={"restartPolicy": "Always"}),
        pod("alone", statuses=stubborn, spec={"restartPolicy": "Always"}),
    ]
    known = evidence(pods, KNOWN)
    handled = Probe(name="python", caught=1 << 14)
    known.probes = {("ReplicaSet web", "worker"): handled, ("alone", "worker"): handled}
    found = plan(pods, known)
    assert found.trigger_name == "signal"
    ahead = [slot for stage in found.stages if stage.canary for slot in map(str, stage.slots)]
    assert sorted(ahead) == ["alone", "web-x"]


@pytest.mark.parametrize("request_", [{"strategy": "recreate"}, {"via": "pods"}, {"via": "suspend"}])
def test_there_is_no_recreating_what_nobody_may_make_anew(request_: dict[str, Any]) -> None:
    found = plan(**request_)
    assert found.refused
    assert "JSR313" in ids(found)


def test_it_needs_the_lease_and_nothing_of_the_owners() -> None:
    needed = permissions(plan())
    for verb in ("create", "patch", "watch"):
        assert Permission(verb, "coordination.k8s.io", "leases") in needed
    assert Permission("patch", "", "pods") in needed
    assert not any(permission.resource in ("jobs", "jobsets", "replicasets") for permission in needed)


# ---------------------------------------------------------------- the claim


def test_the_claim_makes_the_lease_and_changes_it_from_then_on() -> None:
    record = claim.opened(plan(), "me", BEGAN, BEGAN + 60)
    first = claim.write(snapshot().workload, record)
    assert (first.verb, first.path) == ("create", "/apis/coordination.k8s.io/v1/namespaces/ns/leases")
    assert first.body["metadata"]["annotations"]["jobset-restart.io/selector"] == LABELS
    text = first.body["metadata"]["annotations"]["jobset-restart.io/operation"]
    there = lease(text, resourceVersion="7")
    later = claim.write(workload(there), record)
    assert (later.verb, later.uid, later.resource_version) == ("patch", "l", "7")
    assert later.path.endswith(f"/leases/{lease_name(LABELS)}")
    held = claim.lock(workload(there))
    assert held is not None
    assert held.id == "op1"
    assert claim.live(held, BEGAN + 1)


def test_a_lease_that_does_not_say_what_it_is_for_is_refused() -> None:
    other = lease()
    other.metadata.annotations.selector = "app=other"
    with pytest.raises(JsrError, match="does not say"):
        workload(other)


def test_carried_on_by_the_marks() -> None:
    done = pod(
        "web-x", owner("ReplicaSet", "web"), annotations=marked("op1", mixed()[0]), statuses=[build.status(restarts=1)]
    )
    pods = [done, *mixed()[1:]]
    record = claim.opened(plan(), "me", BEGAN, BEGAN + 60)
    record.state = "detached"
    text = claim.write(snapshot().workload, record).body["metadata"]["annotations"]["jobset-restart.io/operation"]
    found = snapshot(pods, lease(text))
    again = carry_on(found, unfinished(found, "op1"), evidence(pods, KNOWN))
    assert [w.path.rpartition("/")[2] for w in again.actions if isinstance(w, Write)] == ["alone", "etl-0", "web-y"]


# ---------------------------------------------------------------- the owners


def test_an_owner_that_is_not_known_is_named() -> None:
    pods = [pod("x", owner("Widget", "w", "example.com/v1")), pod("y")]
    found = plan(pods, evidence(pods))
    (unknown,) = [finding for finding in found.findings if finding.id == "JSR521"]
    assert "Widget w" in unknown.summary
    assert (unknown.severity, unknown.objects, found.refused) == ("warning", ["Pod x"], False)


def test_an_owner_above_a_known_one_counts() -> None:
    pods = [pod("x", owner("Job", "etl", "batch/v1"))]
    found = plan(pods, evidence(pods, read("Job", "etl", owner("Widget", "w", "example.com/v1"))))
    (unknown,) = [finding for finding in found.findings if finding.id == "JSR521"]
    assert "Widget w" in unknown.summary
    assert "jsr restart job/etl" in unknown.todo


def test_an_owner_that_cannot_be_read_is_told_so() -> None:
    pods = [pod("x", owner("Job", "etl", "batch/v1"))]
    found = plan(pods, evidence(pods, {"Job-etl": Found(why="it may not be read")}))
    assert any(f.id == "JSR521" and "may not be read" in f.summary for f in found.findings)


def worker_of_a_group() -> tuple[list[Pod], dict[str, Found]]:
    pods = [pod("serving-0-1", owner("StatefulSet", "serving-0"))]
    lws = owner("LeaderWorkerSet", "serving", "leaderworkerset.x-k8s.io/v1")
    known = read("StatefulSet", "serving-0", owner("Pod", "serving-0", "v1"))
    known |= read("Pod", "serving-0", owner("StatefulSet", "serving")) | read("StatefulSet", "serving", lws)
    return pods, known


def test_an_owner_that_would_make_the_pods_anew_refuses_it() -> None:
    pods, known = worker_of_a_group()
    quiet = plan(pods, evidence(pods, known | read("LeaderWorkerSet", "serving")))
    assert (quiet.refused, ids(quiet) & {"JSR521", "JSR522"}) == (False, set())
    answers = read("LeaderWorkerSet", "serving", answers="restartPolicy RecreateGroupOnPodRestart")
    found = plan(pods, evidence(pods, known | answers), allow=("JSR522",))
    assert found.refused
    (recreates,) = [finding for finding in found.findings if finding.id == "JSR522"]
    assert "jsr restart lws/serving" in recreates.todo


def test_an_owner_that_is_being_restarted_refuses_it() -> None:
    pods, known = worker_of_a_group()
    found = plan(pods, evidence(pods, known | read("LeaderWorkerSet", "serving"), held="serving"))
    assert found.refused
    assert "JSR523" in ids(found)
    assert not plan(pods, evidence(pods, known | read("LeaderWorkerSet", "serving"))).refused


def test_the_mark_of_another_operation_that_is_under_way_refuses_it() -> None:
    def with_mark(restarts: int) -> list[Pod]:
        fields = {"annotations": marked("other", mixed()[0]), "statuses": [build.status(restarts=restarts)]}
        return [pod("web-x", owner("ReplicaSet", "web"), **fields), *mixed()[1:]]

    assert "JSR523" in ids(plan(with_mark(0)))
    assert "JSR523" not in ids(plan(with_mark(1)))


@pytest.mark.parametrize(("limit", "severity"), [(6, "warning"), (3, "blocker")])
def test_what_a_job_counts_is_counted(limit: int, severity: str) -> None:
    job = owner("Job", "etl", "batch/v1")
    fields: dict[str, Any] = {"spec": {"restartPolicy": "OnFailure"}, "statuses": [build.status(restarts=1)]}
    pods = [pod("etl-0", job, **fields), pod("etl-1", job, **fields)]
    found = plan(pods, evidence(pods, read("Job", "etl", backoffLimit=limit)), via="image")
    (counted,) = [finding for finding in found.findings if finding.id == "JSR524"]
    assert counted.severity == severity
    assert "2 restarts now, 4 after" in counted.summary
    if severity == "warning":
        assert [(b.name, b.before, b.after) for b in found.budgets] == [("Job etl backoffLimit", 2, 4)]


def test_a_chain_that_bites_its_tail_ends() -> None:
    pods = [pod("x", owner("Pod", "x", "v1"))]
    known = read("Pod", "x", owner("Pod", "x", "v1"))
    (found,) = above(pods, known, lambda _: "")
    assert set(found.titles) == {"Pod x"}


def test_where_owners_are_read() -> None:
    assert collection_of("StatefulSet", "apps", "ns") == "/apis/apps/v1/namespaces/ns/statefulsets"
    assert collection_of("Pod", "", "ns") == "/api/v1/namespaces/ns/pods"
    assert collection_of("Job", "batch", "ns") == "/apis/batch/v1/namespaces/ns/jobs"
    assert collection_of("Widget", "example.com", "ns") == ""


def test_a_machine_that_is_declared_down_is_refused() -> None:
    found = plan(node_down=("node-0",))
    assert found.refused
    assert "JSR525" in ids(found)


# ---------------------------------------------------------------- while it runs


def tracker(**request: Any) -> Tracker:
    found = Tracker(plan(**request), BEGAN)
    for slot in found.slots:
        found.sent(slot, BEGAN)
    return found


def test_a_pod_that_is_gone_has_failed_even_if_another_of_its_name_comes() -> None:
    found = tracker(selection=Selection(pods=frozenset({"web-x"})))
    found.observe(mixed()[0], BEGAN + 1, deleted=True)
    (slot,) = found.slots
    assert found.outcome(slot, timed_out=False) == "failed"
    assert "ReplicaSet web" in found.slots[slot].reason
    assert found.done


def test_another_operation_at_the_same_pods_ends_this_one() -> None:
    found = tracker()
    ours = pod("web-x", owner("ReplicaSet", "web"), annotations=marked("op1", mixed()[0]))
    found.observe(ours, BEGAN + 1)
    assert found.verdict is None
    theirs = pod("web-x", owner("ReplicaSet", "web"), annotations=marked("theirs", mixed()[0]))
    found.observe(theirs, BEGAN + 2)
    assert found.verdict is not None
    assert "theirs" in found.verdict.reason
