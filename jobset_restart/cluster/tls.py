"""The SSLContext of an API server, made of certificates in memory: no private key is ever left in a file."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator

from msgspec import Struct

from jobset_restart.errors import AccessError


class Tls(Struct, frozen=True):
    """What a connection is verified by and shows. PEM; equal material makes equal connections. An empty `authority`
    stands for the machine's own authorities, an empty `name` for the URL's host."""

    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    verify: bool = True
    name: str = ""


def context(tls: Tls, server: str) -> ssl.SSLContext:
    """Raises AccessError where the certificates cannot be used."""
    made = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    made.name = tls.name or None
    try:
        if tls.authority:
            made.load_verify_locations(cadata=tls.authority.decode("ascii", "replace"))
        else:
            made.load_default_certs()
        if tls.certificate:
            with _in_a_file(tls.certificate + b"\n" + tls.key) as path:
                made.load_cert_chain(path, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else "this is no PEM certificate or key"
        raise AccessError(f"the certificates for {server} cannot be used: {why}") from None
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _no_passphrase() -> str:
    raise AccessError("the client key is protected by a passphrase, which is not supported")


@contextlib.contextmanager
def _in_a_file(content: bytes) -> Iterator[str]:
    """OpenSSL reads a client certificate from a file only: one in memory that ends with its descriptor, however this
    process ends. Where the system has none, one that is gone before the first request."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        with os.fdopen(os.memfd_create("jsr", os.MFD_CLOEXEC), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as named:
        named.write(content)
        named.flush()
        yield named.name


class _NamedContext(ssl.SSLContext):
    """Verifies and announces `name` instead of the URL's host on every connection, WebSockets included
    (kubeconfig: tls-server-name)."""

    name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)
