"""Certificates for servers on this machine from a CA of their own, as files."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from latency_sweep.runtime import certificates

if TYPE_CHECKING:
    from pathlib import Path

VALIDITY: Final = timedelta(days=30)
_NAMES: Final = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the CA to trust, and the server's certificate and private key."""

    ca: Path
    cert: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make a CA and a certificate for localhost, 127.0.0.1 and ::1, valid for 30 days.

    Writes `ca.pem`, `server.pem` and `server.key` (readable by the owner only) into the folder,
    which is made if needed. The CA's key is discarded, so nothing else can be signed.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = certificates.make(
        ca="Local latency sweep CA",
        server="localhost",
        names=_NAMES,
        validity=VALIDITY,
    )
    files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    files.ca.write_bytes(made.ca)
    files.cert.write_bytes(made.certificate)
    files.key.touch(mode=0o600)
    files.key.write_bytes(made.key)
    return files
