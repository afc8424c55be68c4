"""What is looked at where Pods are to leave a node: once, and no more than may be seen."""

from __future__ import annotations

import pytest

from jobset_restart.cluster import HttpCluster
from jobset_restart.cluster.surroundings import look_around
from jobset_restart.plan import Plan, Request
from jobset_restart.scheduling import Surroundings
from tests.restart.stage import Stage

LEAVING = Request(strategy="in-place", via="image", replace_nodes=("node-0",), cordon=True, allow=("JSR202",))
NO_NODES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["jobset.x-k8s.io"], "resources": ["jobsets"], "verbs": ["get", "list", "watch", "patch"]},
]


def decided(stage: Stage, request: Request) -> Plan:
    return stage.do(lambda api: stage.plan(api, request))


def test_all_nodes_are_listed_once_and_only_where_pods_are_to_leave_one(four: Stage) -> None:
    decided(four, Request(strategy="in-place", via="image"))
    listed = [r for r in four.cluster.requests if r.method == "GET" and r.path == "/api/v1/nodes"]
    assert not listed
    plan = decided(four, LEAVING)
    assert not plan.refused, [f.summary for f in plan.blockers()]
    listed = [r for r in four.cluster.requests if r.method == "GET" and r.path == "/api/v1/nodes"]
    assert len(listed) == 1
    assert not [request for request in four.cluster.requests if request.changes]


def test_who_may_not_write_to_nodes_is_told_the_cluster_role(four: Stage) -> None:
    four.cluster.impersonate("reader", NO_NODES)
    plan = decided(four, LEAVING)
    (denied,) = [finding for finding in plan.blockers() if finding.id == "JSR601"]
    assert "have a ClusterRole grant" in denied.todo
    assert "resources: [nodes], verbs: [patch]" in denied.todo
    assert "Role in namespace" not in denied.todo


def test_nodes_that_may_not_be_listed_are_said(four: Stage) -> None:
    four.cluster.impersonate("reader", NO_NODES)
    plan = decided(four, LEAVING)
    assert "no permission to list Nodes" in next(f.summary for f in plan.findings if f.id == "JSR410")


@pytest.mark.parametrize("may", [True, False])
def test_who_else_is_on_a_machine_is_counted_where_it_may_be_seen(four: Stage, may: bool) -> None:
    if not may:
        four.cluster.impersonate("reader", NO_NODES[1:])

    async def look(api: HttpCluster) -> Surroundings:
        return await look_around(api, [], ["node-0"])

    tenants = four.do(look).tenants
    pods = [p["metadata"]["name"] for p in four.cluster.pods() if p["spec"]["nodeName"] == "node-0"]
    assert tenants == ({"node-0": [("default", name) for name in sorted(pods)]} if may else None)
