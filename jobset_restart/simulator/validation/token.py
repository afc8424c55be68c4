"""The token that the plugin ServiceAccount mounts into a Pod (plugin/pkg/admission/serviceaccount)."""

from __future__ import annotations

from jobset_restart.simulator.store import Obj, Objs

PREFIX = "kube-api-access-"
PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAMESPACE = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
_VOLUME: Obj = {
    "defaultMode": 420,
    "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [_NAMESPACE]}},
    ],
}
"""``TokenVolumeSource``; all Pods share it."""


def with_token(spec: Obj, uid: str) -> Obj:
    """A new Pod's spec with the token's volume, mounted wherever nothing else is (``mountServiceAccountToken``).

    The volume's random name comes of the Pod's ``uid``. That a ServiceAccount may say no to it for all its Pods is not
    modelled, and refused.
    """
    if spec.get("automountServiceAccountToken") is False:
        return spec
    volumes: Objs = spec.get("volumes") or []
    there = [each["name"] for each in volumes if each["name"].startswith(PREFIX)]
    name = there[0] if there else PREFIX + _suffix(uid)
    mount = {"name": name, "mountPath": PATH, "readOnly": True}
    filled = {**spec}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            filled[field] = [_mounted(each, mount) for each in spec[field]]
    needed = any(filled.get(field) != spec.get(field) for field in ("initContainers", "containers"))
    if needed and not there:
        filled["volumes"] = [*volumes, {"name": name, "projected": _VOLUME}]
    return filled


def _mounted(container: Obj, mount: Obj) -> Obj:
    mounts: Objs = container.get("volumeMounts") or []
    if any(each["mountPath"] == PATH for each in mounts):
        return container
    return {**container, "volumeMounts": [*mounts, mount]}


def _suffix(uid: str) -> str:
    """Five characters, as ``names.SimpleNameGenerator`` has them."""
    number, text = int(uid.replace("-", ""), 16), ""
    for _ in range(5):
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text
