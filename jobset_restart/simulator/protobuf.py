"""Request bodies in Kubernetes' protobuf, for the kinds that kubectl sends that way.

The typed clients of client-go (`kubectl create role`, `create token`, `auth can-i` and others) send protobuf and have
no fallback; answers they take as JSON. Field numbers are those of the generated.proto files of k8s.io/api and
k8s.io/apimachinery. What is not written down here is refused, not ignored.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from jobset_restart.simulator.store import Obj, StoreError

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# Each line is a message: number, name and, where it is no string, type. "*" is repeated, "-" is left to the server.
_SCHEMA = """
Unknown: 1 typeMeta TypeMeta, 2 raw bytes, 3 contentEncoding, 4 contentType
TypeMeta: 1 apiVersion, 2 kind
ObjectMeta: 1 name, 2 generateName, 3 namespace, 4 selfLink -, 5 uid, 6 resourceVersion, 7 generation -,
  8 creationTimestamp -, 9 deletionTimestamp -, 10 deletionGracePeriodSeconds -, 11 labels map, 12 annotations map,
  14 finalizers *, 17 managedFields -
DeleteOptions: 1 gracePeriodSeconds int, 4 propagationPolicy, 5 dryRun *
ResourceAttributes: 1 namespace, 2 verb, 3 group, 4 version, 5 resource, 6 subresource, 7 name
NonResourceAttributes: 1 path, 2 verb
SelfSubjectAccessReview: 1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status -
SelfSubjectAccessReviewSpec: 1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes
SelfSubjectRulesReview: 1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status -
SelfSubjectRulesReviewSpec: 1 namespace
SelfSubjectReview: 1 metadata ObjectMeta, 2 status -
TokenRequest: 1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 status -
TokenRequestSpec: 1 audiences *, 4 expirationSeconds int
Eviction: 1 metadata ObjectMeta, 2 deleteOptions DeleteOptions
ServiceAccount: 1 metadata ObjectMeta
Namespace: 1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status -
NamespaceSpec: 1 finalizers *
ConfigMap: 1 metadata ObjectMeta, 2 data map, 3 binaryData bytesmap
Secret: 1 metadata ObjectMeta, 2 data bytesmap, 3 type
Role: 1 metadata ObjectMeta, 2 rules PolicyRule*
ClusterRole: 1 metadata ObjectMeta, 2 rules PolicyRule*
PolicyRule: 1 verbs *, 2 apiGroups *, 3 resources *, 4 resourceNames *, 5 nonResourceURLs *
RoleBinding: 1 metadata ObjectMeta, 2 subjects Subject*, 3 roleRef RoleRef
ClusterRoleBinding: 1 metadata ObjectMeta, 2 subjects Subject*, 3 roleRef RoleRef
Subject: 1 kind, 2 apiGroup, 3 name, 4 namespace
RoleRef: 1 apiGroup, 2 kind, 3 name
Job: 1 metadata ObjectMeta, 2 spec JobSpec, 3 status -
JobSpec: 6 template PodTemplateSpec
PodTemplateSpec: 1 metadata ObjectMeta, 2 spec PodSpec
PodSpec: 2 containers Container*, 3 restartPolicy, 6 dnsPolicy, 8 serviceAccountName, 9 serviceAccount, 10 nodeName,
  11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, 16 hostname, 17 subdomain, 19 schedulerName,
  24 priorityClassName
Container: 1 name, 2 image, 3 command *, 4 args *, 5 workingDir, 8 resources ResourceRequirements,
  13 terminationMessagePath, 14 imagePullPolicy, 16 stdin bool, 17 stdinOnce bool, 18 tty bool,
  20 terminationMessagePolicy
ResourceRequirements: 3 claims *
"""


def _parsed(schema: str) -> dict[str, dict[int, tuple[str, str]]]:
    messages = {}
    for line in schema.strip().replace("\n  ", " ").splitlines():
        message, _, fields = line.partition(":")
        split = [(*field.split(), "")[:3] for field in fields.split(",")]
        messages[message] = {int(number): (name, kind) for number, name, kind in split}
    return messages


_MESSAGES = _parsed(_SCHEMA)


def decode(body: bytes) -> Obj:
    """The object in a protobuf body, as JSON has it. Raises StoreError 400, or 415 for what is not in the schema."""
    if not body.startswith(_MAGIC):
        raise StoreError(400, "BadRequest", "the body is not Kubernetes protobuf: it does not begin with k8s\\0")
    try:
        envelope = _message("Unknown", body[len(_MAGIC) :])
        typed: Obj = envelope["typeMeta"]
        if typed["kind"] not in _MESSAGES:
            raise _unknown(typed["kind"])
        content: Obj = _message(typed["kind"], envelope.get("raw", b""))
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise StoreError(400, "BadRequest", f"the protobuf body cannot be read: {error!r}") from error
    return typed | content


def _message(name: str, data: bytes) -> Obj:
    """A message without its empty strings and messages, which Go writes and JSON leaves out."""
    obj: Obj = {}
    for number, raw in _fields(data):
        if number not in _MESSAGES[name]:
            raise _unknown(f"{name}, field {number}")
        field, kind = _MESSAGES[name][number]
        if kind.endswith("*"):
            obj.setdefault(field, []).append(_value(kind[:-1], raw))
        elif kind in ("map", "bytesmap"):
            entry = dict(_fields(bytes(raw)))
            value = _value("base64" if kind == "bytesmap" else "", entry.get(2, b""))
            obj.setdefault(field, {})[_value("", entry.get(1, b""))] = value
        elif kind != "-" and (value := _value(kind, raw)) not in ("", {}):
            obj[field] = value
    return obj


def _value(kind: str, raw: Any) -> Any:
    if kind == "int":
        return raw - (1 << 64) if raw >> 63 else raw
    if kind == "bool":
        return bool(raw)
    if kind == "bytes":
        return raw
    if kind == "base64":
        return base64.b64encode(raw).decode("ascii")
    return _message(kind, raw) if kind else raw.decode()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, int or bytes) of a message on the wire."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        value, place = _varint(data, place)
        if key & 7 == 2:
            if place + value > len(data):
                raise IndexError("a field ends after the body")
            yield key >> 3, data[place : place + value]
            place += value
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            raise _unknown(f"wire type {key & 7}")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _unknown(what: str) -> StoreError:
    message = f"the embedded cluster does not read {what} in protobuf: send application/json"
    return StoreError(415, "UnsupportedMediaType", message)
