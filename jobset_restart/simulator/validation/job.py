"""Jobs: defaults (pkg/apis/batch/v1/defaults.go), the generated selector, validation, and what may change later."""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.store import Obj, Objs
from jobset_restart.simulator.validation.meta import dns_label_errors, label_problems
from jobset_restart.simulator.validation.pod import spec_defaults, spec_problems
from jobset_restart.simulator.validation.problems import (
    Problems,
    immutable,
    invalid,
    not_modelled,
    refuse,
    required,
    unsupported,
)

_MAX_INDEXED = 100_000
"""maxParallelismForIndexedJob."""
_UID_LABEL = "batch.kubernetes.io/controller-uid"
_MISSING = {"successPolicy": "success policies"}
_UNLIMITED = 2**31 - 1
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def admit_job(new: Obj, old: Obj | None) -> Obj:
    """A Job with its defaults. Raises StoreError 422."""
    spec = _defaults(new.get("spec") or {})
    if old is None:
        spec = _generate_selector(new["metadata"], spec)
        refuse("jobs", new, _problems(new, spec))
        meta = new["metadata"]
        if not meta.get("labels"):  # SetDefaults_Job
            meta = {**meta, "labels": spec["template"]["metadata"]["labels"]}
        return {**new, "metadata": meta, "spec": spec, "status": {}}
    if new["spec"] is old["spec"] or spec == old["spec"]:
        return {**new, "spec": old["spec"]}
    new = {**new, "spec": spec}
    refuse("jobs", new, _problems(new, spec) + _update_problems(spec, old))
    return new


def _defaults(spec: Obj) -> Obj:
    """``SetDefaults_Job``."""
    filled = {name: value for name, value in spec.items() if value is not None}
    if "completions" not in filled and "parallelism" not in filled:
        filled["completions"] = 1
    filled.setdefault("parallelism", 1)
    filled.setdefault("backoffLimit", _UNLIMITED if "backoffLimitPerIndex" in filled else 6)
    filled.setdefault("completionMode", "NonIndexed")
    filled.setdefault("suspend", False)
    filled.setdefault("manualSelector", False)
    filled.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in filled else "TerminatingOrFailed")
    if "podFailurePolicy" in filled:
        rules = [_rule_defaults(each) for each in filled["podFailurePolicy"].get("rules") or ()]
        filled["podFailurePolicy"] = {**filled["podFailurePolicy"], "rules": rules}
    template = filled.get("template") or {}
    filled["template"] = {**template, "spec": spec_defaults(template.get("spec") or {})}
    return filled


def _rule_defaults(rule: Obj) -> Obj:
    if not rule.get("onPodConditions"):
        return rule
    return {**rule, "onPodConditions": [{"status": "True", **each} for each in rule["onPodConditions"]]}


def _generate_selector(meta: Obj, spec: Obj) -> Obj:
    """``generateSelector``: labels on the template, and a selector for the one with the UID."""
    template = spec["template"]
    generated = {
        "job-name": meta["name"],
        "batch.kubernetes.io/job-name": meta["name"],
        "controller-uid": meta["uid"],
        _UID_LABEL: meta["uid"],
    }
    before = template.get("metadata") or {}
    labels = {**generated, **(before.get("labels") or {})}
    selector = spec.get("selector") or {}
    matched = {_UID_LABEL: meta["uid"], **(selector.get("matchLabels") or {})}
    return {
        **spec,
        "selector": {**selector, "matchLabels": matched},
        "template": {**template, "metadata": {**before, "labels": labels}},
    }


def _problems(job: Obj, spec: Obj) -> Problems:
    """``ValidateJob``, and what is not modelled."""
    problems = [not_modelled(f"spec.{field}", what) for field, what in _MISSING.items() if field in spec]
    if spec.get("managedBy", "kubernetes.io/job-controller") != "kubernetes.io/job-controller":
        problems.append(not_modelled("spec.managedBy", "other Job controllers"))
    if spec.get("manualSelector"):
        problems.append(not_modelled("spec.manualSelector", "the adoption of Pods"))
    numbers = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
    for field in (*numbers, "backoffLimitPerIndex", "maxFailedIndexes"):
        value = spec.get(field)
        if value is not None and value < 0:
            problems.append(invalid(f"spec.{field}", value, "must be greater than or equal to 0"))
    problems += _mode_problems(job, spec)
    policies = ("Failed",) if "podFailurePolicy" in spec else ("Failed", "TerminatingOrFailed")
    if spec["podReplacementPolicy"] not in policies:
        problems.append(unsupported("spec.podReplacementPolicy", spec["podReplacementPolicy"], policies))
    problems += _policy_problems(spec)
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    problems += label_problems("spec.template.labels", labels)
    problems += _selector_problems(job["metadata"], spec, labels)
    problems += spec_problems(template["spec"], "spec.template.spec")
    return problems + _restart_policy_problems(spec, template["spec"]["restartPolicy"])


def _mode_problems(job: Obj, spec: Obj) -> Problems:
    mode, completions = spec["completionMode"], spec.get("completions")
    if mode not in ("Indexed", "NonIndexed"):
        return [unsupported("spec.completionMode", mode, ("NonIndexed", "Indexed"))]
    limits = [field for field in ("backoffLimitPerIndex", "maxFailedIndexes") if field in spec]
    if mode != "Indexed":
        return [invalid(f"spec.{field}", spec[field], "requires indexed completion mode") for field in limits]
    problems: Problems = []
    if completions is None:
        problems.append(required("spec.completions", "when completion mode is Indexed"))
    elif spec.get("maxFailedIndexes", 0) > completions:
        detail = "must be less than or equal to completions"
        problems.append(invalid("spec.maxFailedIndexes", spec["maxFailedIndexes"], detail))
    if limits == ["maxFailedIndexes"]:
        problems.append(required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec["parallelism"] > _MAX_INDEXED:
        detail = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        problems.append(invalid("spec.parallelism", spec["parallelism"], detail))
    name = job["metadata"]["name"]
    hostname = f"{name}-{(completions or 1) - 1}"
    if completions and dns_label_errors(hostname):
        detail = f"will not able to create pod with invalid DNS label: {hostname}"
        problems.append(invalid("metadata.name", name, detail))
    return problems


def _selector_problems(meta: Obj, spec: Obj, labels: dict[str, Any]) -> Problems:
    """``validateGeneratedSelector``: nobody else's labels where the generated ones belong."""
    wanted = {"controller-uid": meta["uid"], "job-name": meta["name"]}
    problems: Problems = []
    for label, value in (*wanted.items(), *((f"batch.kubernetes.io/{name}", each) for name, each in wanted.items())):
        if labels.get(label) != value:
            problems.append(invalid(f"spec.template.metadata.labels[{label}]", labels, f"must be '{value}'"))
    if any(labels.get(label) != value for label, value in spec["selector"]["matchLabels"].items()):
        problems.append(invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return problems


def _policy_problems(spec: Obj) -> Problems:
    """``validatePodFailurePolicy``, as far as the model depends on it."""
    problems: Problems = []
    for index, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        path = f"spec.podFailurePolicy.rules[{index}]"
        if rule.get("action") == "FailIndex" and "backoffLimitPerIndex" not in spec:
            detail = "requires the backoffLimitPerIndex to be set"
            problems.append(invalid(f"{path}.action", "FailIndex", detail))
        elif rule.get("action") not in (actions := ("Count", "FailIndex", "FailJob", "Ignore")):
            problems.append(unsupported(f"{path}.action", rule.get("action"), actions))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes and conditions:
            problems.append(invalid(path, rule, "specifying both OnExitCodes and OnPodConditions is not supported"))
        elif not codes and not conditions:
            problems.append(invalid(path, rule, "specifying one of OnExitCodes and OnPodConditions is required"))
        elif codes and codes.get("operator") not in ("In", "NotIn"):
            problems.append(unsupported(f"{path}.onExitCodes.operator", codes.get("operator"), ("In", "NotIn")))
        elif codes and not codes.get("values"):
            detail = "at least one value is required"
            problems.append(invalid(f"{path}.onExitCodes.values", codes.get("values") or [], detail))
    return problems


def _restart_policy_problems(spec: Obj, policy: str) -> Problems:
    field = "spec.template.spec.restartPolicy"
    if policy == "Always":
        return [required(field, 'valid values: "OnFailure", "Never"')]
    if policy == "OnFailure" and "podFailurePolicy" in spec:
        return [invalid(field, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _update_problems(spec: Obj, old: Obj) -> Problems:
    """``ValidateJobSpecUpdate``."""
    before = old["spec"]
    problems: Problems = []
    if spec.get("completions") != before.get("completions"):
        if spec["completionMode"] != "Indexed":
            problems += immutable("spec.completions", spec.get("completions"), before.get("completions"))
        elif spec.get("completions") != spec["parallelism"]:
            detail = "can only be modified in tandem with spec.parallelism"
            problems.append(invalid("spec.completions", spec.get("completions"), detail))
    template = _masked(spec["template"], before["template"]) if _mutable(old) else spec["template"]
    if template != before["template"]:
        problems.append(invalid("spec.template", spec["template"], "field is immutable"))
    for field in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"):
        problems += immutable(f"spec.{field}", spec.get(field), before.get(field))
    return problems


def _mutable(job: Obj) -> bool:
    """``shouldAllowMutablePodTemplate``: the Job is suspended, as far as anybody can see, and no Pod is active."""
    status = job.get("status") or {}
    conditions = status.get("conditions") or ()
    seen = any(each["type"] == "Suspended" and each["status"] == "True" for each in conditions)
    return bool(job["spec"]["suspend"] and ("startTime" not in status or seen) and not status.get("active"))


def _masked(template: Obj, before: Obj) -> Obj:
    """The template with what a suspended Job may change put back: scheduling directives, resources, labels."""
    spec, old = dict(template["spec"]), before["spec"]
    for field in _SCHEDULING:
        _put_back(spec, old, field)
    affinity = dict(spec.get("affinity") or {})
    _put_back(affinity, old.get("affinity") or {}, "nodeAffinity")
    _put_back(spec, {"affinity": affinity} if affinity or "affinity" in old else {}, "affinity")
    for field in ("containers", "initContainers"):
        ours, theirs = spec.get(field) or [], old.get(field) or []
        if ours and [each["name"] for each in ours] == [each["name"] for each in theirs]:
            spec[field] = _with_resources(ours, theirs)
    masked = {**template, "spec": spec}
    _put_back(masked, before, "metadata")
    return masked


def _put_back(new: Obj, old: Obj, field: str) -> None:
    new.pop(field, None)
    if field in old:
        new[field] = old[field]


def _with_resources(ours: Objs, theirs: Objs) -> Objs:
    return [{**each, "resources": other["resources"]} for each, other in zip(ours, theirs, strict=True)]
