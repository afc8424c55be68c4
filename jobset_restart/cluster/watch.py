"""The stream of a WATCH, without I/O: bytes in, changes out; and when to read again from where."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from jobset_restart.cluster import limits
from jobset_restart.cluster.decoding import UNREADABLE, in_words, named
from jobset_restart.objects import ApiStruct, Status

T = TypeVar("T")
Change = Literal["ADDED", "MODIFIED", "DELETED"]
CHANGES = ("ADDED", "MODIFIED", "DELETED")

TIMEOUT_SECONDS = 290
SILENCE_SECONDS = 75.0
"""How long a watch may say nothing. The API server sends a bookmark about every minute, and itself counts 15 s more as
on time (apiserver, storage/cacher: defaultBookmarkFrequency, DefaultEventFreshDuration)."""


class WatchBatch(Struct, Generic[T]):
    """What came at once. `relisted` holds every object there is, after changes may have been missed, as of the
    resourceVersion `relisted_at`; `disconnected` says why the stream broke, `reconnected_after` how many seconds it
    took to get it back."""

    changes: list[tuple[Change, T]] = []
    relisted: list[T] | None = None
    relisted_at: str = ""
    disconnected: str = ""
    reconnected_after: float | None = None


class _Envelope(Struct, Generic[T]):
    type: str
    object: T


class _Meta(ApiStruct):
    resource_version: str = ""


class _Bookmark(ApiStruct):
    metadata: _Meta


class _Raw(Struct):
    type: str
    object: msgspec.Raw


class Expired(Exception):
    """The resourceVersion is too old: list again."""


class StreamFailed(Exception):
    """The server ended the stream with another error."""


class Stream(Generic[T]):
    """Cuts the stream into lines and decodes them. `resource_version` is that of the last thing seen."""

    def __init__(self, item: type[T], resource_version: str) -> None:
        self.resource_version = resource_version
        self._rest = b""
        self._decoder: msgspec.json.Decoder[_Envelope[T]] = msgspec.json.Decoder(_Envelope[item])  # type: ignore[valid-type]

    def feed(self, data: bytes) -> list[tuple[Change, T]]:
        """The changes in these bytes. Raises Expired or StreamFailed where the server said so, and StreamFailed for a
        line that is no event or does not end."""
        *lines, self._rest = (self._rest + data).split(b"\n") if b"\n" in data else [self._rest + data]
        changes: list[tuple[Change, T]] = []
        for line in lines:
            if not line:
                continue
            try:
                envelope = self._decoder.decode(line)
            except UNREADABLE as error:
                self._other(line, error)
                continue
            if envelope.type in CHANGES:
                changes.append((envelope.type, envelope.object))  # type: ignore[arg-type]
                self._seen(envelope.object.metadata.resource_version)  # type: ignore[attr-defined]
            elif envelope.type == "BOOKMARK":
                self._seen(envelope.object.metadata.resource_version)  # type: ignore[attr-defined]
            else:
                self._other(line)
        if len(self._rest) > limits.WATCH_LINE_BYTES:
            raise StreamFailed(f"one event is larger than {limits.WATCH_LINE_BYTES // limits.MIB} MiB")
        return changes

    def _seen(self, resource_version: str) -> None:
        """Without a version the next watch would begin anywhere."""
        self.resource_version = resource_version or self.resource_version

    def _other(self, line: bytes, unread: Exception | None = None) -> None:
        """What is no change: a bookmark, the error that ends the stream, or a change that cannot be read (`unread`)."""
        try:
            raw = msgspec.json.decode(line, type=_Raw)
            if unread is not None and raw.type in CHANGES:
                raise StreamFailed(f"it sent an object that cannot be read: {named(raw.object, unread)}")
            if raw.type == "BOOKMARK":
                self._seen(msgspec.json.decode(raw.object, type=_Bookmark).metadata.resource_version)
                return
            status = msgspec.json.decode(raw.object, type=Status)
        except UNREADABLE as error:
            raise StreamFailed(f"it sent something that is not an event: {in_words(error)}") from None
        if status.code == 410 or status.reason in ("Expired", "Gone"):
            raise Expired(status.message)
        raise StreamFailed(status.message[: limits.MESSAGE_CHARACTERS] or status.reason or "without a reason")
