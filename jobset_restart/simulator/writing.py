"""create, update, patch, delete and deletecollection, eviction and token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobset_restart.simulator import discovery
from jobset_restart.simulator.authentication import Authenticator
from jobset_restart.simulator.clock import Clock
from jobset_restart.simulator.encoding import Encoded, Form, encode, success
from jobset_restart.simulator.patch import APPLY, applied, patched
from jobset_restart.simulator.reading import matcher
from jobset_restart.simulator.routes import Target
from jobset_restart.simulator.store import Obj, Store, StoreError
from jobset_restart.simulator.validation.jobset_schema import refuse_strange_fields

_RETURNED = {"pods", "services", "serviceaccounts", "namespaces"}
"""Whose deletion answers with the object (ReturnDeletedObject of the registries)."""
_VERSION_REQUIRED = {"jobsets", "leases"}
"""No update without a resourceVersion (AllowUnconditionalUpdate false)."""

Reply = tuple[int, bytes]
"""HTTP status and body."""


class Writer:
    """Carries writes to the store; the World looks at what they did soon after."""

    def __init__(self, store: Store, clock: Clock, encoded: Encoded, tokens: Authenticator) -> None:
        self._store, self._clock, self._encoded, self._tokens = store, clock, encoded, tokens
        self._applied: dict[tuple[str, str, str], Obj] = {}
        """What each manager applied last, by UID, subresource and manager: what managedFields are for."""

    def create(self, target: Target, body: Any, query: Mapping[str, str], form: Form) -> Reply:
        obj = _checked(target, body)
        if target.subresource:
            return self._create_inside(target, obj, query)
        return self._created(target, obj, query, form)

    def update(self, target: Target, body: Any, query: Mapping[str, str], form: Form) -> Reply:
        obj = _checked(target, body)
        if target.resource in _VERSION_REQUIRED and not obj["metadata"].get("resourceVersion"):
            why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            kind = discovery.qualified_kind(target.resource)
            raise StoreError(422, "Invalid", f'{kind} "{target.name}" is invalid: {why}', {"name": target.name})
        return self._updated(target, obj, query, form)

    def patch(self, target: Target, body: Any, content_type: str, query: Mapping[str, str], form: Form) -> Reply:
        """A patch; server-side apply creates what is not there."""
        apply = content_type.split(";", maxsplit=1)[0].strip() == APPLY
        if apply and not query.get("fieldManager"):
            why = "fieldManager: Required value: is required for apply patch"
            raise StoreError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')
        refuse_strange_fields(target.resource, body)
        if apply:
            return self._apply(target, body, query, form)
        old = self._store.get(target.resource, target.namespace, target.name)
        return self._updated(target, patched(target.resource, old, content_type, body), query, form)

    def _apply(self, target: Target, body: Any, query: Mapping[str, str], form: Form) -> Reply:
        config = _checked(target, body)
        old = self._store.find(target.resource, target.namespace, target.name)
        if old is None and not target.subresource:
            reply = self.create(target, config, query, form)
        else:
            old = self._store.get(target.resource, target.namespace, target.name)
            before = self._applied.get((old["metadata"]["uid"], target.subresource, query["fieldManager"]), {})
            reply = self._updated(target, applied(old, config, before), query, form)
        if not _dry_run(query):
            uid = self._store.get(target.resource, target.namespace, target.name)["metadata"]["uid"]
            self._applied[uid, target.subresource, query["fieldManager"]] = config
        return reply

    def delete(self, target: Target, body: Any, query: Mapping[str, str], form: Form) -> Reply:
        """Delete one object: 200 with the Status, or with the object where it lives on for a while."""
        obj, gone = self._deleted(target.resource, target.namespace, target.name, _delete_options(body, query))
        if gone and target.resource not in _RETURNED:
            return 200, encode(success(target.resource, obj))
        return 200, self._encoded.one(target.resource, obj, form, self._clock.now())

    def delete_collection(self, target: Target, body: Any, query: Mapping[str, str], form: Form) -> Reply:
        options = _delete_options(body, query)
        found = self._store.list(target.resource, target.namespace or None, matcher(target.resource, query))
        for obj in found:
            meta = obj["metadata"]
            self._deleted(target.resource, meta.get("namespace", ""), meta["name"], options)
        version = {"resourceVersion": str(self._store.resource_version)}
        return 200, self._encoded.many(target.resource, found, version, form, self._clock.now())

    def _created(self, target: Target, obj: Obj, query: Mapping[str, str], form: Form) -> Reply:
        dry_run = _dry_run(query)
        made = self._store.create(target.resource, obj, self._clock.writing(), dry_run=dry_run)
        return 201, self._encoded.one(target.resource, made, form, self._clock.now())

    def _updated(self, target: Target, obj: Obj, query: Mapping[str, str], form: Form) -> Reply:
        meta = obj["metadata"]
        if why := _unreadable(meta):
            raise StoreError(422, "Invalid", f' "" is invalid: patch: Invalid value: {why}')
        if meta.get("name") != target.name:
            raise _mismatch(meta.get("name"), target.name)
        dry_run, now = _dry_run(query), self._clock.writing()
        made = self._store.update(target.resource, obj, now, subresource=target.subresource, dry_run=dry_run)
        return 200, self._encoded.one(target.resource, made, form, self._clock.now())

    def _deleted(self, resource: str, namespace: str, name: str, options: Obj) -> tuple[Obj, bool]:
        obj = self._store.delete(resource, namespace, name, self._clock.writing(), **options)
        left = self._store.find(resource, namespace, name)
        gone = options["dry_run"] or left is None or left["metadata"]["uid"] != obj["metadata"]["uid"]
        return obj, gone

    def _create_inside(self, target: Target, obj: Obj, query: Mapping[str, str]) -> Reply:
        parent = self._store.get(target.resource, target.namespace, target.name)
        if target.subresource == "token":
            return 201, encode(self._tokens.token_for(parent, obj))
        if target.subresource == "eviction":
            options = _delete_options(obj.get("deleteOptions"), query)
            self._deleted("pods", target.namespace, target.name, options)
            return 201, encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        raise StoreError(501, "NotImplemented", f"the embedded cluster does not create {target.subresource}")


def _checked(target: Target, body: Any) -> Obj:
    """An object sent for ``target``, in its namespace. Raises StoreError 400."""
    if not isinstance(body, dict):
        raise StoreError(400, "BadRequest", "the object provided is unrecognized: it is not a JSON object")
    expected = discovery.kind_of(target.resource, target.subresource)
    kind, version = body.get("kind") or expected.kind, body.get("apiVersion") or expected.api_version
    if (kind, version) != (expected.kind, expected.api_version):
        message = f"{kind} in version {version!r} cannot be handled as a {expected.kind} of {expected.api_version}"
        raise StoreError(400, "BadRequest", message)
    if not target.subresource:
        refuse_strange_fields(target.resource, body)
    meta = dict(body.get("metadata") or {})
    if why := _unreadable(meta):
        raise StoreError(
            400, "BadRequest", f'{kind} in version "{expected.version}" cannot be handled as a {kind}: {why}'
        )
    if target.name and not target.subresource:
        meta.setdefault("name", target.name)
    if target.namespace:
        if (meta.get("namespace") or target.namespace) != target.namespace:
            message = "the namespace of the provided object does not match the namespace sent on the request"
            raise StoreError(400, "BadRequest", message)
        meta["namespace"] = target.namespace
    if target.name and meta.get("name", target.name) != target.name:
        raise _mismatch(meta["name"], target.name)
    return {**body, "metadata": meta}


def _unreadable(meta: Obj) -> str:
    """What Go says of labels and annotations that are no strings; "" where they are."""
    types = {bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    for field in ("labels", "annotations"):
        for value in (meta.get(field) or {}).values():
            if type(value) in types:
                where = f"Go struct field ObjectMeta.metadata.{field} of type string"
                return f"json: cannot unmarshal {types[type(value)]} into {where}"
    return ""


def _mismatch(name: Any, wanted: str) -> StoreError:
    message = f"the name of the object ({name}) does not match the name on the URL ({wanted})"
    return StoreError(400, "BadRequest", message)


def _dry_run(query: Mapping[str, str]) -> bool:
    asked = query.get("dryRun", "")
    if asked not in ("", "All"):
        raise StoreError(422, "Invalid", f'dryRun: Unsupported value: "{asked}": supported values: "All"')
    return asked == "All"


def _delete_options(body: Any, query: Mapping[str, str]) -> Obj:
    """DeleteOptions of body and query as arguments of ``Store.delete``. Raises StoreError 400, 422."""
    sent = body if isinstance(body, dict) else {}
    if sent.get("orphanDependents") is not None or "orphanDependents" in query:
        raise StoreError(422, "Invalid", "orphanDependents is deprecated and not served: use propagationPolicy")
    propagation = sent.get("propagationPolicy") or query.get("propagationPolicy")
    if propagation not in (None, "Foreground", "Background", "Orphan"):
        values = '"Background", "Foreground", "Orphan", "nil"'
        why = f'propagationPolicy: Unsupported value: "{propagation}": supported values: {values}'
        raise StoreError(422, "Invalid", f'DeleteOptions.meta.k8s.io "" is invalid: {why}')
    grace = sent.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    if grace is not None and not str(grace).lstrip("-").isdecimal():
        raise StoreError(400, "BadRequest", f"gracePeriodSeconds: {grace!r} is not a number")
    preconditions = sent.get("preconditions") or {}
    dry_run = sent.get("dryRun") == ["All"] or _dry_run(query)
    return {
        "grace": None if grace is None else int(grace),
        "propagation": propagation,
        "uid": preconditions.get("uid") or "",
        "resource_version": preconditions.get("resourceVersion") or "",
        "dry_run": dry_run,
    }
