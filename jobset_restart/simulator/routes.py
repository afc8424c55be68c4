"""What a URL and a method ask for (apiserver's RequestInfo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jobset_restart.simulator import discovery
from jobset_restart.simulator.authorization import Attributes
from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.store import StoreError


class Target(NamedTuple):
    """A resource, one of its objects if ``name`` is set, one of that object's subresources if there is one."""

    group: str
    version: str
    resource: str
    namespace: str
    name: str
    subresource: str

    def named(self, verb: str) -> str:
        """How faults know a request: "VERB RESOURCE NAMESPACE/NAME"."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{verb} {resource} {self.namespace}/{self.name}"

    def attributes(self, verb: str) -> Attributes:
        """What to ask the authorizer."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        namespace = self.name if self.resource == "namespaces" else self.namespace
        return Attributes(verb, self.group, resource, namespace, self.name)

    def check(self) -> None:
        """Raises StoreError 404 for what is not served, 501 for what only a real cluster does (port-forward)."""
        known = self.resource in discovery.resources_of(self.group, self.version)
        if known and self.name and discovery.is_namespaced(self.resource) != bool(self.namespace):
            known = False
        if known and self.namespace and not discovery.is_namespaced(self.resource):
            known = False
        if known and self.subresource and self.subresource not in discovery.subresources(self.resource):
            what = f"{self.resource}/{self.subresource}"
            raise StoreError(501, "NotImplemented", f"the embedded cluster does not model {what}")
        if not known:
            raise StoreError(404, "NotFound", "the server could not find the requested resource")


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}


def target_of(path: str) -> Target | None:
    """The target of a URL's path; None for /healthz, /apis and other URLs that are no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource, name, *subresource = [*rest, ""] if len(rest) == 1 else rest
    return Target(group, version, resource, namespace, name, "/".join(subresource))


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The verb, as RBAC knows it. Raises StoreError 405."""
    verb = _VERBS.get(method)
    if verb == "get" and not target.name:
        verb = "watch" if is_true(query, "watch") else "list"
    elif verb == "delete" and not target.name:
        verb = "deletecollection"
    if verb is None or (verb == "create" and target.name and not target.subresource):
        raise not_allowed()
    return verb


def allow(verb: str, target: Target) -> None:
    """Raises StoreError 405 for a verb the resource does not have."""
    if target.subresource:
        verbs = list(discovery.subresources(target.resource)[target.subresource].verbs)
    else:
        verbs = discovery.verbs(target.resource)
    missing = verb in ("create", "update", "patch", "delete", "deletecollection") and (
        not target.namespace and target.resource in RESOURCES and RESOURCES[target.resource].namespaced
    )
    if verb not in verbs or missing or (verb in ("update", "patch") and not target.name):
        raise not_allowed()


def not_allowed() -> StoreError:
    return StoreError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, as Go reads it: present without a value is true."""
    return name in query and query[name].lower() not in ("false", "0", "f")
