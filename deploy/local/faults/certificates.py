"""Certificates as they should be and as they should not: expired, and for another name."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_VALID_FOR: Final = timedelta(days=1)
_ELSEWHERE: Final = "elsewhere.test"


class Identity(StrEnum):
    """What a server's certificate says of it."""

    TRUSTED = "trusted"
    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"


@dataclass(frozen=True, slots=True)
class Identities:
    """An authority to trust, and a server context for each identity."""

    authority: Path
    contexts: dict[Identity, ssl.SSLContext]


def make_identities(folder: Path, names: list[str]) -> Identities:
    """Make certificates for 127.0.0.1 and these names, signed by one new authority.

    Args:
        folder: receives `ca.pem` and a file with certificate and key per identity; made if
            needed.
        names: DNS names that the trusted certificate carries.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    signer = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Fault laboratory authority")
    key_id = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    authority = (
        _builder(issuer, issuer, signer.public_key(), now - _VALID_FOR, now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .add_extension(key_id, critical=False)
        .sign(signer, hashes.SHA256())
    )
    file = folder / "ca.pem"
    file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))

    here: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        *(x509.DNSName(name) for name in names),
    ]
    wanted: dict[Identity, tuple[list[x509.GeneralName], datetime]] = {
        Identity.TRUSTED: (here, now + _VALID_FOR),
        Identity.EXPIRED: (here, now - timedelta(minutes=1)),
        Identity.WRONG_NAME: ([x509.DNSName(_ELSEWHERE)], now + _VALID_FOR),
    }
    contexts = {}
    for identity, (alternatives, until) in wanted.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(identity), issuer, key.public_key(), now - _VALID_FOR, until)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        contexts[identity] = _context(folder / f"{identity}.pem", certificate, key)
    return Identities(file, contexts)


def _context(
    file: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    file.touch(mode=0o600)
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
