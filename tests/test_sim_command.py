"""`jsr sim`, run as a person runs it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from tests.e2e.manifests import Manifest, jobset, native, replicated_job

WITHIN = 60


class Sim:
    """`jsr sim` with a home directory of its own; what it leaves running is ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.home = self.state / "jsr-sim"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        path = os.environ["PATH"]
        home = {"HOME": str(folder), "XDG_STATE_HOME": str(self.state), "TMPDIR": str(self.temporary)}
        self.environment = {"PATH": path, **home, "COLUMNS": "200", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(self, *args: str, stdin: str = "", program: str = "sim") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "jobset_restart", program, *args],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def fine(self, *args: str, stdin: str = "") -> str:
        done = self(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Starts `jsr sim ARGS` in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "jobset_restart", "sim", *args],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def status(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fine("status", "-o", "json", *args))
        return found

    def jsr(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobset_restart", *args, "--kubeconfig", str(self.home / "kubeconfig")]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=WITHIN, check=False
        )

    def write(self, *manifests: Manifest, name: str = "manifests.yaml") -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
        return str(path)

    def left(self) -> list[str]:
        """What is still there of any cluster."""
        return [str(each) for each in (*self.temporary.iterdir(), *self.state.glob("*"))]

    def close(self) -> None:
        self("down")
        for process in self._started:
            with process:
                if process.poll() is None:
                    process.kill()


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    sim = Sim(tmp_path)
    yield sim
    sim.close()


def line(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode().strip()


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"


# ---------------------------------------------------------------- up, status, down


def test_up_serves_until_down_and_leaves_nothing(sim: Sim) -> None:
    done = sim("up")
    assert done.returncode == 0, done.stderr
    kubeconfig = Path(done.stdout.strip())
    assert kubeconfig == sim.home / "kubeconfig"
    assert f"export KUBECONFIG={kubeconfig}" in done.stderr
    assert "jsr restart demo" in done.stderr
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(sim.home.stat().st_mode) == 0o700
    found = sim.status()
    assert (found["nodes"], found["readyNodes"], found["profile"], found["speed"]) == (5, 5, "realtime", 1.0)
    assert found["jobsets"] == [{"namespace": "default", "name": "demo", "pods": 5, "readyPods": 5}]
    assert f"process {found['process']}" in sim.fine("status")
    listed = sim.jsr("status", "demo", "-o", "json")
    assert json.loads(listed.stdout)["ready"] == 5, listed.stderr
    assert not (sim.folder / ".kube").exists()
    assert sim("down").returncode == 0
    assert gone(found["process"])
    assert sim.left() == []


def test_up_outlives_its_terminal(sim: Sim) -> None:
    sim.fine("up", "--empty")
    process = sim.status()["process"]
    assert os.getsid(process) == process
    assert os.readlink(f"/proc/{process}/fd/0") == os.devnull


def test_a_second_up_names_the_first(sim: Sim) -> None:
    sim.fine("up", "--empty", "--seed", "3")
    process = sim.status()["process"]
    for options in ([], ["--empty"], ["--seed", "3"]):
        again = sim("up", *options)
        assert (again.returncode, again.stdout) == (0, f"{sim.home / 'kubeconfig'}\n"), again.stderr
        assert "It runs already" in again.stderr
        assert f"process {process}" in again.stderr
    assert sim.status()["process"] == process


def test_a_second_up_with_other_options_says_so_and_still_leaves_no_empty_variable(sim: Sim) -> None:
    sim.fine("up", "--empty")
    process = sim.status()["process"]
    again = sim("up", "--nodes", "7", "--seed", "0")
    assert (again.returncode, again.stdout) == (1, f"{sim.home / 'kubeconfig'}\n")
    assert "started with other options than these: --nodes. Nothing was changed" in again.stderr
    assert sim.status()["process"] == process


@pytest.mark.parametrize("options", [["--speed", "0"], ["--no-such-option"], ["--jobset", "/no/such/file"]])
def test_an_up_that_fails_names_a_kubeconfig_that_is_not_there(sim: Sim, options: list[str]) -> None:
    failed = sim("up", *options)
    assert (failed.returncode, failed.stdout) == (2, f"{sim.home / 'kubeconfig'}\n")
    assert not (sim.home / "kubeconfig").exists()


def test_what_a_killed_cluster_left_is_cleaned_up(sim: Sim) -> None:
    sim.fine("up", "--empty")
    process = sim.status()["process"]
    os.kill(process, signal.SIGKILL)
    assert sim.home.exists()
    _until(lambda: gone(process))
    nothing = sim("status")
    assert nothing.returncode == 1
    assert "no embedded cluster runs" in nothing.stderr
    assert sim.left() == []
    sim.fine("up", "--empty")
    os.kill(sim.status()["process"], signal.SIGKILL)
    sim.fine("up", "--empty")


def test_without_a_cluster(sim: Sim) -> None:
    assert sim("status").returncode == 1
    assert sim("node", "node-0", "--down").returncode == 1
    assert sim("apiserver", "--stop").returncode == 1
    down = sim("down")
    assert (down.returncode, down.stderr) == (0, "no embedded cluster runs\n")


def test_two_side_by_side(sim: Sim) -> None:
    other = str(sim.folder / "other")
    sim.fine("up", "--empty")
    sim.fine("up", "--empty", "--nodes", "3", "--home", other)
    assert (sim.status()["nodes"], sim.status("--home", other)["nodes"]) == (2, 3)
    sim.fine("down", "--home", other)
    assert not Path(other).exists()
    sim.status()


# ---------------------------------------------------------------- run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_ends_with_a_signal_and_leaves_nothing(sim: Sim, number: signal.Signals) -> None:
    process = sim.start("run", "--empty")
    kubeconfig = Path(line(process.stdout))
    assert kubeconfig.exists()
    process.send_signal(number)
    assert process.wait(WITHIN) == 0
    assert sim.left() == []


def test_run_ends_with_its_standard_input_if_asked_to(sim: Sim) -> None:
    process = sim.start("run", "--empty", "--until-eof")
    assert line(process.stdout)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(WITHIN) == 0
    assert sim.left() == []


@pytest.mark.parametrize("command", ["run", "up"])
def test_interrupted_before_it_serves(sim: Sim, command: str) -> None:
    process = sim.start(command, "--workers", "10000")
    _until(lambda: list(sim.folder.rglob("process")))
    process.send_signal(signal.SIGINT)
    assert process.wait(WITHIN) == 130
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    assert sim.left() == []


def test_down_ends_one_that_does_not_answer(sim: Sim) -> None:
    sim.fine("up", "--empty")
    process = sim.status()["process"]
    os.kill(process, signal.SIGSTOP)
    assert sim("down").returncode == 0
    assert gone(process)
    assert sim.left() == []


# ---------------------------------------------------------------- what it begins with


def test_jobsets_from_files_with_nodes_enough(sim: Sim) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one"}}
    first, second = jobset("first", replicated_job(jobs=2, pods=3)), native("second", workers=4)
    first["metadata"]["namespace"], second["metadata"]["namespace"] = "one", "two"
    files = [sim.write(namespace, first, name="1.yaml"), sim.write(second, name="2.yaml")]
    sim.fine("up", "--jobset", files[0], "--jobset", files[1])
    found = sim.status()
    assert found["nodes"] == 6 + 5
    assert found["jobsets"] == [
        {"namespace": "one", "name": "first", "pods": 6, "readyPods": 6},
        {"namespace": "two", "name": "second", "pods": 5, "readyPods": 5},
    ]


def test_a_jobset_as_kubectl_prints_it_is_taken(sim: Sim) -> None:
    manifest = jobset("train", replicated_job(pods=3))
    manifest["metadata"] |= {
        "uid": "0b9c4f0e-5d5c-4c52-9f1b-0e8f5d0f9a11",
        "resourceVersion": "12",
        "ownerReferences": [{"apiVersion": "v1", "kind": "TrainJob", "name": "t", "uid": "u", "controller": True}],
    }
    manifest["status"] = {"restarts": 4}
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [manifest]})
    sim.fine("up", "--jobset", "-", stdin=text)
    found = json.loads(sim.jsr("status", "train", "-o", "json").stdout)
    assert (found["ready"], found["restarts"]) == (3, 0)


def test_nodes_carry_the_labels_that_node_selectors_ask_for(sim: Sim) -> None:
    big = replicated_job("big", pods=4, pod={"nodeSelector": {"pool": "gpu"}})
    small = replicated_job("small", pods=1, pod={"nodeSelector": {"pool": "cpu"}})
    sim.fine("up", "--nodes", "10", "--jobset", sim.write(jobset("train", big, small)))
    found = sim.status()
    assert (found["nodes"], found["jobsets"][0]["readyPods"]) == (10, 5)


def test_without_a_jobset_of_ones_own_there_is_a_pod_on_each_node(sim: Sim) -> None:
    sim.fine("up", "--nodes", "7")
    found = sim.status()
    assert (found["nodes"], found["jobsets"][0]["readyPods"]) == (7, 7)


def test_cold_begins_with_pods_that_are_not_ready(sim: Sim) -> None:
    sim.fine("up", "--cold", "--speed", "0.01")
    assert sim.status()["jobsets"][0]["readyPods"] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is no YAML"),
        ("", "holds no object"),
        ("- 1", "no Kubernetes object"),
        ("apiVersion: v1\nkind: ConfigMap\n", "no Kubernetes object"),
        ("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}", "Deployment"),
        (
            "{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, metadata: {name: train}, spec: nothing}",
            "JobSet train",
        ),
        ("{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, metadata: {name: Train}, spec: {}}", "JobSet Train"),
        ("\x1b[31m: {", "is no YAML"),
    ],
)
def test_manifests_that_are_refused(sim: Sim, text: str, says: str) -> None:
    file = sim.folder / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    _refused(sim, ["--jobset", str(file)], says)


def test_a_jobset_whose_pods_would_be_refused_is_refused(sim: Sim) -> None:
    bad = replicated_job(pod={"restartPolicy": "Always"})
    _refused(sim, ["--jobset", sim.write(jobset("train", bad))], "restartPolicy")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--jobset", "missing.yaml"], "missing.yaml cannot be read: No such file or directory"),
        (["--jobset", "/"], "/ cannot be read: Is a directory"),
        (["--profile", "fast"], "'fast' is not one of"),
        (["--speed", "0"], "--speed 0"),
        (["--speed", "nan"], "--speed nan"),
        (["--nodes", "0"], "--nodes"),
        (["--port", "70000"], "--port"),
        (["--empty", "--jobset", "x.yaml"], "contradict"),
        (["--faults", "missing.yaml"], "missing.yaml: No such file"),
        (["--bogus"], "--bogus"),
    ],
)
def test_options_that_are_refused(sim: Sim, args: list[str], says: str) -> None:
    _refused(sim, args, says)


def _refused(sim: Sim, args: list[str], says: str) -> None:
    for command in ("up", "run"):
        done = sim(command, *args)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert "\x1b" not in done.stderr
        assert done.stdout == (f"{sim.home / 'kubeconfig'}\n" if command == "up" else "")
        assert sim.left() == []


def test_a_port_that_is_taken(sim: Sim) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("up", "run"):
            done = sim(command, "--empty", "--port", str(port))
            assert done.returncode == 1
            assert f"port {port} cannot be listened on: it is taken" in done.stderr
            assert sim.left() == []


def test_a_directory_with_other_files_is_left_alone(sim: Sim) -> None:
    other = sim.folder / "documents"
    other.mkdir(mode=0o755)
    (other / "thesis").touch()
    done = sim("up", "--empty", "--home", str(other))
    assert done.returncode == 1
    assert "holds other files (thesis)" in done.stderr
    sim("down", "--home", str(other))
    assert [each.name for each in other.iterdir()] == ["thesis"]
    assert stat.S_IMODE(other.stat().st_mode) == 0o755


# ---------------------------------------------------------------- faults


def test_a_node_goes_down_and_comes_up(sim: Sim) -> None:
    sim.fine("up", "--speed", "50")
    sim.fine("node", "node-1", "--down")
    _until(lambda: sim.status()["readyNodes"] == 4)
    sim.fine("node", "node-1", "--up")
    _until(lambda: sim.status()["readyNodes"] == 5)
    unknown = sim("node", "node-9", "--down")
    assert unknown.returncode == 1
    assert 'nodes "node-9" not found' in unknown.stderr


def test_the_api_server_goes_and_comes_back_while_the_world_runs_on(sim: Sim) -> None:
    sim.fine("up", "--cold", "--speed", "0.5")
    server = sim.status()["server"]
    with watching(sim.home / "kubeconfig") as stream:
        sim.fine("apiserver", "--stop")
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while stream.readline():
                pass
    assert "refused" in sim.jsr("status", "demo").stderr
    assert sim.status()["serving"] is False
    _until(lambda: sim.status()["jobsets"][0]["readyPods"] == 5)
    sim.fine("apiserver", "--start")
    assert sim.status()["server"] == server
    assert json.loads(sim.jsr("status", "demo", "-o", "json").stdout)["ready"] == 5


def test_faults_from_a_file_come_and_go(sim: Sim) -> None:
    faults = [{"kind": "node", "target": "node-1", "at": 1, "lasts": 900}, {"kind": "slow", "share": 0.5}]
    path = sim.folder / "faults.yaml"
    path.write_text(yaml.safe_dump(faults), encoding="utf-8")
    sim.fine("up", "--speed", "50", "--faults", str(path))
    _until(lambda: sim.status()["readyNodes"] == 4)
    _until(lambda: sim.status()["readyNodes"] == 5)


def test_one_fault_now(sim: Sim) -> None:
    sim.fine("up")
    sim.fine("fault", "forbidden", "--for", "600", "--target", "get jobsets default/*")
    assert "is forbidden" in sim.jsr("status", "demo").stderr
    assert sim.jsr("status").returncode == 0
    sim.fine("fault", "apiserver", "--for", "600")
    _until(lambda: not sim.status()["serving"])


def test_the_api_server_is_away_for_a_while(sim: Sim) -> None:
    sim.fine("up", "--speed", "10")
    sim.fine("fault", "apiserver", "--for", "40")
    _until(lambda: not sim.status()["serving"])
    _until(lambda: sim.status()["serving"])
    assert sim.jsr("status", "demo").returncode == 0


def test_every_kind_of_fault_is_listed(sim: Sim) -> None:
    listed = [line.split()[0] for line in sim.fine("fault").splitlines()]
    assert {"node", "apiserver", "watch-stall", "crash", "throttled"} <= set(listed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- kind: eror", "there is no fault 'eror'"),
        ("kind: error", "faults are a list of mappings"),
        ("- {kind: error, share: 2}", "share of 'error' is above 1"),
        ("- {kind: error", "expected ',' or '}'"),
    ],
)
def test_faults_that_are_refused(sim: Sim, text: str, says: str) -> None:
    path = sim.folder / "faults.yaml"
    path.write_text(text, encoding="utf-8")
    done = sim("up", "--faults", str(path))
    assert done.returncode == 2
    assert says in done.stderr
    assert sim.left() == []


def test_a_fault_that_is_refused(sim: Sim) -> None:
    assert sim("fault", "eror").returncode == 2
    assert sim("fault", "error", "--share", "2").returncode == 2
    assert "no embedded cluster runs" in sim("fault", "error").stderr


def watching(kubeconfig: Path) -> http.client.HTTPResponse:
    """A watch of all Pods, without end by itself."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    request = urllib.request.Request(f"{cluster['server']}/api/v1/pods?watch=1")
    request.add_header("Authorization", f"Bearer {user['token']}")
    context = ssl.create_default_context(cadata=authority)
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=WITHIN, context=context)
    return response


def _until(reached: Callable[[], object]) -> None:
    end = time.monotonic() + WITHIN
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---------------------------------------------------------------- profiles and help


@pytest.mark.parametrize("name", ["realtime", "published", "instant"])
def test_a_profile_names_a_source_for_every_number(sim: Sim, name: str) -> None:
    document = json.loads(sim.fine("profile", name, "-o", "json"))
    assert document["numbers"]
    assert all(number["source"] for number in document["numbers"].values())
    printed = sim.fine("profile", name)
    for number, each in document["numbers"].items():
        assert any(number in row and each["source"] in row for row in printed.splitlines())


def test_help(sim: Sim) -> None:
    listed = sim(program="--help").stdout
    assert " sim " in listed
    assert " demo " in listed
    for args in (["--help"], ["-h"], ["up", "--help"]):
        assert sim.fine(*args).startswith("Usage: jsr sim")


def test_modules_of_the_working_directory_are_not_run(sim: Sim) -> None:
    (sim.folder / "typer.py").write_text("raise SystemExit('taken over')", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "jobset_restart", "sim", "profile"]
    done = subprocess.run(command, cwd=sim.folder, env=sim.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("instant")


def test_a_working_directory_that_is_gone_does_not_matter(sim: Sim) -> None:
    gone = sim.folder / "gone"
    gone.mkdir()
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    command = [sys.executable, "-P", "-m", "jobset_restart", "sim", "profile", "instant"]
    done = subprocess.run(
        ["sh", "-c", script, str(gone), *command],
        env=sim.environment,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == sim.fine("profile", "instant")
