"""Server certificates: a trusted one, an expired one, and one for another name."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography import x509

from latency_sweep.runtime.certificates import CertificateAuthority

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.runtime.certificates import Pems

_VALID_FOR: Final = timedelta(days=1)
_ELSEWHERE: Final = "elsewhere.test"


class Identity(StrEnum):
    """Which certificate a server presents."""

    TRUSTED = "trusted"
    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"


@dataclass(frozen=True, slots=True)
class Identities:
    """A CA to trust, and a server context for each identity."""

    ca: Path
    contexts: dict[Identity, ssl.SSLContext]


def make_identities(folder: Path, names: list[str]) -> Identities:
    """Make certificates for 127.0.0.1 and these names, signed by one new CA.

    Args:
        folder: receives `ca.pem` and a file with certificate and key per identity; made if
            needed.
        names: DNS names that the trusted certificate carries.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    here: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        *(x509.DNSName(name) for name in names),
    ]
    wanted: dict[Identity, tuple[list[x509.GeneralName], datetime]] = {
        Identity.TRUSTED: (here, now + _VALID_FOR),
        Identity.EXPIRED: (here, now - timedelta(minutes=1)),
        Identity.WRONG_NAME: ([x509.DNSName(_ELSEWHERE)], now + _VALID_FOR),
    }
    ca = CertificateAuthority("Fault laboratory CA", _VALID_FOR)
    trusted = folder / "ca.pem"
    trusted.write_bytes(ca.pem)
    contexts = {}
    for identity, (alternatives, until) in wanted.items():
        made = ca.issue(identity, alternatives, since=now - _VALID_FOR, until=until)
        contexts[identity] = _context(folder / f"{identity}.pem", made)
    return Identities(trusted, contexts)


def _context(file: Path, made: Pems) -> ssl.SSLContext:
    file.touch(mode=0o600)
    file.write_bytes(made.certificate + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
