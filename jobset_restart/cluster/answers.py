"""What an answer or a failure of the transport means: into the tree of jobset_restart.errors. No I/O."""

from __future__ import annotations

import os
import ssl

import aiohttp
import msgspec

from jobset_restart.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    JsrError,
    NotFound,
    Overloaded,
    Unauthorized,
    Unreachable,
)
from jobset_restart.objects import Status

BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    **dict.fromkeys((429, 500, 502, 503, 504), Overloaded),
}


def api_error(status: int, body: bytes, request: str, retry_after: str = "") -> ApiError:
    """The error for an answer of 400 or more. `request` names it ("patch /api/v1/..."), for answers without words."""
    try:
        said = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        said = Status(message=body[:200].decode(errors="replace").strip())
    wait = float(retry_after) if retry_after.isdigit() else None
    if wait is None and said.details and said.details.retry_after_seconds:
        wait = float(said.details.retry_after_seconds)
    message = said.message or f"the API server answered {status} to {request}"
    kind = BY_STATUS.get(status, ApiError)
    hint = ""
    if kind is Unauthorized:
        message = f"the API server refused the credentials ({message})"
        hint = "they may have expired: log in again, or check the user of the context"
    elif kind is Forbidden:
        hint = "ask for this permission; `kubectl auth can-i --list` shows what you have"
    return kind(message, hint, status=status, reason=said.reason, retry_after=wait)


def transport_error(error: BaseException, server: str) -> JsrError:
    """The error for a request that got no answer, told apart by what went wrong."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(
            f"the certificate of {server} is not to be trusted: {error.certificate_error}",
            "the kubeconfig's certificate authority or server name does not fit this server",
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return Unreachable(f"no TLS with {server}: {error}", "is this an https address, and the right port?")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreachable(
            f"the proxy on the way to {server} does not answer: {error}", "check proxy-url and HTTPS_PROXY"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return Unreachable(f"no connection to {server}: {why}", "is the API server up and reachable?")
    if isinstance(error, TimeoutError):
        return Unreachable(f"{server} did not answer in time", "the API server or the way to it is slow or down")
    if isinstance(error, aiohttp.InvalidURL):
        return Unreachable(f"the server address {server} is no URL")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Unreachable(f"the connection to {server} broke in the middle of an answer", "try again")
    return Unreachable(f"the connection to {server} broke: {error or type(error).__name__}", "try again")


def retriable(error: JsrError) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(error, Unreachable):
        return "certificate" not in error.message and "TLS" not in error.message and "is no URL" not in error.message
    return isinstance(error, Overloaded)
