"""Who may, and by which way they come: fewer permissions, impersonation, and a Pod's service account."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e import kubeconfigs
from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, jobset, replicated_job
from tests.e2e.picture import assert_nothing_changed, assert_recreated, assert_restarted_in_place
from tests.e2e.place import Place
from tests.e2e.relay import Proxy


def test_missing_permissions_are_named_as_a_rule(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.grant("reader")
    place.create(jobset("train"))
    before = place.settled("train")
    user = {"token": place.token("reader")}
    reader = Jsr(kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user), place.namespace, tmp_path)
    ended = reader.restart("train", "--in-place").exited(3)
    assert "JSR601" in ended.stderr
    rules = _rules(ended.stderr)
    assert "patch" in rules["", "pods"]
    assert "patch" in rules["jobset.x-k8s.io", "jobsets"]
    assert_nothing_changed(before, place.picture("train"))


def _rules(text: str) -> dict[tuple[str, str], set[str]]:
    """The RBAC rules printed as YAML lines: verbs by group and resource."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in text.splitlines():
        if not line.strip().startswith("- {apiGroups:") and not line.strip().startswith("- apiGroups:"):
            continue
        (rule,) = yaml.safe_load(line.strip())
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_status_without_the_permission_to_see_nodes(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.grant("reader")
    place.create(jobset("train"))
    place.settled("train")
    user = {"token": place.token("reader")}
    reader = Jsr(kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user), place.namespace, tmp_path)
    status = reader.status("train")
    assert (status["state"], status["ready"]) == ("Running", 2)
    assert any("odes" in note for note in status["notes"] + [f["summary"] for f in status["advice"]["findings"]])


def test_no_permission_at_all(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train"))
    place.settled("train")
    user = {"token": place.token("default")}
    nobody = Jsr(kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user), place.namespace, tmp_path)
    for words in (["status", "train"], ["status"], ["restart", "train", "--yes"]):
        ended = nobody.run(*words).exited(1)
        assert "is forbidden" in ended.stderr
        assert "hint:" in ended.stderr


def test_least_privilege_is_enough(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.grant("restarter")
    place.create(jobset("train"))
    before = place.settled("train")
    user = {"token": place.token("restarter")}
    restarter = Jsr(kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user), place.namespace, tmp_path)
    restarter.restart("train", "--in-place").exited(0)
    between = place.settled("train")
    assert_restarted_in_place(before, between)
    restarter.restart("train", "--recreate").exited(0)
    assert_recreated(between, place.settled("train"), same_jobs=True)


def test_as_somebody_else(place: Place, jsr: Jsr) -> None:
    place.grant("reader")
    place.create(jobset("train"))
    before = place.settled("train")
    reader = f"system:serviceaccount:{place.namespace}:reader"
    assert jsr.run("status", "train", "--as", reader, "-o", "json").exited(0).document["ready"] == 2
    ended = jsr.restart("train", "--in-place", "--as", reader).exited(3)
    assert "JSR601" in ended.stderr
    assert_nothing_changed(before, place.picture("train"))


def test_as_a_pod_does(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """With nothing but what a Pod finds: the token, the authority and the namespace in files, the address in the
    environment."""
    place.grant("restarter")
    place.create(jobset("train"))
    before = place.settled("train")
    pod = _as_a_pod(place, jsr, tmp_path / "serviceaccount")
    status = jsr.run("status", "train", "-o", "json", namespaced=False, **pod).exited(0).document
    assert (status["namespace"], status["ready"]) == (place.namespace, 2)
    jsr.run("restart", "train", "--in-place", "--yes", namespaced=False, **pod).exited(0)
    assert_restarted_in_place(before, place.settled("train"))


def test_as_a_pod_does_for_longer_than_a_token_lives(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """The watch sees the end of a restart of more than 30 s though token and authority were written anew meanwhile."""
    place.grant("restarter")
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=36)))
    before = place.settled("train")
    account = tmp_path / "serviceaccount"
    pod = _as_a_pod(place, jsr, account)
    running = jsr.start("restart", "train", "--in-place", "--yes", "--timeout", "100s", namespaced=False, **pod)
    place.until_claimed("train")
    (account / "token").write_text(place.token("restarter"), encoding="utf-8")
    (account / "ca.crt").write_bytes(kubeconfigs.authority(jsr.kubeconfig) + b"\n# written anew\n")
    ended = running.wait(150).exited(0)
    assert "away" not in ended.stderr
    assert_restarted_in_place(before, place.settled("train"))


def _as_a_pod(place: Place, jsr: Jsr, account: Path) -> dict[str, Any]:
    """What a Pod of the ServiceAccount `restarter` finds, in the folder `account`; returns its environment."""
    account.mkdir()
    (account / "token").write_text(place.token("restarter"), encoding="utf-8")
    (account / "ca.crt").write_bytes(kubeconfigs.authority(jsr.kubeconfig))
    (account / "namespace").write_text(place.namespace, encoding="utf-8")
    server = urlsplit(kubeconfigs.server(jsr.kubeconfig))
    return {
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port or 443),
        "JSR_SERVICE_ACCOUNT_DIR": str(account),
    }


def test_the_first_kubeconfig_names_the_cluster(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", suspend=True))
    elsewhere = {"server": "https://127.0.0.1:9"}
    here = kubeconfigs.write(tmp_path, jsr.kubeconfig, context_name="here")
    there = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster=elsewhere, context_name="there", names="other")
    both = jsr.run("status", "train", "-o", "json", KUBECONFIG=f"{here}:{there}").exited(0)
    assert both.document["context"] == "here"
    assert "127.0.0.1:9" in jsr.run("status", "train", KUBECONFIG=f"{there}:{here}", within=30).exited(1).stderr


def test_loopback_is_not_proxied_by_the_environment(place: Place, jsr: Jsr) -> None:
    if urlsplit(kubeconfigs.server(jsr.kubeconfig)).hostname not in ("127.0.0.1", "localhost"):
        pytest.skip("the API server is not on loopback")
    place.create(jobset("train", suspend=True))
    jsr.run("status", "train", HTTPS_PROXY="http://127.0.0.1:9", ALL_PROXY="socks5://127.0.0.1:9").exited(0)


# ---------------------------------------------------------------- credentials

CANARY = "c4n4ry-0123456789abcdef"


def test_no_credential_in_anything_that_is_said_or_written(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """Neither the token nor the proxy's password: in tables, documents, progress, the event file and the record, also
    while the connection is away."""
    place.grant("restarter")
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=6)))
    place.settled("train")
    token = place.token("restarter")
    events = tmp_path / "events.jsonl"
    with Proxy(kubeconfigs.server(jsr.kubeconfig), "me", CANARY) as proxy:
        kubeconfig = _proxied(tmp_path, jsr.kubeconfig, proxy.port, CANARY, token)
        away = Jsr(kubeconfig, place.namespace, tmp_path)
        running = away.start("restart", "train", "--in-place", "--yes", "-v", "-o", "json", "--events", str(events))
        record = place.until_claimed("train")
        place.until_pods(
            "train",
            lambda pods: all(record["id"] in str(pod["metadata"].get("annotations")) for pod in pods),
            "the marks",
        )
        proxy.cut()
        running.until_said("away")
        proxy.mend()
        running.wait(120).exited(0)
        away.run("status", "train").exited(0)
        away.run("status", "train", "-o", "yaml").exited(0)
        wrong = Jsr(_proxied(tmp_path, jsr.kubeconfig, proxy.port, f"{CANARY}-x", token), place.namespace, tmp_path)
        assert "the proxy" in wrong.run("status", "train", within=30).exited(1).stderr
        proxy.cut()
        assert "the proxy" in away.run("status", "train", within=60).exited(1).stderr
        everything = [away.said(), wrong.said(), events.read_text(encoding="utf-8"), str(place.jobset("train"))]
    for secret in (CANARY, token, base64.b64encode(f"me:{CANARY}".encode()).decode()):
        assert all(secret not in text for text in everything)


def _proxied(folder: Path, kubeconfig: str, port: int, password: str, token: str) -> str:
    proxy = {"proxy-url": f"http://me:{password}@127.0.0.1:{port}"}
    return kubeconfigs.write(folder, kubeconfig, cluster=proxy, user={"token": token})


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a token": ({}, {"token": CANARY}),
    "a token of two lines": ({}, {"token": f"{CANARY}\n{CANARY}"}),
    "a password": ({}, {"username": "me", "password": CANARY}),
    "a password in the URL": ({"server": f"https://me:{CANARY}@127.0.0.1:9"}, {}),
    "a SOCKS proxy": ({"proxy-url": f"socks5://me:{CANARY}@127.0.0.1:9"}, {}),
    "what is no proxy": ({"proxy-url": f"ftp://me:{CANARY}@127.0.0.1:9"}, {}),
}


@pytest.mark.parametrize(("way", "user"), WRONG.values(), ids=WRONG.keys())
def test_no_credential_in_what_is_said_of_a_wrong_one(
    jsr: Jsr, tmp_path: Path, way: dict[str, Any], user: dict[str, Any]
) -> None:
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, cluster=way, user=user)
    for words in (["status", "train"], ["restart", "train", "--yes", "-v", "-o", "json"]):
        ended = jsr.run(*words, "--kubeconfig", kubeconfig, within=30).exited(1)
        assert CANARY not in ended.stdout + ended.stderr
        assert "Unclosed" not in ended.stderr


def test_no_credential_of_a_plugin_that_fails(jsr: Jsr, tmp_path: Path) -> None:
    script = f"#!/bin/sh\necho {CANARY}\necho 'token={CANARY}: sign in again' >&2\nexit 1\n"
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user=_plugin(tmp_path, script))
    ended = jsr.run("status", "train", "--kubeconfig", kubeconfig, within=30).exited(1)
    assert "sign in again" in ended.stderr
    assert CANARY not in ended.stdout + ended.stderr


def test_a_plugin_that_hangs_ends_with_ctrl_c(jsr: Jsr, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = f"#!/bin/sh\necho $$ > {begun}.new\nmv {begun}.new {begun}\nexec sleep 1000\n"
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user=_plugin(tmp_path, script))
    running = jsr.start("status", "train", "--kubeconfig", kubeconfig)
    end = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < end, str(running)
        time.sleep(0.05)
    running.interrupt()
    running.wait(60).exited(130)
    assert not Path(f"/proc/{begun.read_text().strip()}").exists()


def _plugin(folder: Path, script: str) -> dict[str, Any]:
    path = folder / "plugin"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o700)
    return kubeconfigs.plugin(str(path))


def test_a_killed_client_leaves_no_key_in_the_temporary_folder(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    """The cluster's own kubeconfig holds its authority, and on most the user's key, as data."""
    assert "certificate-authority-data" in kubeconfigs.load(jsr.kubeconfig)["clusters"][0]["cluster"]
    place.create(jobset("train", replicated_job("workers", container(command=IGNORES_TERM), grace=5)))
    place.settled("train")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    running = jsr.start("restart", "train", "--in-place", "--yes", TMPDIR=str(temporary))
    place.until_claimed("train")
    running.kill()
    assert [*temporary.iterdir()] == []


def test_namespace_of_the_context(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.create(jobset("train", suspend=True))
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, context={"namespace": place.namespace})
    mine = Jsr(kubeconfig, place.namespace, tmp_path)
    assert mine.run("status", "train", "-o", "json", namespaced=False).exited(0).document["state"] == "Suspended"


def test_credential_plugin(place: Place, jsr: Jsr, tmp_path: Path) -> None:
    place.grant("reader")
    place.create(jobset("train", suspend=True))
    plugin = tmp_path / "plugin"
    credential = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "{place.token("reader")}"}}}}'
    )
    plugin.write_text(f"#!/bin/sh\necho '{credential}'\n", encoding="utf-8")
    plugin.chmod(0o700)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    kubeconfig = kubeconfigs.write(tmp_path, jsr.kubeconfig, user=user)
    ended = jsr.run("status", "train", "-o", "name", "--kubeconfig", kubeconfig)
    assert ended.exited(0).stdout.strip() == "jobset.jobset.x-k8s.io/train"
