"""Bytes in and out: bodies decoded, objects encoded once, and the forms a client may ask for."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import yaml

from jobset_restart.simulator import protobuf
from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.table import table

JSON = "application/json"
CACHE_BYTES = 96 << 20
SPECS = 20_000
_FORMS = {("Table", "meta.k8s.io", "v1"): "table", ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"): "discovery"}
_encoder = msgspec.json.Encoder()
encode = _encoder.encode


class Form(NamedTuple):
    """The form of an answer: plain, table or discovery (aggregated)."""

    name: str
    include: str = ""
    """What a Table's rows carry: Metadata, Object or None."""


def form_of(accept: str, include: str = "") -> Form:
    """The first form of an Accept header that is served. Raises StoreError 406."""
    for clause in accept.split(",") if accept else [JSON]:
        media, *rest = (part.strip() for part in clause.split(";"))
        asked = dict(part.split("=", 1) for part in rest if "=" in part)
        if media not in (JSON, "*/*", "application/*"):
            continue
        if "as" not in asked:
            return Form("plain")
        form = _FORMS.get((asked["as"], asked.get("g", ""), asked.get("v", "")))
        if form:
            return Form(form, include)
    message = f"only the following media types are accepted: {JSON}, and of it Table"
    raise StoreError(406, "NotAcceptable", message)


def decode(body: bytes, content_type: str) -> Any:
    """A request's body. Raises StoreError 400 if it cannot be read, 415 if it is in another format."""
    kind = content_type.split(";", maxsplit=1)[0].strip()
    try:
        if kind in ("", JSON) or (kind.startswith("application/") and kind.endswith("+json")):
            return msgspec.json.decode(body)
        if kind in ("application/yaml", "application/apply-patch+yaml"):
            loaded = yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
            return msgspec.json.decode(msgspec.json.encode(loaded))  # no dates, no cycles
    except (msgspec.DecodeError, yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise StoreError(400, "BadRequest", f"the object provided is unrecognized: {error}") from error
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    accepted = f"application/json, application/yaml, {protobuf.MEDIA_TYPE}"
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    raise StoreError(415, "UnsupportedMediaType", message)


class Encoded:
    """Objects as bytes, each version encoded once for all lists and watches."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._bytes: dict[str, tuple[Obj, bytes]] = {}
        self._size, self._limit = 0, limit
        self._specs: dict[str, tuple[Any, msgspec.Raw]] = {}
        """The newest spec by UID: half of a Pod, and the same in most of its versions."""

    def headless(self, obj: Obj) -> bytes:
        """Without apiVersion and kind, as items of a list of a built-in type are."""
        version = obj["metadata"].get("resourceVersion", "")
        kept, found = self._bytes.get(version, (None, b""))
        if kept is obj:
            return found
        fields = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
        if "spec" in fields and version:
            fields["spec"] = self._spec(obj["metadata"].get("uid", ""), obj["spec"])
        found = encode(fields)
        if kept is None and version:  # what a dry run answers has the version of another object, or none
            self._bytes[version] = obj, found
            self._size += len(found)
            while self._size > self._limit:
                self._size -= len(self._bytes.pop(next(iter(self._bytes)))[1])
        return found

    def _spec(self, uid: str, spec: Any) -> msgspec.Raw:
        known = self._specs.get(uid)
        if known is None or known[0] is not spec:
            known = self._specs[uid] = spec, msgspec.Raw(encode(spec))
            if len(self._specs) > SPECS:
                del self._specs[next(iter(self._specs))]
        return known[1]

    def whole(self, resource: str, obj: Obj) -> bytes:
        return _head(resource) + self.headless(obj)[1:]

    def one(self, resource: str, obj: Obj, form: Form, now: float, *, header: bool = True) -> bytes:
        """A single object, as an answer or in a watch."""
        if form.name == "table":
            version = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return encode(table(resource, [obj], now, version, form.include, header=header))
        return self.whole(resource, obj)

    def many(self, resource: str, objects: list[Obj], metadata: Obj, form: Form, now: float) -> bytes:
        """A list."""
        if form.name == "table":
            return encode(table(resource, objects, now, metadata, form.include))
        kind = RESOURCES[resource]
        custom = resource == "jobsets"
        items = (self.whole(resource, obj) if custom else self.headless(obj) for obj in objects)
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        return encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _head(resource: str) -> bytes:
    kind = RESOURCES[resource]
    return encode({"kind": kind.kind, "apiVersion": kind.api_version})[:-1] + b","


def status_of(error: StoreError) -> Obj:
    """A refusal as v1.Status; empty details are left out, as omitempty does."""
    status = error.status()
    details = {name: value for name, value in error.details.items() if value not in ("", None)}
    status.pop("details")
    return status | ({"details": details} if details else {})


def success(resource: str, obj: Obj) -> Obj:
    """The Status of a deletion that is complete."""
    meta = obj["metadata"]
    details = {"name": meta["name"], "group": RESOURCES[resource].group, "kind": resource, "uid": meta["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status | {"details": {name: value for name, value in details.items() if value}}
