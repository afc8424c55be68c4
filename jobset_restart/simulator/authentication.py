"""Who sends a request: bearer tokens of the admin and of service accounts, and impersonation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from jobset_restart.simulator.authorization import ANONYMOUS, MASTERS, Attributes, User, require, user
from jobset_restart.simulator.store import Obj, Store, StoreError, timestamp

ADMIN = "admin"
DEFAULT_EXPIRATION_SECONDS = 3600
_SHORTEST, _LONGEST = 600, 2**32
_ISSUER = "https://kubernetes.default.svc"


class Authenticator:
    """Knows the tokens. ``token`` is ``admin``'s, for a kubeconfig."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._key = secrets.token_bytes(32)
        self.token = secrets.token_urlsafe(24)

    def user_of(self, headers: Mapping[str, str]) -> User:
        """The user of a request, after impersonation. Raises StoreError 401, or 403 for who may not impersonate."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        who = user(ANONYMOUS)
        if scheme:
            known = scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token.encode())
            who = user(ADMIN, (MASTERS,)) if known else self._service_account(token.strip())
        return self._impersonated(who, headers)

    def token_for(self, account: Obj, request: Obj) -> Obj:
        """The answer to a TokenRequest: a JWT for a service account. Raises StoreError 422, 501."""
        spec = request.get("spec") or {}
        if spec.get("boundObjectRef"):
            raise StoreError(501, "NotImplemented", "the embedded cluster does not bind tokens to objects")
        lasts = int(spec.get("expirationSeconds") or DEFAULT_EXPIRATION_SECONDS)
        if not _SHORTEST <= lasts <= _LONGEST:
            limit = "less than 10 minutes" if lasts < _SHORTEST else "larger than 1<<32 seconds"
            why = f"spec.expirationSeconds: Invalid value: {lasts}: may not specify a duration {limit}"
            raise StoreError(422, "Invalid", f'TokenRequest "" is invalid: {why}')
        meta, now = account["metadata"], self._clock()
        claims = {
            "aud": spec.get("audiences") or [_ISSUER],
            "exp": int(now) + lasts,
            "iat": int(now),
            "iss": _ISSUER,
            "kubernetes.io": {
                "namespace": meta["namespace"],
                "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
            },
            "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
        }
        status = {"token": self._signed(claims), "expirationTimestamp": timestamp(now + lasts)}
        spec = {**spec, "audiences": claims["aud"], "expirationSeconds": lasts}
        body: Obj = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        return body | {
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "spec": spec,
            "status": status,
        }

    def _signed(self, claims: Obj) -> str:
        head = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        content = f"{head}.{_encoded(json.dumps(claims).encode())}"
        return f"{content}.{_encoded(hmac.digest(self._key, content.encode(), hashlib.sha256))}"

    def _service_account(self, token: str) -> User:
        """The service account a token was made for, as long as it exists."""
        unauthorized = StoreError(401, "Unauthorized", "Unauthorized")
        content, _, signature = token.rpartition(".")
        expected = _encoded(hmac.digest(self._key, content.encode(), hashlib.sha256))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise unauthorized
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(content.partition(".")[2] + "=="))
        bound = claims["kubernetes.io"]
        account = self._store.find("serviceaccounts", bound["namespace"], bound["serviceaccount"]["name"])
        if account is None or account["metadata"]["uid"] != bound["serviceaccount"]["uid"]:
            raise unauthorized
        if claims["exp"] < self._clock() or _ISSUER not in claims["aud"]:
            raise unauthorized
        return user(claims["sub"])

    def _impersonated(self, who: User, headers: Mapping[str, str]) -> User:
        name = headers.get("Impersonate-User", "")
        groups = tuple(headers.getall("Impersonate-Group", [])) if hasattr(headers, "getall") else ()
        if not name:
            if groups:
                raise StoreError(400, "BadRequest", "requested groups without impersonating a user name")
            return who
        if any(header.lower().startswith(("impersonate-extra-", "impersonate-uid")) for header in headers):
            raise StoreError(501, "NotImplemented", "the embedded cluster impersonates users and groups, nothing else")
        if name.startswith("system:serviceaccount:"):
            namespace, _, account = name.removeprefix("system:serviceaccount:").partition(":")
            require(self._store, who, Attributes("impersonate", "", "serviceaccounts", namespace, account))
        else:
            require(self._store, who, Attributes("impersonate", "", "users", "", name))
        for group in groups:
            require(self._store, who, Attributes("impersonate", "", "groups", "", group))
        return user(name, groups)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
