"""Pods: defaults (pkg/apis/core/v1/defaults.go and admission plugins), validation, and what may change later.

Volumes and resource requests are taken but nothing stands behind them: no claim is ever unbound, no node ever short of
anything but room for Pods.
"""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.store import Obj, Objs
from jobset_restart.simulator.validation.meta import dns_label_errors
from jobset_restart.simulator.validation.problems import (
    Problem,
    Problems,
    duplicate,
    forbidden,
    invalid,
    not_modelled,
    refuse,
    required,
    unsupported,
)
from jobset_restart.simulator.validation.token import with_token

_LISTS = ("initContainers", "containers")
_POLICIES = ("Always", "Never", "OnFailure")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_FILE_SOURCES = ("configMap", "downwardAPI", "projected", "secret")
_FILE_MODE = 420
_TOLERATED_SECONDS = 300
"""defaultNotReadyTolerationSeconds and defaultUnreachableTolerationSeconds of DefaultTolerationSeconds."""
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def admit_pod(new: Obj, old: Obj | None) -> Obj:
    """A Pod with its defaults. Raises StoreError 422."""
    if old is not None:
        if new["spec"] is old["spec"] or new["spec"] == old["spec"]:
            return new
        new = {**new, "spec": _pod_only_defaults(spec_defaults(new["spec"]))}
        refuse("pods", new, _update_problems(new["spec"], old["spec"]))
        return new
    spec = new.get("spec") or {}
    refuse("pods", new, spec_problems(spec, "spec"))
    spec = with_token(_pod_only_defaults(spec_defaults(spec)), new["metadata"]["uid"])
    status: Obj = {"phase": "Pending", "qosClass": _qos_class(spec)}
    if spec.get("schedulingGates"):
        message = "Scheduling is blocked due to non-empty scheduling gates"
        gated: Obj = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message}
        gated |= {"lastProbeTime": None, "lastTransitionTime": new["metadata"]["creationTimestamp"]}
        status["conditions"] = [gated]
    return {**new, "spec": spec, "status": status}


def spec_defaults(spec: Obj) -> Obj:
    """A PodSpec, of a Pod or of a template, with its defaults (``SetDefaults_PodSpec``, ``_Container``, ``_Probe``)."""
    filled = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        **{name: value for name, value in spec.items() if value is not None},
    }
    for field in _LISTS:
        if filled.get(field):
            filled[field] = [_container_defaults(each) for each in filled[field]]
    if filled.get("volumes"):
        filled["volumes"] = [_volume_defaults(each) for each in filled["volumes"]]
    if filled.get("serviceAccount") and "serviceAccountName" not in filled:
        filled["serviceAccountName"] = filled["serviceAccount"]
    if filled.get("serviceAccountName"):
        filled["serviceAccount"] = filled["serviceAccountName"]
    return filled


def spec_problems(spec: Obj, path: str) -> Problems:
    """What is wrong with a PodSpec (``ValidatePodSpec``), before defaults."""
    problems: Problems = []
    names: set[str] = set()
    for field in _LISTS:
        for index, container in enumerate(spec.get(field) or ()):
            problems += _container_problems(container, f"{path}.{field}[{index}]", names, field == "initContainers")
    if not spec.get("containers"):
        problems.append(required(f"{path}.containers"))
    policy = spec.get("restartPolicy") or "Always"
    if policy not in _POLICIES:
        problems.append(unsupported(f"{path}.restartPolicy", policy, ("Always", "OnFailure", "Never")))
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        problems.append(invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        problems.append(forbidden(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared"))
    if spec.get("ephemeralContainers"):
        problems.append(forbidden(f"{path}.ephemeralContainers", "cannot be set on create"))
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        if each.get("whenUnsatisfiable") != "ScheduleAnyway":
            where = f"{path}.topologySpreadConstraints[{index}].whenUnsatisfiable"
            problems.append(not_modelled(where, "topology spread that has to be kept: use ScheduleAnyway"))
    if spec.get("resourceClaims"):
        problems.append(not_modelled(f"{path}.resourceClaims", "dynamic resource allocation"))
    return problems


def _container_defaults(container: Obj) -> Obj:
    filled = {
        "imagePullPolicy": "Always" if _tag(container.get("image", "")) == "latest" else "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        **{name: value for name, value in container.items() if value is not None},
    }
    for name in _PROBES:
        if name in filled:
            filled[name] = _probe_defaults(filled[name])
    if filled.get("env"):
        filled["env"] = [_env_defaults(each) for each in filled["env"]]
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **each} for each in filled["ports"]]
    return filled


def _volume_defaults(volume: Obj) -> Obj:
    """``SetDefaults_Volume`` and those of its sources."""
    if not any(source is not None for name, source in volume.items() if name != "name"):
        return {**volume, "emptyDir": {}}
    files = {name: {"defaultMode": _FILE_MODE, **(volume[name] or {})} for name in _FILE_SOURCES if name in volume}
    return {**volume, **files}


def _probe_defaults(probe: Obj) -> Obj:
    filled = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, **probe}
    if "httpGet" in filled:
        filled["httpGet"] = {"path": "/", "scheme": "HTTP", **filled["httpGet"]}
    return filled


def _env_defaults(entry: Obj) -> Obj:
    """``SetDefaults_ObjectFieldSelector``."""
    source = entry.get("valueFrom") or {}
    if "apiVersion" in source.get("fieldRef", {"apiVersion": ""}):
        return entry
    return {**entry, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _tag(image: str) -> str:
    """``parsers.ParseImageName``: "latest" only without a digest."""
    name, at, _ = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return tag if colon else "" if at else "latest"


def _pod_only_defaults(spec: Obj) -> Obj:
    """``SetDefaults_Pod``, and the plugins DefaultTolerationSeconds, ServiceAccount and Priority."""
    filled = {"enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority", "priority": 0, **spec}
    for field in _LISTS:
        if any((each["resources"].get("limits")) for each in filled.get(field) or ()):
            filled[field] = [_request_limits(each) for each in filled[field]]
    if not filled.get("serviceAccountName"):
        filled["serviceAccountName"] = filled["serviceAccount"] = "default"
    tolerations = list(filled.get("tolerations") or ())
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(each.get("key", key) == key and each.get("effect") in (None, "NoExecute") for each in tolerations):
            mine = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS}
            tolerations.append(mine)
    filled["tolerations"] = tolerations
    return filled


def _request_limits(container: Obj) -> Obj:
    resources = container["resources"]
    requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {**container, "resources": {**resources, "requests": requests}}


def _qos_class(spec: Obj) -> str:
    """``GetPodQOS``."""
    resources = [each["resources"] for field in _LISTS for each in spec.get(field) or ()]
    if not any(each.get(kind) for each in resources for kind in ("requests", "limits")):
        return "BestEffort"
    for each in resources:
        limits, requests = each.get("limits") or {}, each.get("requests") or {}
        if any(name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _container_problems(container: Obj, path: str, names: set[str], init: bool) -> Problems:
    problems: Problems = []
    name = container.get("name") or ""
    if not name:
        problems.append(required(f"{path}.name"))
    elif name in names:
        problems.append(duplicate(f"{path}.name", name))
    else:
        problems += [invalid(f"{path}.name", name, why) for why in dns_label_errors(name)]
    names.add(name)
    if not container.get("image"):
        problems.append(required(f"{path}.image"))
    pull = container.get("imagePullPolicy")
    if pull and pull not in ("Always", "IfNotPresent", "Never"):
        problems.append(unsupported(f"{path}.imagePullPolicy", pull, ("Always", "IfNotPresent", "Never")))
    problems += _restart_problems(container, path)
    if init and container.get("restartPolicy") != "Always":
        for probe in _PROBES:
            if container.get(probe):
                detail = "may not be set for init containers without restartPolicy=Always"
                problems.append(forbidden(f"{path}.{probe}", detail))
    return problems


def _restart_problems(container: Obj, path: str) -> Problems:
    """``validateContainerRestartPolicy``."""
    problems: Problems = []
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None and rules:
        problems.append(required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
    elif policy is not None and policy not in _POLICIES:
        problems.append(unsupported(f"{path}.restartPolicy", policy, _POLICIES))
    for index, rule in enumerate(rules):
        where = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action") not in ("Restart", "RestartAllContainers"):
            problems.append(unsupported(f"{where}.action", rule.get("action"), ("Restart", "RestartAllContainers")))
        codes = rule.get("exitCodes")
        if not codes:
            problems.append(required(f"{where}.exitCodes", "must be specified"))
        elif codes.get("operator") not in ("In", "NotIn"):
            problems.append(unsupported(f"{where}.exitCodes.operator", codes.get("operator"), ("In", "NotIn")))
    return problems


def _update_problems(new: Obj, old: Obj) -> Problems:
    """``ValidatePodUpdate``."""
    for field in _LISTS:
        if len(new.get(field) or ()) != len(old.get(field) or ()):
            return [forbidden(f"spec.{field}", "pod updates may not add or remove containers")]
    problems: Problems = []
    for field in _LISTS:
        for index, each in enumerate(new.get(field) or ()):
            image, where = each.get("image") or "", f"spec.{field}[{index}].image"
            if not image:
                problems.append(required(where))
            elif image.strip() != image:
                problems.append(invalid(where, image, "must not have leading or trailing whitespace"))
    problems += _deadline_problems(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    kept = [{**each, "tolerationSeconds": None} for each in new.get("tolerations") or ()]
    if any({**each, "tolerationSeconds": None} not in kept for each in old.get("tolerations") or ()):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        problems.append(forbidden("spec.tolerations", detail))
    gates = [each["name"] for each in old.get("schedulingGates") or ()]
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate["name"] not in gates:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate['name']}'"
            problems.append(forbidden(f"spec.schedulingGates[{index}].name", detail))
    return problems + _other_problems(new, old, bool(gates))


def _deadline_problems(new: Any, old: Any) -> Problems:
    field = "spec.activeDeadlineSeconds"
    if new is None:
        return [invalid(field, None, "must not update from a positive integer to nil value")] if old is not None else []
    if new < 0:
        return [invalid(field, new, "must be between 0 and 2147483647, inclusive")]
    if old is not None and new > old:
        return [invalid(field, new, "must be less than or equal to previous value")]
    return []


def _other_problems(new: Obj, old: Obj, gated: bool) -> list[Problem]:
    """Everything that may not change at all; gated Pods may still get node selectors and affinity."""
    free = {"activeDeadlineSeconds", "tolerations", "schedulingGates"}
    if gated:
        free |= {"nodeSelector", "affinity"}
    changed = []
    for field in {*new, *old} - free:
        ours, theirs = new.get(field), old.get(field)
        if field in _LISTS:
            ours, theirs = _without_images(ours or []), _without_images(theirs or [])
        if ours != theirs:
            changed.append(field)
    if not changed:
        return []
    detail = f"pod updates may not change fields other than {_UPDATABLE}\nchanged: {', '.join(sorted(changed))}"
    return [forbidden("spec", detail)]


def _without_images(containers: Objs) -> Objs:
    return [{**each, "image": ""} for each in containers]
