"""The environment variables of a container (``makeEnvironmentVariables``), as far as the model goes."""

from __future__ import annotations

import re

from jobset_restart.simulator.store import Obj

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_STATUS = {"status.podIP": "podIP", "status.hostIP": "hostIP"}


def environment(spec: Obj, pod: Obj) -> dict[str, str]:
    """Names and values; what comes from ConfigMaps, Secrets and resources is left out."""
    values: dict[str, str] = {}
    for each in spec.get("env") or ():
        source = (each.get("valueFrom") or {}).get("fieldRef")
        if source:
            values[each["name"]] = field(pod, source["fieldPath"])
        elif "valueFrom" not in each:
            text = str(each.get("value") or "")
            values[each["name"]] = re.sub(r"\$\((\w+)\)", lambda found: values.get(found[1], found[0]), text)
    return values


def field(pod: Obj, path: str) -> str:
    """The value of a downward API field path (``podFieldSelectorRuntimeValue``)."""
    meta, status = pod["metadata"], pod.get("status") or {}
    found = _SUBSCRIPT.fullmatch(path)
    if found:
        return str((meta.get(found[1]) or {}).get(found[2], ""))
    if path in _STATUS:
        return str(status.get(_STATUS[path], ""))
    if path in ("metadata.name", "metadata.namespace", "metadata.uid"):
        return str(meta[path.partition(".")[2]])
    return str(pod["spec"].get(path.removeprefix("spec."), "")) if path.startswith("spec.") else ""


def hostname(pod: Obj) -> str:
    """``GeneratePodHostNameAndDomain``: at most 63 characters."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")
