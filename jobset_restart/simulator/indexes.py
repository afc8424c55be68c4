"""The indexes of the store: objects by owner, label and node. Pure."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]
Key = tuple[str, str]
INDEXED_LABELS = ("jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-name")


class Indexes:
    """Which objects have a term, such as ("owner", UID), by resource. Events have none."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], dict[Key, None]] = {}

    def keys(self, resource: str, index: str, value: str) -> tuple[Key, ...]:
        """Those of the objects with this term, oldest first."""
        return tuple(self._keys.get((resource, index, value), ()))

    def change(self, resource: str, key: Key, new: Obj | None, old: Obj | None) -> None:
        """An object is another now, is new (`old` None) or gone (`new` None)."""
        if resource == "events" or (new and old and _indexed_alike(new, old)):
            return
        after, before = _index_terms(resource, new), _index_terms(resource, old)
        if after == before:
            return
        for term in before - after:
            entries = self._keys[resource, *term]
            del entries[key]
            if not entries:
                del self._keys[resource, *term]
        for term in after - before:
            self._keys.setdefault((resource, *term), {})[key] = None


def _indexed_alike(new: Obj, old: Obj) -> bool:
    """Whether two versions share everything that the indexes are made from."""
    meta, before = new["metadata"], old["metadata"]
    shared = meta.get("labels") is before.get("labels") and meta.get("ownerReferences") is before.get("ownerReferences")
    return shared and new.get("spec") is old.get("spec")


def _index_terms(resource: str, obj: Obj | None) -> set[tuple[str, str]]:
    if obj is None:
        return set()
    meta = obj["metadata"]
    terms = {("owner", ref["uid"]) for ref in meta.get("ownerReferences") or ()}
    labels = meta.get("labels") or {}
    terms.update((label, labels[label]) for label in INDEXED_LABELS if label in labels)
    if resource == "pods" and obj.get("spec", {}).get("nodeName"):
        terms.add(("node", obj["spec"]["nodeName"]))
    return terms
