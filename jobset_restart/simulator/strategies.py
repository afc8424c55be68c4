"""What a registry decides about a write: what of an object it may touch, and whether a deleted one stays. Pure."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.resources import Resource

Obj = dict[str, Any]


def held(obj: Obj) -> bool:
    """Whether an object that is being deleted stays: finalizers (a namespace's are in its spec), or time to stop."""
    meta = obj["metadata"]
    if meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
        return True
    return obj["kind"] == "Namespace" and bool(obj.get("spec", {}).get("finalizers"))


def merged(kind: Resource, obj: Obj, old: Obj, subresource: str) -> Obj:
    """What an update through the main resource or /status may touch (the strategies' PrepareForUpdate)."""
    typed = {"apiVersion": kind.api_version, "kind": kind.kind}
    if subresource == "binding":  # BindingREST.setPodNodeAndMetadata: node and PodScheduled in one write
        return {**obj, **typed}
    if subresource == "status":
        meta = obj["metadata"] if kind.status_metadata else old["metadata"]
        new = {**old, "metadata": meta, "status": obj.get("status", {})}
        if meta is not old["metadata"] and kind.status_metadata and "ownerReferences" in old["metadata"]:
            new["metadata"] = meta | {"ownerReferences": old["metadata"]["ownerReferences"]}
        return new
    new = {**obj, **typed}
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def grace(resource: str, old: Obj, wanted: int | None) -> int:
    """Seconds a deletion gives the object (podStrategy.CheckGracefulDelete); everything but Pods goes at once."""
    if resource != "pods":
        return 0
    if not old["spec"].get("nodeName") or old.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    return int(old["spec"].get("terminationGracePeriodSeconds", 30)) if wanted is None else max(wanted, 0)
