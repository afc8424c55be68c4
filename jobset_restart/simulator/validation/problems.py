"""What is wrong with an object, worded as ``field.Error`` (k8s.io/apimachinery/pkg/util/validation/field)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.store import Obj, StoreError


class Problem(NamedTuple):
    """One field that is wrong."""

    field: str
    type: str
    """The cause's type: FieldValueRequired ..."""
    body: str


Problems = list[Problem]


def required(field: str, detail: str = "") -> Problem:
    return Problem(field, "FieldValueRequired", _detailed("Required value", detail))


def forbidden(field: str, detail: str) -> Problem:
    return Problem(field, "FieldValueForbidden", _detailed("Forbidden", detail))


def invalid(field: str, value: Any, detail: str) -> Problem:
    return Problem(field, "FieldValueInvalid", _detailed(f"Invalid value: {_shown(value)}", detail))


def duplicate(field: str, value: Any) -> Problem:
    return Problem(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Problem:
    values = ", ".join(_shown(each) for each in supported)
    return Problem(field, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {values}")


def immutable(field: str, new: Any, old: Any) -> Problems:
    """ValidateImmutableField."""
    return [] if new == old else [invalid(field, new, "field is immutable")]


def not_modelled(field: str, what: str) -> Problem:
    """For what a real cluster takes and this one cannot do."""
    return forbidden(field, f"the embedded cluster does not model {what}")


def refuse(resource: str, obj: Obj, problems: Problems) -> None:
    """Raises StoreError 422 if there are any (``errors.NewInvalid``)."""
    if not problems:
        return
    kind, name = RESOURCES[resource], obj["metadata"].get("name", "")
    causes = [{"reason": each.type, "message": each.body, "field": each.field} for each in problems]
    texts = list(dict.fromkeys(f"{each.field}: {each.body}" for each in problems))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": causes}
    raise StoreError(422, "Invalid", f"{qualified} {json.dumps(name)} is invalid: {text}", details)


def _detailed(body: str, detail: str) -> str:
    return f"{body}: {detail}" if detail else body


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
