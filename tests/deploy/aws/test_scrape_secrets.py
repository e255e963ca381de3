"""The secrets of the scrapes, in a real TLS handshake."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

from latency_sweep.deploy.aws import scrape_secrets
from latency_sweep.deploy.aws.monitor import SERVER_NAME

if TYPE_CHECKING:
    from pathlib import Path


def test_each_secret_fits_a_free_parameter() -> None:
    made = scrape_secrets.make()
    assert set(made) == set(scrape_secrets.NAMES)
    assert all(len(value) <= 4096 for value in made.values())


def test_a_client_that_trusts_the_authority_accepts_the_certificate(tmp_path: Path) -> None:
    made = scrape_secrets.make()
    for name, value in made.items():
        (tmp_path / name).write_text(value)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    near, far = socket.socketpair()
    with near, far:
        answering = threading.Thread(
            target=lambda: server.wrap_socket(far, server_side=True).close()
        )
        answering.start()
        with client.wrap_socket(near, server_hostname=SERVER_NAME) as connection:
            assert connection.version() == "TLSv1.3"
        answering.join()
