"""Defaults and validation of everything that is not a Pod, a Job or a JobSet."""

from __future__ import annotations

import base64
from collections.abc import Callable

from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.validation.problems import (
    Problems,
    forbidden,
    immutable,
    invalid,
    not_modelled,
    refuse,
    required,
    unsupported,
)

FINALIZER = "kubernetes"
"""corev1.FinalizerKubernetes: holds a namespace until its content is gone."""
_RBAC = "rbac.authorization.k8s.io"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def admit_namespace(new: Obj, old: Obj | None) -> Obj:
    """The name as a label, the finalizer and the phase (``SetDefaults_Namespace``, namespaceStrategy)."""
    meta = new["metadata"]
    name = {"kubernetes.io/metadata.name": meta["name"]}
    if (meta.get("labels") or {}).get("kubernetes.io/metadata.name") != meta["name"]:
        meta = {**meta, "labels": {**(meta.get("labels") or {}), **name}}
    spec = {"finalizers": [FINALIZER]} if old is None else old.get("spec", {})
    status = {"phase": "Active"} if old is None else old.get("status", {})
    return {**new, "metadata": meta, "spec": spec, "status": status}


def admit_node(new: Obj, _old: Obj | None) -> Obj:
    """Taints as ``ValidateNode`` wants them; a cordoned node is tainted by the node lifecycle controller."""
    problems: Problems = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate((new.get("spec") or {}).get("taints") or ()):
        path, key, effect = f"metadata.taints[{index}]", taint.get("key") or "", taint.get("effect") or ""
        if not key:
            problems.append(required(f"{path}.key"))
        if not effect:
            problems.append(required(f"{path}.effect"))
        elif effect not in _EFFECTS:
            problems.append(unsupported(f"{path}.effect", effect, _EFFECTS))
        if (key, effect) in seen:
            detail = "taints must be unique by key and effect pair"
            problems.append(invalid(path, taint, detail))
        seen.add((key, effect))
    refuse("nodes", new, problems)
    spec = dict(new.get("spec") or {})
    if spec.get("taints") == []:  # omitempty
        del spec["taints"]
    return {**new, "spec": spec}


def admit_role(resource: str) -> Callable[[Obj, Obj | None], Obj]:
    """``ValidatePolicyRule`` for each rule."""

    def check(new: Obj, _old: Obj | None) -> Obj:
        problems: Problems = []
        for index, rule in enumerate(new.get("rules") or ()):
            path = f"rules[{index}]"
            if not rule.get("verbs"):
                problems.append(required(f"{path}.verbs", "verbs must contain at least one value"))
            if rule.get("nonResourceURLs"):
                continue
            if not rule.get("apiGroups"):
                problems.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
            if not rule.get("resources"):
                problems.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
        if new.get("aggregationRule"):
            problems.append(not_modelled("aggregationRule", "aggregated ClusterRoles"))
        refuse(resource, new, problems)
        return {**new, "rules": new.get("rules") or []}

    return check


def admit_binding(resource: str) -> Callable[[Obj, Obj | None], Obj]:
    """``ValidateRoleBinding``: what it binds is there and stays."""
    kinds = ("ClusterRole",) if resource == "clusterrolebindings" else ("Role", "ClusterRole")

    def check(new: Obj, old: Obj | None) -> Obj:
        ref = {"apiGroup": _RBAC, **(new.get("roleRef") or {})}
        problems: Problems = []
        if ref.get("kind") not in kinds:
            problems.append(unsupported("roleRef.kind", ref.get("kind") or "", kinds))
        if not ref.get("name"):
            problems.append(required("roleRef.name"))
        if old is not None and ref != old["roleRef"]:
            problems.append(invalid("roleRef", ref, "cannot change roleRef"))
        subjects = [_subject(each) for each in new.get("subjects") or ()]
        for index, subject in enumerate(subjects):
            path, kind = f"subjects[{index}]", subject.get("kind") or ""
            if kind not in ("ServiceAccount", "User", "Group"):
                problems.append(unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
            if not subject.get("name"):
                problems.append(required(f"{path}.name"))
            if kind == "ServiceAccount" and resource == "clusterrolebindings" and not subject.get("namespace"):
                problems.append(required(f"{path}.namespace"))
        refuse(resource, new, problems)
        return {**new, "roleRef": ref, **({"subjects": subjects} if subjects else {})}

    return check


def admit_service(new: Obj, old: Obj | None) -> Obj:
    """Headless Services, which is all a JobSet needs; nothing behind them answers."""
    spec = {"clusterIP": "", "type": "ClusterIP", **(new.get("spec") or {})}
    if spec["clusterIP"] != "None" or spec["type"] != "ClusterIP":
        refuse("services", new, [not_modelled("spec.clusterIP", 'Services other than headless ones ("None")')])
    spec = {
        "clusterIPs": ["None"],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "sessionAffinity": "None",
        **spec,
    }
    if spec.get("ports"):
        spec["ports"] = [{"protocol": "TCP", "targetPort": each.get("port"), **each} for each in spec["ports"]]
    if old is not None:
        refuse("services", new, immutable("spec.clusterIP", spec["clusterIP"], old["spec"]["clusterIP"]))
        return {**new, "spec": spec}
    return {**new, "spec": spec, "status": {"loadBalancer": {}}}


def admit_service_account(new: Obj, _old: Obj | None) -> Obj:
    """Taken as it is, but for what would have to be looked up for every Pod."""
    if new.get("automountServiceAccountToken") is False:
        what = "ServiceAccounts that mount no token: say so in the Pods"
        refuse("serviceaccounts", new, [not_modelled("automountServiceAccountToken", what)])
    return new


def admit_secret(new: Obj, old: Obj | None) -> Obj:
    """stringData becomes data; the type stays."""
    given = new.get("stringData") or {}
    data = {**(new.get("data") or {}), **{name: base64.b64encode(str(given[name]).encode()).decode() for name in given}}
    made = {name: value for name, value in new.items() if name != "stringData"} | {"type": new.get("type") or "Opaque"}
    if data:
        made["data"] = data
    return _kept_immutable("secrets", made, old, "type", "data")


def admit_configmap(new: Obj, old: Obj | None) -> Obj:
    return _kept_immutable("configmaps", new, old, "data", "binaryData")


def admit_quota(new: Obj, old: Obj | None) -> Obj:
    """Limits on the number of Pods; those on anything else are not kept here."""
    problems: Problems = []
    spec = new.get("spec") or {}
    for name, value in (spec.get("hard") or {}).items():
        field = f"spec.hard[{name}]"
        if name not in ("pods", "count/pods"):
            problems.append(not_modelled(field, "limits on anything but the number of Pods"))
        elif not str(value).isascii() or not str(value).isdecimal():
            problems.append(invalid(field, value, "must be an integer"))
    if spec.get("scopes") or spec.get("scopeSelector"):
        problems.append(not_modelled("spec.scopes", "quotas of some Pods only"))
    refuse("resourcequotas", new, problems)
    hard = {name: str(value) for name, value in (spec.get("hard") or {}).items()}
    return {**new, "spec": {"hard": hard} if hard else {}, "status": (old or new).get("status") or {}}


def _kept_immutable(resource: str, new: Obj, old: Obj | None, *fields: str) -> Obj:
    if old is not None and old.get("immutable"):
        changed = [each for each in (*fields, "immutable") if new.get(each) != old.get(each)]
        detail = "field is immutable when `immutable` is set"
        refuse(resource, new, [forbidden(each, detail) for each in changed])
    elif old is not None and resource == "secrets":
        refuse(resource, new, immutable("type", new["type"], old["type"]))
    return new


def _subject(subject: Obj) -> Obj:
    """``SetDefaults_Subject``."""
    group = "" if subject.get("kind") == "ServiceAccount" else _RBAC
    return {"apiGroup": group, **subject} if group else subject


OTHERS: dict[str, Callable[[Obj, Obj | None], Obj]] = {
    "namespaces": admit_namespace,
    "nodes": admit_node,
    "services": admit_service,
    "serviceaccounts": admit_service_account,
    "secrets": admit_secret,
    "configmaps": admit_configmap,
    "resourcequotas": admit_quota,
    "roles": admit_role("roles"),
    "clusterroles": admit_role("clusterroles"),
    "rolebindings": admit_binding("rolebindings"),
    "clusterrolebindings": admit_binding("clusterrolebindings"),
}
