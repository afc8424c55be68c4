"""The embedded cluster's etcd and registry: raw dicts, optimistic concurrency, finalizers, a watch window.

Rules of the house:

* Objects that come out are shared and never mutated. Objects that go in belong to the store from then on. A new
  version is made by copying the path to the change (``patch.merge`` does that), so versions share what is equal.
* There is no clock: ``now`` is seconds since the epoch, and comes in with every write.
* ``admit`` is the whole of admission: it returns the object with its defaults, or raises ``StoreError``.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from jobset_restart.simulator import strategies
from jobset_restart.simulator.indexes import Indexes
from jobset_restart.simulator.resources import RESOURCES, qualified
from jobset_restart.simulator.strategies import held, merged

Obj = dict[str, Any]
Objs = list[Obj]
Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is ""."""

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
EVENTS_SHARE = 10
"""Of Events a watch can resume from so many times fewer changes: most changes are Events, and hardly anyone watches."""


class StoreError(Exception):
    """A refusal, as the API server would word it.

    ``code`` is the HTTP status, ``reason`` the StatusReason, ``details`` the Status' details (name, kind, causes).
    """

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self) -> Obj:
        """This refusal as a ``v1.Status``."""
        body: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        return body | {"reason": self.reason, "details": self.details, "code": self.code}


class Change(NamedTuple):
    """One entry of the watch window. ``type`` is ADDED, MODIFIED or DELETED."""

    version: int
    type: str
    obj: Obj
    old: Obj | None


NAMESPACE_TERMINATING = "NamespaceTerminating"
Changes = list[Change]
Admit = Callable[[str, Obj, Obj | None, str], Obj]
"""(resource, new, old or None on create, subresource) -> the object with defaults; raises StoreError."""
Guard = Callable[["Store", str, Obj, float, bool], None]
"""(store, resource, new object, now, dry run), called before an admitted object is created; raises StoreError."""
Callback = Callable[[str, str, Obj, Obj | None], None]
"""(resource, type, obj, old), called synchronously after each change."""


@lru_cache(maxsize=4096)
def _rendered(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp(now: float) -> str:
    """``now`` (seconds since the epoch) as metav1.Time writes it: whole seconds, UTC."""
    return _rendered(int(now))


def micro_timestamp(now: float) -> str:
    """``now`` as metav1.MicroTime writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=4096)
def seconds(text: str) -> float:
    """The inverse of ``timestamp`` and ``micro_timestamp``."""
    return datetime.fromisoformat(text).timestamp()


def key_of(obj: Obj) -> Key:
    """(namespace, name) of an object."""
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with ``controller: true`` (metav1.GetControllerOf)."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            return dict(ref)
    return None


class Store:
    """All objects, their indexes and the watch window. ``resource_version`` is the version of the last write.

    ``window`` bounds how many changes per resource a watch can resume from; ``seed`` makes UIDs and generated names
    repeatable.
    """

    def __init__(
        self, admit: Admit | None = None, *, seed: int = 0, window: int = 20_000, guard: Guard | None = None
    ) -> None:
        self._guard = guard
        self.resource_version = 1
        self._admit = admit
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._objects: dict[str, dict[Key, Obj]] = {name: {} for name in RESOURCES}
        self._indexes = Indexes()
        self._log: dict[str, list[Change]] = {name: [] for name in RESOURCES}
        self._floor: dict[str, int] = dict.fromkeys(RESOURCES, 0)
        self._window = window
        self._callbacks: list[Callback] = []

    # Reading

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        """The object, or None. Never mutate it."""
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """The object. Never mutate it. Raises 404 NotFound."""
        found = self.find(resource, namespace, name)
        if found is None:
            details = {"name": name, "group": RESOURCES[resource].group, "kind": resource}
            raise StoreError(404, "NotFound", f'{qualified(resource)} "{name}" not found', details)
        return found

    def list(self, resource: str, namespace: str | None = None, match: Callable[[Obj], bool] | None = None) -> Objs:
        """Objects in key order, of one namespace or (None) of all, filtered by ``match``."""
        objects = self._objects[resource]
        return [
            obj
            for key, obj in sorted(objects.items(), key=lambda item: item[0])
            if (namespace is None or key[0] == namespace) and (match is None or match(obj))
        ]

    def all(self, resource: str) -> Iterable[Obj]:
        """Every object of a resource, oldest first; do not write while iterating."""
        return self._objects[resource].values()

    def count(self, resource: str) -> int:
        return len(self._objects[resource])

    def by_owner(self, uid: str, resource: str = "pods") -> Objs:
        """Objects of ``resource`` with an owner reference to ``uid``."""
        return self._indexed(resource, "owner", uid)

    def by_label(self, resource: str, label: str, value: str) -> Objs:
        """Objects of ``resource`` carrying one of ``INDEXED_LABELS`` with ``value``, in any namespace."""
        return self._indexed(resource, label, value)

    def by_node(self, node: str) -> Objs:
        """Pods bound to ``node``."""
        return self._indexed("pods", "node", node)

    def log(self, resource: str, since: int) -> Changes:
        """Changes of ``resource`` after version ``since``, oldest first. Raises 410 Expired below the window."""
        if since < self._floor[resource]:
            raise StoreError(410, "Expired", f"too old resource version: {since} ({self._floor[resource]})")
        entries = self._log[resource]
        return entries[bisect_right(entries, since, key=lambda change: change.version) :]

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` after every change, in order, before the write returns. Returns the way to stop it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    # Writing

    def create(self, resource: str, obj: Obj, now: float, *, dry_run: bool = False, valid: bool = False) -> Obj:
        """Store a new object; fills uid, resourceVersion, creationTimestamp, generation, name from generateName.
        ``valid``: it is known to be, with its defaults, and admission is not asked.

        Raises 404 (no such namespace), 403 (namespace terminating), 409 AlreadyExists, and what admission raises.
        """
        kind = RESOURCES[resource]
        meta = {name: value for name, value in obj.get("metadata", {}).items() if value is not None}
        namespace = meta.get("namespace", "") if kind.namespaced else ""
        if kind.namespaced:
            self._open_namespace(resource, namespace, meta.get("name", ""))
        else:
            meta.pop("namespace", None)
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise StoreError(422, "Invalid", f"{kind.kind} is invalid: name or generateName is required")
            meta["name"] = meta["generateName"] + self._suffix()
        if (namespace, meta["name"]) in self._objects[resource]:
            details = {"name": meta["name"], "group": kind.group, "kind": resource}
            raise StoreError(409, "AlreadyExists", f'{qualified(resource)} "{meta["name"]}" already exists', details)
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"):
            meta.pop(name, None)
        meta["uid"] = self._uid()
        meta["creationTimestamp"] = timestamp(now)
        if kind.has_generation:
            meta["generation"] = 1
        new: Obj = {"apiVersion": kind.api_version, "kind": kind.kind} | {**obj, "metadata": meta}
        if self._admit and not valid:
            new = self._admit(resource, new, None, "")
        if self._guard:
            self._guard(self, resource, new, now, dry_run)
        return new if dry_run else self._commit(resource, "ADDED", new, None)

    def update(self, resource: str, obj: Obj, _now: float, *, subresource: str = "", dry_run: bool = False) -> Obj:
        """Replace an object, or with ``subresource="status"`` its status; compare-and-swap on resourceVersion if set.

        An update that changes nothing keeps the resourceVersion. Generation rises when the spec changes. An object
        being deleted goes when its last finalizer has gone (registry ``deleteWithoutFinalizers``). Raises 404, 409
        Conflict, 422.
        """
        namespace, name = key_of(obj)
        old = self.get(resource, namespace, name)
        meta, before = obj["metadata"], old["metadata"]
        self._same(resource, old, meta.get("uid") or "", meta.get("resourceVersion") or "")
        kind = RESOURCES[resource]
        new = merged(kind, obj, old, subresource)
        if new["metadata"] is not before:
            kept = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
            fixed = {field: before[field] for field in kept if field in before}
            dropped = {"managedFields", "selfLink"}.union(*[{field} for field in kept if field not in before])
            fresh = {field: value for field, value in new["metadata"].items() if field not in dropped}
            new["metadata"] = fresh | fixed | {"resourceVersion": before["resourceVersion"]}
            if before.get("deletionTimestamp"):
                _no_new_finalizers(resource, new["metadata"], before)
        if new == old:
            return old
        if self._admit:
            new = self._admit(resource, new, old, subresource)
        if kind.has_generation and subresource != "binding" and new.get("spec") != old.get("spec"):
            new["metadata"] = new["metadata"] | {"generation": before.get("generation", 1) + 1}
        if dry_run or new == old:
            return new
        if new["metadata"].get("deletionTimestamp") and not held(new):
            return self._remove(resource, old)
        return self._commit(resource, "MODIFIED", new, old)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        now: float,
        *,
        grace: int | None = None,
        propagation: str | None = None,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Delete an object as ``rest.BeforeDelete`` and the registry do; whether it is gone, ``find`` tells.

        ``grace`` in seconds (None: a Pod's own); ``propagation`` Foreground, Background or Orphan (the garbage
        collector acts on the finalizer this leaves). A Pod with time to stop keeps a deletionTimestamp until the
        kubelet deletes it with grace 0. Raises 404 and 409 (preconditions).
        """
        old = self.get(resource, namespace, name)
        self._same(resource, old, uid, resource_version)
        before = old["metadata"]
        finalizers = list(before.get("finalizers") or ())
        wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation or "")
        if wanted:
            finalizers = [each for each in finalizers if each not in (FOREGROUND, ORPHAN)] + [wanted]
        elif propagation == "Background":
            finalizers = [each for each in finalizers if each not in (FOREGROUND, ORPHAN)]
        wait = strategies.grace(resource, old, grace)
        meta = {**before, "finalizers": finalizers}
        if not finalizers:
            meta.pop("finalizers")
        if before.get("deletionTimestamp"):
            left = before.get("deletionGracePeriodSeconds") or 0
            if left and (grace is None or wait >= left):
                return old  # pendingGraceful: it is on its way, and only a shorter time would change anything
            if left:
                start = seconds(before["deletionTimestamp"]) - left
                meta |= {"deletionTimestamp": timestamp(start + wait), "deletionGracePeriodSeconds": wait}
        else:
            meta |= {"deletionTimestamp": timestamp(now + wait), "deletionGracePeriodSeconds": wait}
            if "generation" in meta:
                meta["generation"] += 1
        new = {**old, "metadata": meta}
        if resource == "namespaces":  # namespace registry's Delete
            new["status"] = {**old.get("status", {}), "phase": "Terminating"}
        if dry_run or meta == before:
            return new
        if held(new):
            return self._commit(resource, "MODIFIED", new, old)
        if resource == "pods" and meta != before:
            # Pods are deleted gracefully, with no time to stop too: that is written first, and then they are deleted
            # (updateForGracefulDeletionAndFinalizers).
            old = self._commit(resource, "MODIFIED", new, old)
        return self._remove(resource, old)

    def expire(self, resource: str, kept: int) -> None:
        """Remove the oldest objects of a resource beyond ``kept``, as etcd does at the end of a lease."""
        objects = self._objects[resource]
        while len(objects) > kept:
            self._remove(resource, next(iter(objects.values())))

    # Inside

    def _open_namespace(self, resource: str, namespace: str, name: str) -> None:
        found = self.find("namespaces", "", namespace)
        if found is None:
            details = {"name": namespace, "kind": "namespaces"}
            raise StoreError(404, "NotFound", f'namespaces "{namespace}" not found', details)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            causes = [{"reason": NAMESPACE_TERMINATING, "message": f"namespace {namespace} is being terminated"}]
            message = f'{qualified(resource)} "{name}" is forbidden: {why}'
            raise StoreError(403, "Forbidden", message, {"name": name, "kind": resource, "causes": causes})

    def _same(self, resource: str, old: Obj, uid: str, version: str) -> None:
        """Preconditions of a write. Raises 409 Conflict."""
        meta = old["metadata"]
        why = ""
        if uid and uid != meta["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}"
        elif version and version != meta["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
        if why:
            message = f'Operation cannot be fulfilled on {qualified(resource)} "{meta["name"]}": {why}'
            details = {"name": meta["name"], "group": RESOURCES[resource].group, "kind": resource}
            raise StoreError(409, "Conflict", message, details)

    def _uid(self) -> str:
        """A random UUID (version 4)."""
        bits = self._random.getrandbits(128) & ~(0xF000 << 64 | 0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _suffix(self) -> str:
        """Five characters, as apimachinery's ``rand.String`` (no vowels, nothing that looks alike)."""
        return "".join(self._random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))

    def _commit(self, resource: str, change: str, new: Obj, old: Obj | None) -> Obj:
        self.resource_version += 1
        new["metadata"] = new["metadata"] | {"resourceVersion": str(self.resource_version)}
        key = key_of(new)
        if change == "DELETED":
            self._objects[resource].pop(key)
        else:
            self._objects[resource][key] = new
        self._indexes.change(resource, key, new if change != "DELETED" else None, old)
        entries = self._log[resource]
        entries.append(Change(self.resource_version, change, new, old))
        window = self._window // EVENTS_SHARE if resource == "events" else self._window
        if len(entries) > 1.5 * window:
            self._floor[resource] = entries[-window - 1].version
            del entries[:-window]
        for callback in tuple(self._callbacks):
            callback(resource, change, new, old)
        return new

    def _remove(self, resource: str, old: Obj) -> Obj:
        """A watcher sees the last version that was stored, not what the deletion made of it (etcd's previous value)."""
        return self._commit(resource, "DELETED", dict(old), old)

    def _indexed(self, resource: str, index: str, value: str) -> Objs:
        objects = self._objects[resource]
        return [objects[key] for key in self._indexes.keys(resource, index, value)]


def _no_new_finalizers(resource: str, meta: Obj, before: Obj) -> None:
    added = set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if added:
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
        message = f'{qualified(resource)} "{meta["name"]}" is invalid: metadata.finalizers: Forbidden: {why}'
        raise StoreError(422, "Invalid", message)
