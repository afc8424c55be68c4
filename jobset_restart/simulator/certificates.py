"""A certificate authority and a server certificate for loopback, made at start and kept nowhere."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from typing import IO, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_VALID = timedelta(days=365)
_MARGIN = timedelta(hours=1)
"""For clients whose clock is behind."""
_ADDRESSES = ("127.0.0.1", "::1")
_NOT_SET = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


class Served(NamedTuple):
    """What the server needs, and what its clients need to trust it."""

    context: ssl.SSLContext
    ca: str
    """The authority's certificate, PEM."""


def serving_certificate(now: float) -> Served:
    """A new authority and a TLS context for 127.0.0.1, ::1 and localhost, valid for a year from ``now`` (epoch, s)."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name.from_rfc4514_string("CN=jsr simulator CA")
    ca = _certificate(ca_name, authority, now, ca=True).sign(authority, hashes.SHA256())
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(each)) for each in _ADDRESSES)]
    leaf = (
        _certificate(x509.Name.from_rfc4514_string("CN=127.0.0.1"), server, now, ca=False)
        .issuer_name(ca_name)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    key = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _nameless(leaf.public_bytes(Encoding.PEM)) as chain, _nameless(key) as secret:
        context.load_cert_chain(f"/dev/fd/{chain.fileno()}", f"/dev/fd/{secret.fileno()}")
    return Served(context, ca.public_bytes(Encoding.PEM).decode("ascii"))


def _nameless(content: bytes) -> IO[bytes]:
    """A file without a name: ssl reads keys from files only, and this one is gone however the process ends."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.flush()
    file.seek(0)
    return file


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: float, *, ca: bool
) -> x509.CertificateBuilder:
    """What both have in common; an authority names itself as the issuer."""
    start = datetime.fromtimestamp(now, UTC)
    usage = x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **_NOT_SET)
    builder = x509.CertificateBuilder(
        issuer_name=subject if ca else None,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start - _MARGIN,
        not_valid_after=start + _VALID,
    )
    return (
        builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
