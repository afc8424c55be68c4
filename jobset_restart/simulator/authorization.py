"""Who may do what: Roles, ClusterRoles and their bindings in the store, evaluated as the RBAC authorizer does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jobset_restart.simulator.store import Obj, Store, StoreError

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"
_RBAC = "rbac.authorization.k8s.io"
_SERVICE_ACCOUNT = "system:serviceaccount:"

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]


class User(NamedTuple):
    """Who asks. The groups are those the API server adds as well."""

    name: str
    groups: tuple[str, ...]


class Attributes(NamedTuple):
    """What is asked for (authorizer.Attributes): a resource, or with ``path`` a URL that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    """With its subresource: ``pods/exec``."""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Answer(NamedTuple):
    allowed: bool
    reason: str = ""


def user(name: str, groups: tuple[str, ...] = ()) -> User:
    """A user with the groups everyone has, and those of a service account if the name is one's."""
    extra: tuple[str, ...] = (UNAUTHENTICATED,) if name == ANONYMOUS else (AUTHENTICATED,)
    if name.startswith(_SERVICE_ACCOUNT):
        namespace = name.removeprefix(_SERVICE_ACCOUNT).partition(":")[0]
        extra = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", *extra)
    return User(name, tuple(dict.fromkeys((*groups, *extra))))


def authorize(store: Store, who: User, wanted: Attributes) -> Answer:
    """Whether ``who`` may, and through which binding (the reason the real authorizer gives)."""
    if MASTERS in who.groups:
        return Answer(True)
    for rule, reason in _rules(store, who, wanted.namespace):
        if _covers(rule, wanted):
            return Answer(True, reason)
    return Answer(False)


def require(store: Store, who: User, wanted: Attributes) -> None:
    """Raises StoreError 403 in the API server's words."""
    if authorize(store, who, wanted).allowed:
        return
    if wanted.path:
        raise StoreError(403, "Forbidden", f'forbidden: User "{who.name}" cannot {wanted.verb} path "{wanted.path}"')
    plain = wanted.resource.partition("/")[0]
    qualified = f"{plain}.{wanted.group}" if wanted.group else plain
    named = f'{qualified} "{wanted.name}"' if wanted.name else qualified
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{who.name}" cannot {wanted.verb} resource "{wanted.resource}" '
        f'in API group "{wanted.group}" {where}'
    )
    details = {"name": wanted.name, "group": wanted.group, "kind": plain}
    raise StoreError(403, "Forbidden", message, details)


def rules_of(store: Store, who: User, namespace: str) -> tuple[list[Obj], list[Obj]]:
    """Resource rules and non-resource rules of a user in a namespace (SelfSubjectRulesReview)."""
    rules = [rule for rule, _ in _rules(store, who, namespace)]
    return [rule for rule in rules if rule.get("resources")], [rule for rule in rules if rule.get("nonResourceURLs")]


def bootstrap_policy() -> Iterator[tuple[str, Obj]]:
    """(resource, object) of the roles every cluster starts with, as far as they concern what is served here."""
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    reviews = {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"]}
    paths = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz"]
    roles: dict[str, list[Obj]] = {
        "cluster-admin": [everything, {"nonResourceURLs": ["*"], "verbs": ["*"]}],
        "admin": [*_namespaced([*READ, *WRITE]), _rule(_RBAC, ["roles", "rolebindings"], [*READ, *WRITE])],
        "edit": _namespaced([*READ, *WRITE]),
        "view": _namespaced(READ),
        "system:basic-user": [
            {**reviews, "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
            _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
        ],
        "system:discovery": [{"nonResourceURLs": [*paths, "/version", "/version/"], "verbs": ["get"]}],
    }
    for name, rules in roles.items():
        yield "clusterroles", {"metadata": {"name": name}, "rules": rules}
    groups = {"cluster-admin": MASTERS, "system:basic-user": AUTHENTICATED, "system:discovery": AUTHENTICATED}
    for name, group in groups.items():
        subjects = [{"apiGroup": _RBAC, "kind": "Group", "name": group}]
        role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
        yield "clusterrolebindings", {"metadata": {"name": name}, "subjects": subjects, "roleRef": role}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Obj:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _namespaced(verbs: list[str]) -> list[Obj]:
    """The rules of view and edit: no RBAC, and Secrets and exec only where there may be written."""
    writes = "create" in verbs
    core = ["configmaps", "events", "pods", "pods/log", "pods/status", "serviceaccounts", "services"]
    rules = [
        _rule("", [*core, *(["pods/exec", "pods/eviction", "secrets"] if writes else [])], verbs),
        _rule("", ["namespaces", "resourcequotas"], READ),
        _rule("batch", ["jobs", "jobs/status"], verbs),
        _rule("coordination.k8s.io", ["leases"], verbs),
    ]
    return [*rules, _rule("", ["serviceaccounts/token"], ["create"])] if writes else rules


def _rules(store: Store, who: User, namespace: str) -> Iterator[tuple[Obj, str]]:
    """Rules that apply to ``who``, with the reason (DefaultRuleResolver.VisitRulesFor)."""
    for binding in store.all("clusterrolebindings"):
        if _bound(binding, who, ""):
            yield from _granted(store, binding, "", f'ClusterRoleBinding "{binding["metadata"]["name"]}"', who)
    if namespace:
        for binding in store.all("rolebindings"):
            meta = binding["metadata"]
            if meta["namespace"] == namespace and _bound(binding, who, namespace):
                yield from _granted(store, binding, namespace, f'RoleBinding "{meta["name"]}/{namespace}"', who)


def _granted(store: Store, binding: Obj, namespace: str, source: str, who: User) -> Iterator[tuple[Obj, str]]:
    ref = binding["roleRef"]
    cluster_wide = ref["kind"] == "ClusterRole"
    role = store.find("clusterroles", "", ref["name"]) if cluster_wide else store.find("roles", namespace, ref["name"])
    reason = f'RBAC: allowed by {source} of {ref["kind"]} "{ref["name"]}" to User "{who.name}"'
    for rule in (role or {}).get("rules") or ():
        yield rule, reason


def _bound(binding: Obj, who: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            name = f"{_SERVICE_ACCOUNT}{subject.get('namespace') or namespace}:{name}"
        if name in who.groups if kind == "Group" else name == who.name:
            return True
    return False


def _covers(rule: Obj, wanted: Attributes) -> bool:
    """rbac.RuleAllows."""
    if not {wanted.verb, "*"} & set(rule.get("verbs") or ()):
        return False
    if wanted.path:
        return any(
            wanted.path.startswith(url[:-1]) if url.endswith("*") else wanted.path == url
            for url in rule.get("nonResourceURLs") or ()
        )
    if not {wanted.group, "*"} & set(rule.get("apiGroups") or ()):
        return False
    subresource = wanted.resource.partition("/")[2]
    names = {wanted.resource, "*"} | ({f"*/{subresource}"} if subresource else set())
    named = rule.get("resourceNames")
    return bool(names & set(rule.get("resources") or ())) and (not named or wanted.name in named)
