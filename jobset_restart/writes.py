"""Actions as data: what would be sent to the API server, before anything is.

Triggers return them, a dry run prints them, the write count counts them, the permission check asks about them and the
real run sends them: nothing is described twice.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Verb = Literal["create", "patch", "delete"]

JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2"
BATCH = "/apis/batch/v1"
CORE = "/api/v1"

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"


class Write(Struct, frozen=True, kw_only=True):
    """One request that changes something.

    `path` is the API path of the object (for create, of its collection), `body` the JSON to send.
    `content_type` is the patch type. `uid` is the UID the object must still have: sent as metadata.uid in a patch and
    as preconditions.uid in a delete, so that a namesake is never touched. `resource_version`, where given, makes the
    write a compare-and-swap. `slot` names the slot it restarts ("workers/0/3"), or the unit
    ("workers/0"), or is empty.
    """

    verb: Verb
    path: str
    body: dict[str, Any] = {}
    content_type: str = MERGE_PATCH
    uid: str = ""
    resource_version: str = ""
    slot: str = ""

    def sent_body(self) -> dict[str, Any]:
        """The JSON that goes over the wire, the preconditions included."""
        preconditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        preconditions = {key: value for key, value in preconditions.items() if value}
        if self.verb == "delete":
            return {**self.body, "preconditions": preconditions} if preconditions else self.body
        if self.verb == "patch" and preconditions:
            return {**self.body, "metadata": {**self.body.get("metadata", {}), **preconditions}}
        return self.body


class Exec(Struct, frozen=True, kw_only=True):
    """One command to run in a container of a Pod. `path` is the API path of the Pod. `refusals` are exit codes by which
    the command says that it did nothing, each with the reason."""

    path: str
    container: str
    command: tuple[str, ...]
    slot: str = ""
    refusals: tuple[tuple[int, str], ...] = ()


Action = Write | Exec


class Permission(Struct, frozen=True, order=True):
    """One rule of RBAC that an action needs: verb on group/resource/subresource."""

    verb: str
    group: str
    resource: str
    subresource: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {resource}{'.' + self.group if self.group else ''}"


def pod_path(namespace: str, name: str) -> str:
    return f"{CORE}/namespaces/{namespace}/pods/{name}"


def job_path(namespace: str, name: str) -> str:
    return f"{BATCH}/namespaces/{namespace}/jobs/{name}"


def jobset_path(namespace: str, name: str) -> str:
    return f"{JOBSETS}/namespaces/{namespace}/jobsets/{name}"


def node_path(name: str) -> str:
    return f"{CORE}/nodes/{name}"


def on_collection(verb: str, path: str) -> Permission:
    """The RBAC rule for a verb on the objects of this collection's API path."""
    parts = path.strip("/").split("/")
    return Permission(verb, parts[1] if parts[0] == "apis" else "", parts[-1])


def permission(action: Action) -> Permission:
    """The RBAC rule that `action` needs, read off its path."""
    parts = action.path.strip("/").split("/")
    group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    if isinstance(action, Exec):
        return Permission("create", group, rest[0], "exec")
    return Permission(action.verb, group, rest[0], rest[2] if len(rest) > 2 else "")
