"""The cluster of JSR_TEST_KUBECONFIG, else an embedded one; a namespace and a `jsr` for every scenario."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.api import Api
from tests.e2e.cluster import Cluster, embedded, exclusively, given
from tests.e2e.command import Jsr
from tests.e2e.picture import usable
from tests.e2e.place import Place, namespace_for

LEFT_SECONDS = 300
"""The namespace controller tries again after pauses that double, and counts the failures while the API was away."""
RUN = f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}-{os.getpid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What breaks the cluster comes last. On embedded clusters, of which every process has its own, it comes first: it
    takes longest."""
    last = bool(os.environ.get("JSR_TEST_KUBECONFIG"))
    items.sort(key=lambda item: (item.get_closest_marker("real_fault") is not None) == last)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scenario that fails shows what its `jsr` said."""
    report = yield
    jsr = item.funcargs.get("jsr") if isinstance(item, pytest.Function) else None
    if report.when == "call" and report.failed and isinstance(jsr, Jsr):
        report.sections.append(("jsr", jsr.said()))
    return report


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kubeconfig = os.environ.get("JSR_TEST_KUBECONFIG", "")
    if kubeconfig:
        yield given(kubeconfig)
    else:
        with embedded(tmp_path_factory.mktemp("embedded")) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Api]:
    """The API, with whoever may do everything. At the end, every namespace of this session has to be gone."""
    api = Api(cluster.kubeconfig)
    yield api
    with cluster.shared():
        api.until(
            "namespaces",
            "",
            lambda namespaces: not any(name.startswith(f"jsr-{RUN}-") for name in namespaces),
            within=LEFT_SECONDS,
            what="the end of the scenarios' namespaces",
        )


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, cluster: Cluster, api: Api) -> Iterator[None]:
    """A scenario that breaks a part of the cluster runs when no other does, and leaves the nodes as they were: after
    an outage of the API server they count as lost until they have all been heard of again."""
    if not request.node.get_closest_marker("real_fault"):
        with cluster.shared():
            yield
        return
    with exclusively(cluster):
        before = usable({node["metadata"]["name"]: node for node in api.list("nodes")["items"]})
        yield
        api.until("nodes", "", lambda nodes: before <= usable(nodes), within=120, what="the nodes as they were")


@pytest.fixture
def place(request: pytest.FixtureRequest, api: Api, _turn: None) -> Iterator[Place]:
    """A namespace of the scenario's own, deleted at its end whatever it was."""
    body = {"metadata": {"generateName": namespace_for(request.node.originalname, RUN)}}
    place = Place(api, api.create("namespaces", "", body)["metadata"]["name"])
    try:
        api.until(
            "serviceaccounts", place.namespace, lambda found: "default" in found, within=30, what="its ServiceAccount"
        )
        yield place
    finally:
        place.close()


@pytest.fixture
def jsr(cluster: Cluster, place: Place, tmp_path: Path) -> Iterator[Jsr]:
    jsr = Jsr(cluster.kubeconfig, place.namespace, tmp_path)
    yield jsr
    jsr.close()


@pytest.fixture
def two_nodes(api: Api, _turn: None) -> tuple[str, str]:
    """Two nodes that run containers."""
    found = api.until("nodes", "", lambda nodes: len(usable(nodes)) >= 2, within=60, what="two Ready nodes")
    first, second = sorted(usable(found))[:2]
    return first, second
