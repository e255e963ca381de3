"""The way to the exchange, against a real TLS server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

import pytest

from latency_sweep.probe.doctor import route
from latency_sweep.runtime.check_result import CheckStatus

if TYPE_CHECKING:
    from latency_sweep.probe.doctor.route import Address


class Exchange(Protocol):
    port: int

    @property
    def feed(self) -> str: ...


@pytest.fixture
def closed_port(refusing: socket.socket) -> int:
    return int(refusing.getsockname()[1])


def at(port: int) -> Address:
    return socket.AF_INET, ("127.0.0.1", port)


async def test_a_reachable_endpoint_passes_all_the_way(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    results = await route.check_endpoint(exchange.feed, trust)
    assert [result.name for result in results] == ["DNS", "route to exchange", "TLS"]
    dns, reached, tls = results
    assert dns.status in {CheckStatus.PASS, CheckStatus.WARN}, dns.found
    # localhost may also resolve to ::1, where nothing listens.
    assert reached.status in {CheckStatus.PASS, CheckStatus.WARN}, reached.found
    assert tls.status is CheckStatus.PASS, tls.found
    assert tls.found.startswith("TLSv1.3 in ")


async def test_a_pinned_address_is_used_in_the_name_s_place(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    url = exchange.feed.replace("localhost", "feed.invalid")
    dns, reached, tls = await route.check_endpoint(url, trust, pinned="127.0.0.1")
    assert (dns.status, reached.status) == (CheckStatus.PASS, CheckStatus.PASS)
    assert "feed.invalid" in tls.found  # still the name that the certificate must have


async def test_an_endpoint_without_tls_needs_no_certificate(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    results = await route.check_endpoint(f"ws://127.0.0.1:{exchange.port}", trust)
    assert [result.status for result in results] == [
        CheckStatus.PASS,
        CheckStatus.PASS,
        CheckStatus.SKIP,
    ]


async def test_what_comes_after_a_name_that_does_not_resolve_is_skipped(
    trust: ssl.SSLContext,
) -> None:
    results = await route.check_endpoint("wss://feed.invalid", trust)
    assert [result.status for result in results] == [
        CheckStatus.FAIL,
        CheckStatus.SKIP,
        CheckStatus.SKIP,
    ]
    assert results[0].found.startswith("feed.invalid: ")


async def test_every_address_is_told_once() -> None:
    _, addresses = await route.check_dns("127.0.0.1", 9443)
    assert addresses == [at(9443)]


async def test_a_resolver_far_away_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_SLOW_DNS_SEC", -1.0)
    result, _ = await route.check_dns("127.0.0.1", 9443)
    assert result.status is CheckStatus.WARN


async def test_an_endpoint_that_refuses_fails(closed_port: int) -> None:
    result, nearest = await route.check_route([at(closed_port)])
    assert (result.status, nearest) == (CheckStatus.FAIL, None)
    assert result.found == "none of 1; 127.0.0.1: Connection refused"


async def test_an_address_that_refuses_beside_one_that_does_not_is_a_warning(
    exchange: Exchange, closed_port: int
) -> None:
    result, nearest = await route.check_route([at(closed_port), at(exchange.port)])
    assert (result.status, nearest) == (CheckStatus.WARN, at(exchange.port))
    assert result.found.startswith("1 of 2 addresses, ")


async def test_a_certificate_nobody_vouches_for_fails(exchange: Exchange) -> None:
    stranger = ssl.create_default_context()
    result = await route.check_tls("localhost", at(exchange.port), stranger)
    assert result.status is CheckStatus.FAIL
    assert result.found.startswith("certificate: ")


async def test_a_certificate_for_another_name_fails(
    exchange: Exchange, trust: ssl.SSLContext
) -> None:
    result = await route.check_tls("feed.example", at(exchange.port), trust)
    assert result.status is CheckStatus.FAIL
    assert "feed.example" in result.found


async def test_a_certificate_that_ends_soon_is_a_warning(
    exchange: Exchange, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "_EXPIRES_SOON_DAYS", 365)
    result = await route.check_tls("localhost", at(exchange.port), trust)
    assert result.status is CheckStatus.WARN
    assert "29 days more" in result.found


async def test_a_server_that_speaks_no_tls_fails(trust: ssl.SSLContext) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 not what you expect\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await route.check_tls("localhost", at(port), trust)
    assert result.status is CheckStatus.FAIL
    assert "wrong version number" in result.found
    assert "intercepts or blocks TLS" in result.action
