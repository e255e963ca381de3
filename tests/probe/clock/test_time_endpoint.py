"""Requests to the time endpoint, against a real HTTP server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from latency_sweep.probe.clock.exchange import TimeEndpointError
from latency_sweep.probe.clock.time_endpoint import TimeEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[[web.Response], Awaitable[tuple[str, list[str]]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve one answer; returns its URL and the time units that requests asked for."""
    runners: list[web.AppRunner] = []

    async def start(response: web.Response) -> tuple[str, list[str]]:
        units: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            units.append(request.headers.get("X-MBX-TIME-UNIT", ""))
            # A response can be sent once.
            return web.Response(
                body=response.body, status=response.status, headers=response.headers
            )

        application = web.Application()
        application.router.add_get("/time", answer)
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/time", units

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_microseconds_are_asked_for(http: aiohttp.ClientSession, serve: Serve) -> None:
    url, units = await serve(web.Response(text='{"serverTime":1}'))
    assert await TimeEndpoint(http, url).fetch() == b'{"serverTime":1}'
    assert units == ["MICROSECOND"]


async def test_a_rate_limit_says_how_long_to_wait(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(TimeEndpointError, match="answered 429") as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == 30


async def test_a_date_to_wait_for_is_left_to_the_caller(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(status=503, headers={"Retry-After": "Mon, 1 Jan 2029"}))
    with pytest.raises(TimeEndpointError) as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec is None


async def test_no_server_is_an_error_that_names_the_address(http: aiohttp.ClientSession) -> None:
    with pytest.raises(TimeEndpointError, match=r"127\.0\.0\.1:1/time: "):
        await TimeEndpoint(http, "http://127.0.0.1:1/time").fetch()


@pytest.mark.parametrize(("status", "pause_sec"), [(429, 60), (418, 120), (503, None)])
async def test_a_refusal_that_names_no_time_is_given_the_usual_one(
    http: aiohttp.ClientSession, serve: Serve, status: int, pause_sec: float | None
) -> None:
    url, _ = await serve(web.Response(status=status))
    with pytest.raises(TimeEndpointError) as caught:
        await TimeEndpoint(http, url).fetch()
    assert caught.value.retry_after_sec == pause_sec


async def test_an_address_that_has_used_half_of_its_weight_leaves_the_rest_of_the_minute_to_others(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, asked = await serve(web.Response(text="{}", headers={"X-MBX-USED-WEIGHT-1M": "1201"}))
    now = 600.0
    endpoint = TimeEndpoint(http, url, now=lambda: now)
    await endpoint.fetch()
    now = 645.0
    with pytest.raises(TimeEndpointError, match="more than 1200") as caught:
        await endpoint.fetch()
    assert (caught.value.retry_after_sec, len(asked)) == (15.0, 1)
    now = 660.0
    await endpoint.fetch()
    assert len(asked) == 2


async def test_a_clock_set_back_does_not_silence_the_probe(
    http: aiohttp.ClientSession, serve: Serve
) -> None:
    url, _ = await serve(web.Response(text="{}", headers={"X-MBX-USED-WEIGHT-1M": "6000"}))
    now = 600.0
    endpoint = TimeEndpoint(http, url, now=lambda: now)
    await endpoint.fetch()
    now = 0.0
    assert await endpoint.fetch() == b"{}"


async def test_an_answer_that_is_not_http_is_told_in_one_line_with_the_url_once(
    http: aiohttp.ClientSession,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        with pytest.raises(TimeEndpointError) as caught:
            await TimeEndpoint(http, url).fetch()
    complaint = str(caught.value)
    assert (complaint.count(url), complaint.count("\n")) == (1, 0)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"302 Found\r\nLocation: http://a..test/\r\nContent-Length: 0\r\n\r\n", "idna"),
        (b"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "gzip"),
    ],
    ids=["a redirection to no host", "a body that is not as it says"],
)
async def test_an_answer_that_cannot_be_followed_or_read_is_told_in_one_line(
    response: bytes, reason: str, http: aiohttp.ClientSession
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + response)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/time"
        with pytest.raises(TimeEndpointError, match=reason) as caught:
            await TimeEndpoint(http, url).fetch()
    assert "\n" not in str(caught.value)
