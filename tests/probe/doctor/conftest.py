"""A TLS endpoint and a time endpoint on this machine."""

from __future__ import annotations

import json
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.lab.local.tls import Certificates, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Exchange:
    """An exchange's web server; `ahead_sec` is its clock minus this machine's."""

    port: int
    ahead_sec: float = 0.0
    status: int = 200

    @property
    def feed(self) -> str:
        return f"wss://localhost:{self.port}"

    @property
    def time(self) -> str:
        return f"https://localhost:{self.port}/time"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trust(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates.ca)


class _Handshakes(ThreadingHTTPServer):
    """A TLS server with a thread for each connection, so that every one is closed with it.

    asyncio forgets connections whose handshake fails while its loop comes to an end.
    """

    daemon_threads = False  # closing waits for them

    def __init__(self, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(10)
        left_or_refused_the_certificate = suppress(OSError)
        with (
            left_or_refused_the_certificate,
            self._tls.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


@pytest.fixture
def exchange(certificates: Certificates) -> Iterator[Exchange]:
    """It runs in a thread of its own, as the doctor brings its own loop."""

    class TellTime(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            now_us = time.time_ns() // 1000 + int(served.ahead_sec * 1e6)
            told = json.dumps({"serverTime": now_us}).encode()
            self.send_response(served.status)
            if served.status == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_said: object) -> None:
            """Requests are no news here."""

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.cert, certificates.key)
    with _Handshakes(TellTime, tls) as server:
        served = Exchange(port=server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()
