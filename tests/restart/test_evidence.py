"""decide and rehearse: what is asked of a cluster before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobset_restart.plan import Plan, Request
from jobset_restart.restart import rehearse
from tests.e2e import manifests as make
from tests.restart.stage import Stage, stage
from tests.simulation.cluster import NAME

READ_ONLY = [
    {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["jobset.x-k8s.io"], "resources": ["jobsets"], "verbs": ["get", "list", "watch", "patch"]},
]


def decided(stage: Stage, request: Request) -> Plan:
    return stage.do(lambda api: stage.plan(api, request))


def asked(stage: Stage, path: str) -> int:
    return sum(path in request.path for request in stage.cluster.requests)


def test_each_permission_is_asked_for_once_and_nothing_is_changed(four: Stage) -> None:
    plan = decided(four, Request(strategy="recreate", via="jobs"))
    assert not plan.refused
    questions = asked(four, "selfsubjectaccessreviews")
    assert 0 < questions < 10
    assert not [request for request in four.cluster.requests if request.changes]


def test_a_missing_permission_refuses_and_names_the_rule(four: Stage) -> None:
    four.cluster.impersonate("reader", READ_ONLY)
    plan = decided(four, Request(strategy="in-place", via="image"))
    assert plan.refused
    missing = next(finding for finding in plan.findings if finding.severity == "blocker")
    assert "patch pods" in str(missing)


def test_who_may_not_ask_is_taken_at_their_word(four: Stage) -> None:
    four.fault("forbidden", target="create selfsubjectaccessreviews *", lasts=60)
    assert not decided(four, Request(strategy="in-place", via="image")).refused


def test_a_slow_api_server_makes_the_prediction_longer(four: Stage) -> None:
    usual = decided(four, Request(strategy="recreate", via="suspend")).prediction
    four.fault("slow", seconds=0.1, lasts=60)
    slow = decided(four, Request(strategy="recreate", via="suspend")).prediction
    assert slow.high > usual.high
    assert any("the API server answers" in ground for ground in slow.grounds)
    assert not any("the API server answers" in ground for ground in usual.grounds)


def test_one_container_of_each_kind_is_probed_however_many_there_are(tmp_path: Path) -> None:
    with stage(tmp_path, _two_kinds()) as many:
        plan = decided(many, Request(strategy="in-place", via="signal"))
        assert not plan.refused
        assert len(plan.actions) == 9
        pods = {request.path for request in many.cluster.requests if request.path.endswith("/exec")}
        assert len(pods) == 2


def test_a_probe_that_fails_once_is_tried_on_others(tmp_path: Path) -> None:
    with stage(tmp_path, _two_kinds()) as many:
        many.fault("exec-refused", target=f"* */{NAME}-workers-0-0-*", lasts=60)
        plan = decided(many, Request(strategy="in-place", via="signal"))
        assert not plan.refused
        assert len(plan.actions) == 9


def test_a_rehearsal_changes_nothing_and_tells_what_the_server_refuses(four: Stage) -> None:
    async def rehearsed(api: Any) -> list[str]:
        return await rehearse(api, await four.plan(api, Request(strategy="in-place")))

    before = four.cluster.store.resource_version
    assert four.do(rehearsed) == []
    four.fault("forbidden", target=f"patch pods */{NAME}-workers-0-1-*", lasts=60)
    refused = four.do(rehearsed)
    assert len(refused) == 1
    assert "forbidden" in refused[0]
    assert four.marked() == 0
    assert four.cluster.record() is None
    assert before <= four.cluster.store.resource_version


def _two_kinds() -> Any:
    def part(name: str, pods: int) -> Any:
        return make.replicated_job(name, restart_policy="OnFailure", backoff_limit=make.UNLIMITED, pods=pods)

    return make.jobset(NAME, part("driver", 1), part("workers", 8))
