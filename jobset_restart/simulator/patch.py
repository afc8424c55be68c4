"""Patches: JSON merge, JSON, strategic merge, and server-side apply without conflicts.

Every function returns a new object that shares what is unchanged with the old one; nothing is mutated.
"""

from __future__ import annotations

from typing import Any

from jobset_restart.simulator.store import Obj, StoreError

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

# patchMergeKey and patchStrategy=merge in the Go types of core/v1 and batch/v1, by the last part of the path. A list
# that is not here is replaced whole, as the API server does.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "conditions": "type",
    "ownerReferences": "uid",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "addresses": "type",
    "podIPs": "ip",
    "hostIPs": "ip",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "replicatedJobs": "name",
}
SET_LISTS = {"finalizers"}


def merge(obj: Obj, delta: Obj) -> Obj:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    new = dict(obj)
    for name, value in delta.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            old = new.get(name)
            new[name] = merge(old if isinstance(old, dict) else {}, value)
        else:
            new[name] = value
    return new


def applied(obj: Obj, config: Obj, before: Obj) -> Obj:
    """``obj`` after ``config`` was applied: what the same manager applied ``before`` and does not any more is gone.

    Who else set a field is not known: nothing conflicts, as with ``force``.
    """
    return strategic(_without(obj, before, config), config)


def _without(obj: Obj, before: Obj, config: Obj) -> Obj:
    """``obj`` without the fields and list items that ``before`` has and ``config`` has not."""
    new = dict(obj)
    for name, old in before.items():
        here, wanted, key = new.get(name), config.get(name), MERGE_KEYS.get(name)
        if isinstance(old, dict) and isinstance(here, dict):
            new[name] = _without(here, old, wanted or {})
        elif isinstance(old, list) and isinstance(here, list) and key:
            after = {each.get(key): each for each in wanted or ()}
            dropped = {each.get(key): each for each in old}
            kept = [each for each in here if each.get(key) in after or each.get(key) not in dropped]
            new[name] = [_without(each, dropped.get(each.get(key), {}), after.get(each.get(key), {})) for each in kept]
        if name not in config and (not isinstance(old, dict) or not new.get(name)):
            new.pop(name, None)
    return new


def patched(resource: str, obj: Obj, content_type: str, body: Any) -> Obj:
    """``obj`` after a patch of ``content_type``.

    Raises StoreError: 415 for a type the resource does not take, 400 and 422 for a patch that does not fit.
    """
    kind = content_type.split(";", maxsplit=1)[0].strip()
    if kind == MERGE:
        return merge(obj, _object(body))
    if kind == JSON:
        if not isinstance(body, list):
            raise StoreError(400, "BadRequest", "a JSON patch is a list of operations")
        for operation in body:
            obj = _operate(obj, operation)
        return obj
    custom = resource == "jobsets"
    if kind == STRATEGIC and not custom:
        return strategic(obj, _object(body))
    allowed = [JSON, MERGE, APPLY] if custom else [JSON, MERGE, STRATEGIC, APPLY]
    raise StoreError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(allowed)}",
    )


def strategic(obj: Obj, delta: Obj) -> Obj:
    """``merge`` with lists that merge by a key (``$patch``, ``$setElementOrder``): a strategic merge patch."""
    if delta.get("$patch") == "replace":
        return {name: value for name, value in delta.items() if name != "$patch"}
    new = dict(obj)
    for name, value in delta.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            new[field] = [each for each in new.get(field) or () if each not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            old = new.get(name)
            new[name] = strategic(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list):
            new[name] = _merged_list(name, new.get(name) or [], value)
        else:
            new[name] = value
    return new


def _merged_list(name: str, old: list[Any], delta: list[Any]) -> list[Any]:
    if name in SET_LISTS:
        return old + [each for each in delta if each not in old]
    key = MERGE_KEYS.get(name)
    if key is None:
        return delta
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in delta):
        return [each for each in delta if "$patch" not in each]
    new = list(old)
    for each in delta:
        if not isinstance(each, dict) or key not in each:
            raise StoreError(422, "Invalid", f"map: {each} does not contain declared merge key: {key}")
        place = next((index for index, item in enumerate(new) if item.get(key) == each[key]), None)
        if each.get("$patch") == "delete":
            if place is not None:
                del new[place]
        elif place is None:
            new.append(each)
        else:
            new[place] = strategic(new[place], each)
    return new


def _object(body: Any) -> Obj:
    if not isinstance(body, dict):
        raise StoreError(400, "BadRequest", "the patch is not a JSON object")
    return body


def _operate(document: Any, operation: Any) -> Any:
    """One operation of RFC 6902 applied to ``document``."""
    try:
        op, path = operation["op"], _pointer(operation["path"])
        if op == "test":
            if _at(document, path) != operation.get("value"):
                raise StoreError(422, "Invalid", f"the server rejected our request: test failed at {operation['path']}")
            return document
        if op in ("move", "copy"):
            source = _pointer(operation["from"])
            value = _at(document, source)
            if op == "move":
                document = _set(document, source, "remove", None)
            return _set(document, path, "add", value)
        if op in ("add", "replace", "remove"):
            if op != "add":
                _at(document, path)
            return _set(document, path, op, operation.get("value"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        message = f"the server rejected our request due to an error in our request: {operation}: {error}"
        raise StoreError(422, "Invalid", message) from error
    raise StoreError(400, "BadRequest", f"unknown JSON patch operation {op!r}")


def _pointer(text: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _set(document: Any, path: list[str], op: str, value: Any) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(document, list):
        new = list(document)
        index = len(new) if part == "-" else int(part)
        if rest:
            new[index] = _set(new[index], rest, op, value)
        elif op == "add":
            new.insert(index, value)
        elif op == "replace":
            new[index] = value
        else:
            del new[index]
        return new
    changed = dict(document)
    if rest:
        changed[part] = _set(changed[part], rest, op, value)
    elif op == "remove":
        del changed[part]
    else:
        changed[part] = value
    return changed
