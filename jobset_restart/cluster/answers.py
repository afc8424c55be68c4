"""What an answer or a failure of the transport means: into objects, or the tree of jobset_restart.errors. No I/O."""

from __future__ import annotations

import os
import ssl
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from jobset_restart.cluster import limits
from jobset_restart.cluster.decoding import UNREADABLE
from jobset_restart.cluster.proxy import Proxy
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
from jobset_restart.harmless import REPLACEMENT
from jobset_restart.objects import Status

TRANSPORT_ERRORS = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError)
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
    """The error for an answer that is none of success (300 or more: a redirect is never followed). `request` names it
    ("patch /api/v1/..."), for answers without words; `retry_after` is the header of that name."""
    try:
        said = msgspec.json.decode(body, type=Status)
    except UNREADABLE:
        said = Status()
    wait = _seconds(retry_after)
    if wait is None and said.details and said.details.retry_after_seconds > 0:
        wait = float(said.details.retry_after_seconds)
    message = said.message[: limits.MESSAGE_CHARACTERS] or _bare(status, body, request)
    kind, hint = BY_STATUS.get(status, ApiError), ""
    if kind is Unauthorized:
        message = f"the API server refused the credentials ({message})"
        hint = "they may have expired: log in again, or check the user of the context"
    elif kind is Forbidden:
        hint = "ask for this permission; `kubectl auth can-i --list` shows what you have"
    elif status < 400:
        message = f"the API server answered {request} with {status}, a redirect, which is not followed"
        hint = "is the server URL of the kubeconfig right, or does a proxy want a login?"
    wait = None if wait is None else min(wait, limits.RETRY_AFTER_SECONDS)
    return kind(message, hint, status=status, reason=said.reason, retry_after=wait)


def _bare(status: int, body: bytes, request: str) -> str:
    """What to say of an answer that is no Status: a proxy's page, say."""
    words = " ".join(body[:200].decode(errors="replace").split())
    said = f": {words}" if words and not words.startswith(("{", "[")) and REPLACEMENT not in words else ""
    return f"the API server answered {status} to {request}{said}"


def _seconds(retry_after: str) -> float | None:
    """Retry-After as the API server sends it: whole seconds."""
    digits = retry_after.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return float(digits) if len(digits) < 10 else limits.RETRY_AFTER_SECONDS


def transport_error(error: BaseException, server: str, proxy: Proxy | None = None) -> JsrError:
    """The error for a request that got no answer, told apart by what went wrong. The library's own words are not
    repeated: they may hold the address of a proxy with its password."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Unreachable(
            f"the proxy {proxy} refused the way to {server}: status {error.status}",
            "check its user and password, and whether it lets this server through",
            passing=error.status in (502, 503, 504),
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(
            f"the certificate of {server} is not to be trusted: {error.certificate_error}",
            "the kubeconfig's certificate authority or server name does not fit this server",
            passing=False,
        )
    way = f"{server} by way of the proxy {proxy}" if proxy else server
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return _no_tls(error, way)
    if isinstance(error, aiohttp.ClientConnectorError):
        if proxy is not None:
            return Unreachable(f"the proxy {proxy} does not answer: {_why(error)}", f"check {proxy.option}")
        return Unreachable(f"no connection to {server}: {_why(error)}", "is the API server up and reachable?")
    if isinstance(error, aiohttp.InvalidURL):
        return Unreachable(f"the server address {server} is not a URL", passing=False)
    if isinstance(error, TimeoutError):
        return Unreachable(f"{way} did not answer in time", "the API server or the way to it is slow or down")
    return Unreachable(f"the connection to {way} broke: {_broken(error)}", "try again")


def _no_tls(error: BaseException, way: str) -> Unreachable:
    """A handshake that was broken off may go through later; one that failed will not."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorSSLError) else error
    why = getattr(inner, "reason", None) or "the handshake failed"
    passing = isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return Unreachable(f"no TLS with {way}: {why}", "is this an https address, and the right port?", passing=passing)


def _broken(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientPayloadError | HttpProcessingError):
        return "it ended in the middle of an answer"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it was closed without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__


def _why(error: aiohttp.ClientConnectorError) -> str:
    """The system's words; those of a name that does not resolve come with a negative number (getaddrinfo)."""
    inner = error.os_error
    if inner.errno and inner.errno > 0:
        return os.strerror(inner.errno)
    return inner.strerror or str(inner)


def certificate_refused(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientConnectorCertificateError)


def clock_offset(date: str, now: float, server: str) -> float:
    """How many seconds the server's clock is ahead of ours, 0.0 where a second's difference or none is known.

    The Date header has whole seconds: the middle of the second is the best guess. Raises ApiError where the clocks are
    years apart: every age and deadline would be wrong.
    """
    try:
        theirs = parsedate_to_datetime(date).timestamp() + 0.5
    except (ValueError, TypeError, OverflowError):
        return 0.0
    offset = theirs - now
    if abs(offset) > limits.CLOCK_SECONDS:
        years = abs(offset) / limits.CLOCK_SECONDS
        raise ApiError(
            f"the clock of {server} is {years:,.0f} years {'ahead of' if offset > 0 else 'behind'} this machine's "
            f"(it says {date[:40]!r})",
            "one of the two clocks is wrong; nothing can be timed until it is set",
        )
    return offset if abs(offset) > 1.0 else 0.0
