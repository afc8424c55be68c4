"""Label and field selectors as predicates over raw objects."""

from __future__ import annotations

import re
from collections.abc import Callable

from jobset_restart.simulator.store import Obj, StoreError

Match = Callable[[Obj], bool]

_TERM = re.compile(
    r"^\s*(?:(?P<set>[\w./-]+)\s+(?P<verb>in|notin)\s*\((?P<values>[^)]*)\)"
    r"|(?P<key>[\w./-]+)\s*(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|(?P<absent>!?)\s*(?P<exists>[\w./-]+))\s*$"
)

# The selectable fields each resource declares (registry strategies' field sets); metadata.name and
# metadata.namespace work everywhere.
FIELDS = {
    "pods": {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    },
    "nodes": {"spec.unschedulable"},
    "jobs": {"status.successful"},
    "namespaces": {"status.phase"},
    "events": {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    },
}


def label_selector(text: str) -> Match:
    """A predicate for ``a=b,c!=d,e in (f,g),h,!i``. Raises StoreError 400."""
    tests = [_label_test(term) for term in _terms(text)]
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def label_selector_object(selector: Obj) -> Match:
    """A predicate for a metav1.LabelSelector. Raises StoreError 400 for an unknown operator."""
    wanted = dict(selector.get("matchLabels") or {})
    tests = [_requirement(each) for each in selector.get("matchExpressions") or ()]

    def match(obj: Obj) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(labels.get(name) == value for name, value in wanted.items()) and all(test(labels) for test in tests)

    return match


def field_selector(resource: str, text: str) -> Match:
    """A predicate for ``metadata.name=x,status.phase!=Running``. Raises StoreError 400 for an unknown field."""
    tests: list[Match] = []
    for term in _terms(text):
        found = re.match(r"^([\w.]+)(==|!=|=)(.*)$", term)
        if not found:
            raise StoreError(400, "BadRequest", f'invalid field selector: "{text}"; can\'t understand "{term}"')
        name, operator, value = found.groups()
        if name not in ("metadata.name", "metadata.namespace") and name not in FIELDS.get(resource, ()):
            raise StoreError(400, "BadRequest", f"field label not supported: {name}")
        tests.append(_field_test(name.split("."), value, operator != "!="))
    return lambda obj: all(test(obj) for test in tests)


def _field_test(path: list[str], value: str, wanted: bool) -> Match:
    def test(obj: Obj) -> bool:
        found: object = obj
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        text = str(found).lower() if isinstance(found, bool) else str("" if found is None else found)
        return (text == value or (text == "" and value == "false")) == wanted

    return test


def _terms(text: str) -> list[str]:
    """Splits at commas outside parentheses."""
    return [term for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label_test(term: str) -> Callable[[dict[str, str]], bool]:
    found = _TERM.match(term)
    if not found:
        raise StoreError(400, "BadRequest", f"unable to parse requirement: {term.strip()!r}")
    if found["set"]:
        values = [each.strip() for each in found["values"].split(",")]
        return _requirement(
            {"key": found["set"], "operator": {"in": "In", "notin": "NotIn"}[found["verb"]], "values": values}
        )
    if found["key"]:
        operator = "NotIn" if found["op"] == "!=" else "In"
        return _requirement({"key": found["key"], "operator": operator, "values": [found["value"]]})
    return _requirement({"key": found["exists"], "operator": "DoesNotExist" if found["absent"] else "Exists"})


def _requirement(each: Obj) -> Callable[[dict[str, str]], bool]:
    key, operator, values = each["key"], each["operator"], each.get("values") or []
    tests: dict[str, Callable[[dict[str, str]], bool]] = {
        "In": lambda labels: labels.get(key) in values,
        "NotIn": lambda labels: key not in labels or labels[key] not in values,
        "Exists": lambda labels: key in labels,
        "DoesNotExist": lambda labels: key not in labels,
    }
    if operator not in tests:
        raise StoreError(400, "BadRequest", f'"{operator}" is not a valid label selector operator')
    return tests[operator]
