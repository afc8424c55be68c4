"""Admission of JobSets: the CRD's schema, then the webhooks mjobset.kb.io and vjobset.kb.io (pkg/webhooks).

Refused because it is not modelled: volumeClaimPolicies, exclusive placement other than by node selector, and in Job
templates successPolicy and managedBy.
"""

from __future__ import annotations

import re

from jobset_restart.simulator.controllers.jobset_jobs import EXCLUSIVE, NODE_SELECTOR
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.validation.jobset_schema import (
    SPEC,
    STATUS,
    as_go_writes,
    defaulted,
    refuse_unknown,
    schema_problems,
)
from jobset_restart.simulator.validation.jobset_webhook import creation_problems, update_problems
from jobset_restart.simulator.validation.problems import Problem, Problems, not_modelled, refuse

_IMMUTABLE = ("network", "successPolicy", "failurePolicy", "startupPolicy", "volumeClaimPolicies")
_NOT_MODELLED_OF_JOBS = ("successPolicy", "managedBy", "manualSelector")

_GO = {"boolean": "bool", "integer": "int32"}
_STRUCTS = {
    "template.spec.template.spec": "PodSpec",
    "template.spec": "JobSpec",
    "spec": "JobSetSpec",
    "ontainers": "Container",
    "etadata": "ObjectMeta",
    "replicatedJobs": "ReplicatedJob",
    "dependsOn": "DependsOn",
    "network": "Network",
    "successPolicy": "SuccessPolicy",
    "failurePolicy": "FailurePolicy",
    "rules": "FailurePolicyRule",
    "startupPolicy": "StartupPolicy",
    "coordinator": "Coordinator",
    "": "JobSet",
}
"""Go's struct by how the path to it ends."""


def admit_jobset(new: Obj, old: Obj | None) -> Obj:
    """``new`` with its defaults; ``old`` is None on create. Raises StoreError 400 and 422."""
    if old and new.get("status") != old.get("status"):
        status = defaulted(STATUS, new.get("status") or {})
        refuse_unknown("status", STATUS, status)
        refuse("jobsets", new, schema_problems("status", STATUS, status))
        new = {**new, "status": status}
    if old and new.get("spec") == old.get("spec"):
        return new
    spec = defaulted(SPEC, new.get("spec") or {})
    refuse_unknown("spec", SPEC, spec)
    if old is None:
        _refuse_undecodable(schema_problems("spec", SPEC, spec))
        spec = _with_webhook_defaults(spec)
        new = {name: value for name, value in new.items() if name != "status"}  # the strategy's PrepareForCreate
    new = {**new, "spec": spec}
    refuse("jobsets", new, schema_problems("spec", SPEC, spec))
    refuse("jobsets", new, _rule_problems(spec, (old or {}).get("spec") or {}) + _unmodelled(new))
    _deny(new, creation_problems(new) if old is None else update_problems(new, old))
    return new


def _deny(jobset: Obj, problems: Problems) -> None:
    """The validating webhook's refusal, as the API server passes it on (``ToStatusErr``)."""
    try:
        refuse("jobsets", jobset, problems)
    except StoreError as error:
        message = f'admission webhook "vjobset.kb.io" denied the request: {error.message}'
        raise StoreError(error.code, error.reason, message, error.details) from None


def _refuse_undecodable(problems: Problems) -> None:
    """What the mutating webhook, which sees the object first, says about a value of the wrong type."""
    for each in problems:
        wrong = re.search(r'must be of type (\w+): "(\w+)"', each.body)
        if each.type == "FieldValueTypeInvalid" and wrong:
            path = re.sub(r"\[[0-9]+\]", "", each.field)
            parent = path.rpartition(".")[0]
            struct = next(name for end, name in _STRUCTS.items() if parent.endswith(end))
            what = f"json: cannot unmarshal {_GO.get(wrong[2], wrong[2])} into Go struct field {struct}.{path}"
            message = (
                f'admission webhook "mjobset.kb.io" denied the request: {what} of type {_GO.get(wrong[1], wrong[1])}'
            )
            raise StoreError(400, "", message)


def _with_webhook_defaults(spec: Obj) -> Obj:
    """``Default`` of the mutating webhook, which sends the object back as Go writes it if it changed anything."""
    typed = as_go_writes(SPEC, spec)
    new: Obj = {"successPolicy": {"operator": "All"}, "startupPolicy": {"startupPolicyOrder": "AnyOrder"}} | typed
    network = {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    new["network"] = network | (typed.get("network") or {})
    if typed.get("replicatedJobs"):
        new["replicatedJobs"] = [_with_job_defaults(each) for each in typed["replicatedJobs"]]
    rules = (typed.get("failurePolicy") or {}).get("rules")
    if rules:
        named = [{**rule, "name": rule["name"] or f"failurePolicyRule{at}"} for at, rule in enumerate(rules)]
        new["failurePolicy"] = {**typed["failurePolicy"], "rules": named}
    return spec if new == typed else new


def _with_job_defaults(replicated_job: Obj) -> Obj:
    job = replicated_job["template"]["spec"]
    pod = {"restartPolicy": "OnFailure"} | job["template"]["spec"]
    job = {"completionMode": "Indexed"} | job | {"template": {**job["template"], "spec": pod}}
    return {**replicated_job, "template": {**replicated_job["template"], "spec": job}}


def _rule_problems(spec: Obj, before: Obj) -> Problems:
    """The schema's ``x-kubernetes-validations``."""
    found: Problems = []
    in_order = (spec.get("startupPolicy") or {}).get("startupPolicyOrder") == "InOrder"
    replicated_jobs = spec.get("replicatedJobs") or []
    if in_order and any("dependsOn" in each for each in replicated_jobs):
        found.append(_rule_broken("spec", "StartupPolicy and DependsOn APIs are mutually exclusive"))
    # Rules on oldSelf hold only where the field was there before and still is.
    for name in _IMMUTABLE:
        if name in spec and name in before and spec[name] != before[name]:
            found.append(_rule_broken(f"spec.{name}", "Value is immutable"))
    earlier = {each["name"]: each for each in before.get("replicatedJobs") or ()}
    for at, each in enumerate(replicated_jobs):
        was = earlier.get(each["name"], {})
        if "dependsOn" in each and "dependsOn" in was and each["dependsOn"] != was["dependsOn"]:
            found.append(_rule_broken(f"spec.replicatedJobs[{at}].dependsOn", "Value is immutable"))
    return found


def _rule_broken(path: str, message: str) -> Problem:
    return Problem(path, "FieldValueInvalid", f"Invalid value: {message}")


def _unmodelled(jobset: Obj) -> Problems:
    """What a real cluster takes and this one cannot do."""
    found: Problems = []
    if jobset["spec"].get("volumeClaimPolicies"):
        found.append(not_modelled("spec.volumeClaimPolicies", "PersistentVolumeClaims"))
    found += _exclusive("metadata", jobset.get("metadata") or {})
    for at, each in enumerate(jobset["spec"].get("replicatedJobs") or ()):
        path = f"spec.replicatedJobs[{at}].template"
        found += _exclusive(f"{path}.metadata", each["template"].get("metadata") or {})
        job = each["template"]["spec"]
        found += [not_modelled(f"{path}.spec.{name}", name) for name in _NOT_MODELLED_OF_JOBS if name in job]
    return found


def _exclusive(path: str, meta: Obj) -> Problems:
    annotations = meta.get("annotations") or {}
    if EXCLUSIVE in annotations and NODE_SELECTOR not in annotations:
        what = f"exclusive placement without the annotation {NODE_SELECTOR}"
        return [not_modelled(f"{path}.annotations[{EXCLUSIVE}]", what)]
    return []
