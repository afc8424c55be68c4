"""The JobSet CRD's structural schema, as far as it is the JobSet's own: fields, types, enums, defaults.

Of Job and Pod templates only the names of the fields and what the JobSet controller reads are checked here; the rest
is checked where a real cluster refuses it too, when the Job or the Pod is created.
"""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.validation.problems import Problem, Problems, duplicate, invalid, required, unsupported

_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def _object(needs: str = "", go: Obj | None = None, **fields: Obj) -> Obj:
    """``needs`` are the required fields; ``go`` is what Go writes for those that are missing."""
    return {"type": "object", "fields": fields, "required": needs.split(), "go": go or {}}


def _array(items: Obj, **more: Any) -> Obj:
    return {"type": "array", "items": items, **more}


def _each(schema: Obj, names: str) -> dict[str, Obj]:
    """The same schema for many fields."""
    return dict.fromkeys(names.split(), schema)


def _scalar(kind: str, **more: Any) -> Obj:
    return {"type": kind, **more}


_ANY: Obj = {}
_STRING, _BOOLEAN, _INTEGER = _scalar("string"), _scalar("boolean"), _scalar("integer")
_COUNT = _scalar("integer", minimum=0)
_STRINGS = _array(_STRING)
_META = _object(annotations=_ANY, finalizers=_STRINGS, labels=_ANY, name=_STRING, namespace=_STRING)
_PORT = {"default": {"protocol": "TCP"}}
_CONTAINER = _object(
    "name",
    {"name": "", "resources": {}},
    **_each(
        _ANY,
        "args command envFrom image imagePullPolicy lifecycle livenessProbe readinessProbe resizePolicy resources "
        "restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath "
        "terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    ),
    name=_STRING,
    env=_array(_object("name", {"name": ""}, **_each(_STRING, "name value"), valueFrom=_ANY), key="name"),
    ports=_array(_PORT),
)
_CONTAINERS = _array(_CONTAINER, key="name")
_POD_SPEC = _object(
    "containers",
    {"containers": None},
    **_each(
        _ANY,
        "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
        "ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride "
        "imagePullSecrets nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates "
        "resourceClaims resources runtimeClassName schedulerName schedulingGates schedulingGroup securityContext "
        "serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain "
        "terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes",
    ),
    restartPolicy=_STRING,
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
)
_JOB_SPEC = _object(
    "template",
    {"template": {}},
    **_each(_ANY, "podFailurePolicy selector successPolicy"),
    **_each(_STRING, "completionMode managedBy podReplacementPolicy"),
    **_each(
        _INTEGER,
        "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completions maxFailedIndexes parallelism "
        "ttlSecondsAfterFinished",
    ),
    **_each(_BOOLEAN, "manualSelector suspend"),
    template=_object("", {"metadata": {}, "spec": {}}, metadata=_META, spec=_POD_SPEC),
)
_ACTIONS = (
    "FailJobSet",
    "RestartJobSet",
    "RestartJobSetAndIgnoreMaxRestarts",
    "RestartJob",
    "RestartJobAndIgnoreMaxRestarts",
)
_RULE = _object(
    "action name",
    {"action": "", "name": ""},
    action=_scalar("string", enum=_ACTIONS),
    name=_STRING,
    **_each(_STRINGS, "onJobFailureReasons onJobFailureMessagePatterns targetReplicatedJobs"),
)
_DEPENDS_ON = _object(
    "name status",
    {"name": "", "status": ""},
    name=_STRING,
    status=_scalar("string", enum=("Ready", "Complete")),
)
_REPLICATED_JOB = _object(
    "name template",
    {"name": "", "template": {}},
    name=_STRING,
    groupName=_STRING,
    replicas=_INTEGER,
    dependsOn=_array(_DEPENDS_ON, key="name", most=5),
    template=_object("", {"metadata": {}, "spec": {}}, metadata=_META, spec=_JOB_SPEC),
) | {"default": {"groupName": "default", "replicas": 1}}
SPEC = _object(
    replicatedJobs=_array(_REPLICATED_JOB, key="name"),
    network=_object(enableDNSHostnames=_BOOLEAN, subdomain=_STRING, publishNotReadyAddresses=_BOOLEAN),
    successPolicy=_object(
        "operator", {"operator": ""}, operator=_scalar("string", enum=("All", "Any")), targetReplicatedJobs=_STRINGS
    ),
    failurePolicy=_object(
        maxRestarts=_INTEGER,
        restartStrategy=_scalar("string", enum=("Recreate", "BlockingRecreate", "InPlaceRestart")),
        rules=_array(_RULE),
    )
    | {"default": {"restartStrategy": "Recreate"}},
    startupPolicy=_object(
        "startupPolicyOrder",
        {"startupPolicyOrder": ""},
        startupPolicyOrder=_scalar("string", enum=("AnyOrder", "InOrder")),
    ),
    suspend=_BOOLEAN,
    coordinator=_object(
        "replicatedJob", {"replicatedJob": ""}, replicatedJob=_STRING, jobIndex=_INTEGER, podIndex=_INTEGER
    ),
    managedBy=_STRING,
    ttlSecondsAfterFinished=_COUNT,
    volumeClaimPolicies=_array(_ANY),
)
STATUS = _object(
    conditions=_array(
        _object(
            "lastTransitionTime message reason status type",
            status=_scalar("string", enum=("True", "False", "Unknown")),
            observedGeneration=_COUNT,
            **_each(_STRING, "type lastTransitionTime reason message"),
        ),
        key="type",
    ),
    restarts=_INTEGER,
    restartsCountTowardsMax=_INTEGER,
    terminalState=_STRING,
    replicatedJobsStatus=_array(
        _object(
            "active failed name ready succeeded suspended",
            name=_STRING,
            jobRestarts=_array(_INTEGER),
            jobRestartsCountTowardsMax=_array(_INTEGER),
            **_each(_INTEGER, "ready succeeded failed active suspended"),
        ),
        key="name",
    ),
    previousInPlaceRestartAttempt=_COUNT,
    currentInPlaceRestartAttempt=_COUNT,
)


def defaulted(schema: Obj, value: Any) -> Any:
    """``value`` without nulls and with the schema's defaults. Shares what stays as it is."""
    if isinstance(value, dict):
        fields = schema.get("fields") or {}
        new = {name: defaulted(fields.get(name, _ANY), each) for name, each in value.items() if each is not None}
        new = {**schema.get("default", {}), **new}
        same = len(new) == len(value) and all(new[name] is value.get(name) for name in new)
        return value if same else new
    if isinstance(value, list):
        items = [defaulted(schema.get("items") or _ANY, each) for each in value]
        return value if all(map(_is, items, value)) else items
    return value


def as_go_writes(schema: Obj, value: Any) -> Any:
    """``value`` after a round trip through the Go types: what they never leave out is there."""
    if isinstance(value, dict):
        fields = schema.get("fields") or {}
        new = {**schema.get("go", {}), **value}
        return {name: as_go_writes(fields.get(name, _ANY), each) for name, each in new.items()}
    if isinstance(value, list) and "items" in schema:
        return [as_go_writes(schema["items"], each) for each in value]
    return value


def _is(one: Any, other: Any) -> bool:
    return one is other


_BUILT_IN = {
    "pods": ("Pod", "v1", _POD_SPEC),
    "jobs": (
        "Job",
        "v1",
        _JOB_SPEC | {"fields": {**_JOB_SPEC["fields"], "template": _object(metadata=_ANY, spec=_POD_SPEC)}},
    ),
}


def refuse_strange_fields(resource: str, body: Any) -> None:
    """Misspelled fields in what a client sends of a Pod or a Job, whole or as a patch. Raises StoreError 400."""
    if resource in _BUILT_IN and isinstance(body, dict) and body.get("spec"):
        kind, version, schema = _BUILT_IN[resource]
        refuse_unknown("spec", schema, body["spec"], kind, version)


def refuse_unknown(path: str, schema: Obj, value: Any, kind: str = "JobSet", version: str = "v1alpha2") -> None:
    """Strict decoding for everybody: a real API server drops what it does not know unless asked to be strict.

    Raises StoreError 400.
    """
    found = _unknown(path, schema, value)
    if found:
        text = ", ".join(f'unknown field "{each}"' for each in found)
        message = f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {text}'
        raise StoreError(400, "BadRequest", message)


def _unknown(path: str, schema: Obj, value: Any) -> list[str]:
    if isinstance(value, dict) and "fields" in schema:
        fields = schema["fields"]
        found = [f"{path}.{name}" for name in value if name not in fields and not name.startswith("$")]
        for name, each in value.items():
            found += _unknown(f"{path}.{name}", fields.get(name, _ANY), each)
        return found
    if isinstance(value, list) and "items" in schema:
        return [each for at, item in enumerate(value) for each in _unknown(f"{path}[{at}]", schema["items"], item)]
    return []


_BLOCKING = {"FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooMany"}
_CUT_SHORT = Problem(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)


def schema_problems(path: str, schema: Obj, value: Any) -> Problems:
    """What the schema says against ``value`` (``ValidateCustomResource`` and what the strategy adds)."""
    found = _problems(path, schema, value)
    return [*found, _CUT_SHORT] if any(each.type in _BLOCKING for each in found) else found


def _problems(path: str, schema: Obj, value: Any) -> Problems:
    kind, inside = schema.get("type"), path.removeprefix("status.")
    if kind and not _is_a(kind, value):
        actual = type_of(value)
        why = f'Invalid value: "{actual}": {inside} in body must be of type {kind}: "{actual}"'
        return [Problem(path, "FieldValueTypeInvalid", why)]
    if kind == "object":
        found = [required(f"{path}.{name}") for name in schema["required"] if name not in value]
        for name, each in value.items():
            found += _problems(f"{path}.{name}", schema["fields"].get(name, _ANY), each)
        return found
    if kind == "array":
        return _array_problems(path, schema, value)
    if "enum" in schema and value not in schema["enum"]:
        return [unsupported(path, value, schema["enum"])]
    if "minimum" in schema and value < schema["minimum"]:
        return [invalid(path, value, f"{inside} in body should be greater than or equal to {schema['minimum']}")]
    return []


def _is_a(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind != "integer" or not isinstance(value, bool))


def type_of(value: Any) -> str:
    """The JSON type of a value, as error messages name it."""
    return next((name for name in ("boolean", *_TYPES) if isinstance(value, _TYPES[name])), "null")


def _array_problems(path: str, schema: Obj, value: list[Any]) -> Problems:
    found: Problems = []
    most = schema.get("most")
    if most is not None and len(value) > most:
        found.append(Problem(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items"))
    seen: set[Any] = set()
    for at, item in enumerate(value):
        found += _problems(f"{path}[{at}]", schema["items"], item)
        key = item.get(schema["key"]) if "key" in schema and isinstance(item, dict) else None
        if key is not None and key in seen:
            found.append(duplicate(f"{path}[{at}]", {schema["key"]: key}))
        seen.add(key)
    return found
