"""Strangers at a metrics endpoint, while an authenticated client scrapes it."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

_HOLDERS: Final = 2
_GUESSERS: Final = 12
_HELD_EACH: Final = 128
# As Prometheus has it by default.
_SCRAPE_TIMEOUT_SEC: Final = 10.0
_LOCAL: Final = "127.0.0.1"
_STATUS_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A metrics endpoint on 127.0.0.1 that wants a password.

    Attributes:
        port: its port.
        user: who may scrape.
        password: of that user.
        context: for TLS, or None.
    """

    port: int
    user: str
    password: str
    context: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class FloodReport:
    """What became of scrapes and of strangers.

    Attributes:
        scrapes: how many were tried, each on a new connection or on the one before's.
        failures: why each that failed did.
        slowest_sec: the slowest that did not.
        most_held: most connections that strangers held at the same time.
        guesses: how many passwords were tried.
        guess_statuses: answers to them by HTTP status; 0 for a connection closed without one.
    """

    scrapes: int
    failures: tuple[str, ...]
    slowest_sec: float
    most_held: int
    guesses: int
    guess_statuses: dict[int, int]


async def flood(
    endpoint: Endpoint, *, seconds: float, interval_sec: float, one_address: bool = False
) -> FloodReport:
    """Hold 256 connections from two addresses, guess passwords from twelve, and scrape.

    Args:
        endpoint: whose.
        seconds: how long.
        interval_sec: between scrapes; every second one is on a new connection.
        one_address: whether all strangers have the scraper's address.
    """
    strangers = _Strangers(endpoint, one_address=one_address)
    tasks = strangers.start()
    try:
        # The first scrape is a login that the probe has not seen before: under the flood too.
        await strangers.ready.wait()
        slowest, failures, scrapes = await _scrapes(endpoint, seconds, interval_sec)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    statuses = dict(sorted(strangers.statuses.items()))
    guesses = sum(statuses.values())
    return FloodReport(scrapes, failures, slowest, strangers.most_held, guesses, statuses)


class _Strangers:
    def __init__(self, endpoint: Endpoint, *, one_address: bool) -> None:
        self._endpoint = endpoint
        self._one_address = one_address
        self._held = 0
        self.most_held = 0
        self.statuses: Counter[int] = Counter()
        self.ready = asyncio.Event()

    def start(self) -> list[asyncio.Task[None]]:
        holders = [
            asyncio.create_task(self._hold(self._address(2 + who)))
            for who in range(_HOLDERS)
            for _ in range(_HELD_EACH)
        ]
        guessers = [
            asyncio.create_task(self._guess(self._address(11 + who))) for who in range(_GUESSERS)
        ]
        return holders + guessers

    def _address(self, last: int) -> str:
        return _LOCAL if self._one_address else f"127.0.0.{last}"

    async def _hold(self, address: str) -> None:
        """Keep a connection open with half a request, and open it anew when it is closed."""
        while True:
            with suppress(OSError):
                # Without TLS of its own: a handshake that never comes holds as well.
                reader, writer = await asyncio.open_connection(
                    _LOCAL, self._endpoint.port, local_addr=(address, 0)
                )
                self._held += 1
                self.most_held = max(self.most_held, self._held)
                try:
                    if self._endpoint.context is None:
                        writer.write(b"GET /metrics HTTP/1.1\r\n")
                    await reader.read()
                finally:
                    self._held -= 1
                    writer.transport.abort()
            await asyncio.sleep(0.1)

    async def _guess(self, address: str) -> None:
        while True:
            status = 0
            with suppress(OSError, asyncio.IncompleteReadError):
                guess = _Client(self._endpoint, secrets.token_hex(8), address)
                try:
                    status = await guess.get()
                finally:
                    guess.close()
            self.statuses[status] += 1
            if self._held:
                self.ready.set()
            await asyncio.sleep(0.001 if status else 0.05)


async def _scrapes(
    endpoint: Endpoint, seconds: float, interval_sec: float
) -> tuple[float, tuple[str, ...], int]:
    slowest, failures, number = 0.0, [], 0
    client: _Client | None = None
    deadline = time.monotonic() + seconds
    while (started := time.monotonic()) < deadline:
        if client is None:
            client = _Client(endpoint, endpoint.password, _LOCAL)
        try:
            async with asyncio.timeout(_SCRAPE_TIMEOUT_SEC):
                status = await client.get()
            if status != _STATUS_OK:
                failures.append(f"status {status}")
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            failures.append(type(error).__name__)
            status = 0
        took = time.monotonic() - started
        if status == _STATUS_OK:
            slowest = max(slowest, took)
        number += 1
        if number % 2 == 0 or status != _STATUS_OK:
            client.close()
            client = None
        await asyncio.sleep(max(0.0, interval_sec - took))
    if client is not None:
        client.close()
    return slowest, tuple(failures), number


class _Client:
    """One connection of a client, opened at its first request."""

    def __init__(self, endpoint: Endpoint, password: str, address: str) -> None:
        self._endpoint = endpoint
        self._address = address
        login = base64.b64encode(f"{endpoint.user}:{password}".encode()).decode()
        self._request = (
            f"GET /metrics HTTP/1.1\r\nHost: probe\r\nAuthorization: Basic {login}\r\n\r\n"
        ).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self) -> int:
        """The status of one request.

        Raises:
            OSError, asyncio.IncompleteReadError: there is none.
        """
        if self._streams is None:
            name = "127.0.0.1" if self._endpoint.context is not None else None
            self._streams = await asyncio.open_connection(
                _LOCAL,
                self._endpoint.port,
                local_addr=(self._address, 0),
                ssl=self._endpoint.context,
                server_hostname=name,
            )
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length = next(
            (int(line[15:]) for line in head if line.lower().startswith("content-length:")), 0
        )
        await reader.readexactly(length)
        return int(head[0].split()[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
