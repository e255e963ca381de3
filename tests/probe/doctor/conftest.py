"""A TLS endpoint and a time endpoint on this machine."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from deploy.local.tls import Certificates, make_certificates

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
    return ssl.create_default_context(cafile=certificates.authority)


async def _until_idle(loop: asyncio.SelectorEventLoop) -> None:
    """Wait until connections that failed in the TLS handshake are closed too.

    No server knows them yet, but the loop still watches their sockets.
    """
    only_its_own_pipe = 1
    async with asyncio.timeout(10):
        while len(loop._selector.get_map()) > only_its_own_pipe:  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)


@pytest.fixture
def exchange(certificates: Certificates) -> Iterator[Exchange]:
    """It runs in a thread of its own, as the doctor brings its own loop."""
    served = Exchange(port=0)

    async def tell_time(_request: web.Request) -> web.Response:
        now_us = time.time_ns() // 1000 + int(served.ahead_sec * 1e6)
        headers = {"Retry-After": "7"} if served.status == 429 else {}
        return web.json_response({"serverTime": now_us}, status=served.status, headers=headers)

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_get("/time", tell_time)
        runner = web.AppRunner(application)
        await runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificates.cert, certificates.key)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        served.port = runner.addresses[0][1]
        return runner

    loop = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield served
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    asyncio.run_coroutine_threadsafe(_until_idle(loop), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
