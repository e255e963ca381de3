"""A access_control with an application behind it, and the keys to it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import bcrypt
import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from latency_sweep.probe.http.access_control import AccessControl
from latency_sweep.probe.http.policy import LivePolicy
from latency_sweep.runtime import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from latency_sweep.contract.metrics import RejectionReason
    from latency_sweep.probe.http.limits import EndpointLimits

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
# More than the kernel's buffers on both sides take.
LARGE = 16 << 20
TOKEN = "0123456789abcdef-token"
VALIDITY = dt.timedelta(days=1)


class SigningCa:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._authority = certificates.CertificateAuthority(name, VALIDITY)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._authority.pem)

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for a DNS name and 127.0.0.1, and its key."""
        now = dt.datetime.now(dt.UTC)
        made = self._authority.issue(
            name,
            [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
            since=now - certificates.BACKDATE,
            until=now + VALIDITY,
            purposes=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        )
        cert_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert_file.write_bytes(made.certificate)
        key_file.write_bytes(made.key)
        return cert_file, key_file


@dataclass(frozen=True)
class Keys:
    """Authorities and certificates: ours, a client's, and those of strangers."""

    ours: SigningCa
    strangers: SigningCa
    server: tuple[Path, Path]
    client: tuple[Path, Path]
    other_client: tuple[Path, Path]
    stranger: tuple[Path, Path]

    def client_context(self, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ours.file)
        if identity is not None:
            context.load_cert_chain(*identity)
        return context


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    ours, strangers = (
        SigningCa(folder, "ours"),
        SigningCa(folder, "strangers"),
    )
    return Keys(
        ours,
        strangers,
        server=ours.sign("server"),
        client=ours.sign("client"),
        other_client=ours.sign("other-client"),
        stranger=strangers.sign("stranger"),
    )


class Refusals:
    """Counts refusals, and lets a test await them."""

    def __init__(self) -> None:
        self.counts: Counter[RejectionReason] = Counter()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def count(self, reason: RejectionReason) -> None:
        """Called in the access_control's thread."""
        self._loop.call_soon_threadsafe(self._count, reason)

    def _count(self, reason: RejectionReason) -> None:
        self.counts[reason] += 1
        self._changed.set()

    async def wait_for(self, reason: RejectionReason, number: int = 1) -> None:
        while self.counts[reason] < number:
            self._changed.clear()
            await self._changed.wait()
        assert self.counts == {reason: number}


@dataclass
class OpenDoor:
    """A access_control that is being served."""

    port: int
    policy: LivePolicy
    refusals: Refusals
    client: aiohttp.ClientSession
    scheme: str
    streams: AsyncExitStack

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    async def get(
        self, path: str = "/metrics", **options: object
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer."""
        async with self.client.get(self.url(path), **options) as response:  # type: ignore[arg-type]
            return response.status, await response.text(), dict(response.headers)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, closed when all is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.streams.push_async_callback(self._close, writer)
        return reader, writer

    async def refuses(self, context: ssl.SSLContext) -> None:
        """Try once to get in with TLS; a client of HTTP would try again."""
        with suppress(ConnectionError, ssl.SSLError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            self.streams.push_async_callback(self._close, writer)
            # With TLS 1.3 a client learns only now what the server thinks of its certificate.
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.read() == b""

    @staticmethod
    async def _close(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@pytest.fixture
def web_file(tmp_path: Path) -> Path:
    """Where a test writes the web configuration."""
    return tmp_path / "web.yml"


def application() -> web.Application:
    """/metrics, /-/healthy and an answer that takes a while to send."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="up 1\n")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/-/healthy", metrics)
    app.router.add_get("/large", large)
    return app


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def open_endpoint(
    request: pytest.FixtureRequest, keys: Keys
) -> Callable[..., AbstractAsyncContextManager[OpenDoor]]:
    """Open a access_control with files and limits.

    It runs in a thread of its own, on both kinds of loop: what a failed handshake raises is
    theirs to choose.
    """

    @asynccontextmanager
    async def open_it(
        web_config: Path | None = None,
        token_file: Path | None = None,
        limits: EndpointLimits | None = None,
    ) -> AsyncIterator[OpenDoor]:
        policy, refusals = LivePolicy(web_config, token_file), Refusals()
        listening: Future[tuple[int, Callable[[], object]]] = Future()

        async def serve() -> None:
            access_control = AccessControl(
                application(), policy, refusals.count, limits=limits, open_paths={"/-/healthy"}
            )
            closing = asyncio.Event()
            loop = asyncio.get_running_loop()
            port = await access_control.open("127.0.0.1", 0)
            listening.set_result((port, lambda: loop.call_soon_threadsafe(closing.set)))
            await closing.wait()
            await access_control.close()

        def run() -> None:
            with asyncio.Runner(loop_factory=request.param) as runner:
                runner.run(serve())

        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(run)
            port, close = await asyncio.wrap_future(listening)
            connector = aiohttp.TCPConnector(ssl=keys.client_context(), force_close=True)
            async with (
                AsyncExitStack() as streams,
                aiohttp.ClientSession(connector=connector) as client,
            ):
                scheme = "http" if policy.current.context is None else "https"
                try:
                    yield OpenDoor(port, policy, refusals, client, scheme, streams)
                finally:
                    close()
                    await asyncio.wrap_future(ended)

    return open_it
