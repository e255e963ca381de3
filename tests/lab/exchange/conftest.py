"""A running exchange, in the test's own loop or as a process, and clients for it."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from latency_sweep.lab.exchange.config import ExchangeConfig, parse
from latency_sweep.lab.exchange.process import ExchangeProcess
from latency_sweep.lab.exchange.server import running
from latency_sweep.lab.local.tls import Certificates, make_certificates
from tests.lab.exchange.clients import Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


BUSY = {"trades_per_sec": 200, "book_updates_per_sec": 100}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def client_tls(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates.ca)


@pytest.fixture
def configure(certificates: Certificates, tmp_path: Path) -> Callable[..., ExchangeConfig]:
    """A configuration with TLS, ground truth and one busy symbol, and any keys of the test."""

    def build(**keys: Any) -> ExchangeConfig:
        document = {
            "sites": {"tokyo": {}},
            "symbols": {"BTCUSDT": BUSY},
            "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
            "ground_truth_dir": str(tmp_path / "truth"),
        }
        return parse(document | keys, source="test")

    return build


@pytest.fixture
def run(
    configure: Callable[..., ExchangeConfig], client_tls: ssl.SSLContext
) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """Run an exchange in the test's event loop; the keywords are keys of its configuration."""

    @contextlib.asynccontextmanager
    async def start(**keys: Any) -> AsyncIterator[Running]:
        config = configure(**keys)
        async with aiohttp.ClientSession() as http, running(config) as addresses:
            yield Running(addresses, config, client_tls, http)

    return start


@pytest.fixture
def spawn(
    configure: Callable[..., ExchangeConfig], tmp_path: Path
) -> Iterator[Callable[..., ExchangeProcess]]:
    """Start an exchange as a process; the keywords are keys of its configuration."""
    with contextlib.ExitStack() as stack:

        def start(**keys: Any) -> ExchangeProcess:
            process = ExchangeProcess(configure(**keys), tmp_path / "exchange")
            return stack.enter_context(process)

        yield start
