"""Writes down every change of what is in a namespace, as its watchers are told of it."""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from pathlib import Path

from urllib3.exceptions import HTTPError

from tests.e2e.api import Answer, Api, Object

WATCHED = ("pods", "jobs", "jobsets")
CLUSTER_WIDE = ("nodes",)
LISTED = {"events": "/api/v1/namespaces/{}/events", "services": "/api/v1/namespaces/{}/services"}
STREAM_SECONDS = 10
QUIET_SECONDS, QUIET_AT_MOST = 2.0, 10.0
"""The end of a scenario is what stays for so long, or what there is at the latest after that."""


class Recorder:
    """One file of JSON lines about one namespace: a header, then objects as they are, in the order they were heard of.

    A line is {"time": seconds since the start, "event": ADDED, MODIFIED, DELETED or LISTED, "resource", "object"}.
    """

    def __init__(self, api: Api, namespace: str, file: Path, header: Object) -> None:
        self._api, self._namespace = api, namespace
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._start = self._last = time.monotonic()
        self._file = file.open("w", encoding="utf-8")
        self._write(header)
        for resource in (*WATCHED, *CLUSTER_WIDE):
            known: dict[str, Object] = {}
            version = self._list(resource, known)  # here and now, so that nothing the scenario does is missed
            follow = threading.Thread(target=self._follow, args=(resource, known, version), daemon=True)
            follow.start()

    def close(self, **footer: object) -> None:
        """Waits until nothing moves any more, lists what is only listed, and ends the file with the footer."""
        end = time.monotonic() + QUIET_AT_MOST
        while time.monotonic() < min(end, self._last + QUIET_SECONDS):
            time.sleep(0.1)
        for resource, where in LISTED.items():
            try:
                items = self._api.request("GET", where.format(self._namespace))["items"]
            except (Answer, HTTPError):
                continue  # the namespace is on its way out, or the server is; the states are what matters
            for item in items:
                self._heard(resource, "LISTED", item)
        with self._lock:
            self._closed.set()
            self._write(footer)
            self._file.close()

    def _follow(self, resource: str, known: dict[str, Object], version: str) -> None:
        """Watches from this version until the end; lists again where a stream breaks or ends before its time.

        `known` are the objects as they were last written down, by UID.
        """
        while not self._closed.is_set():
            try:
                version = version or self._list(resource, known)
                end = time.monotonic() + STREAM_SECONDS
                for event, item in self._api._watch(resource, self._where(resource), "", version, end):
                    version = item["metadata"]["resourceVersion"]
                    self._once(resource, event, item, known)
                    if self._closed.is_set():
                        return
                if time.monotonic() < end - 1:
                    version = ""
            except (Answer, HTTPError, HTTPException, OSError, ValueError):
                self._closed.wait(0.3)  # the server is away, which some scenarios are about
                version = ""

    def _list(self, resource: str, known: dict[str, Object]) -> str:
        """Writes down what is new in the collection, and what is no longer in it; its version."""
        listing = self._api.list(resource, self._where(resource))
        there = {item["metadata"]["uid"]: item for item in listing["items"]}
        for uid in known.keys() - there.keys():
            self._heard(resource, "DELETED", known.pop(uid))
        for uid, item in there.items():
            self._once(resource, "MODIFIED" if uid in known else "ADDED", item, known)
        return str(listing["metadata"]["resourceVersion"])

    def _where(self, resource: str) -> str:
        return "" if resource in CLUSTER_WIDE else self._namespace

    def _once(self, resource: str, event: str, item: Object, known: dict[str, Object]) -> None:
        uid, version = item["metadata"]["uid"], item["metadata"]["resourceVersion"]
        if uid in known and known[uid]["metadata"]["resourceVersion"] == version:
            return
        if event == "DELETED":
            known.pop(uid, None)
        else:
            known[uid] = item
        self._heard(resource, event, item)

    def _heard(self, resource: str, event: str, item: Object) -> None:
        now = time.monotonic()
        with self._lock:
            if not self._closed.is_set():
                self._last = self._last if resource in CLUSTER_WIDE else now
                line = {"time": round(now - self._start, 3), "event": event, "resource": resource, "object": item}
                self._write(line)

    def _write(self, line: Object) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
