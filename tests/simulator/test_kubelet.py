"""The kubelet model: Pods start, end, restart and go as Kubernetes 1.36 has them do it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from jobset_restart.simulator.controllers.kubelet import Kubelet
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj, StoreError, seconds
from tests.e2e.manifests import exits, handles_term
from tests.simulator.stage import Stage

IMAGE = "docker.io/library/busybox:1.36"
STUBBORN = ["sleep", "infinity"]
RESTART_ALL = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]


class Kubelets(Stage):
    """One node and its kubelet; every version of every Pod's status is kept."""

    def __init__(self) -> None:
        self.kubelet = Kubelet(INSTANT, Random(0))
        super().__init__(self.kubelet, nodes=1)
        self.seen: list[Obj] = []
        self.store.subscribe(lambda resource, change, obj, old: self._note(resource, obj))

    def _note(self, resource: str, obj: Obj) -> None:
        if resource == "pods":
            self.seen.append(obj)

    def start_pod(self, *containers: Obj, **spec: Any) -> Obj:
        """Create a Pod called ``p`` on the node and let it start."""
        listed = list(containers) or [container()]
        body = {"nodeName": "node-0", "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, **spec}
        self.pod("p", containers=listed, **body)
        self.run(0.5)
        return self.get_pod("p")

    def change_image(self, image: str, name: str = "worker") -> None:
        pod = self.get_pod("p")
        changed = [{**each, "image": image} if each["name"] == name else each for each in pod["spec"]["containers"]]
        self.store.update("pods", {**pod, "spec": {**pod["spec"], "containers": changed}}, self.now)

    def shown(self, name: str = "worker") -> Obj:
        return shown(self.get_pod("p"), name)

    def power(self, on: bool) -> None:
        self.kubelet.power(self.store, "node-0", on)
        for pod in self.store.by_node("node-0"):
            self.touch(0, (pod["metadata"]["namespace"], pod["metadata"]["name"]))


def container(name: str = "worker", command: list[str] | None = None, **more: Any) -> Obj:
    return {"name": name, "image": IMAGE, "command": command or handles_term(), **more}


def shown(pod: Obj, name: str = "worker") -> Obj:
    status = pod["status"]
    both = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return next(dict(each) for each in both if each["name"] == name)


def state(status: Obj) -> str:
    """``running``, ``terminated(1)``, ``waiting(CrashLoopBackOff)``."""
    ((kind, detail),) = status["state"].items()
    word = detail.get("exitCode", detail.get("reason"))
    return str(kind) if kind == "running" else f"{kind}({word})"


def condition(pod: Obj, kind: str) -> tuple[str, str]:
    found = {each["type"]: each for each in pod["status"]["conditions"]}.get(kind, {})
    return found.get("status", ""), found.get("reason", "")


@pytest.fixture
def node() -> Kubelets:
    return Kubelets()


def test_start_is_written_in_three_steps(node: Kubelets) -> None:
    pod = node.start_pod()
    steps = [
        (each["status"]["phase"], state(shown(each)), condition(each, "PodReadyToStartContainers")[0])
        for each in node.seen
        if each["status"].get("containerStatuses")
    ]
    assert steps == [
        ("Pending", "waiting(ContainerCreating)", "False"),
        ("Pending", "waiting(ContainerCreating)", "True"),
        ("Running", "running", "True"),
    ]
    assert pod["status"]["podIP"].startswith("10.")
    assert pod["status"]["podIPs"] == [{"ip": pod["status"]["podIP"]}]
    assert condition(pod, "Ready") == ("True", "")
    assert shown(pod)["imageID"].startswith("docker.io/library/busybox@sha256:")
    assert shown(pod)["containerID"].startswith("containerd://")
    assert node.events("Started") == ["Container started"]


def test_init_containers_run_in_order_and_a_sidecar_gates_the_next(node: Kubelets) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 10, "periodSeconds": 1}
    first, side = container("first", ["true"]), container("side", STUBBORN, restartPolicy="Always", startupProbe=probe)
    node.start_pod(initContainers=[first, side, container("last", exits(0, after=3))])
    assert state(node.shown("first")) == "terminated(0)"
    assert (state(node.shown("side")), node.shown("side")["started"]) == ("running", False)
    assert state(node.shown("last")) == "waiting(PodInitializing)"
    node.run(11)
    assert node.shown("side")["started"] is True
    assert state(node.shown("last")) == "running"
    assert condition(node.get_pod("p"), "Initialized") == ("False", "ContainersNotInitialized")
    node.run(4)
    assert node.get_pod("p")["status"]["phase"] == "Running"
    assert condition(node.get_pod("p"), "Ready")[0] == "True"


@pytest.mark.parametrize(
    "command",
    [
        ["/app/fetch", "--all"],
        ["python3", "-m", "fetch"],
        ["sh", "-c", "until nslookup db; do sleep 2; done"],
        ["sh", "-c", "while ! nc -z db 5432; do sleep 1; done; exec /app/migrate"],
        ["sh", "-c", "echo begun; wget http://example.com/data && echo done"],
    ],
)
def test_an_init_container_whose_program_is_not_known_ends(node: Kubelets, command: list[str]) -> None:
    pod = node.start_pod(initContainers=[container("prepare", command)])
    assert state(shown(pod, "prepare")) == "terminated(0)"
    assert condition(pod, "Ready") == ("True", "")


@pytest.mark.parametrize("command", [["sleep", "infinity"], ["sh", "-c", "while :; do sleep 1; done"]])
def test_an_init_container_that_is_known_to_run_for_ever_does(node: Kubelets, command: list[str]) -> None:
    pod = node.start_pod(initContainers=[container("prepare", command)])
    node.run(3600)
    assert state(shown(node.get_pod("p"), "prepare")) == "running"
    assert pod["status"]["phase"] == "Pending"


def test_readiness_probe_and_gates(node: Kubelets) -> None:
    probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 5, "periodSeconds": 1}
    node.start_pod(container(readinessProbe=probe), readinessGates=[{"conditionType": "example.com/fit"}])
    assert (state(node.shown()), node.shown()["ready"]) == ("running", False)
    node.run(6)
    assert node.shown()["ready"] is True
    assert condition(node.get_pod("p"), "ContainersReady")[0] == "True"
    assert condition(node.get_pod("p"), "Ready") == ("False", "ReadinessGatesNotReady")
    pod = node.get_pod("p")
    gate = {"type": "example.com/fit", "status": "True"}
    node.status(pod, conditions=[*pod["status"]["conditions"], gate])
    node.run(1)
    assert condition(node.get_pod("p"), "Ready")[0] == "True"


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_end_under_never_the_phase_follows_the_containers(node: Kubelets, code: int, phase: str) -> None:
    node.start_pod(container(command=exits(code, after=4)))
    node.run(5)
    first = next(each for each in node.seen if state_or_none(each).startswith("terminated"))
    assert first["status"]["phase"] == "Running"
    assert condition(first, "Ready")[1] == ("PodFailed" if code else "PodCompleted")
    assert node.get_pod("p")["status"]["phase"] == phase
    assert state(node.shown()) == f"terminated({code})"


def state_or_none(pod: Obj) -> str:
    return state(shown(pod)) if pod["status"].get("containerStatuses") else ""


def test_crash_loop_waits_10_then_20_seconds(node: Kubelets) -> None:
    node.start_pod(container(command=exits(1, after=1)), restartPolicy="OnFailure")
    starts, ends = [], []
    for _ in range(100):
        node.run(0.5)
        status = node.shown()
        if "running" in status["state"]:
            starts.append(seconds(status["state"]["running"]["startedAt"]))
        if status["lastState"]:
            ends.append(seconds(status["lastState"]["terminated"]["finishedAt"]))
    starts, ends = sorted(set(starts)), sorted(set(ends))
    pauses = [round(start - end) for start, end in zip(starts[1:], ends, strict=False)]
    assert pauses[:3] == [0, 10, 20]
    waiting = [state_or_none(each) for each in node.seen]
    assert "waiting(CrashLoopBackOff)" in waiting


def test_image_change_ends_a_crash_loop(node: Kubelets) -> None:
    node.start_pod(container(command=exits(1, after=1)), restartPolicy="OnFailure")
    node.run(5)
    assert (node.shown()["restartCount"], state(node.shown())) == (1, "terminated(1)")
    node.change_image(node.shown()["imageID"])
    node.run(0.1)
    assert (node.shown()["restartCount"], state(node.shown())) == (2, "running")


def test_image_change_restarts_under_never_after_the_grace_period(node: Kubelets) -> None:
    pod = node.start_pod(container(), container("log", STUBBORN))
    before = shown(pod, "log")
    node.change_image(f"{IMAGE}@{before['imageID'].partition('@')[2]}", "log")
    node.run(4.9)
    assert node.shown("log")["containerID"] == before["containerID"], "its grace period is 5 seconds"
    node.run(0.2)
    after = node.shown("log")
    assert after["containerID"] != before["containerID"]
    assert (after["restartCount"], after["image"], after["imageID"]) == (1, IMAGE, before["imageID"])
    assert after["lastState"]["terminated"]["exitCode"] == 137
    assert node.shown("worker") == shown(pod, "worker")
    assert all(state(shown(each, "log")) == "running" for each in node.seen if each["metadata"]["generation"] == 2)
    assert "Container log definition changed, will be restarted" in node.events("Killing")


def test_handler_ends_it_before_the_grace_period(node: Kubelets) -> None:
    node.start_pod(terminationGracePeriodSeconds=600)
    node.change_image(node.shown()["imageID"])
    node.run(0.1)
    assert node.shown()["lastState"]["terminated"]["exitCode"] == 143


def test_handler_waits_for_the_shells_foreground_command(node: Kubelets) -> None:
    node.start_pod(container(command=["sh", "-c", "trap 'exit 7' TERM; sleep 60"]), terminationGracePeriodSeconds=600)
    node.change_image(node.shown()["imageID"])
    node.run(50)
    assert state(node.shown()) == "running"
    assert node.shown()["restartCount"] == 0
    node.run(15)
    assert node.shown()["lastState"]["terminated"]["exitCode"] == 7


def test_container_that_ended_for_good_stays_so_whatever_its_image(node: Kubelets) -> None:
    node.start_pod(container("once", ["true"]), container())
    node.change_image(node.shown()["imageID"], "once")
    node.run(60)
    assert (state(node.shown("once")), node.shown("once")["restartCount"]) == ("terminated(0)", 0)


@pytest.mark.parametrize(
    ("more", "code", "restarted"),
    [
        ({"restartPolicy": "OnFailure"}, 1, True),
        ({"restartPolicy": "Always"}, 0, True),
        ({"restartPolicy": "Never"}, 1, False),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [4]}}],
            },
            4,
            True,
        ),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [4]}}],
            },
            4,
            False,
        ),
    ],
)
def test_restart_policies_of_containers_come_before_the_pods(
    node: Kubelets, more: Obj, code: int, restarted: bool
) -> None:
    node.start_pod(container(command=exits(code, after=3), **more), container("other", STUBBORN))
    node.run(4)
    assert node.shown()["restartCount"] == int(restarted)


def test_restart_of_all_containers(node: Kubelets) -> None:
    side = container("side", exits(1, after=5), restartPolicy="Always", restartPolicyRules=RESTART_ALL)
    node.start_pod(container("log"), container(), initContainers=[side])
    node.seen.clear()
    node.run(5.5)
    steps = [
        (
            each["status"]["phase"],
            condition(each, "AllContainersRestarting")[0],
            state(shown(each, "side")),
            state(shown(each)),
        )
        for each in node.seen
    ]
    assert steps == [
        ("Running", "True", "terminated(1)", "running"),
        ("Running", "False", "waiting(RestartingAllContainers)", "waiting(RestartingAllContainers)"),
        ("Running", "False", "running", "waiting(PodInitializing)"),
        ("Running", "False", "running", "running"),
    ]
    assert {name: node.shown(name)["restartCount"] for name in ("side", "log", "worker")} == {
        "side": 1,
        "log": 1,
        "worker": 1,
    }
    assert node.shown()["lastState"]["terminated"]["reason"] == "RestartingAllContainers"


def test_deletion_runs_pre_stop_then_term_then_kill(node: Kubelets) -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    node.start_pod(container(lifecycle=hook), container("log", STUBBORN), terminationGracePeriodSeconds=10)
    node.store.delete("pods", "default", "p", node.now)
    began = node.now
    node.run(9.9)
    assert node.store.find("pods", "default", "p") is not None
    node.run(0.2)
    assert node.store.find("pods", "default", "p") is None
    last = next(each for each in node.seen if each["status"]["phase"] == "Failed")
    ended = {name: shown(last, name)["state"]["terminated"] for name in ("worker", "log")}
    assert (ended["worker"]["exitCode"], ended["log"]["exitCode"]) == (143, 137)
    assert seconds(ended["worker"]["finishedAt"]) - int(began) in (3, 4)


def test_deleted_pod_with_a_finalizer_stays_failed(node: Kubelets) -> None:
    pod = node.pod("p", meta={"finalizers": ["batch.kubernetes.io/job-tracking"]}, nodeName="node-0")
    node.run(1)
    node.store.delete("pods", "default", "p", node.now, grace=2)
    node.run(5)
    left = node.get_pod("p")
    assert left["status"]["phase"] == "Failed"
    meta = {name: value for name, value in left["metadata"].items() if name != "finalizers"}
    node.store.update("pods", {**left, "metadata": meta}, node.now)
    assert node.store.find("pods", "default", pod["metadata"]["name"]) is None


def test_sidecars_are_stopped_after_the_containers(node: Kubelets) -> None:
    side = container("side", handles_term(0), restartPolicy="Always")
    node.start_pod(container(command=STUBBORN), initContainers=[side], terminationGracePeriodSeconds=8)
    node.store.delete("pods", "default", "p", node.now)
    node.run(30)
    last = next(each for each in node.seen if each["status"]["phase"] == "Failed")
    ends = [seconds(shown(last, name)["state"]["terminated"]["finishedAt"]) for name in ("worker", "side")]
    assert ends[0] <= ends[1]
    assert shown(last, "side")["state"]["terminated"]["exitCode"] == 0


def test_sidecars_do_not_keep_a_finished_pod(node: Kubelets) -> None:
    side = container("side", STUBBORN, restartPolicy="Always")
    node.start_pod(container(command=exits(0, after=2)), initContainers=[side])
    node.run(20)
    assert node.get_pod("p")["status"]["phase"] == "Succeeded"
    assert state(node.shown("side")) == "terminated(137)"


def test_pod_failed_through_the_api_is_stopped(node: Kubelets) -> None:
    pod = node.start_pod()
    node.status(pod, phase="Failed")
    node.run(10)
    assert node.get_pod("p")["status"]["phase"] == "Failed"
    assert state(node.shown()) == "terminated(143)"


def test_image_that_does_not_exist(node: Kubelets) -> None:
    node.start_pod({**container(), "image": "missing.example/app:1"})
    assert state(node.shown()) == "waiting(ErrImagePull)"
    node.run(30)
    assert state(node.shown()) in ("waiting(ImagePullBackOff)", "waiting(ErrImagePull)")
    assert "waiting(ImagePullBackOff)" in [state_or_none(each) for each in node.seen]
    assert node.get_pod("p")["status"]["phase"] == "Pending"


def test_image_loaded_by_hand_shows_only_a_config_digest(node: Kubelets) -> None:
    node.start_pod({**container(), "image": "localhost/app:1"})
    assert state(node.shown()) == "running"
    assert node.shown()["imageID"].startswith("sha256:")


def test_pull_policy_always_keeps_a_container_down_when_the_registry_fails(node: Kubelets) -> None:
    node.start_pod(container(imagePullPolicy="Always"), restartPolicy="OnFailure")
    assert state(node.shown()) == "running"
    node.change_image("missing.example/busybox:1")
    node.run(30)
    assert state(node.shown()) in ("waiting(ImagePullBackOff)", "waiting(ErrImagePull)")
    assert node.shown()["restartCount"] == 0


def test_node_that_is_off_says_nothing_and_tells_what_happened_when_it_is_back(node: Kubelets) -> None:
    node.start_pod(container(command=exits(2, after=10)))
    node.power(on=False)
    node.seen.clear()
    node.run(30)
    assert state(node.shown()) == "running"
    node.store.delete("pods", "default", "p", node.now)
    node.run(60)
    assert node.store.find("pods", "default", "p") is not None
    assert len(node.seen) == 1, "nothing but the deletion"
    node.power(on=True)
    node.run(10)
    assert node.store.find("pods", "default", "p") is None
    last = next(each for each in node.seen if each["status"]["phase"] == "Failed")
    assert shown(last)["state"]["terminated"]["exitCode"] == 2


def test_logs(node: Kubelets) -> None:
    pod = node.start_pod(
        container(command=["sh", "-c", "echo one; sleep 2; echo two; exit 1"]), restartPolicy="OnFailure"
    )
    begun = node.now
    assert printed(node, pod, "worker", False) == ["one\n"]
    node.run(3)
    pod = node.get_pod("p")
    assert printed(node, pod, "", True) == ["one\n", "two\n"]
    first, second = node.kubelet.logs(pod, "", True, node.now)
    assert second[0] - first[0] == pytest.approx(2)
    assert first[0] <= begun
    with pytest.raises(StoreError, match="container nosuch is not valid for pod p"):
        node.kubelet.logs(pod, "nosuch", False, node.now)


def printed(node: Kubelets, pod: Obj, container: str, previous: bool) -> list[str]:
    return [line for _, line in node.kubelet.logs(pod, container, previous, node.now)]
