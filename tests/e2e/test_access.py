"""Who may, and by which way they come: fewer permissions, impersonation, and a Pod's service account."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.e2e import kubeconfigs
from tests.e2e.command import Jsr
from tests.e2e.manifests import jobset
from tests.e2e.picture import assert_nothing_changed, assert_recreated, assert_restarted_in_place
from tests.e2e.place import Place


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
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text(place.token("restarter"), encoding="utf-8")
    (account / "ca.crt").write_bytes(kubeconfigs.authority(jsr.kubeconfig))
    (account / "namespace").write_text(place.namespace, encoding="utf-8")
    server = urlsplit(kubeconfigs.server(jsr.kubeconfig))
    pod: dict[str, Any] = {
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port or 443),
        "JSR_SERVICE_ACCOUNT_DIR": str(account),
    }
    status = jsr.run("status", "train", "-o", "json", namespaced=False, **pod).exited(0).document
    assert (status["namespace"], status["ready"]) == (place.namespace, 2)
    jsr.run("restart", "train", "--in-place", "--yes", namespaced=False, **pod).exited(0)
    assert_restarted_in_place(before, place.settled("train"))


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
