"""What the API server says about itself: groups, versions, resources, and enough OpenAPI for kubectl.

kubectl 1.26 and later ask for the aggregated form (APIGroupDiscoveryList) and fall back to one document per group;
the official Python client's dynamic client asks for the latter. `kubectl apply` and `create` look into the OpenAPI v3
document for the query parameter ``fieldValidation`` of PATCH (cli-runtime's query_param_verifier_v3.go) and then leave
validation to the server; `kubectl explain` prints what schemas there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jobset_restart.simulator.resources import RESOURCES, Resource
from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.versions import Version

_BUILD: Obj = {
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_HASH = "jsr-simulator"
"""One for all: what there is depends on no version."""
AGGREGATED = "APIGroupDiscoveryList"
_ALL = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_STATUS = ["get", "patch", "update"]
_NAMES: dict[str, list[str]] = {
    "pods": ["po"],
    "nodes": ["no"],
    "events": ["ev"],
    "namespaces": ["ns"],
    "services": ["svc"],
    "serviceaccounts": ["sa"],
    "configmaps": ["cm"],
    "resourcequotas": ["quota"],
}
_CATEGORIES = {"pods": ["all"], "services": ["all"], "jobs": ["all"]}


class Kind(NamedTuple):
    """The kind a subresource or a review speaks, and its verbs."""

    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


SUBRESOURCES: dict[str, dict[str, Kind]] = {
    "pods": {
        "eviction": Kind("policy", "v1", "Eviction", ("create",)),
        "exec": Kind("", "v1", "PodExecOptions", ("create", "get")),
        "log": Kind("", "v1", "Pod", ("get",)),
    },
    "serviceaccounts": {"token": Kind("authentication.k8s.io", "v1", "TokenRequest", ("create",))},
}
"""Besides ``status``, which ``RESOURCES`` knows of."""

_AUTHORIZATION = "authorization.k8s.io"
REVIEWS: dict[str, Kind] = {
    "selfsubjectaccessreviews": Kind(_AUTHORIZATION, "v1", "SelfSubjectAccessReview", ("create",)),
    "selfsubjectrulesreviews": Kind(_AUTHORIZATION, "v1", "SelfSubjectRulesReview", ("create",)),
    "selfsubjectreviews": Kind("authentication.k8s.io", "v1", "SelfSubjectReview", ("create",)),
}
"""Questions: created, answered, never stored."""


def verbs(resource: str) -> list[str]:
    """What may be done with a resource."""
    if resource in REVIEWS:
        return ["create"]
    return [verb for verb in _ALL if (resource, verb) != ("namespaces", "deletecollection")]


def subresources(resource: str) -> dict[str, Kind]:
    """Subresources by name."""
    if resource in REVIEWS:
        return {}
    kind = RESOURCES[resource]
    status = {"status": Kind(kind.group, kind.version, kind.kind, tuple(_STATUS))} if kind.has_status else {}
    return {**SUBRESOURCES.get(resource, {}), **status}


def kind_of(resource: str, subresource: str = "") -> Resource | Kind:
    """What a body sent to a resource or subresource has to be."""
    if subresource:
        return subresources(resource)[subresource]
    return RESOURCES[resource] if resource in RESOURCES else REVIEWS[resource]


def qualified_kind(resource: str) -> str:
    """``JobSet.jobset.x-k8s.io``: how messages about invalid objects name the kind."""
    kind = kind_of(resource)
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def is_namespaced(resource: str) -> bool:
    """Of a stored resource or a review."""
    return resource in RESOURCES and RESOURCES[resource].namespaced


def groups() -> list[tuple[str, str]]:
    """(group, version) of all that is served, the core group first."""
    return sorted({(kind_of(name).group, kind_of(name).version) for name in (*RESOURCES, *REVIEWS)})


def resources_of(group: str, version: str) -> dict[str, Resource | Kind]:
    """Resources of a group version by name; empty where there is none."""
    both: dict[str, Resource | Kind] = {**RESOURCES, **REVIEWS}
    return {name: each for name, each in both.items() if (each.group, each.version) == (group, version)}


def version_of(version: Version) -> Obj:
    """GET /version"""
    return {"major": "1", "minor": version.minor, "gitVersion": f"{version.git}+jsr-simulator", **_BUILD}


def document(path: str, kubernetes: Version) -> Obj | None:
    """What GET ``path`` answers about the API itself; None where there is nothing."""
    fixed = {
        "/version": version_of(kubernetes),
        "/api": api_versions(),
        "/apis": api_groups(),
        "/openapi/v3": openapi_paths(),
    }
    if path in fixed:
        return fixed[path]
    if path.startswith("/openapi/v3/"):
        return openapi(path.removeprefix("/openapi/v3/"))
    kind, _, rest = path.removeprefix("/").partition("/")
    group, _, version = ("", "", rest) if kind == "api" else rest.partition("/")
    if kind == "apis" and not version and any(name == group for name, _ in groups()):
        return api_group(group)
    return api_resources(group, version) if kind in ("api", "apis") and (group, version) in groups() else None


def api_versions() -> Obj:
    """GET /api"""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_group(group: str) -> Obj:
    """GET /apis/GROUP"""
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version} for name, version in groups() if name == group
    ]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def api_groups() -> Obj:
    """GET /apis"""
    named = [api_group(group) for group, _ in groups() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def api_resources(group: str, version: str) -> Obj:
    """GET /api/v1, GET /apis/GROUP/VERSION"""
    rows = [row for name in resources_of(group, version) for row in _rows(name)]
    together = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": together, "resources": rows}


def aggregated(core: bool) -> Obj:
    """GET /api or /apis as an APIGroupDiscoveryList (apidiscovery.k8s.io/v2)."""
    items = [_group(group, version) for group, version in groups() if (group == "") == core]
    return {"kind": AGGREGATED, "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _rows(resource: str) -> Iterable[Obj]:
    kind = kind_of(resource)
    namespaced = is_namespaced(resource)
    row: Obj = {"name": resource, "singularName": kind.kind.lower(), "namespaced": namespaced, "kind": kind.kind}
    row["verbs"] = verbs(resource)
    row |= {"shortNames": _NAMES[resource]} if resource in _NAMES else {}
    row |= {"categories": _CATEGORIES[resource]} if resource in _CATEGORIES else {}
    yield row
    for name, sub in subresources(resource).items():
        foreign = {} if sub.group == kind.group else {"group": sub.group, "version": sub.version}
        other: Obj = {"name": f"{resource}/{name}", "singularName": "", "namespaced": namespaced, **foreign}
        yield other | {"kind": sub.kind, "verbs": list(sub.verbs)}


def _group(group: str, version: str) -> Obj:
    resources = []
    for name, kind in resources_of(group, version).items():
        row: Obj = {"resource": name, "responseKind": _response(kind.group, kind.version, kind.kind)}
        row["scope"] = "Namespaced" if is_namespaced(name) else "Cluster"
        row |= {"singularResource": kind.kind.lower(), "verbs": verbs(name)}
        row |= {"shortNames": _NAMES[name]} if name in _NAMES else {}
        row |= {"categories": _CATEGORIES[name]} if name in _CATEGORIES else {}
        inner = [
            {"subresource": each, "responseKind": _response(*sub[:3]), "verbs": list(sub.verbs)}
            for each, sub in subresources(name).items()
        ]
        resources.append(row | ({"subresources": inner} if inner else {}))
    meta = {"name": group} if group else {}
    return {"metadata": meta, "versions": [{"version": version, "resources": resources, "freshness": "Current"}]}


def _response(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


# OpenAPI


def _base(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def openapi_paths() -> Obj:
    """GET /openapi/v3: where each group version's document is."""
    bases = [_base(group, version) for group, version in groups()]
    return {"paths": {base: {"serverRelativeURL": f"/openapi/v3/{base}?hash={_HASH}"} for base in bases}}


def openapi(base: str) -> Obj | None:
    """GET /openapi/v3/BASE: operations with their parameters, and schemas that name the top-level fields only."""
    found = next(((group, version) for group, version in groups() if _base(group, version) == base), None)
    if found is None:
        return None
    resources = resources_of(*found)
    paths: Obj = {}
    for name, kind in resources.items():
        if isinstance(kind, Resource):
            where = f"/{base}/namespaces/{{namespace}}/{name}" if kind.namespaced else f"/{base}/{name}"
            paths[where + "/{name}"] = {"patch": _patch_operation(kind)}
    schemas = {_schema_name(kind): _schema(kind) for kind in resources.values()}
    info = {"title": "jsr simulator", "version": _HASH}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _gvk(kind: Resource | Kind) -> Obj:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _schema_name(kind: Resource | Kind) -> str:
    return ".".join(("simulator", kind.group or "core", kind.version, kind.kind))


def _patch_operation(kind: Resource) -> Obj:
    names = ["dryRun", "fieldManager", "fieldValidation", "force"]
    schema = {"$ref": f"#/components/schemas/{_schema_name(kind)}"}
    return {
        "operationId": f"patch{kind.kind}",
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _gvk(kind),
    }


def _schema(kind: Resource | Kind) -> Obj:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    string = {"type": "string"}
    fields: Obj = {"apiVersion": string, "kind": string, "metadata": anything, "spec": anything, "status": anything}
    about = f"{kind.kind} as the embedded cluster takes it; the fields inside are those of Kubernetes."
    return {
        "type": "object",
        "description": about,
        "properties": fields,
        "x-kubernetes-group-version-kind": [_gvk(kind)],
    }
