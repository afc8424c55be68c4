"""Bad input: one clear line (what, which object, what was changed, what next), the right exit code, no traceback.

That no run prints a traceback or anything a terminal would obey is asserted for every run there is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e import kubeconfigs
from tests.e2e.api import Object
from tests.e2e.command import Ended, Jsr
from tests.e2e.manifests import jobset, replicated_job
from tests.e2e.picture import OPERATION, assert_nothing_changed
from tests.e2e.place import Place

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\n[bold red]boom[/bold red] \u202egnp.exe \x9b5m"


def one_clear_line(ended: Ended, *words: str, code: int = 1) -> None:
    """It exited with this code and its one error line has all the words."""
    ended.exited(code)
    errors = [line for line in ended.stderr.splitlines() if line.lower().startswith(("error:", "usage error:"))]
    assert len(errors) == 1, str(ended)
    for word in words:
        assert word in ended.stderr, f"{word!r} is missing in\n{ended}"


# ---------------------------------------------------------------- names


def test_unknown_jobset_with_near_names(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", suspend=True), jobset("serve", suspend=True))
    for words in (["status", "trian"], ["restart", "trian", "--yes"]):
        ended = jsr.run(*words)
        one_clear_line(ended, "trian", place.namespace, "train")
        assert "serve" not in ended.stderr


def test_unknown_namespace(place: Place, jsr: Jsr) -> None:
    ended = jsr.run("status", "train", "-n", "no-such-namespace", namespaced=False)
    one_clear_line(ended, "train", "no-such-namespace")


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[31mred\x1b[0m",
        "../../../api/v1/nodes",
        "a/b",
        "train?watch=1",
        "train%2f..",
        "x" * 300,
        "[bold]x[/bold]",
        "-",
    ],
)
@pytest.mark.parametrize("words", [["status"], ["restart", "--yes"]], ids=["status", "restart"])
def test_names_that_cannot_be(place: Place, jsr: Jsr, words: list[str], name: str) -> None:
    ended = jsr.run(words[0], name, *words[1:])
    assert ended.code in (1, 2), str(ended)
    assert "error:" in ended.stderr.lower(), str(ended)


@pytest.mark.parametrize(
    "words", [["status"], ["restart", "--yes"], ["wait"], ["diagnose"]], ids=lambda words: words[0]
)
def test_kinds_that_are_meant_otherwise(place: Place, jsr: Jsr, words: list[str]) -> None:
    place.create(jobset("train", suspend=True))
    verb, *options = words
    one_clear_line(jsr.run(verb, "jobzet/train", *options), "jobzet", "did you mean jobset", code=2)
    one_clear_line(jsr.run(verb, "deployment", "train", *options), "deployment", "jobset", code=2)
    one_clear_line(jsr.run(verb, "js/train", "serve", *options), "train", "serve", code=2)
    one_clear_line(jsr.run(verb, "job/train", *options), "there is a JobSet train: write jobset/train")
    absent = jsr.run(verb, "lws/train", *options)
    one_clear_line(absent, "LeaderWorkerSet", "there is a JobSet train")
    if verb != "status":
        one_clear_line(jsr.run(verb, "lws", *options), "lws/NAME")


def test_operation_that_does_not_exist(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    place.settled("train")
    one_clear_line(jsr.restart("train", "--resume", "nosuchid"), "nosuchid", code=2)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    "options",
    [
        ["--in-place", "--recreate"],
        ["--in-place", "--via", "suspend"],
        ["--recreate", "--via", "image"],
        ["--recreate", "-c", "worker"],
        ["--via", "image", "--signal", "TERM"],
        ["--via", "signal", "--signal", "NOSUCH"],
        ["--recreate", "--fallback", "recreate"],
        ["--timeout", "soon"],
        ["--timeout", "-5s"],
        ["--via", "magic"],
        ["-o", "xml"],
        ["--concurrency", "0"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_contradictory_and_malformed_options(place: Place, jsr: Jsr, options: list[str]) -> None:
    assert jsr.run("restart", "train", "--yes", *options).exited(2).stderr.strip()


def test_no_terminal_and_no_yes(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train"))
    before = place.settled("train")
    one_clear_line(jsr.run("restart", "train", "--in-place", within=20), "--yes", "nothing was changed", code=2)
    assert_nothing_changed(before, place.picture("train"))


def test_status_of_a_name_in_all_namespaces(place: Place, jsr: Jsr) -> None:
    jsr.run("status", "train", "-A", namespaced=False).exited(2)


def test_finding_that_does_not_exist(jsr: Jsr) -> None:
    one_clear_line(jsr.run("explain", "JSR999", namespaced=False), "JSR999", code=2)
    assert "backoffLimit" in jsr.run("explain", "JSR201", namespaced=False).exited(0).stdout


@pytest.mark.parametrize("content", [None, b"", b"no json\n", b"\xff\xfe\x00", b'{"event": "no such event"}\n'])
def test_event_file_that_is_none(jsr: Jsr, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "events"
    if content is not None:
        file.write_bytes(content)
    ended = jsr.run("replay", str(file), namespaced=False)
    assert ended.code in (1, 2), str(ended)
    assert "events" in ended.stderr


# ---------------------------------------------------------------- kubeconfigs


def test_unknown_context(jsr: Jsr, tmp_path: Path) -> None:
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, context_name="production")
    ended = jsr.run("status", "--context", "prodution", "--kubeconfig", kubeconfig)
    one_clear_line(ended, "prodution", "production")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02\xff",
        b"just words",
        b"- a\n- list\n",
        b"{unclosed: [",
        b"clusters: 7\ncontexts: no\nusers: {}\ncurrent-context: [a]\n",
        b"current-context: gone\nclusters: []\ncontexts: []\nusers: []\n",
        b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\ncurrent-context: c\n",
        b"!!python/object/apply:os.system ['touch owned']\n",
        b'current-context: "\\e[31mred"\nclusters: []\ncontexts: []\nusers: []\n',
    ],
    ids=["empty", "binary", "words", "list", "unclosed", "shapes", "gone", "aliases", "code", "escapes"],
)
def test_kubeconfig_that_is_none(jsr: Jsr, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "spoilt"
    file.write_bytes(content)
    one_clear_line(jsr.run("status", "--kubeconfig", str(file), within=20), "spoilt")
    assert not Path("owned").exists()


def test_kubeconfig_that_cannot_be_read(jsr: Jsr, tmp_path: Path) -> None:
    one_clear_line(jsr.run("status", "--kubeconfig", str(tmp_path / "missing")), "missing")
    one_clear_line(jsr.run("status", "--kubeconfig", str(tmp_path)), str(tmp_path))


def test_no_kubeconfig_at_all(jsr: Jsr) -> None:
    one_clear_line(jsr.run("status", KUBECONFIG=""), "kubeconfig")


def test_server_url_that_is_none(jsr: Jsr, tmp_path: Path) -> None:
    for url in ("", "nonsense", "https://", "ftp://127.0.0.1", "https://127.0.0.1:notaport"):
        kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster={"server": url})
        one_clear_line(jsr.run("status", "--kubeconfig", kubeconfig, within=30))


# ---------------------------------------------------------------- credentials and TLS


def test_refused_credentials(jsr: Jsr, tmp_path: Path) -> None:
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user={"token": "not-a-token"})
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig), "nauthorized")


def test_expired_credentials_of_a_plugin(jsr: Jsr, tmp_path: Path) -> None:
    """The plugin gives the same expired token each time it is asked; that must not go on for ever."""
    plugin = tmp_path / "plugin"
    status = '{"token": "long-expired", "expirationTimestamp": "2020-01-01T00:00:00Z"}'
    credential = f'{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {status}}}'
    plugin.write_text(f"#!/bin/sh\necho '{credential}'\n", encoding="utf-8")
    plugin.chmod(0o700)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user)
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig, within=30), "nauthorized")


@pytest.mark.parametrize("command", ["false", "no-such-credential-plugin"])
def test_plugin_that_fails(jsr: Jsr, tmp_path: Path, command: str) -> None:
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user=kubeconfigs.plugin(command))
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig), command)


def test_certificate_of_another_authority(jsr: Jsr, tmp_path: Path) -> None:
    other = {"certificate-authority-data": None, "certificate-authority": None}
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster=other)
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig), "ertificate")


def test_certificate_for_another_name(jsr: Jsr, tmp_path: Path) -> None:
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster={"tls-server-name": "elsewhere.example"})
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig), "elsewhere.example")


def test_plain_http_to_a_tls_port(jsr: Jsr, tmp_path: Path) -> None:
    url = kubeconfigs.server(jsr.kubeconfig).replace("https://", "http://")
    if ":" not in url.removeprefix("http://"):
        url += ":443"
    plain = {"server": url, "certificate-authority-data": None, "certificate-authority": None}
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster=plain)
    one_clear_line(jsr.run("status", "train", "--kubeconfig", kubeconfig, within=30))


# ---------------------------------------------------------------- servers


def test_api_server_down(jsr: Jsr, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    kubeconfig = kubeconfigs.through(tmp_path, jsr.kubeconfig, port)
    for words in (["status"], ["restart", "train", "--yes"]):
        one_clear_line(jsr.run(*words, "--kubeconfig", kubeconfig, within=30), f"127.0.0.1:{port}")


def test_api_server_that_does_not_answer(jsr: Jsr, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        kubeconfig = kubeconfigs.through(tmp_path, jsr.kubeconfig, port)
        began = time.monotonic()
        one_clear_line(jsr.run("status", "--kubeconfig", kubeconfig, within=60), f"127.0.0.1:{port}")
        assert time.monotonic() - began < 45


class _NoJobSets(BaseHTTPRequestHandler):
    """A Kubernetes API without the JobSet API, or something else altogether."""

    body = b'{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "the server could not find the '
    body += b'requested resource", "reason": "NotFound", "code": 404}'
    kind = "application/json"
    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _WebPage(_NoJobSets):
    body, kind, status = b"<html>\x1b[31mlog in first</html>", "text/html", 200


@pytest.fixture
def other_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("other_server", "words"), [(_NoJobSets, ["JobSet"]), (_WebPage, [])], indirect=["other_server"]
)
@pytest.mark.parametrize("name", [[], ["train"]], ids=["all", "one"])
def test_server_without_jobsets(jsr: Jsr, tmp_path: Path, other_server: str, words: list[str], name: list[str]) -> None:
    plain = {"server": other_server, "certificate-authority-data": None, "certificate-authority": None}
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster=plain, user={})
    one_clear_line(jsr.run("status", *name, "--kubeconfig", kubeconfig, within=30), *words)


# ---------------------------------------------------------------- hostile text


def test_hostile_text_in_pod_statuses(place: Place, jsr: Jsr) -> None:
    """Pods that no scheduler takes have no kubelet either, so their status is ours to write."""
    place.create(jobset("train", replicated_job(pods=1, pod={"schedulerName": "nobody"})))
    (pod,) = place.until_pods("train", lambda pods: len(pods) == 1, "the Pod")
    unmet = {"type": "PodScheduled", "status": "False", "reason": HOSTILE, "message": HOSTILE * 50}
    status = {"reason": HOSTILE, "message": HOSTILE, "conditions": [unmet]}
    place.api.patch("pods", place.namespace, pod["metadata"]["name"], {"status": status}, "status")
    place.until_pods("train", _has_reason, "the hostile status")
    for form in ("table", "wide", "yaml", "json"):
        shown = jsr.run("status", "train", "-o", form).exited(0).stdout
        assert "boom" in shown or form == "table", "shown as text, not swallowed"
        assert "\u202e" not in shown
    refused = jsr.restart("train", "--in-place").exited(3)
    assert "JSR107" in refused.stderr


def _has_reason(pods: list[Object]) -> bool:
    return all("boom" in pod["status"].get("reason", "") for pod in pods)


def test_hostile_record_on_the_jobset(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(pods=1)))
    place.settled("train")
    texts = [
        "not json " + HOSTILE,
        "[]",
        '{"id": 7}',
        '{"id": "x", "owner": "\\u001b[2J[red]evil", "reason": "\\u001b]0;owned\\u0007", "state": "finished"}',
        '{"id": "x", "owner": "e", "heartbeat": "never", "started": "\\u0000", "deadline": "-1"}',
        '{"id": "x", "state": "running", "heartbeat": "9999-12-31T23:59:59Z", "trigger": "magic"}',
    ]
    for text in texts:
        place.api.patch("jobsets", place.namespace, "train", {"metadata": {"annotations": {OPERATION: text}}})
        place.until_jobset("train", _carries(text), "the annotation")
        for form in ("table", "json"):
            jsr.run("status", "train", "-o", form).exited(0)
        jsr.run("restart", "train", "--in-place", "--dry-run=client").exited(0)
    ended = jsr.restart("train", "--resume", "x")
    assert ended.code in (2, 6), str(ended)


def _carries(text: str) -> Callable[[Object], bool]:
    return lambda found: _annotation(found) == text


def _annotation(found: Object) -> str:
    return str(found["metadata"].get("annotations", {}).get(OPERATION, ""))
