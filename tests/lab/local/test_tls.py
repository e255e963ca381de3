"""The self-made certificates: trusted by who trusts their CA, for local names only."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.local.tls import Certificates, make_certificates

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "tls")


def handshake(certificates: Certificates, name: str) -> None:
    """A complete handshake in memory, as a client that reaches the server by `name`."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificates.cert, certificates.key)
    client_context = ssl.create_default_context(cafile=certificates.ca)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    finished: set[ssl.SSLObject] = set()
    while len(finished) < 2:
        for side in (client, server):
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_server_is_trusted_by_every_local_name(certificates: Certificates, name: str) -> None:
    handshake(certificates, name)


def test_the_server_is_not_trusted_by_another_name(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, "example.org")


def test_another_authority_does_not_trust_the_server(
    certificates: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    mixed = Certificates(other.ca, certificates.cert, certificates.key)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(mixed, "localhost")


def test_only_the_owner_can_read_the_key(certificates: Certificates) -> None:
    assert certificates.key.stat().st_mode & 0o077 == 0
