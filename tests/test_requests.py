"""What Pods ask for beyond CPU and memory, and what it costs that this is idle."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cost import Cost, is_gpu, money
from jobset_restart.events import Budget
from jobset_restart.objects import PodSpec
from jobset_restart.plan import Request, make
from jobset_restart.report.plan import plan_report
from jobset_restart.requests import MOST, extended, quantity, requested
from tests import build

GPU = "nvidia.com/gpu"
NIC = "rdma/hca"


def asks(name: str, number: Any, resource: str = GPU, **fields: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": {"cpu": "1", resource: number}}, **fields}


def spec(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **fields: Any) -> PodSpec:
    return msgspec.convert({"containers": [*containers], "initContainers": [*init], **fields}, PodSpec)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8", 8.0),
        (8, 8.0),
        ("2k", 2000.0),
        ("1Ki", 1024.0),
        ("8e0", 8.0),
        ("1.0", 1.0),
        ("", 0.0),
        ("-1", 0.0),
        ("eight", 0.0),
        ("٨", 0.0),
        ("9" * 5000, 0.0),
        ("1e99", 0.0),
        ("5E", 0.0),
        (True, 0.0),
        (None, 0.0),
        ({"a": 1}, 0.0),
        (float("inf"), 0.0),
        (float("nan"), 0.0),
    ],
)
def test_quantities(text: Any, number: float) -> None:
    assert quantity(text) == number


@given(st.text() | st.floats() | st.integers() | st.none())
def test_any_value_is_a_number_of_devices_or_none(value: Any) -> None:
    assert 0 <= quantity(value) <= MOST


def test_only_names_with_a_domain_of_somebody_else_are_extended() -> None:
    names = [GPU, NIC, "cpu", "memory", "hugepages-2Mi", "kubernetes.io/x", "pod.alpha.kubernetes.io/x", "requests.a/b"]
    assert [name for name in names if extended(name)] == [GPU, NIC]


@pytest.mark.parametrize(
    ("of", "number"),
    [
        (spec(asks("a", 2), asks("b", "3")), 5),
        (spec(asks("a", 2), init=(asks("init", 4),)), 4),
        (spec(asks("a", 8), init=(asks("init", 4),)), 8),
        (spec(asks("a", 2), init=(asks("side", 1, restartPolicy="Always"),)), 3),
        (spec(asks("a", 2), init=(asks("side", 1, restartPolicy="Always"), asks("init", 4))), 5),
        (spec(asks("a", 2), init=(asks("init", 4), asks("side", 1, restartPolicy="Always"))), 4),
        (spec(asks("a", 2), overhead={GPU: "1", "cpu": "250m"}), 3),
    ],
    ids=["sum", "init more", "init less", "sidecar", "init beside sidecar", "init before sidecar", "overhead"],
)
def test_it_is_what_the_scheduler_counts(of: PodSpec, number: int) -> None:
    assert requested(of) == {GPU: number}


def test_of_containers_that_are_named_alone_what_these_ask_for() -> None:
    assert requested(spec(asks("a", 2), asks("b", 1, NIC)), ("b",)) == {NIC: 1}
    assert requested(spec(asks("a", 2), asks("b", 1, NIC)), ("c",)) == {}


def snapshot(pods: int = 2, **fields: Any) -> Any:
    containers = [build.container(resources={"requests": {GPU: "8", "cpu": "4"}, "limits": {GPU: "8"}})]
    return build.snapshot(build.jobset(pods=pods), [build.pod(n, containers=containers, **fields) for n in range(pods)])


def test_a_plan_foresees_what_is_down_and_for_how_long() -> None:
    report = plan_report(make(snapshot(), Request(strategy="in-place"), "op1"))
    assert report.predicted_pod_seconds == pytest.approx(2 * report.predicted, abs=0.2)
    assert report.predicted_resource_seconds == {GPU: pytest.approx(8 * report.predicted_pod_seconds, abs=1)}


def test_nothing_is_down_where_the_plan_refuses() -> None:
    report = plan_report(make(snapshot(ready=False, phase="Pending", statuses=[]), Request(via="image"), "op1"))
    assert report.refused
    assert (report.predicted_pod_seconds, report.predicted_resource_seconds) == (0, {})


def test_the_price_is_that_of_gpus_and_their_parts_alone() -> None:
    assert [
        name for name in (GPU, "nvidia.com/mig-1g.10gb", "gpu.intel.com/xe", NIC, "google.com/tpu") if is_gpu(name)
    ] == [
        GPU,
        "nvidia.com/mig-1g.10gb",
        "gpu.intel.com/xe",
    ]
    assert money({GPU: 7200, NIC: 7200}, 2.5) == 5.0


def test_a_client_that_carries_on_adds_to_the_cost() -> None:
    budget = Budget(name="b", limit=6, before=0, after=1)
    first = Cost(pod_seconds=1.5, resource_seconds={GPU: 12}, budgets=(budget,))
    later = Cost(
        pod_seconds=2, resource_seconds={GPU: 16, NIC: 2}, budgets=(Budget(name="b", limit=6, before=1, after=3),)
    )
    both = first.and_then(later)
    assert (both.pod_seconds, both.resource_seconds) == (3.5, {GPU: 28, NIC: 2})
    assert both.budgets == (Budget(name="b", limit=6, before=0, after=3),)
