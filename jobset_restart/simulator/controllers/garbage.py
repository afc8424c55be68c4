"""The garbage collector (owner references), and what makes and unmakes namespaces and what belongs in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.store import FOREGROUND, ORPHAN, Key, Obj, Store, key_of

ROOT_CA = "kube-root-ca.crt"
_OWNED = tuple(name for name in RESOURCES if name not in ("events", "nodes", "namespaces"))
_NAMESPACED = tuple(name for name, resource in RESOURCES.items() if resource.namespaced)
_BY_KIND = {(each.api_version, each.kind): name for name, each in RESOURCES.items()}
_GONE, _OWNER, _ITEM, _NAMESPACE = "gone", "owner/", "item/", "namespace"


class GarbageController:
    """Keys: ("gone", UID of an owner), ("owner/RESOURCE", "NAMESPACE/NAME") of an object that is being deleted with
    or without its dependents, ("item/RESOURCE", "NAMESPACE/NAME") of one whose owners have to be looked at, and
    ("namespace", name)."""

    def __init__(self, profile: Profile) -> None:
        self._collect = profile.collect
        self._content: Counter[str] = Counter()
        """Objects per namespace, Events apart: they neither have dependents nor wait for anything."""

    def wakes(
        self, store: Store, resource: str, change: str, obj: Obj, _old: Obj | None
    ) -> Iterator[tuple[Key, float]]:
        """Deletions, beginnings of deletions, and objects that come with owners."""
        meta = obj["metadata"]
        if change != "MODIFIED" and RESOURCES[resource].namespaced:
            self._content[meta["namespace"]] += 1 if change == "ADDED" else -1
        if change == "DELETED":
            yield from self._deleted(store, resource, obj)
        elif resource == "namespaces":
            yield (_NAMESPACE, meta["name"]), self._collect
        elif change == "ADDED" and meta.get("ownerReferences"):
            yield _key(_ITEM, resource, obj), self._collect
        elif "deletionTimestamp" in meta and {FOREGROUND, ORPHAN} & set(meta.get("finalizers") or ()):
            yield _key(_OWNER, resource, obj), self._collect

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        """Act on one key; never looks again by itself."""
        kind, name = key
        if kind == _GONE:
            for resource in _OWNED:
                for item in store.by_owner(name, resource):
                    _attempt_to_delete(store, resource, item, now)
        elif kind == _NAMESPACE:
            self._sync_namespace(store, name, now)
        else:
            kind, _, resource = kind.partition("/")
            found = store.find(resource, *_split(name))
            if found and f"{kind}/" == _ITEM:
                _attempt_to_delete(store, resource, found, now)
            elif found and "deletionTimestamp" in found["metadata"]:
                _release_owner(store, resource, found, now)
        return None

    def _deleted(self, store: Store, resource: str, obj: Obj) -> Iterator[tuple[Key, float]]:
        meta = obj["metadata"]
        if any(store.by_owner(meta["uid"], each) for each in _OWNED):
            yield (_GONE, meta["uid"]), self._collect
        for ref in meta.get("ownerReferences") or ():
            owner = _owner(store, obj, ref)
            if owner and _waits(owner):
                yield _key(_OWNER, _resource_of(ref) or "", owner), self._collect
        if not RESOURCES[resource].namespaced:
            return
        namespace = meta["namespace"]
        if not self._content[namespace]:
            del self._content[namespace]
            yield (_NAMESPACE, namespace), self._collect
        elif (resource, meta["name"]) in (("configmaps", ROOT_CA), ("serviceaccounts", "default")):
            yield (_NAMESPACE, namespace), self._collect

    def _sync_namespace(self, store: Store, name: str, now: float) -> None:
        """The service account, root CA and namespace controllers."""
        namespace = store.find("namespaces", "", name)
        if namespace is None:
            return
        if "deletionTimestamp" not in namespace["metadata"]:
            if not store.find("serviceaccounts", name, "default"):
                store.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}}, now)
            if not store.find("configmaps", name, ROOT_CA):
                note = {
                    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver"
                }
                meta = {"name": ROOT_CA, "namespace": name, "annotations": note}
                store.create("configmaps", {"metadata": meta, "data": {"ca.crt": ""}}, now)
            return
        for resource in _NAMESPACED if self._content[name] else ("events",):
            for obj in store.list(resource, name):
                if "deletionTimestamp" not in obj["metadata"]:
                    store.delete(resource, name, obj["metadata"]["name"], now, propagation="Background")
        if not self._content[name] and namespace.get("spec", {}).get("finalizers"):
            store.update("namespaces", {**namespace, "spec": {}}, now, subresource="finalize")


def _attempt_to_delete(store: Store, resource: str, item: Obj, now: float) -> None:
    """``attemptToDeleteItem``: away with what has no owner left, or only owners that wait for it to go.

    An owner of a kind that is not known here cannot be looked up, and so is never taken for gone.
    """
    meta = item["metadata"]
    refs = meta.get("ownerReferences") or []
    if "deletionTimestamp" in meta or not refs or any(_resource_of(ref) is None for ref in refs):
        return
    owners = [(ref, _owner(store, item, ref)) for ref in refs]
    waiting = [ref for ref, owner in owners if owner and _waits(owner)]
    solid = [ref for ref, owner in owners if owner and not _waits(owner)]
    if solid:
        if len(solid) != len(refs):
            store.update(resource, {**item, "metadata": {**meta, "ownerReferences": solid}}, now)
        return
    policy = "Background"
    if ORPHAN in (meta.get("finalizers") or ()):
        policy = "Orphan"
    elif FOREGROUND in (meta.get("finalizers") or ()) or (waiting and _dependents(store, item)):
        policy = "Foreground"
    store.delete(resource, *key_of(item), now, propagation=policy, uid=meta["uid"])


def _release_owner(store: Store, resource: str, owner: Obj, now: float) -> None:
    """``processDeletingDependentsItem`` and ``attemptToOrphan``: deal with dependents, then drop the finalizer."""
    uid = owner["metadata"]["uid"]
    finalizers = owner["metadata"].get("finalizers") or ()
    if FOREGROUND in finalizers:
        blocking = [(name, item) for name, item in _dependents(store, owner) if _blocks(item, uid)]
        for name, item in blocking:
            _attempt_to_delete(store, name, item, now)
        if any(_blocks(item, uid) for _, item in _dependents(store, owner)):
            return
        _drop_finalizer(store, resource, owner, FOREGROUND, now)
    elif ORPHAN in finalizers:
        for name, item in _dependents(store, owner):
            meta = dict(item["metadata"])
            meta["ownerReferences"] = [ref for ref in meta["ownerReferences"] if ref["uid"] != uid]
            if not meta["ownerReferences"]:
                del meta["ownerReferences"]
            store.update(name, {**item, "metadata": meta}, now)
        _drop_finalizer(store, resource, owner, ORPHAN, now)


def _drop_finalizer(store: Store, resource: str, owner: Obj, finalizer: str, now: float) -> None:
    fresh = store.find(resource, *key_of(owner))
    if fresh is None or fresh["metadata"]["uid"] != owner["metadata"]["uid"]:
        return
    left = [each for each in fresh["metadata"].get("finalizers") or () if each != finalizer]
    meta = {name: value for name, value in fresh["metadata"].items() if name != "finalizers"}
    store.update(resource, {**fresh, "metadata": meta | ({"finalizers": left} if left else {})}, now)


def _dependents(store: Store, owner: Obj) -> list[tuple[str, Obj]]:
    uid = owner["metadata"]["uid"]
    return [(resource, item) for resource in _OWNED for item in store.by_owner(uid, resource)]


def _blocks(item: Obj, uid: str) -> bool:
    refs = item["metadata"].get("ownerReferences") or ()
    return any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in refs)


def _waits(owner: Obj) -> bool:
    """Being deleted in the foreground."""
    meta = owner["metadata"]
    return "deletionTimestamp" in meta and FOREGROUND in (meta.get("finalizers") or ())


def _owner(store: Store, item: Obj, ref: Obj) -> Obj | None:
    """The object an owner reference means, if it exists."""
    resource = _resource_of(ref)
    if resource is None:
        return None
    namespace = item["metadata"].get("namespace", "") if RESOURCES[resource].namespaced else ""
    found = store.find(resource, namespace, ref["name"])
    return found if found and found["metadata"]["uid"] == ref["uid"] else None


def _resource_of(ref: Obj) -> str | None:
    return _BY_KIND.get((ref["apiVersion"], ref["kind"]))


def _key(kind: str, resource: str, obj: Obj) -> Key:
    return kind + resource, "/".join(key_of(obj))


def _split(name: str) -> Key:
    namespace, _, rest = name.partition("/")
    return namespace, rest
