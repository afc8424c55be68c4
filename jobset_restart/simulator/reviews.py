"""Questions about permissions and identity: answered, never stored."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.authorization import Attributes, User, authorize, rules_of
from jobset_restart.simulator.discovery import REVIEWS
from jobset_restart.simulator.store import Obj, Store, StoreError, timestamp


def review(store: Store, who: User, resource: str, body: Any, now: float) -> Obj:
    """The answer to a review of one of ``discovery.REVIEWS``. Raises StoreError 400, 422."""
    kind = REVIEWS[resource]
    if not isinstance(body, dict) or (body.get("kind") or kind.kind) != kind.kind:
        raise StoreError(400, "BadRequest", f"the object provided is unrecognized (must be of type {kind.kind})")
    spec = body.get("spec") or {}
    answer: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}, "spec": spec}
    if resource == "selfsubjectreviews":
        answer.pop("spec")
        status: Obj = {"userInfo": {"username": who.name, "groups": list(who.groups)}}
        answer["metadata"] = {"creationTimestamp": timestamp(now)}
    elif resource == "selfsubjectrulesreviews":
        status = _rules(store, who, spec.get("namespace") or "")
    else:
        allowed, reason = authorize(store, who, _wanted(spec))
        status = {"allowed": allowed} | ({"reason": reason} if reason else {})
    return answer | {"status": status}


def _wanted(spec: Obj) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(resource) == bool(path):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise StoreError(422, "Invalid", f"spec.resourceAttributes: Invalid value: {resource}: {why}")
    if path:
        return Attributes(path.get("verb") or "", path=path.get("path") or "")
    asked: Obj = resource or {}
    full = "/".join(filter(None, (asked.get("resource"), asked.get("subresource"))))
    fields = {field: asked.get(field) or "" for field in ("verb", "group", "namespace", "name")}
    return Attributes(**fields, resource=full)


def _rules(store: Store, who: User, namespace: str) -> Obj:
    if not namespace:
        raise StoreError(400, "BadRequest", "no namespace on request")
    resources, paths = rules_of(store, who, namespace)
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
