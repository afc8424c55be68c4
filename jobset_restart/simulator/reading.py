"""get, list and watch."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Iterable, Mapping
from itertools import count, islice
from typing import NamedTuple

import msgspec
from aiohttp import web

from jobset_restart.simulator.clock import Clock
from jobset_restart.simulator.encoding import JSON, Encoded, Form, encode, status_of
from jobset_restart.simulator.faults import Faults
from jobset_restart.simulator.resources import RESOURCES
from jobset_restart.simulator.routes import Target, is_true
from jobset_restart.simulator.selectors import field_selector, label_selector
from jobset_restart.simulator.store import Change, Obj, Store, StoreError, key_of

BOOKMARK_SECONDS = 60.0
"""Wall time between two bookmarks, as the API server's watch cache."""
_SNAPSHOTS = 32
_BATCH = 500
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)
Match = Callable[[Obj], bool]


class _Page(NamedTuple):
    """A list as it was when its first page was asked for."""

    version: int
    objects: list[Obj]
    selected: bool


class Reader:
    """Answers reads from the store. ``close`` ends the watches."""

    def __init__(self, store: Store, clock: Clock, encoded: Encoded, faults: Faults | None = None) -> None:
        self._store, self._clock, self._encoded = store, clock, encoded
        self._faults, self._number = faults or Faults(), count()
        self._pages: dict[str, _Page] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {name: set() for name in RESOURCES}
        self._closed = False
        store.subscribe(self._changed)

    def close(self) -> None:
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.set()

    def get(self, target: Target, form: Form) -> bytes:
        obj = self._store.get(target.resource, target.namespace, target.name)
        return self._encoded.one(target.resource, obj, form, self._clock.now())

    # list

    def list(self, target: Target, query: Mapping[str, str], form: Form) -> bytes:
        """A list, or one page of it. Raises StoreError 400, 410, 422, 504."""
        if "sendInitialEvents" in query:
            raise _invalid("sendInitialEvents", "sendInitialEvents is forbidden for list")
        limit, token = number(query, "limit"), query.get("continue", "")
        if token:
            page, start = self._continued(token)
        else:
            self._check_version(query, limit)
            page, start = self._first_page(target, query), 0
        metadata: Obj = {"resourceVersion": str(page.version)}
        end = start + limit if limit else len(page.objects)
        if end < len(page.objects):
            metadata["continue"] = self._token(page, end)
            metadata |= {} if page.selected else {"remainingItemCount": len(page.objects) - end}
        return self._encoded.many(target.resource, page.objects[start:end], metadata, form, self._clock.now())

    def _first_page(self, target: Target, query: Mapping[str, str]) -> _Page:
        selected = bool(query.get("labelSelector") or query.get("fieldSelector"))
        match = matcher(target.resource, query)
        stale = self._faults.request(target.named("list"), self._clock.now()) if _version(query) == 0 else None
        if stale is None or stale.fault.kind != "stale":
            objects = self._store.list(target.resource, target.namespace or None, match)
            return _Page(self._store.resource_version, objects, selected)
        version = self._faults.versions[stale.number]
        past = _as_of(self._store, target.resource, version)
        seen = [obj for obj in past if target.namespace in ("", obj["metadata"].get("namespace", ""))]
        return _Page(version, [obj for obj in seen if match is None or match(obj)], selected)

    def _token(self, page: _Page, start: int) -> str:
        key = next((key for key, kept in self._pages.items() if kept is page), f"{page.version}-{len(self._pages)}")
        while key not in self._pages and len(self._pages) >= _SNAPSHOTS:
            del self._pages[next(iter(self._pages))]
        self._pages[key] = page
        return base64.urlsafe_b64encode(encode({"v": "meta.k8s.io/v1", "key": key, "start": start})).decode()

    def _continued(self, token: str) -> tuple[_Page, int]:
        try:
            found = msgspec.json.decode(base64.urlsafe_b64decode(token + "=="))
            key, start = str(found["key"]), int(found["start"])
        except (ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            raise StoreError(
                400, "BadRequest", f"invalid continue token: continue key is not valid: {error}"
            ) from error
        if key not in self._pages:
            raise StoreError(410, "Expired", _TOO_OLD)
        return self._pages[key], start

    def _check_version(self, query: Mapping[str, str], limit: int) -> None:
        """resourceVersion and resourceVersionMatch of a list: anything but the newest state is not kept."""
        version, match = _version(query), query.get("resourceVersionMatch", "")
        current = self._store.resource_version
        if match and match not in ("Exact", "NotOlderThan"):
            raise _invalid("resourceVersionMatch", 'supported values: "Exact", "NotOlderThan", ""')
        if match and version is None:
            raise _invalid(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        if match == "Exact" and version == 0:
            raise _invalid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        if version is not None and version > current:
            raise StoreError(
                504,
                "Timeout",
                f"Timeout: Too large resource version: {version}, current: {current}",
                {
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1,
                },
            )
        if version and version < current and (match == "Exact" or (limit and not match)):
            raise StoreError(410, "Expired", "The resourceVersion for the provided list is too old.")

    # watch

    async def watch(self, request: web.Request, target: Target, form: Form) -> web.StreamResponse:
        """A stream of changes until ``timeoutSeconds`` or either side ends it. Raises StoreError 400, 422."""
        query = request.query
        initial, since = self._start_of_watch(query)
        stream = _Stream(self._encoded, target, form, matcher(target.resource, query), self._clock)
        timeout = number(query, "timeoutSeconds") or random.uniform(1800, 3600)  # noqa: S311 - spreads reconnections
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        bookmarks = is_true(query, "allowWatchBookmarks")
        changed = asyncio.Event()
        self._watchers[target.resource].add(changed)
        try:
            if initial:
                since = self._store.resource_version
                objects = self._store.list(target.resource, target.namespace or None, stream.match)
                await _send(response, [stream.line("ADDED", obj) for obj in objects])
            if is_true(query, "sendInitialEvents") and bookmarks:
                await response.write(stream.bookmark(since, {_INITIAL_EVENTS_END: "true"}))
            await self._follow(request, response, target, stream, since, end, changed)
        except StoreError as error:
            await response.write(encode({"type": "ERROR", "object": status_of(error)}) + b"\n")
        except ConnectionError:
            return response
        finally:
            self._watchers[target.resource].discard(changed)
        return response

    async def _follow(
        self,
        request: web.Request,
        response: web.StreamResponse,
        target: Target,
        stream: _Stream,
        since: int,
        end: float,
        changed: asyncio.Event,
    ) -> None:
        """Tells every change after version ``since``, and bookmarks, until ``end`` (loop time). Raises StoreError."""
        loop, bookmarks = asyncio.get_running_loop(), is_true(request.query, "allowWatchBookmarks")
        what, number_, suffered = target.named("watch"), next(self._number), -1
        while not self._closed:
            fault = self._faults.watch(what, number_, self._clock.now())
            kind = fault.fault.kind if fault is not None else ""
            if fault is not None and kind == "watch-stall":
                await self._clock.sleep(fault.ends - self._clock.now())
                continue
            if fault is not None and fault.number != suffered and self._ends(kind, request):
                return
            suffered = fault.number if fault is not None else -1
            changed.clear()
            changes = self._store.log(target.resource, since)
            since = max(since, self._store.resource_version)
            await _send(response, stream.lines(changes, twice=kind == "watch-doubled"))
            edge = self._clock.wall(self._faults.next_edge("watch", self._clock.now()) - self._clock.now())
            wait = min(BOOKMARK_SECONDS, end - loop.time(), edge)
            if (wait > 0 and await _set_within(changed, wait)) or wait == edge:
                continue
            if bookmarks and not changed.is_set():
                await response.write(stream.bookmark(since))
            if loop.time() >= end:
                return

    @staticmethod
    def _ends(kind: str, request: web.Request) -> bool:
        """What a fault does to a watch: cuts it (True), or has it end with an ERROR. Raises StoreError."""
        if kind == "watch-expired":
            raise StoreError(410, "Expired", "too old resource version: 1 (2)")
        if kind == "watch-error":
            raise StoreError(500, "InternalError", "etcdserver: no leader")
        if kind == "watch-cut" and request.transport is not None:
            request.transport.abort()
        return kind == "watch-cut"

    def _start_of_watch(self, query: Mapping[str, str]) -> tuple[bool, int]:
        """Whether the objects there are come first, and the version to start after."""
        version, match = _version(query), query.get("resourceVersionMatch", "")
        if "sendInitialEvents" in query:
            if match != "NotOlderThan":
                why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                raise _invalid("resourceVersionMatch", why)
            return is_true(query, "sendInitialEvents"), version or self._store.resource_version
        if match:
            raise _invalid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        return not version, version or 0

    def _changed(self, resource: str, _change: str, _obj: Obj, _old: Obj | None) -> None:
        for watcher in self._watchers[resource]:
            watcher.set()


class _Stream:
    """What one watch makes of changes: only its namespace, only what its selectors match, in its form."""

    def __init__(self, encoded: Encoded, target: Target, form: Form, match: Match | None, clock: Clock) -> None:
        self._encoded, self._target, self._form, self._clock = encoded, target, form, clock
        self.match = match
        self._header = True

    def lines(self, changes: Iterable[Change], *, twice: bool = False) -> list[bytes]:
        lines = []
        for change in changes:
            if self._target.namespace and change.obj["metadata"].get("namespace") != self._target.namespace:
                continue
            kind = self._kind(change)
            if kind:
                lines += [self.line(kind, change.obj)] * (2 if twice else 1)
        return lines

    def line(self, kind: str, obj: Obj) -> bytes:
        body = self._encoded.one(self._target.resource, obj, self._form, self._clock.now(), header=self._header)
        self._header = False
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"

    def bookmark(self, version: int, annotations: Obj | None = None) -> bytes:
        kind = RESOURCES[self._target.resource]
        meta: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
        meta |= {"annotations": annotations} if annotations else {}
        obj: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}
        if self._form.name == "table":
            row = {
                "cells": [],
                "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta},
            }
            version_only = {"resourceVersion": str(version)}
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": version_only, "rows": [row]}
        return encode({"type": "BOOKMARK", "object": obj}) + b"\n"

    def _kind(self, change: Change) -> str:
        """What a change is to a watch with selectors: an object may come into view or leave it (cacher)."""
        if self.match is None:
            return change.type
        now = change.type != "DELETED" and self.match(change.obj)
        before = change.old is not None and self.match(change.old)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else ""


async def _send(response: web.StreamResponse, lines: list[bytes]) -> None:
    remaining = iter(lines)
    while batch := b"".join(islice(remaining, _BATCH)):
        await response.write(batch)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _as_of(store: Store, resource: str, version: int) -> list[Obj]:
    """Every object as it was at a version that is still in the watch window. Raises StoreError 410."""
    past = {key_of(obj): obj for obj in store.all(resource)}
    for change in reversed(store.log(resource, version)):
        past.pop(key_of(change.obj), None)
        if change.old is not None:
            past[key_of(change.old)] = change.old
    return [past[key] for key in sorted(past)]


def matcher(resource: str, query: Mapping[str, str]) -> Match | None:
    """The selectors of a query as one predicate, None for everything. Raises StoreError 400."""
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if labels and fields:
        by_label, by_field = label_selector(labels), field_selector(resource, fields)
        return lambda obj: by_label(obj) and by_field(obj)
    if labels:
        return label_selector(labels)
    return field_selector(resource, fields) if fields else None


def _version(query: Mapping[str, str]) -> int | None:
    text = query.get("resourceVersion", "")
    if text and not text.isdecimal():
        why = f'invalid resource version: resourceVersion: Invalid value: "{text}": it is not a number'
        raise StoreError(400, "BadRequest", why)
    return int(text) if text else None


def number(query: Mapping[str, str], name: str) -> int:
    """A count of the query, 0 where it is not there. Raises StoreError 400."""
    text = query.get(name, "") or "0"
    if not text.isdecimal():
        raise StoreError(400, "BadRequest", f'{name}: "{text}" is not a number')
    return int(text)


def _invalid(field: str, why: str) -> StoreError:
    cause = {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": field}
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}
    message = f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {why}'
    return StoreError(422, "Invalid", message, details)
