"""What runs in a container through exec, and what signals do to PID 1."""

from __future__ import annotations

import pytest

from jobset_restart.pid1 import PROBE_COMMAND, Means, Probe, command, means, read_probe
from jobset_restart.simulator.store import Obj, StoreError
from tests.e2e.manifests import IGNORES_TERM, handles_term
from tests.simulator.test_kubelet import Kubelets, container, state

LOOP = ["sh", "-c", "while :; do sleep 5; done"]
TRAINING = ["python3", "train.py"]
PYTHON_IMAGE = "docker.io/library/python:3.12"


@pytest.fixture
def node() -> Kubelets:
    return Kubelets()


def execute(node: Kubelets, *words: str, name: str = "worker") -> tuple[str, str, int]:
    pod = node.get_pod("p")
    out, err, code = node.kubelet.execute(node.store, pod, name, list(words), b"", node.now)
    node.touch(0, ("default", "p"))
    return out.decode(), err.decode(), code


def probe(node: Kubelets) -> Probe:
    return read_probe(execute(node, *PROBE_COMMAND)[0])


@pytest.mark.parametrize(
    ("line", "caught", "name", "children", "how"),
    [
        (handles_term(143), 0x14002, "sh", 1, "TERM"),
        (IGNORES_TERM, 0, "sleep", 0, None),
        (["sh", "-c", "sleep 3600"], 0, "sleep", 0, None),
        (["sh", "-c", "sleep 3600; exit 4"], 0x10002, "sh", 1, "children"),
        (["python3", "train.py"], 2, "python3", 0, "INT"),
        (["torchrun", "train.py"], 0x4007, "torchrun", 0, "TERM"),
        (["/app/server"], 0, "server", 0, None),
    ],
)
def test_probe_tells_what_pid_1_is(
    node: Kubelets, line: list[str], caught: int, name: str, children: int, how: str | None
) -> None:
    node.start_pod(container(command=line))
    found = probe(node)
    assert (found.caught, found.name, found.children) == (caught, name, children)
    chosen = means(found)
    assert (chosen.how if chosen else None) == how


def test_signal_with_a_handler_ends_it_and_its_policy_decides(node: Kubelets) -> None:
    node.start_pod(restartPolicy="OnFailure")
    assert execute(node, *command(Means("TERM", 143))) == ("", "", 0)
    node.run(0.1)
    assert node.shown()["restartCount"] == 1
    assert node.shown()["lastState"]["terminated"]["exitCode"] == 143


@pytest.mark.parametrize("signal", ["-TERM", "-KILL", "-9", "-s KILL"])
def test_signal_without_a_handler_does_nothing_to_pid_1(node: Kubelets, signal: str) -> None:
    node.start_pod(container(command=IGNORES_TERM))
    assert execute(node, "sh", "-c", f"kill {signal} 1")[2] == 0
    node.run(60)
    assert (state(node.shown()), node.shown()["restartCount"]) == ("running", 0)


def test_signal_script_looks_before_it_sends(node: Kubelets) -> None:
    node.start_pod(container(command=IGNORES_TERM))
    assert execute(node, *command(Means("TERM", 143)))[2] == 97


def test_kill_of_everything_ends_a_shell_that_waits_for_its_child(node: Kubelets) -> None:
    node.start_pod(
        container(command=["sh", "-c", "sleep 3600; exit 4"]), container("loop", LOOP), container("none", IGNORES_TERM)
    )
    for name, code in (("worker", 0), ("loop", 0), ("none", 1)):
        assert execute(node, "sh", "-c", "kill -9 -1", name=name)[2] == code
    node.run(1)
    assert state(node.shown()) == "terminated(4)"
    assert (state(node.shown("loop")), state(node.shown("none"))) == ("running", "running")


def test_cpu_limit_ends_a_pid_1_that_computes_and_no_other(node: Kubelets) -> None:
    busy: Obj = {**container(command=TRAINING), "image": PYTHON_IMAGE}
    idle: Obj = {**container("idle", IGNORES_TERM), "image": PYTHON_IMAGE}
    node.start_pod(busy, idle)
    node.run(5)
    assert probe(node).cpu > 1
    for name in ("worker", "idle"):
        assert execute(node, "prlimit", "--pid", "1", "--cpu=1:1", name=name)[2] == 0
    node.run(1)
    assert (state(node.shown()), state(node.shown("idle"))) == ("terminated(137)", "running")


def test_early_exit_shortens_an_image_change(node: Kubelets) -> None:
    node.start_pod(
        container(command=["sh", "-c", "trap 'exit 0' USR1; while :; do sleep 1 & wait $!; done"]),
        terminationGracePeriodSeconds=600,
    )
    node.change_image(node.shown()["imageID"])
    node.run(5)
    assert node.shown()["restartCount"] == 0
    execute(node, "kill", "-USR1", "1")
    node.run(0.1)
    assert (node.shown()["restartCount"], state(node.shown())) == (1, "running")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["sh", "-c", "echo hi; exit 3"], ("hi\n", "", 3)),
        (["sh", "-c", "false || echo no && true"], ("no\n", "", 0)),
        (["sh", "-c", "nosuch"], ("", "sh: nosuch: not found\n", 127)),
        (["echo", "a", "b"], ("a b\n", "", 0)),
        (["true"], ("", "", 0)),
        (["hostname"], ("p\n", "", 0)),
        (["printenv", "WHO"], ("me\n", "", 0)),
        (["sh", "-c", "kill -TERM 4242"], ("", "sh: can't kill pid 4242: No such process\n", 1)),
    ],
)
def test_simple_commands(node: Kubelets, words: list[str], answer: tuple[str, str, int]) -> None:
    node.start_pod(container(env=[{"name": "WHO", "value": "me"}]))
    assert execute(node, *words) == answer


def test_status_of_pid_1(node: Kubelets) -> None:
    node.start_pod()
    assert "SigCgt:\t0000000000014002\n" in execute(node, "cat", "/proc/1/status")[0]


@pytest.mark.parametrize(
    ("image", "words", "code", "message"),
    [
        ("busybox", ["nosuch"], 500, 'exec: "nosuch": executable file not found in $PATH'),
        ("busybox", ["bash", "-c", "true"], 500, 'exec: "bash": executable file not found'),
        ("gcr.io/distroless/static", ["sh", "-c", "true"], 500, 'exec: "sh": executable file not found'),
        ("busybox", ["sh", "-c", "for i in 1 2; do echo $i; done"], 501, "cannot run this"),
        ("busybox", ["pkill", "python"], 501, "cannot run this"),
    ],
)
def test_what_cannot_be_run_is_refused(node: Kubelets, image: str, words: list[str], code: int, message: str) -> None:
    node.start_pod({**container(), "image": image})
    with pytest.raises(StoreError) as caught:
        execute(node, *words)
    assert caught.value.code == code
    assert message in caught.value.message


def test_containers_that_are_not_there(node: Kubelets) -> None:
    node.start_pod(container(command=["true"]))
    with pytest.raises(StoreError, match="container nosuch is not valid for pod p"):
        execute(node, "true", name="nosuch")
    with pytest.raises(StoreError, match=r'container not found \("worker"\)'):
        execute(node, "true")


def test_node_that_is_off_cannot_be_reached(node: Kubelets) -> None:
    node.start_pod()
    node.power(on=False)
    with pytest.raises(StoreError, match=r"error dialing backend: dial tcp .*:10250: connect: connection refused"):
        execute(node, "true")
