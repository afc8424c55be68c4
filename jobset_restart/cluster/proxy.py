"""Which proxy stands between us and the API server. Pure.

The rules are Go's (golang.org/x/net/http/httpproxy, and client-go for proxy-url): `proxy-url` of the kubeconfig is
always used; otherwise HTTPS_PROXY or HTTP_PROXY of the environment, except for localhost, loopback addresses and what
NO_PROXY names. ALL_PROXY, which Go does not know and other clients do, comes last.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from msgspec import Struct
from yarl import URL

from jobset_restart.errors import AccessError


class Proxy(Struct, frozen=True):
    """`url` is for the connection and may hold a password; `shown` and `option` (where it comes from) for people."""

    url: str
    shown: str
    option: str
    secrets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.shown} (from {self.option})"


def proxy_for(server: URL, given: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to `server`; `given` is proxy-url. Raises AccessError naming the option that is wrong."""
    if given:
        return _parsed(given, "proxy-url of the kubeconfig")
    if is_loopback(server.host or ""):
        return None
    for name in (f"{server.scheme}_proxy", "all_proxy"):
        option = name.upper() if environment.get(name.upper()) else name
        value = environment.get(option, "").strip()
        if value:
            bypass = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
            return None if bypassed(server.host or "", server.port or 443, bypass) else _parsed(value, option)
    return None


def is_loopback(host: str) -> bool:
    """localhost and loopback addresses, which are never proxied (httpproxy, useProxy)."""
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names this server: *, an address, a CIDR, a domain (itself and below) or .domain (below), each
    but a CIDR with a port or without."""
    address, host = _address(host), host.lower().rstrip(".")
    for entry in (each.strip().lower() for each in no_proxy.split(",")):
        if entry == "*":
            return True
        if "/" in entry:
            if address is not None and _within(address, entry):
                return True
            continue
        name, _, wanted = entry.rpartition(":") if _has_port(entry) else (entry, "", "")
        if wanted and wanted != str(port):
            continue
        name = name.strip("[]").removeprefix("*")
        if not name:
            continue
        if address is not None and _address(name) == address:
            return True
        if address is None and (host == name or host.endswith(name if name.startswith(".") else "." + name)):
            return True
    return False


def _has_port(entry: str) -> bool:
    return entry.count(":") == 1 or "]:" in entry


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _parsed(value: str, option: str) -> Proxy:
    text = value if "://" in value else f"http://{value}"
    scheme = text.partition("://")[0].lower()
    if scheme.startswith("socks"):
        raise AccessError(
            f"{option} names a SOCKS proxy ({scheme}), which is not supported", "use an HTTP proxy, or unset it"
        )
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        host = port = None
    if scheme not in ("http", "https") or not host or not port or any(not 32 < ord(c) < 127 for c in text):
        raise AccessError(f"{option} is not the URL of a proxy", "give it as http://HOST:PORT")
    secrets = tuple(each for each in (url.raw_password, url.password) if each)
    shown = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return Proxy(url=str(url), shown=shown, option=option, secrets=secrets)
