"""Secrets of a sweep's scrapes, which the instances fetch from SSM Parameter Store.

The collector makes them before Terraform runs and removes them after it, so that they are in no
state, user data or log. All probes share one certificate: their addresses are not known beforehand,
and Prometheus checks the name in it. The authority's key is thrown away, so nothing else can be
signed by it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.aws.monitor import SERVER_NAME
from prometheus import tags

# No sweep lives longer: Terraform's ttl_hours ends at 30 days.
VALIDITY: Final = timedelta(days=31)
# The clocks of the instances may be a little behind.
BACKDATE: Final = timedelta(hours=1)
TOKEN_BYTES: Final = 32
NAMES: Final = ("ca.pem", "server.pem", "server.key", "token")


def path_of(experiment_id: str) -> str:
    """Where a sweep's secrets stand; Terraform's output `secrets_path`."""
    return f"/{tags.PROJECT_NAME}/{experiment_id}/scrape"


def make() -> dict[str, str]:
    """Fresh secrets by name; PEM where they are keys or certificates."""
    authority_key, key = _new_key(), _new_key()
    authority_name = _name("Latency sweep authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _builder(_name(SERVER_NAME), authority_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "ca.pem": authority.public_bytes(pem).decode(),
        "server.pem": server.public_bytes(pem).decode(),
        "server.key": private.decode(),
        "token": secrets.token_urlsafe(TOKEN_BYTES),
    }


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
