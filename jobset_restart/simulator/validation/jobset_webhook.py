"""What the webhook vjobset.kb.io has against a JobSet: ``ValidateCreate`` and ``ValidateUpdate`` of pkg/webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from jobset_restart.simulator.controllers.jobset_jobs import coordinator_endpoint, job_name
from jobset_restart.simulator.store import Obj, Objs
from jobset_restart.simulator.validation.problems import Problem, Problems, immutable, invalid, required

_MAX_INT32 = 2**31 - 1
_MUTABLE_WHILE_SUSPENDED = ("nodeSelector", "tolerations", "schedulingGates")
_FAILURE_REASONS = (
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
)
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_DNS_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_RULE_NAME = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"


def creation_problems(jobset: Obj) -> Problems:
    """``ValidateCreate``."""
    spec = jobset["spec"]
    replicated_jobs: Objs = spec.get("replicatedJobs") or []
    found: Problems = []
    if replicated_jobs and "dependsOn" in replicated_jobs[0]:
        found.append(_plain("DependsOn can't be set for the first ReplicatedJob"))
    subdomain = spec["network"].get("subdomain")
    if subdomain:
        path = "spec.network.subdomain"
        found += [invalid(path, subdomain, why) for why in _subdomain_errors(subdomain)]
    found += _manager_problems(spec.get("managedBy"))
    names: set[str] = set()
    in_place = (spec.get("failurePolicy") or {}).get("restartStrategy") == "InPlaceRestart"
    for at, each in enumerate(replicated_jobs):
        names.add(each["name"])
        path = f"spec.replicatedJobs[{at}]"
        found += _name_problems(jobset, each, path)
        for other in each.get("dependsOn") or ():
            if other["name"] not in names:
                message = f"replicatedJob: {each['name']} cannot depend on replicatedJob: {other['name']}"
                found.append(_plain(message))
        if in_place:
            found += _in_place_problems(each, f"{path}.template.spec")
    for name in spec["successPolicy"].get("targetReplicatedJobs") or ():
        if name not in names:
            found.append(_plain(f"invalid replicatedJob name '{name}' does not appear in .spec.ReplicatedJobs"))
    found += _failure_policy_problems((spec.get("failurePolicy") or {}).get("rules") or [], names)
    if spec.get("coordinator"):
        found += _coordinator_problems(jobset)
    return found


def _manager_problems(manager: str | None) -> Problems:
    """``IsDomainPrefixedPath`` and the length."""
    path = "spec.managedBy"
    if manager is None:
        return []
    if not manager:
        return [required(path)]
    host, _, rest = manager.partition("/")
    if not host or not rest:
        return [invalid(path, manager, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    found = [invalid(path, host, why) for why in _not_dns_1123(host)]
    if not re.fullmatch(_HTTP_PATH, rest):
        found.append(invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))
    if len(manager.encode()) > 63:
        found.append(Problem(path, "FieldValueTooLong", "Too long: may not be more than 63 bytes"))
    return found


def _name_problems(jobset: Obj, replicated_job: Obj, path: str) -> Problems:
    """Whether the names of Jobs and Pods will do: the longest ones, with the highest index, are looked at."""
    job = replicated_job["template"]["spec"]
    last = replicated_job["replicas"] - 1
    found: Problems = []
    if job.get("parallelism", 1) * replicated_job["replicas"] > _MAX_INT32:
        what = f"the product of replicas and parallelism must not exceed {_MAX_INT32}"
        found.append(_plain(f"{what} for replicatedJob '{replicated_job['name']}'"))
    group = replicated_job["groupName"]
    too_long = ".spec.replicatedJob[].groupName is too long, must be less than 63 characters"
    found += [invalid(f"{path}.groupName", group, why) for why in _not_dns_1035(group, too_long)]
    longest = job_name(jobset, replicated_job, last)
    too_long = "JobSet name is too long, {} names generated for this JobSet will exceed 63 characters"
    found += [invalid(f"{path}.name", longest, why) for why in _not_dns_1035(longest, too_long.format("job"))]
    if job.get("completionMode") == "Indexed" and "completions" in job:
        pod = f"{longest}-{job['completions'] - 1}-abcde"
        found += [invalid(f"{path}.name", longest, why) for why in _not_dns_1035(pod, too_long.format("pod"))]
    return found


def _in_place_problems(replicated_job: Obj, path: str) -> Problems:
    """What restarting in place needs of a Job."""
    job, name = replicated_job["template"]["spec"], replicated_job["name"]
    found: Problems = []
    limit, policy, completions = job.get("backoffLimit"), job.get("podReplacementPolicy"), job.get("completions")
    if limit != _MAX_INT32:
        why = f"replicatedJob {name}: must be set to {_MAX_INT32} (MaxInt32) when in-place restart is enabled"
        found.append(invalid(f"{path}.backoffLimit", limit, why))
    if policy != "Failed":
        why = f"replicatedJob {name}: must be set to Failed when in-place restart is enabled"
        found.append(invalid(f"{path}.podReplacementPolicy", policy, why))
    if completions is None or completions != job.get("parallelism"):
        why = f"replicatedJob {name}: completions and parallelism must be set and equal to each other when in-place "
        found.append(invalid(f"{path}.completions", completions, why + "restart is enabled"))
    return found


def _failure_policy_problems(rules: Objs, names: set[str]) -> Problems:
    """``validateFailurePolicy``."""
    if any(rule["action"].startswith("RestartJob") and "JobSet" not in rule["action"] for rule in rules):
        what = "RestartJob and RestartJobAndIgnoreMaxRestarts failure policy actions are not allowed when RestartJob"
        return [_plain(f"{what} feature gate is disabled")]
    found: list[str] = []
    indexes: dict[str, list[str]] = {}
    for at, rule in enumerate(rules):
        name = rule["name"]
        indexes.setdefault(name, []).append(str(at))
        if not 1 <= len(name) <= 128:
            found.append(
                f"invalid failure policy rule name of length {len(name)}, the rule name must be at least 1 characters "
                "long and at most 128 characters long"
            )
        if not re.fullmatch(_RULE_NAME, name):
            found.append(
                f"invalid failure policy rule name '{name}', a failure policy rule name must start with an alphabetic "
                "character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an "
                "alphanumeric character or '_'"
            )
        for target in rule.get("targetReplicatedJobs") or ():
            if target not in names:
                what = f"invalid replicatedJob name '{target}' in failure policy does not appear"
                found.append(f"{what} in .spec.ReplicatedJobs")
        for reason in rule.get("onJobFailureReasons") or ():
            if reason not in _FAILURE_REASONS:
                what = f"invalid job failure reason '{reason}' in failure policy is not a recognized"
                found.append(f"{what} job failure reason")
    for name, places in indexes.items():
        if len(places) > 1:
            what = f"rule names are not unique, rules with indices [{' '.join(places)}]"
            found.append(f"{what} all have the same name '{name}'")
    return [_plain(each) for each in found]


def _coordinator_problems(jobset: Obj) -> Problems:
    """``validateCoordinator`` and ``validateCoordinatorLabelValue``."""
    wanted = jobset["spec"]["coordinator"]
    name, job_index, pod_index = wanted["replicatedJob"], wanted.get("jobIndex", 0), wanted.get("podIndex", 0)
    found = next((each for each in jobset["spec"].get("replicatedJobs") or () if each["name"] == name), None)
    job = (found or {}).get("template", {}).get("spec") or {}
    problems: Problems = []
    if found is None:
        problems.append(_plain(f"coordinator replicatedJob {name} does not exist"))
    elif not 0 <= job_index < found["replicas"]:
        problems.append(_plain(f"coordinator job index {job_index} is invalid for replicatedJob {name}"))
    elif job.get("completionMode") != "Indexed" or "completions" not in job:
        what = "job for coordinator pod must be indexed completion mode, and completions number must be set"
        problems.append(_plain(what))
    elif not 0 <= pod_index < job["completions"]:
        what = f"coordinator pod index {pod_index} is invalid for replicatedJob {name} job index {job_index}"
        problems.append(_plain(what))
    value = coordinator_endpoint(jobset)
    errors = _mismatch(
        value,
        _LABEL_VALUE,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character",
        ("MyValue", "my_value", "12345"),
        63,
        "must be no more than 63 bytes",
    )
    if errors:
        label = 'coordinator label "jobset.sigs.k8s.io/coordinator" (long JobSet / ReplicatedJob / SubDomain name?)'
        problems.append(_plain(f'spec will lead to invalid label value "{value}" for {label}: {", ".join(errors)}'))
    return problems


def _subdomain_errors(subdomain: str) -> list[str]:
    too_long = ".spec.network.subdomain is too long, must be less than 63 characters"
    return _not_dns_1123(subdomain) + _not_dns_1035(subdomain, too_long)


def _not_dns_1035(text: str, too_long: str) -> list[str]:
    """``IsDNS1035Label``, with the webhook's own words for what is too long."""
    what = (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character"
    )
    return _mismatch(text, _DNS_1035, what, ("my-name", "abc-123"), 63, too_long)


def _not_dns_1123(text: str) -> list[str]:
    """``IsDNS1123Subdomain``."""
    what = (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character"
    )
    return _mismatch(text, _DNS_1123, what, ("example.com",), 253, "must be no more than 253 characters")


def _mismatch(text: str, pattern: str, what: str, examples: Iterable[str], limit: int, too_long: str) -> list[str]:
    errors = [too_long] if len(text.encode()) > limit else []
    if not re.fullmatch(pattern, text):
        shown = " or ".join(f"'{each}', " for each in examples)
        errors.append(f"{what} (e.g. {shown}regex used for validation is '{pattern}')")
    return errors


def update_problems(jobset: Obj, old: Obj) -> Problems:
    """``ValidateUpdate``: ReplicatedJobs stay; while suspended (or about to be) parts of their Pods may change."""
    spec, before = jobset["spec"], old.get("spec") or {}
    earlier = {each["name"]: each for each in before.get("replicatedJobs") or ()}
    munged: Objs = spec.get("replicatedJobs") or []
    if spec.get("suspend") or before.get("suspend"):
        munged = [_with_old_directives(each, earlier.get(each["name"])) for each in munged]
    found: Problems = []
    if _bare(munged) != _bare(before.get("replicatedJobs") or []):
        found.append(invalid("spec.replicatedJobs", munged or None, "field is immutable"))
    return found + immutable("spec.managedBy", spec.get("managedBy"), before.get("managedBy"))


def _with_old_directives(new: Obj, old: Obj | None) -> Obj:
    """The ReplicatedJob with what Kueue may change put back."""
    if old is None:
        return new
    job = new["template"]["spec"]
    pod, was = job["template"], old["template"]["spec"]["template"]
    meta = _replaced(pod.get("metadata") or {}, was.get("metadata") or {}, ("annotations", "labels"))
    spec = _replaced(pod["spec"], was["spec"], _MUTABLE_WHILE_SUSPENDED)
    job = {**job, "template": {**pod, "metadata": meta, "spec": spec}}
    return {**new, "template": {**new["template"], "spec": job}}


def _replaced(new: Obj, old: Obj, fields: Iterable[str]) -> Obj:
    kept = {name: value for name, value in new.items() if name not in fields}
    return kept | {name: old[name] for name in fields if name in old}


def _bare(value: Any) -> Any:
    """Without empty objects and lists, which the typed comparison does not tell from missing ones."""
    if isinstance(value, dict):
        bare = {name: _bare(each) for name, each in value.items()}
        return {name: each for name, each in bare.items() if each not in ({}, [], "")}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _plain(message: str) -> Problem:
    """An error of no field (``toFieldErrorList``)."""
    return Problem("<nil>", "InternalError", f"Internal error: {message}")
