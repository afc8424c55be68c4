"""Kubeconfigs made from the cluster's own: other credentials, another way there, or spoilt."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Config = dict[str, Any]


def load(kubeconfig: str) -> Config:
    config: Config = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
    return config


def server(kubeconfig: str) -> str:
    return str(load(kubeconfig)["clusters"][0]["cluster"]["server"])


def authority(kubeconfig: str) -> bytes:
    """The certificate authority of the cluster, PEM."""
    cluster = load(kubeconfig)["clusters"][0]["cluster"]
    if "certificate-authority-data" in cluster:
        return base64.b64decode(cluster["certificate-authority-data"])
    return Path(kubeconfig).parent.joinpath(cluster["certificate-authority"]).read_bytes()


def write(
    folder: Path,
    kubeconfig: str,
    *,
    cluster: Config | None = None,
    user: Config | None = None,
    context: Config | None = None,
    context_name: str = "test",
    names: str = "test",
) -> str:
    """A kubeconfig of one cluster, user and context: the given one's, with these fields changed (None: taken away)
    and with `user` in the place of its user. `names` is what cluster and user are called. Returns its path."""
    old = load(kubeconfig)
    reached = {**old["clusters"][0]["cluster"], **(cluster or {})}
    if reached.get("certificate-authority"):
        reached["certificate-authority"] = str(Path(kubeconfig).parent / reached["certificate-authority"])
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context_name,
        "clusters": [{"name": names, "cluster": {k: v for k, v in reached.items() if v is not None}}],
        "users": [{"name": names, "user": old["users"][0]["user"] if user is None else user}],
        "contexts": [{"name": context_name, "context": {"cluster": names, "user": names, **(context or {})}}],
    }
    path = folder / f"kubeconfig-{len([*folder.glob('kubeconfig-*')])}"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def through(folder: Path, kubeconfig: str, port: int) -> str:
    """The same cluster by way of a port of this machine, its certificate still checked against its own name."""
    name = urlsplit(server(kubeconfig)).hostname
    return write(folder, kubeconfig, cluster={"server": f"https://127.0.0.1:{port}", "tls-server-name": name})


def plugin(command: str) -> Config:
    """A user whose credentials a command gives."""
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": command, "interactiveMode": "Never"}}
