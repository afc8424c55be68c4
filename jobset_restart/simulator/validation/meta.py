"""Names, labels and annotations (``ValidateObjectMeta``)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.training import spec as training
from jobset_restart.simulator.validation.problems import Problem, Problems, invalid, refuse

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_ANNOTATIONS_LIMIT = 256 << 10
"""TotalAnnotationSizeLimitB."""
_LABEL_NAMES = {"namespaces"}
_DNS_1035_NAMES = {"services"}
_PATH_NAMES = {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}


def validate_meta(resource: str, new: Obj, old: Obj | None) -> None:
    """Raises StoreError 422. What did not change is not looked at again."""
    meta, before = new["metadata"], old["metadata"] if old else {}
    if old and meta is before:
        return
    problems: Problems = []
    if not old:
        problems += [invalid("metadata.name", meta["name"], why) for why in name_errors(resource, meta["name"])]
    if meta.get("labels") != before.get("labels"):
        problems += label_problems("metadata.labels", meta.get("labels") or {})
    annotations = meta.get("annotations")
    if annotations and annotations != before.get("annotations"):
        problems += _annotation_problems(annotations)
    refuse(resource, new, problems)


def name_errors(resource: str, name: str) -> list[str]:
    """Why ``name`` cannot name such an object (the strategies' name functions)."""
    if resource in _PATH_NAMES:
        if name in (".", ".."):
            return [f"may not be '{name}'"]
        return [f"may not contain '{each}'" for each in ("/", "%") if each in name]
    if resource in _LABEL_NAMES:
        return dns_label_errors(name)
    if resource in _DNS_1035_NAMES:
        what = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character"
        )
        long = ["must be no more than 63 characters"] if len(name) > 63 else []
        return long + _mismatch(name, _DNS_1035, what, "my-name", "abc-123")
    return _subdomain_errors(name)


@lru_cache(maxsize=4096)
def dns_label_errors(name: str) -> list[str]:
    """IsDNS1123Label."""
    what = (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character"
    )
    return _too_long(name, 63) + _mismatch(name, _LABEL, what, "my-name", "123-abc")


def label_problems(field: str, labels: dict[str, Any]) -> Problems:
    """ValidateLabels."""
    found: Problems = []
    for key, value in labels.items():
        found += [invalid(field, key, why) for why in _key_errors(key)]
        found += [invalid(field, value, why) for why in _value_errors(value)]
    return found


def _annotation_problems(annotations: dict[str, Any]) -> Problems:
    """ValidateAnnotations: keys are not case-sensitive, and all together have a limit."""
    field = "metadata.annotations"
    found = [invalid(field, key, why) for key in annotations for why in _key_errors(key.lower())]
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        found.append(Problem(field, "FieldValueTooLong", f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"))
    if training.ANNOTATION in annotations:
        try:
            training.read(str(annotations[training.ANNOTATION]))
        except ValueError as error:
            found.append(invalid(field, training.ANNOTATION, str(error)))
    return found


def _subdomain_errors(name: str) -> list[str]:
    what = (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character"
    )
    return _too_long(name, 253) + _mismatch(name, _SUBDOMAIN, what, "example.com")


@lru_cache(maxsize=4096)
def _key_errors(key: str) -> list[str]:
    """IsLabelKey."""
    what = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    what += "alphanumeric character"
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return ["a valid label key " + _regex(what, _KEY, "MyName", "my.name", "123-abc") + optional]
    errors: list[str] = []
    if slash:
        errors += [f"prefix part {why}" for why in (_subdomain_errors(prefix) if prefix else ["must be non-empty"])]
    if not name:
        errors.append("name part must be non-empty")
    found = _too_long(name, 63) + _mismatch(name, _KEY, what, "MyName", "my.name", "123-abc")
    return errors + [f"name part {why}" for why in found]


@lru_cache(maxsize=65536)
def _value_errors(value: Any) -> list[str]:
    """IsLabelValue."""
    what = (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character"
    )
    text = str(value)
    return _too_long(text, 63) + _mismatch(text, f"({_KEY})?", what, "MyValue", "my_value", "12345")


def _too_long(text: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} bytes"] if len(text.encode()) > limit else []


def _mismatch(text: str, pattern: str, what: str, *examples: str) -> list[str]:
    return [] if re.fullmatch(pattern, text) else [_regex(what, pattern, *examples)]


def _regex(what: str, pattern: str, *examples: str) -> str:
    """RegexError."""
    shown = " or ".join(f"'{each}', " for each in examples)
    return f"{what} (e.g. {shown}regex used for validation is '{pattern}')"
