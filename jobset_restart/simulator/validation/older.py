"""What older API servers make of containers' restart rules (``dropDisabledFields``, ``validateContainers``).

The CRD of the JobSet has a Pod schema of its own: rules stay in the JobSet, whatever becomes of them in its Jobs.
"""

from __future__ import annotations

from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.validation.problems import Problems, forbidden, refuse, unsupported
from jobset_restart.simulator.versions import RESTART_ALL, RULES, Version

_LISTS = ("initContainers", "containers")


def admit_older(version: Version, resource: str, new: Obj, old: Obj | None) -> Obj:
    """A Pod or a Job as this version knows it. Raises StoreError 422."""
    if RESTART_ALL in version.gates or resource not in ("pods", "jobs"):
        return new
    spec, path = new.get("spec") or {}, "spec"
    if resource == "jobs":
        spec, path = (spec.get("template") or {}).get("spec") or {}, "spec.template.spec"
    if RULES not in version.gates:
        spec = _without_rules(spec)
        new = _with(resource, new, spec)
    if old is None:
        refuse(resource, new, _problems(version, spec, path))
    return new


def _without_rules(spec: Obj) -> Obj:
    """Fields of a gate that is off are dropped without a word."""
    spec = dict(spec)
    for field in _LISTS:
        if spec.get(field):
            spec[field] = [
                {name: value for name, value in each.items() if name != "restartPolicyRules"} for each in spec[field]
            ]
    return spec


def _with(resource: str, new: Obj, spec: Obj) -> Obj:
    if resource == "pods":
        return {**new, "spec": spec}
    outer = new.get("spec") or {}
    return {**new, "spec": {**outer, "template": {**(outer.get("template") or {}), "spec": spec}}}


def _problems(version: Version, spec: Obj, path: str) -> Problems:
    problems: Problems = []
    for field in _LISTS:
        for index, each in enumerate(spec.get(field) or ()):
            where, policy = f"{path}.{field}[{index}]", each.get("restartPolicy")
            if RULES not in version.gates and policy is not None:
                if field == "containers":
                    problems.append(forbidden(f"{where}.restartPolicy", "may not be set for non-init containers"))
                elif policy != "Always":
                    problems.append(unsupported(f"{where}.restartPolicy", policy, ("Always",)))
            problems += _rule_problems(each, where, field == "initContainers")
    return problems


def _rule_problems(container: Obj, where: str, init: bool) -> Problems:
    rules = container.get("restartPolicyRules") or ()
    problems = [
        unsupported(f"{where}.restartPolicyRules[{index}].action", rule["action"], ("Restart",))
        for index, rule in enumerate(rules)
        if rule.get("action") == "RestartAllContainers"
    ]
    if rules and init and container.get("restartPolicy") == "Always":
        detail = "restartPolicyRules are not allowed for init containers with restart policy Always"
        problems.append(forbidden(f"{where}.restartPolicyRules", detail))
    return problems
