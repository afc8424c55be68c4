"""The Kubernetes API for the scenarios: plain objects over the official client's credentials, TLS and connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import config

Object = dict[str, Any]

GROUPS = {
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "resourcequotas": "/api/v1",
    "serviceaccounts": "/api/v1",
    "configmaps": "/api/v1",
    "jobs": "/apis/batch/v1",
    "jobsets": "/apis/jobset.x-k8s.io/v1alpha2",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}
MERGE_PATCH = "application/merge-patch+json"
WATCH_SECONDS = 30


class Answer(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class NotInTime(AssertionError):
    """What a scenario waited for did not come about."""


def path(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a collection or an object."""
    parts = [GROUPS[resource], *(["namespaces", namespace] if namespace else []), resource, name, subresource]
    return "/".join(part for part in parts if part)


class Api:
    """One API server as the given kubeconfig reaches it."""

    def __init__(self, kubeconfig: str) -> None:
        client: Any = config.new_client_from_config(kubeconfig)
        self._pool: Any = client.rest_client.pool_manager
        self._server = str(client.configuration.host)
        self._headers = {
            str(a["key"]): str(a["value"]) for a in client.configuration.auth_settings().values() if a["in"] == "header"
        }

    def request(
        self,
        method: str,
        where: str,
        body: Object | None = None,
        *,
        params: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Object:
        """One request, its answer decoded. Raises Answer."""
        data = None if body is None else json.dumps(body)
        response = self._pool.request(
            method, self._url(where, params), body=data, headers={**self._headers, "Content-Type": kind}, timeout=30.0
        )
        if response.status >= 400:
            raise Answer(response.status, response.data.decode(errors="replace"))
        answer: Object = json.loads(response.data)
        return answer

    def _url(self, where: str, params: Mapping[str, str] | None) -> str:
        return self._server + quote(where) + ("?" + urlencode(params) if params else "")

    def log(self, namespace: str, pod: str, **params: str) -> str:
        """What a Pod printed, as the parameters of pods/log ask for it. Raises Answer."""
        url = self._url(path("pods", namespace, pod, "log"), params)
        response = self._pool.request("GET", url, headers=self._headers, timeout=30.0)
        if response.status >= 400:
            raise Answer(response.status, response.data.decode(errors="replace"))
        return str(response.data.decode(errors="replace"))

    def get(self, resource: str, namespace: str, name: str) -> Object:
        return self.request("GET", path(resource, namespace, name))

    def list(self, resource: str, namespace: str = "", selector: str = "") -> Object:
        params = {"labelSelector": selector} if selector else {}
        return self.request("GET", path(resource, namespace), params=params)

    def create(self, resource: str, namespace: str, body: Object) -> Object:
        return self.request("POST", path(resource, namespace), body)

    def patch(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        """A merge patch."""
        return self.request("PATCH", path(resource, namespace, name, subresource), body, kind=MERGE_PATCH)

    def delete(self, resource: str, namespace: str, name: str, **options: Any) -> None:
        self.request("DELETE", path(resource, namespace, name), options or None)

    def until(
        self,
        resource: str,
        namespace: str,
        reached: Callable[[dict[str, Object]], bool],
        *,
        within: float,
        what: str,
        selector: str = "",
    ) -> dict[str, Object]:
        """Watches the collection until `reached` says yes of its objects (by name); returns them.

        Raises NotInTime after `within` seconds, with the objects as they were last seen.
        """
        end = time.monotonic() + within
        objects: dict[str, Object] = {}
        while True:
            listing = self.list(resource, namespace, selector)
            objects = {item["metadata"]["name"]: item for item in listing["items"]}
            if reached(objects):
                return objects
            version = listing["metadata"]["resourceVersion"]
            for kind, item in self._watch(resource, namespace, selector, version, end):
                name = item["metadata"]["name"]
                if kind == "DELETED":
                    objects.pop(name, None)
                else:
                    objects[name] = item
                if reached(objects):
                    return objects
            if time.monotonic() >= end:
                seen = json.dumps({name: item.get("status") for name, item in objects.items()})
                raise NotInTime(f"{what} not within {within:.0f} s; {resource}: {seen[:4000]}")

    def _watch(
        self, resource: str, namespace: str, selector: str, version: str, end: float
    ) -> Iterator[tuple[str, Object]]:
        """The changes from this version on, until the stream or the time ends."""
        seconds = min(WATCH_SECONDS, max(1, int(end - time.monotonic()) + 1))
        params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        params |= {"labelSelector": selector} if selector else {}
        response = self._pool.request(
            "GET",
            self._url(path(resource, namespace), params),
            headers=self._headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=10, read=seconds + 10),
        )
        try:
            rest = b""
            while chunk := response.read1(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    change = json.loads(line)
                    if change["type"] == "ERROR":
                        return
                    yield change["type"], change["object"]
        finally:
            response.close()
