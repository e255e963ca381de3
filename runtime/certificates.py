"""Self-made certificates: a CA, and certificates by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

# Clients' clocks may be a little behind.
BACKDATE: Final = timedelta(hours=1)
_PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Pems:
    """PEM texts: the CA to trust, and a certificate by it with its private key."""

    ca: bytes
    certificate: bytes
    key: bytes


class CertificateAuthority:
    """Signs certificates of servers and clients; its private key never leaves it.

    Attributes:
        pem: its certificate, for those who are to trust it.
    """

    def __init__(self, name: str, validity: timedelta) -> None:
        """A new CA.

        Args:
            name: its common name.
            validity: for how long it may be trusted, from now.
        """
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        since, until = _from_now(validity)
        certificate = (
            self._builder(self._subject, self._key.public_key(), since, until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(_PEM)

    def issue(
        self,
        holder: str,
        names: Sequence[x509.GeneralName],
        *,
        since: datetime,
        until: datetime,
        purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    ) -> Pems:
        """Make a certificate with a key of its own.

        Args:
            holder: the common name of the server or client.
            names: DNS names and addresses that the certificate is good for.
            since: begin of its validity.
            until: end of its validity.
            purposes: what it may be used for, as a server or as a client.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(holder), key.public_key(), since, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pems(self.pem, certificate.public_bytes(_PEM), private)

    def _builder(
        self,
        subject: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        since: datetime,
        until: datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def make(*, ca: str, server: str, names: Sequence[x509.GeneralName], validity: timedelta) -> Pems:
    """Make a CA and one certificate; nothing else can be signed by that CA.

    Args:
        ca: its common name.
        server: the server's common name.
        names: DNS names and addresses that the certificate is good for.
        validity: for how long, from now.
    """
    since, until = _from_now(validity)
    return CertificateAuthority(ca, validity).issue(server, names, since=since, until=until)


def _from_now(validity: timedelta) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - BACKDATE, now + validity


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
